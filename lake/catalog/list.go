package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// listParallel bounds the requests that a listing makes at once.
const listParallel = 8

// Databases returns the names of all databases, sorted: those that were created, and those with a table in them.
func (b *Bucket) Databases(ctx context.Context) ([]string, error) {
	names, err := b.folders(ctx, "")
	if err != nil {
		return nil, err
	}
	return some(ctx, names, 0, func(ctx context.Context, db string) (bool, error) {
		v, err := b.newestVersion(ctx, Identifier{DB: db})
		if err != nil || !v.dropped {
			return err == nil, err
		}
		return b.hasTables(ctx, db)
	})
}

func (b *Bucket) hasTables(ctx context.Context, db string) (bool, error) {
	one, err := b.TablesAfter(ctx, db, "", 1)
	return len(one) > 0, err
}

// folders returns the names of what can be databases or tables below prefix, sorted.
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

// some returns the names that pass the test, in order; the first limit of them, unless that is 0.
func some(ctx context.Context, names []string, limit int, test func(context.Context, string) (bool, error)) ([]string, error) {
	var found []string
	for len(names) > 0 && (limit == 0 || len(found) < limit) {
		chunk := names
		if limit > 0 {
			chunk = names[:min(len(names), max(listParallel, limit-len(found)))]
		}
		names = names[len(chunk):]
		passed := make([]bool, len(chunk))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(listParallel)
		for i, name := range chunk {
			g.Go(func() (err error) {
				passed[i], err = test(ctx, name)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		for i, name := range chunk {
			if passed[i] && (limit == 0 || len(found) < limit) {
				found = append(found, name)
			}
		}
	}
	return found, nil
}

// Tables returns all tables of the lake, sorted.
func (b *Bucket) Tables(ctx context.Context) ([]Identifier, error) {
	dbs, err := b.folders(ctx, "")
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

// TablesIn returns the tables of one database, sorted.
func (b *Bucket) TablesIn(ctx context.Context, db string) ([]Identifier, error) {
	return b.TablesAfter(ctx, db, "", 0)
}

// TablesAfter returns the tables of one database whose names come after a name, sorted; the first limit of them, unless
// that is 0.
func (b *Bucket) TablesAfter(ctx context.Context, db, after string, limit int) ([]Identifier, error) {
	if db == "" {
		return nil, nil
	}
	names, err := b.folders(ctx, Folder(db)+"/")
	if err != nil {
		return nil, fmt.Errorf("tables of %s: %w", db, err)
	}
	if after != "" {
		names = slices.DeleteFunc(names, func(n string) bool { return strings.Compare(n, after) <= 0 })
	}
	if names, err = some(ctx, names, limit, func(ctx context.Context, name string) (bool, error) { return b.isTable(ctx, Identifier{db, name}) }); err != nil {
		return nil, fmt.Errorf("tables of %s: %w", db, err)
	}
	var ids []Identifier
	for _, name := range names {
		ids = append(ids, Identifier{db, name})
	}
	return ids, nil
}

// isTable takes the hint's word for it: a table that has ended has none.
func (b *Bucket) isTable(ctx context.Context, id Identifier) (bool, error) {
	n, err := b.readHint(ctx, id)
	if err != nil || n > 0 {
		return n > 0, err
	}
	v, err := b.newestVersion(ctx, id)
	return err == nil && !v.dropped, err
}
