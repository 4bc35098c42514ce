// Package lake owns the Iceberg tables: their state, data files, delete files, and the committer.
//
// In come record batches sorted by key, the positions of rows that are not live any more, and a checkpoint. Out goes one
// snapshot per commit. What must hold: rows, deletes and checkpoint become visible together or not at all; a commit is
// pinned to the version it was built on and never overwrites another's; a live row is in exactly one place.
//
// lake.go      a lake: create, open and list tables
// table.go     an open table: live files, loading and refreshing
// schema.go    Arrow schema <-> Iceberg schema
// document.go  table metadata as JSON that is extended, not rewritten
// writer.go    data files
// deletes.go   deletion vectors (format 3), position deletes (format 2)
// manifests.go manifests of a commit
// commit.go    the compare-and-swap and its outcomes
// position.go  which checkpoint of a table is valid
// columns.go   reading columns of a data file
// rows.go      reading whole rows of a data file, to write them again or to compare them
// interval.go  a part of a table by numbers of its key, and which files may have rows of it
// lineage.go   what identifies a row for as long as it lives (format 3)
// inventory.go what the manifests say of each data file
// replace.go   data files replaced by others with the same rows
// emptied.go   data files that left the table with their last row
// recycle.go   memory for streaming through data files
// tidy.go      manifests merged, delete files dropped that delete nothing
// expire.go    old snapshots and the files that only they need
// references.go which files the metadata needs
package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// Lake is a store with a catalog over it.
type Lake struct {
	Store   store.Store
	Catalog catalog.Catalog
	Logger  *slog.Logger
	Clock   func() time.Time // nil: time.Now
}

func (l *Lake) now() time.Time {
	if l.Clock != nil {
		return l.Clock()
	}
	return time.Now()
}

// List returns the lake's tables.
func (l *Lake) List(ctx context.Context) ([]catalog.Identifier, error) { return l.Catalog.Tables(ctx) }

// Filled returns the tables that tidemark fills. What other programs keep in the same lake is none of its business, and may
// be what it cannot read.
func (l *Lake) Filled(ctx context.Context) ([]catalog.Identifier, error) {
	ids, err := l.List(ctx)
	if err != nil {
		return nil, err
	}
	var filled []catalog.Identifier
	for _, id := range ids {
		switch ours, err := l.Fills(ctx, id); {
		case errors.Is(err, fs.ErrNotExist): // dropped since
		case err != nil:
			return nil, err
		case ours:
			filled = append(filled, id)
		}
	}
	return filled, nil
}

// Fills reports whether tidemark fills a table: then the table says so in its properties.
func (l *Lake) Fills(ctx context.Context, id catalog.Identifier) (bool, error) {
	v, err := l.Catalog.Load(ctx, id)
	if err != nil {
		return false, err
	}
	doc, err := parseDocument(v.Metadata)
	if err != nil {
		return false, fmt.Errorf("%s, %s: %w", id, v.URI, err)
	}
	properties, err := doc.properties()
	_, ours := properties[checkpoint.Key]
	return ours, err
}

// CreateOptions are the choices made once for a table.
type CreateOptions struct {
	FormatVersion int               // 2 or 3
	Record        checkpoint.Record // where the empty table stands
	Loading       bool              // it is opened on LoadBranch
}

// previousVersions is how many old metadata files a table keeps.
const previousVersions = 20

// keyOrder is the sort order of a table: by its key, as our data files are sorted. Engines that rewrite files keep to it. Without
// a key there is none.
func keyOrder(sc *iceberg.Schema) (table.SortOrder, error) {
	if len(sc.IdentifierFieldIDs) == 0 {
		return table.UnsortedSortOrder, nil
	}
	var fields []table.SortField
	for _, id := range sc.IdentifierFieldIDs {
		fields = append(fields, table.SortField{SourceIDs: []int{id}, Transform: iceberg.IdentityTransform{}, Direction: table.SortASC, NullOrder: table.NullsFirst})
	}
	return table.NewSortOrder(1, fields)
}

// Create makes an empty table, or fails with fs.ErrExist.
func Create(ctx context.Context, l *Lake, id catalog.Identifier, schema *arrow.Schema, key []int, o CreateOptions) (*Table, error) {
	o.Record.Version = checkpoint.Version
	sc, err := SchemaFromArrow(schema, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	order, err := keyOrder(sc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	meta, err := table.NewMetadata(sc, iceberg.UnpartitionedSpec, order, l.Store.URI(id.Path()), iceberg.Properties{
		"format-version":    strconv.Itoa(o.FormatVersion),
		checkpoint.Key:      o.Record.Marshal(),
		"write.delete.mode": "merge-on-read", "write.update.mode": "merge-on-read", "write.merge.mode": "merge-on-read",
		"write.metadata.delete-after-commit.enabled": "true",
		"write.metadata.previous-versions-max":       strconv.Itoa(previousVersions),
		"write.parquet.compression-codec":            "zstd",
		// Other engines' commits meet ours, which come often: by default they give up after four.
		"commit.retry.num-retries": "50", "commit.retry.min-wait-ms": "20", "commit.retry.max-wait-ms": "1000",
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	doc, err := documentOf(meta)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	version, err := l.Catalog.Create(ctx, id, doc.bytes())
	if err != nil {
		return nil, err
	}
	branch := ""
	if o.Loading {
		branch = LoadBranch
	}
	t, err := load(ctx, l, version, branch)
	if err == nil {
		t.pipeline, t.epoch = o.Record.Pipeline, o.Record.Epoch
	}
	return t, err
}

// Open loads a table, or fails with fs.ErrNotExist.
func Open(ctx context.Context, l *Lake, id catalog.Identifier) (*Table, error) {
	version, err := l.Catalog.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	return load(ctx, l, version, "")
}
