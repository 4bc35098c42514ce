// Package pointer is a catalog over a service that keeps one address for each table: that of its newest metadata file.
//
// In come table metadata, as bytes, and the version they replace. Out goes a new file in the table's metadata folder, and
// then the service is asked to replace the old address by the new one: that is the commit. What must hold: a file that an
// address may name is never changed, and is deleted only when its version is out of date or was certainly not committed.
//
// Such services are the tables of an SQL database (package sqlcatalog).
package pointer

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// Service keeps the addresses. After an error that is not named below, what was asked for may or may not have taken effect.
type Service interface {
	// Tables returns all tables, in any order.
	Tables(ctx context.Context) ([]catalog.Identifier, error)
	// Get returns a table's address, or an error that matches fs.ErrNotExist.
	Get(ctx context.Context, id catalog.Identifier) (location string, err error)
	// Insert makes a table. It fails with fs.ErrExist when there is one of that name.
	Insert(ctx context.Context, id catalog.Identifier, location string) error
	// Replace gives a table another address, provided that it has the old one; else it fails with catalog.ErrConflict.
	Replace(ctx context.Context, id catalog.Identifier, old, location string) error
	// Delete takes a table out, provided that it has this address; else it fails with catalog.ErrConflict.
	Delete(ctx context.Context, id catalog.Identifier, old string) error
	// Close ends the connections.
	Close() error
}

// Catalog is the catalog of one lake.
type Catalog struct {
	store   store.Store
	service Service
	left    catalog.Leftovers // metadata files that left the log with a commit of ours
}

var _ catalog.Catalog = (*Catalog)(nil)

// New returns the catalog of the lake in s.
func New(s store.Store, service Service) *Catalog {
	return &Catalog{store: s, service: service}
}

// Close ends the connections to the service.
func (c *Catalog) Close() error { return c.service.Close() }

// Tables returns all tables, sorted.
func (c *Catalog) Tables(ctx context.Context) ([]catalog.Identifier, error) {
	ids, err := c.service.Tables(ctx)
	slices.SortFunc(ids, catalog.Identifier.Compare)
	return ids, err
}

// loadTries is how often a version that is replaced and removed while it is loaded is looked for anew.
const loadTries = 5

// Load returns the newest version, with two requests.
func (c *Catalog) Load(ctx context.Context, id catalog.Identifier) (*catalog.Version, error) {
	for try := 1; ; try++ {
		v, err := c.load(ctx, id)
		if err == nil {
			return v, nil
		}
		var missing *catalog.MissingError
		if !errors.As(err, &missing) || try == loadTries {
			return nil, fmt.Errorf("load %s: %w", id, err)
		}
	}
}

func (c *Catalog) load(ctx context.Context, id catalog.Identifier) (*catalog.Version, error) {
	location, err := c.service.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	name, err := c.store.Name(location)
	if err != nil {
		return nil, err
	}
	body, err := c.store.Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &catalog.MissingError{ID: id, URI: location}
	}
	if err == nil {
		body, err = plain(body)
	}
	if err != nil {
		return nil, err
	}
	return &catalog.Version{ID: id, URI: location, Metadata: body}, nil
}

// plain unpacks metadata that another program compressed (table property write.metadata.compression-codec).
func plain(body []byte) ([]byte, error) {
	if !bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		return body, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("compressed metadata: %w", err)
	}
	return io.ReadAll(r)
}

// Create makes a table with its first version.
func (c *Catalog) Create(ctx context.Context, id catalog.Identifier, metadata []byte) (*catalog.Version, error) {
	v := &catalog.Version{ID: id, URI: c.next(id, ""), Metadata: metadata}
	if err := c.write(ctx, v); err != nil {
		return nil, fmt.Errorf("create %s: %w", id, err)
	}
	err := c.service.Insert(ctx, id, v.URI)
	if err = c.settle(ctx, v, err); err != nil {
		if errors.Is(err, fs.ErrExist) {
			c.discard(ctx, v)
		}
		return nil, fmt.Errorf("create %s: %w", id, err)
	}
	return v, nil
}

// Swap makes metadata the table's next version.
func (c *Catalog) Swap(ctx context.Context, base *catalog.Version, metadata []byte) (*catalog.Version, error) {
	v := &catalog.Version{ID: base.ID, URI: c.next(base.ID, base.URI), Metadata: metadata}
	if err := c.write(ctx, v); err != nil {
		return nil, fmt.Errorf("commit to %s: %w", base.ID, err)
	}
	err := c.service.Replace(ctx, base.ID, base.URI, v.URI)
	if err = c.settle(ctx, v, err); err != nil {
		if errors.Is(err, catalog.ErrConflict) {
			c.discard(ctx, v)
		}
		return nil, fmt.Errorf("commit to %s: %w", base.ID, err)
	}
	c.outdate(base, v)
	return v, nil
}

// settle looks what became of a request that failed: the address tells whether it took effect. If it did not, and the error
// leaves it open, it may still be on its way, so the error stays.
func (c *Catalog) settle(ctx context.Context, v *catalog.Version, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if location, lookErr := c.service.Get(ctx, v.ID); lookErr == nil && location == v.URI {
		return nil
	}
	return err
}

// Drop ends a table. Its files stay.
func (c *Catalog) Drop(ctx context.Context, base *catalog.Version, _ string) error {
	if err := c.service.Delete(ctx, base.ID, base.URI); err != nil {
		return fmt.Errorf("drop %s: %w", base.ID, err)
	}
	return nil
}

// Point does nothing: nobody reads these tables but through the catalog.
func (c *Catalog) Point(_ context.Context, v *catalog.Version) *catalog.Version { return v }

// PruneOnly is false: names are not used again.
func (c *Catalog) PruneOnly() bool { return false }

// next is the address of the version after the one at location. It goes on counting, which is for people and for programs
// that list files; the random part is what makes it unique.
func (c *Catalog) next(id catalog.Identifier, location string) string {
	n := 0
	if digits, _, ok := strings.Cut(path.Base(location), "-"); ok {
		if before, err := strconv.Atoi(digits); err == nil {
			n = before + 1
		}
	}
	return c.store.URI(fmt.Sprintf("%s/metadata/%05d-%s.metadata.json", id.Path(), n, uuid.NewString()))
}

func (c *Catalog) write(ctx context.Context, v *catalog.Version) error {
	name, err := c.store.Name(v.URI)
	if err != nil {
		return err
	}
	return c.store.Put(ctx, name, v.Metadata)
}

// discard deletes the file of a version that certainly was not committed. What cannot be deleted is an orphan.
func (c *Catalog) discard(ctx context.Context, v *catalog.Version) {
	if name, err := c.store.Name(v.URI); err == nil {
		_ = c.store.Delete(ctx, name)
	}
}

// outdate notes the files that were in the log of base and are not in the one of its successor, where the table says that
// such are to be deleted.
func (c *Catalog) outdate(base, next *catalog.Version) {
	var before, after struct {
		Properties map[string]string `json:"properties"`
		Log        []struct {
			File string `json:"metadata-file"`
		} `json:"metadata-log"`
	}
	if json.Unmarshal(base.Metadata, &before) != nil || json.Unmarshal(next.Metadata, &after) != nil ||
		after.Properties["write.metadata.delete-after-commit.enabled"] != "true" {
		return
	}
	kept := map[string]bool{base.URI: true, next.URI: true}
	for _, e := range after.Log {
		kept[e.File] = true
	}
	for _, e := range before.Log {
		if !kept[e.File] {
			c.left.Add(base.ID, e.File)
		}
	}
}

// Prune deletes the metadata files that left the log with commits of this process. What a crash leaves is an orphan.
func (c *Catalog) Prune(ctx context.Context, newest *catalog.Version, _ int) (removed int, err error) {
	return c.left.Prune(ctx, c.store, newest.ID)
}
