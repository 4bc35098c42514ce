// Package updates is a catalog over a service that writes table metadata itself: it takes a commit as requirements and updates
// (Iceberg REST specification, "CommitTableRequest"), and answers with what it made of them.
//
// In come table metadata, as bytes, and the version they replace; out goes the difference between the two. What must hold is
// what holds for a catalog that swaps whole files: of two commits of tidemark that were made on the same version, one takes
// effect. But such a service cannot be asked to require that properties are what they were, and the position of a table
// without changes, and the epoch of its writer, are recorded in properties alone. So there is the tag tidemark_writer (tag.go): a
// commit that moves neither main nor the branch of a load moves this tag, and every commit requires that none of the three has moved.
//
// Such services are REST catalogs (package restcatalog).
//
// diff.go     requirements and updates
// tag.go      the tag that stands for properties
package updates

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// Service takes commits. After an error that is not named below, what was asked for may or may not have taken effect.
type Service interface {
	// Tables returns all tables, in any order.
	Tables(ctx context.Context) ([]catalog.Identifier, error)
	// Load returns the newest version, or an error that matches fs.ErrNotExist.
	Load(ctx context.Context, id catalog.Identifier) (*catalog.Version, error)
	// Create makes a table like the one that the metadata are of, and its namespace where that is missing. It fails with
	// fs.ErrExist when there is one of that name.
	Create(ctx context.Context, id catalog.Identifier, metadata *Document) (*catalog.Version, error)
	// Commit applies the updates to the newest version, provided that it meets the requirements; else it fails with
	// catalog.ErrConflict.
	Commit(ctx context.Context, id catalog.Identifier, c *Commit) (*catalog.Version, error)
	// Drop takes a table out. Its files stay.
	Drop(ctx context.Context, id catalog.Identifier) error
}

// Document is table metadata by top-level key.
type Document map[string]json.RawMessage

// Commit is a change in the words of the REST specification.
type Commit struct {
	Requirements []any `json:"requirements"`
	Updates      []any `json:"updates"`
}

// Catalog is the catalog of one lake.
type Catalog struct {
	store   store.Store
	service Service
	left    catalog.Leftovers // manifest lists of tags that were moved
}

var _ catalog.Catalog = (*Catalog)(nil)

// New returns the catalog of the lake in s.
func New(s store.Store, service Service) *Catalog {
	return &Catalog{store: s, service: service}
}

// Tables returns all tables, sorted.
func (c *Catalog) Tables(ctx context.Context) ([]catalog.Identifier, error) {
	ids, err := c.service.Tables(ctx)
	slices.SortFunc(ids, catalog.Identifier.Compare)
	return ids, err
}

// Load returns the newest version.
func (c *Catalog) Load(ctx context.Context, id catalog.Identifier) (*catalog.Version, error) {
	v, err := c.service.Load(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	return v, nil
}

// Create makes a table with its first version. The service chooses its UUID.
func (c *Catalog) Create(ctx context.Context, id catalog.Identifier, metadata []byte) (*catalog.Version, error) {
	var doc Document
	if err := json.Unmarshal(metadata, &doc); err != nil {
		return nil, fmt.Errorf("create %s: %w", id, err)
	}
	v, err := c.service.Create(ctx, id, &doc)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", id, err)
	}
	var made struct {
		Location string `json:"location"`
	}
	if err := json.Unmarshal(v.Metadata, &made); err != nil {
		return nil, fmt.Errorf("create %s: %s: %w", id, v.URI, err)
	}
	if name, err := c.store.Name(strings.TrimSuffix(made.Location, "/")); err != nil || name != id.Path() {
		return nil, fmt.Errorf("create %s: asked for a table at %s, the catalog made one at %s: it has to let clients choose the location; drop the table and allow that, or give it the lake as its warehouse",
			id, c.store.URI(id.Path()), made.Location)
	}
	return v, nil
}

// Swap commits the difference between metadata and base.
func (c *Catalog) Swap(ctx context.Context, base *catalog.Version, metadata []byte) (*catalog.Version, error) {
	fail := func(err error) (*catalog.Version, error) { return nil, fmt.Errorf("commit to %s: %w", base.ID, err) }
	d, err := compare(base.Metadata, metadata)
	if err != nil {
		return fail(err)
	}
	old := ""
	if d.unguarded() {
		if old, err = c.moveTag(ctx, base.ID, d); err != nil {
			return fail(err)
		}
	}
	v, err := c.service.Commit(ctx, base.ID, d.commit())
	if err != nil {
		return fail(err)
	}
	if old != "" {
		c.left.Add(base.ID, old)
	}
	return v, nil
}

// Drop ends a table. The services know no condition for that: a commit between the look and the drop is dropped too.
func (c *Catalog) Drop(ctx context.Context, base *catalog.Version, _ string) error {
	now, err := c.service.Load(ctx, base.ID)
	if err == nil && now.URI != base.URI {
		err = catalog.ErrConflict
	}
	if err == nil {
		err = c.service.Drop(ctx, base.ID)
	}
	if err != nil {
		return fmt.Errorf("drop %s: %w", base.ID, err)
	}
	return nil
}

// Point does nothing: nobody reads these tables but through the catalog.
func (c *Catalog) Point(_ context.Context, v *catalog.Version) *catalog.Version { return v }

// PruneOnly is false: names are not used again.
func (c *Catalog) PruneOnly() bool { return false }

// Prune deletes what moved tags left. Old metadata files are deleted by the service, as the table's properties say.
func (c *Catalog) Prune(ctx context.Context, newest *catalog.Version, _ int) (int, error) {
	_, err := c.left.Prune(ctx, c.store, newest.ID)
	return 0, err
}

// NotFound is the error of a table that is not there.
func NotFound(id catalog.Identifier, where string) error {
	return fmt.Errorf("no table %s in the catalog %s: %w", id, where, fs.ErrNotExist)
}
