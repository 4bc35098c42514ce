package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Databases returns the names of the folders below the root that can be databases, sorted.
func (b *Bucket) Databases(ctx context.Context) ([]string, error) {
	return b.folders(ctx, "")
}

func (b *Bucket) folders(ctx context.Context, prefix string) ([]string, error) {
	dirs, err := b.store.ListDirs(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range dirs {
		if name, ok := nameOf(d); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Tables returns all tables of the lake, sorted.
func (b *Bucket) Tables(ctx context.Context) ([]Identifier, error) {
	dbs, err := b.Databases(ctx)
	if err != nil {
		return nil, err
	}
	var all []Identifier
	for _, db := range dbs {
		tables, err := b.TablesIn(ctx, db)
		if err != nil {
			return nil, err
		}
		all = append(all, tables...)
	}
	return all, nil
}

// TablesIn returns the tables of one database, sorted: the folders that have a hint or a version.
func (b *Bucket) TablesIn(ctx context.Context, db string) ([]Identifier, error) {
	if db == "" {
		return nil, nil
	}
	names, err := b.folders(ctx, Folder(db)+"/")
	if err != nil {
		return nil, err
	}
	is := make([]bool, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, name := range names {
		g.Go(func() (err error) {
			is[i], err = b.isTable(ctx, Identifier{db, name})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var ids []Identifier
	for i, name := range names {
		if is[i] {
			ids = append(ids, Identifier{db, name})
		}
	}
	return ids, nil
}

func (b *Bucket) isTable(ctx context.Context, id Identifier) (bool, error) {
	n, err := b.readHint(ctx, id)
	if err != nil || n > 0 {
		return n > 0, err
	}
	n, err = b.highest(ctx, id)
	return n > 0, err
}

// databaseFile holds the properties of a database that was made before any of its tables. A database needs none: a
// table's folder makes it.
const databaseFile = ".tidemark-database.json"

// CreateDatabase makes an empty database that Databases lists. It fails with fs.ErrExist when it is there.
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
	if properties == nil {
		properties = map[string]string{}
	}
	body, err := json.Marshal(map[string]any{"properties": properties})
	if err != nil {
		return err
	}
	if err := b.store.PutIfAbsent(ctx, Folder(db)+"/"+databaseFile, body); err != nil {
		return fmt.Errorf("create database %s: %w", db, err)
	}
	return nil
}

// Database returns a database's properties. Its error matches fs.ErrNotExist when there is none of that name.
func (b *Bucket) Database(ctx context.Context, db string) (map[string]string, error) {
	if db == "" {
		return nil, fmt.Errorf("database %q: %w", db, fs.ErrNotExist)
	}
	body, err := b.store.Get(ctx, Folder(db)+"/"+databaseFile)
	if errors.Is(err, fs.ErrNotExist) {
		dbs, err := b.Databases(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(dbs, db) {
			return nil, fmt.Errorf("database %s: nothing at %s: %w", db, strings.TrimSuffix(b.store.URI(Folder(db)), "/"), fs.ErrNotExist)
		}
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	var file struct {
		Properties map[string]string `json:"properties"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		return nil, fmt.Errorf("database %s: %s: %w", db, b.store.URI(Folder(db)+"/"+databaseFile), err)
	}
	if file.Properties == nil {
		file.Properties = map[string]string{}
	}
	return file.Properties, nil
}
