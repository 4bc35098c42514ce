package lake

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/lake/pages"
	"github.com/tidemark/tidemark/lake/store"
)

// TestRareFilesAreReadByArrow: a file with an encoding or a codec that no writer of tables is known to use is read as one of
// ours is, by pqarrow. Which of the two reads is decided by the columns that are asked for.
func TestRareFilesAreReadByArrow(t *testing.T) {
	local, err := store.OpenLocal(t.TempDir())
	require.NoError(t, err)
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.MetadataFrom(map[string]string{fieldIDKey: "1"})},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: arrow.MetadataFrom(map[string]string{fieldIDKey: "2"})},
		{Name: "d", Type: &arrow.Decimal128Type{Precision: 30, Scale: 2}, Nullable: true, Metadata: arrow.MetadataFrom(map[string]string{fieldIDKey: "3"})},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range int64(1000) {
		b.Field(0).(*array.Int64Builder).Append(i)
		b.Field(1).(*array.StringBuilder).AppendNull()
		b.Field(2).(*array.Decimal128Builder).Append(decimal128.FromI64(i * 1001))
	}
	want := b.NewRecordBatch()
	defer want.Release()
	tab := &Table{lake: &Lake{Store: local}, schema: schema, key: []int{0}, format: 2}
	for name, c := range map[string]struct {
		prop parquet.WriterProperty
		rare bool // all columns
		key  bool // the key column too
	}{
		"ours":     {parquet.WithDictionaryDefault(false), false, false},
		"encoding": {parquet.WithEncodingFor("d", parquet.Encodings.ByteStreamSplit), true, false},
		"codec":    {parquet.WithCompression(compress.Codecs.Brotli), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var body bytes.Buffer
			w, err := pqarrow.NewFileWriter(schema, &body, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false), c.prop, parquet.WithMaxRowGroupLength(700)), pqarrow.NewArrowWriterProperties())
			require.NoError(t, err)
			require.NoError(t, w.Write(want))
			require.NoError(t, w.Close())
			require.NoError(t, local.Put(t.Context(), name+".parquet", body.Bytes()))
			f := DataFile{Path: local.URI(name + ".parquet"), Rows: want.NumRows()}

			rows, err := tab.OpenRows(t.Context(), &FileInfo{DataFile: f}, 300, memory.DefaultAllocator)
			require.NoError(t, err)
			_, rare := rows.records.(*arrowReader)
			require.Equal(t, c.rare, rare)
			_, own := rows.records.(*pages.Reader)
			require.Equal(t, !c.rare, own)
			at := int64(0)
			for {
				rec, err := rows.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				same := want.NewSlice(at, at+rec.NumRows())
				require.True(t, array.RecordEqual(same, rec))
				same.Release()
				at += rec.NumRows()
				rec.Release()
			}
			require.Equal(t, want.NumRows(), at)
			require.NoError(t, rows.Close())

			file, err := tab.openParquet(t.Context(), f.Path, memory.DefaultAllocator)
			require.NoError(t, err)
			require.Equal(t, c.key, pages.Readable(file.pq.MetaData(), []int{0}) != nil)
			require.NoError(t, file.close())
			at = 0
			require.NoError(t, tab.ReadColumns(t.Context(), &f, []int{0}, func(rec arrow.RecordBatch, first uint64) error {
				require.EqualValues(t, at, first)
				for _, v := range rec.Column(0).(*array.Int64).Int64Values() {
					require.Equal(t, at, v)
					at++
				}
				return nil
			}))
			require.Equal(t, want.NumRows(), at)
		})
	}
}

// TestCorruptDataFile: the error names the file, the row group and the column.
func TestCorruptDataFile(t *testing.T) {
	local, err := store.OpenLocal(t.TempDir())
	require.NoError(t, err)
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.MetadataFrom(map[string]string{fieldIDKey: "1"})}}, nil)
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(make([]int64, 1000), nil)
	ids := b.NewArray()
	defer ids.Release()
	rec := array.NewRecordBatch(schema, []arrow.Array{ids}, 1000)
	defer rec.Release()
	var body bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &body, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false)), pqarrow.NewArrowWriterProperties())
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	clear(body.Bytes()[4:20])
	require.NoError(t, local.Put(t.Context(), "f.parquet", body.Bytes()))
	tab := &Table{lake: &Lake{Store: local}, schema: schema, key: []int{0}, format: 2}
	rows, err := tab.OpenRows(t.Context(), &FileInfo{DataFile: DataFile{Path: local.URI("f.parquet"), Rows: 1000}}, 300, memory.DefaultAllocator)
	require.NoError(t, err)
	defer rows.Close()
	_, err = rows.Next()
	require.ErrorContains(t, err, local.URI("f.parquet")+`: row group 0: column "id"`)
}
