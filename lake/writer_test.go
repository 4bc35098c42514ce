package lake

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// TestSplitOffsets: a file of many row groups may be divided at few of them.
func TestSplitOffsets(t *testing.T) {
	dir := t.TempDir()
	files, err := store.OpenLocal(dir)
	require.NoError(t, err)
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Float64})
	}
	schema := arrow.NewSchema(fields, nil)
	record := checkpoint.Record{Pipeline: "p", Epoch: 1, Commit: uuid.NewString()}
	table, err := Create(t.Context(), &Lake{Store: files, Catalog: catalog.NewBucket(files)}, catalog.Identifier{DB: "d", Table: "t"}, schema, []int{0}, CreateOptions{FormatVersion: 3, Record: record})
	require.NoError(t, err)
	w, err := table.NewFileWriter(t.Context())
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	const groups = 10 // of 8 MiB each, for random numbers do not compress
	for group := range groups {
		for row := range rowGroupRows {
			b.Field(0).(*array.Int64Builder).Append(int64(group*rowGroupRows + row))
			for i := range fields[1:] {
				b.Field(1 + i).(*array.Float64Builder).Append(rng.Float64())
			}
		}
		rec := b.NewRecordBatch()
		require.NoError(t, w.Write(rec))
		rec.Release()
	}
	f, err := w.Close()
	require.NoError(t, err)
	name, err := files.Name(f.Path)
	require.NoError(t, err)
	r, err := file.OpenParquetFile(filepath.Join(dir, name), false)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, groups, r.NumRowGroups())
	var starts []int64
	for i := range groups {
		chunk, err := r.MetaData().RowGroup(i).ColumnChunk(0)
		require.NoError(t, err)
		starts = append(starts, chunk.DataPageOffset())
	}
	offsets := f.file.SplitOffsets()
	require.Len(t, offsets, 3, "%d MiB in row groups at %d", f.Size>>20, starts)
	require.Equal(t, starts[0], offsets[0])
	for i, at := range offsets {
		require.Contains(t, starts, at)
		require.True(t, i == 0 || at-offsets[i-1] >= splitBytes, "%d", offsets)
	}
	require.True(t, slices.IsSorted(offsets))
}
