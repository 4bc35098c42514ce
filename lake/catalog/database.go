package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
)

// A database needs no record: a table in it makes it. One that was created, or given properties, has a record that is
// kept like a table, as a line of versions in <db>/.tidemark-database, so that changing and dropping it are
// compare-and-swaps too.

// ErrNotEmpty means that a database cannot be dropped because it has tables.
var ErrNotEmpty = errors.New("the database has tables")

// databaseAttempts bounds how often a change of properties is tried again because another came between.
const databaseAttempts = 20

type databaseRecord struct {
	Properties map[string]string `json:"properties"`
}

// CreateDatabase makes an empty database. It fails with fs.ErrExist when it is there.
func (b *Bucket) CreateDatabase(ctx context.Context, db string, properties map[string]string) error {
	if db == "" {
		return errors.New("create database: the name is empty")
	}
	if _, err := b.Database(ctx, db); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return fmt.Errorf("create database %s: %w", db, err)
	}
	body, err := json.Marshal(databaseRecord{properties})
	if err != nil {
		return err
	}
	_, err = b.Create(ctx, Identifier{DB: db}, body)
	return err
}

// Database returns a database's properties. Its error matches fs.ErrNotExist when there is none of that name.
func (b *Bucket) Database(ctx context.Context, db string) (map[string]string, error) {
	properties, _, err := b.database(ctx, db)
	return properties, err
}

// database returns the version of the record as well, which may be a vacant one.
func (b *Bucket) database(ctx context.Context, db string) (map[string]string, *Version, error) {
	absent := fmt.Errorf("database %s: nothing at %s: %w", db, b.store.URI(Folder(db)), fs.ErrNotExist)
	if db == "" {
		return nil, nil, absent
	}
	v, err := b.newestVersion(ctx, Identifier{DB: db})
	if err != nil {
		return nil, nil, fmt.Errorf("database %s: %w", db, err)
	}
	record := databaseRecord{}
	if v.dropped {
		if is, err := b.hasTables(ctx, db); err != nil {
			return nil, nil, err
		} else if !is {
			return nil, nil, absent
		}
	} else if err := json.Unmarshal(v.Metadata, &record); err != nil {
		return nil, nil, fmt.Errorf("database %s: %s: %w", db, b.MetadataURI(v.ID, v.N), err)
	}
	if record.Properties == nil {
		record.Properties = map[string]string{}
	}
	return record.Properties, v, nil
}

// ChangeDatabase lets change alter a database's properties. It may be called several times, with the properties as they
// are then.
func (b *Bucket) ChangeDatabase(ctx context.Context, db string, change func(properties map[string]string)) error {
	for range databaseAttempts {
		properties, base, err := b.database(ctx, db)
		if err != nil {
			return err
		}
		before := maps.Clone(properties)
		if change(properties); maps.Equal(before, properties) {
			return nil
		}
		body, err := json.Marshal(databaseRecord{properties})
		if err != nil {
			return err
		}
		if _, err = b.Swap(ctx, base, body); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("database %s: %w: %d times in a row", db, ErrConflict, databaseAttempts)
}

// DropDatabase drops a database, or fails with ErrNotEmpty or fs.ErrNotExist. A table that is created at the same time is
// not lost: the database is there again, without properties.
func (b *Bucket) DropDatabase(ctx context.Context, db string) error {
	_, v, err := b.database(ctx, db)
	if err != nil {
		return err
	}
	if is, err := b.hasTables(ctx, db); err != nil {
		return err
	} else if is {
		return fmt.Errorf("drop database %s: %w", db, ErrNotEmpty)
	}
	return b.Drop(ctx, v, "the database was dropped")
}
