package lake_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/parquet-go/parquet-go"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/store"
)

// TestDataFilesAreDescribed: identifier fields in the schema; for every column of a data file its size, its counts of
// values and NULLs and its bounds; field ids in the Parquet file itself.
func TestDataFilesAreDescribed(t *testing.T) {
	b := open(t, 3, nil)
	if err := b.commit([]*lake.NewFile{b.write([]int64{1, 2, 3, 4, 5, 6, 7}, 9)}, nil); err != nil {
		t.Fatal(err)
	}
	v, err := b.lake.Catalog.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := table.ParseMetadataBytes(v.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	schema := meta.CurrentSchema()
	if ids := schema.IdentifierFieldIDs; len(ids) != 1 || ids[0] != 1 {
		t.Errorf("identifier fields %v, want [1]", ids)
	}
	files := store.IcebergIO(t.Context(), b.lake.Store)
	manifests, err := meta.CurrentSnapshot().Manifests(files)
	if err != nil {
		t.Fatal(err)
	}
	var f iceberg.DataFile
	for entry, err := range manifests[0].Entries(files, false) {
		if err != nil || f != nil {
			t.Fatalf("more than one entry, or %v", err)
		}
		f = entry.DataFile()
	}
	if f.Count() != 7 || f.FileSizeBytes() == 0 || len(f.SplitOffsets()) != 1 {
		t.Errorf("%d rows, %d bytes, split offsets %v", f.Count(), f.FileSizeBytes(), f.SplitOffsets())
	}
	nulls := map[int]int64{1: 0, 2: 0, 3: 2, 4: 2}
	for _, c := range schema.Fields() {
		if f.ColumnSizes()[c.ID] == 0 || f.ValueCounts()[c.ID] != 7 || f.NullValueCounts()[c.ID] != nulls[c.ID] {
			t.Errorf("column %s: %d bytes, %d values, %d NULLs", c.Name, f.ColumnSizes()[c.ID], f.ValueCounts()[c.ID], f.NullValueCounts()[c.ID])
		}
		for side, bounds := range map[string]map[int][]byte{"lower": f.LowerBoundValues(), "upper": f.UpperBoundValues()} {
			if _, err := iceberg.LiteralFromBytes(c.Type, bounds[c.ID]); err != nil || len(bounds[c.ID]) == 0 {
				t.Errorf("column %s: %s bound %x: %v", c.Name, side, bounds[c.ID], err)
			}
		}
	}

	name, err := b.lake.Store.Name(f.FilePath())
	if err != nil {
		t.Fatal(err)
	}
	// Another implementation than the one that wrote it.
	raw, err := os.Open(strings.TrimSuffix(b.path, "db/t") + name)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	pf, err := parquet.OpenFile(raw, f.FileSizeBytes())
	if err != nil {
		t.Fatal(err)
	}
	if pf.NumRows() != 7 || len(pf.RowGroups()) != 1 {
		t.Errorf("%d rows in %d row groups", pf.NumRows(), len(pf.RowGroups()))
	}
	columns := pf.Metadata().Schema[1:]
	for i, c := range schema.Fields() {
		if got := columns[i]; got.Name != c.Name || int(got.FieldID) != c.ID {
			t.Errorf("column %d is %s with field id %d, want %s, %d", i, got.Name, got.FieldID, c.Name, c.ID)
		}
	}
	keys := make([]parquet.Value, 7)
	if n, err := pf.RowGroups()[0].ColumnChunks()[0].Pages().ReadPage(); err != nil || n.NumValues() != 7 {
		t.Fatalf("the key's page: %v", err)
	} else if _, err := n.Values().ReadValues(keys); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for i, v := range keys {
		if v.Int64() != int64(i+1) {
			t.Errorf("key %d is %v", i, v)
		}
	}
}
