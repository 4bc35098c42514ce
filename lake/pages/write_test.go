package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	parquetgo "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writtenTypes are all types that tables have.
var writtenTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond},
	arrow.FixedWidthTypes.Timestamp_us, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Boolean,
	&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 18, Scale: 4}, &arrow.Decimal128Type{Precision: 19, Scale: 4},
	&arrow.Decimal128Type{Precision: 38, Scale: 10}, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary,
}

// columnsOf are the ways in which a column of a type can be written.
func columnsOf(t arrow.DataType) []Column {
	out := []Column{{Encoding: parquet.Encodings.Plain}}
	if t.ID() != arrow.BOOL {
		out = append(out, Column{Encoding: parquet.Encodings.Plain, Dictionary: true})
	}
	if d, ok := t.(*arrow.Decimal128Type); ok && d.Precision <= 18 || t.ID() == arrow.INT32 || t.ID() == arrow.INT64 || t.ID() == arrow.DATE32 || t.ID() == arrow.TIMESTAMP {
		out = append(out, Column{Encoding: parquet.Encodings.DeltaBinaryPacked}, Column{Encoding: parquet.Encodings.DeltaBinaryPacked, Dictionary: true})
	}
	return out
}

// randomValues appends n values of a kind to b: few and many different ones, extremes, runs.
func randomValues(rng *rand.Rand, b array.Builder, n int, null func(i int) bool) {
	kind := rng.IntN(6)
	last := int64(0)
	whole := func(i, width int) int64 {
		switch kind {
		case 0: // anything, so that differences wrap around
			last = int64(rng.Uint64())
		case 1: // extremes
			last = []int64{math.MaxInt64, math.MinInt64, 0, -1, 1, math.MaxInt32, math.MinInt32}[rng.IntN(7)]
		case 2: // few
			last = int64(rng.IntN(7)) - 3
		case 3: // runs
			if rng.IntN(100) == 0 {
				last = int64(rng.IntN(1000))
			}
		case 4: // ascending
			last += int64(rng.IntN(1 << rng.IntN(20)))
		case 5:
			last = int64(i)
		}
		if width == 32 {
			return int64(int32(last))
		}
		return last
	}
	for i := range n {
		if null(i) {
			b.AppendNull()
			continue
		}
		switch b := b.(type) {
		case *array.Int32Builder:
			b.Append(int32(whole(i, 32)))
		case *array.Date32Builder:
			b.Append(arrow.Date32(whole(i, 32)))
		case *array.Int64Builder:
			b.Append(whole(i, 64))
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(whole(i, 64)))
		case *array.BooleanBuilder:
			b.Append(whole(i, 64)&1 == 0)
		case *array.Float32Builder:
			b.Append(float32(real(whole(i, 64), kind)))
		case *array.Float64Builder:
			b.Append(real(whole(i, 64), kind))
		case *array.Decimal128Builder:
			t := b.Type().(*arrow.Decimal128Type)
			limit := decimal128.GetScaleMultiplier(int(t.Precision))
			v := decimal128.New(whole(i, 64), rng.Uint64())
			if kind > 1 || t.Precision < 19 {
				v = decimal128.FromI64(whole(i, 64))
			}
			_, v = v.Div(limit)
			b.Append(v)
		case *array.StringBuilder:
			b.Append(string(text(rng, whole(i, 64), kind)))
		case *array.BinaryBuilder:
			b.Append(text(rng, whole(i, 64), kind))
		default:
			panic(fmt.Sprintf("%T", b))
		}
	}
}

func real(v int64, kind int) float64 {
	if kind == 1 {
		return []float64{math.Inf(1), math.Inf(-1), math.NaN(), 0, math.Copysign(0, -1), math.MaxFloat32, 1}[uint64(v)%7]
	}
	return float64(v) / 3
}

func text(rng *rand.Rand, v int64, kind int) []byte {
	switch kind {
	case 0:
		b := make([]byte, rng.IntN(40))
		for i := range b {
			b[i] = byte('a' + rng.IntN(20))
		}
		return b
	case 1:
		return bytes.Repeat([]byte{byte(v)&0x1f + 'A'}, []int{0, 1, 3000, 5000}[uint64(v)%4])
	}
	return fmt.Appendf(nil, "user%d@example.com", v)
}

// randomRecord returns rows of the schema.
func randomRecord(rng *rand.Rand, schema *arrow.Schema, rows int) arrow.RecordBatch {
	columns := make([]arrow.Array, schema.NumFields())
	for i, f := range schema.Fields() {
		b := array.NewBuilder(memory.DefaultAllocator, f.Type)
		share := []float64{0, 0.1, 0.9, 1}[rng.IntN(4)]
		runs, now := rng.IntN(2) == 0, false
		// More than is asked for, so that the column is a slice that begins anywhere.
		skip := rng.IntN(20)
		randomValues(rng, b, skip+rows, func(int) bool {
			if runs && rng.IntN(300) != 0 {
				return now
			}
			now = f.Nullable && rng.Float64() < share
			return now
		})
		all := b.NewArray()
		columns[i] = array.NewSlice(all, int64(skip), int64(skip+rows))
		all.Release()
		b.Release()
	}
	return array.NewRecordBatch(schema, columns, int64(rows))
}

func wideTestSchema() (*arrow.Schema, []Column) {
	var fields []arrow.Field
	var columns []Column
	codecs := []compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Uncompressed}
	for _, t := range writtenTypes {
		for _, c := range columnsOf(t) {
			for _, nullable := range []bool{false, true} {
				c.Codec = codecs[len(fields)%3]
				fields = append(fields, arrow.Field{
					Name: fmt.Sprintf("c%d_%s", len(fields), t.Name()), Type: t, Nullable: nullable,
					Metadata: arrow.MetadataFrom(map[string]string{"PARQUET:field_id": strconv.Itoa(len(fields) + 100)}),
				})
				columns = append(columns, c)
			}
		}
	}
	return arrow.NewSchema(fields, nil), columns
}

// writeRecords writes a file, with a row group of each number of records in groups.
func writeRecords(t testing.TB, schema *arrow.Schema, columns []Column, records []arrow.RecordBatch, groups []int) ([]byte, *metadata.FileMetaData) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	var out bytes.Buffer
	w, err := NewWriter(&out, schema, columns, mem)
	require.NoError(t, err)
	next := 0
	for _, n := range groups {
		for range n {
			require.NoError(t, w.Write(records[next]))
			next++
		}
		require.NoError(t, w.EndGroup())
	}
	for ; next < len(records); next++ {
		require.NoError(t, w.Write(records[next]))
	}
	meta, err := w.Close()
	require.NoError(t, err)
	mem.AssertSize(t, 0)
	return out.Bytes(), meta
}

// writeByArrow writes the same by arrow-go, without dictionaries.
func writeByArrow(t testing.TB, schema *arrow.Schema, records []arrow.RecordBatch, groups []int) []byte {
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithStoreDecimalAsInteger(true), parquet.WithDictionaryDefault(false),
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithMaxRowGroupLength(1<<30)), pqarrow.NewArrowWriterProperties())
	require.NoError(t, err)
	next, rows := 0, int64(0)
	for _, n := range groups {
		for range n {
			require.NoError(t, w.WriteBuffered(records[next]))
			rows += records[next].NumRows()
			next++
		}
		if rows > 0 && next < len(records) {
			w.NewBufferedRowGroup()
			rows = 0
		}
	}
	for ; next < len(records); next++ {
		require.NoError(t, w.WriteBuffered(records[next]))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// readByArrow returns the file's rows, a column each.
func readByArrow(t testing.TB, data []byte) arrow.Table {
	table, err := pqarrow.ReadTable(t.Context(), bytes.NewReader(data), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	require.NoError(t, err)
	return table
}

// sameColumn requires that a column has the values of the records; floats are compared by their bits.
func sameColumn(t testing.TB, name string, records []arrow.RecordBatch, column int, got *arrow.Chunked) {
	var parts []arrow.Array
	for _, r := range records {
		parts = append(parts, r.Column(column))
	}
	want, err := array.Concatenate(parts, memory.DefaultAllocator)
	require.NoError(t, err)
	have, err := array.Concatenate(got.Chunks(), memory.DefaultAllocator)
	require.NoError(t, err)
	require.Equal(t, want.Len(), have.Len(), name)
	for i := range want.Len() {
		require.Equal(t, want.IsNull(i), have.IsNull(i), "%s: row %d", name, i)
		if want.IsNull(i) {
			continue
		}
		w, h := want.ValueStr(i), have.ValueStr(i)
		if f, ok := want.(*array.Float64); ok {
			w, h = fmt.Sprint(math.Float64bits(f.Value(i))), fmt.Sprint(math.Float64bits(have.(*array.Float64).Value(i)))
		}
		if w != h {
			require.Equal(t, w, h, "%s: row %d", name, i)
		}
	}
}

// sameByParquetGo requires that parquet-go reads the values of the records.
func sameByParquetGo(t testing.TB, schema *arrow.Schema, records []arrow.RecordBatch, data []byte) {
	f, err := parquetgo.OpenFile(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	for column, field := range schema.Fields() {
		rec, row := 0, 0
		for _, group := range f.RowGroups() {
			pages := group.ColumnChunks()[column].Pages()
			for {
				p, err := pages.ReadPage()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err, field.Name)
				values := make([]parquetgo.Value, p.NumValues())
				n, err := p.Values().ReadValues(values)
				require.True(t, err == nil || errors.Is(err, io.EOF), "%s: %v", field.Name, err)
				require.Len(t, values, n)
				for _, v := range values {
					for row == int(records[rec].NumRows()) {
						rec, row = rec+1, 0
					}
					want := records[rec].Column(column)
					require.Equal(t, want.IsNull(row), v.IsNull(), field.Name)
					if !v.IsNull() {
						if w, h := plainText(want, row), parquetGoText(v); w != h {
							require.Equal(t, w, h, "%s: row %d", field.Name, row)
						}
					}
					row++
				}
			}
			require.NoError(t, pages.Close())
		}
		for rec < len(records) && row == int(records[rec].NumRows()) {
			rec, row = rec+1, 0
		}
		require.Equal(t, len(records), rec, "%s: rows are missing", field.Name)
	}
}

// plainText is the value as a text of what Parquet stores.
func plainText(a arrow.Array, i int) string {
	switch a := a.(type) {
	case *array.Int32:
		return fmt.Sprint(a.Value(i))
	case *array.Int64:
		return fmt.Sprint(a.Value(i))
	case *array.Date32:
		return fmt.Sprint(int32(a.Value(i)))
	case *array.Timestamp:
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Float32:
		return fmt.Sprint(math.Float32bits(a.Value(i)))
	case *array.Float64:
		return fmt.Sprint(math.Float64bits(a.Value(i)))
	case *array.Boolean:
		return fmt.Sprint(a.Value(i))
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return string(a.Value(i))
	case *array.Decimal128:
		t := a.DataType().(*arrow.Decimal128Type)
		if t.Precision <= 18 {
			return fmt.Sprint(int64(a.Value(i).LowBits()))
		}
		var b [16]byte
		return string(bigEndianOf(&b, a.Value(i), int(pqarrow.DecimalSize(t.Precision))))
	}
	panic(fmt.Sprintf("%T", a))
}

func parquetGoText(v parquetgo.Value) string {
	switch v.Kind() {
	case parquetgo.Boolean:
		return fmt.Sprint(v.Boolean())
	case parquetgo.Int32:
		return fmt.Sprint(v.Int32())
	case parquetgo.Int64:
		return fmt.Sprint(v.Int64())
	case parquetgo.Float:
		return fmt.Sprint(math.Float32bits(v.Float()))
	case parquetgo.Double:
		return fmt.Sprint(math.Float64bits(v.Double()))
	}
	return string(v.ByteArray())
}

// TestWrittenIsRead writes all types in all ways, in batches and row groups of many sizes, and has two other libraries read
// them. Bounds and counts are those of arrow-go's own writer.
func TestWrittenIsRead(t *testing.T) {
	schema, columns := wideTestSchema()
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var records []arrow.RecordBatch
		var groups []int
		for range 1 + rng.IntN(3) {
			n := 1 + rng.IntN(3)
			groups = append(groups, n)
			for range n {
				rows := []int{0, 1, 7, 8, 127, 128, 129, 130, 1000, 4096, 4097, 9000}[rng.IntN(12)]
				records = append(records, randomRecord(rng, schema, rows))
			}
		}
		total := int64(0)
		for _, r := range records {
			total += r.NumRows()
		}
		if total == 0 {
			continue
		}
		data, meta := writeRecords(t, schema, columns, records, groups)
		require.Equal(t, total, meta.NumRows)
		table := readByArrow(t, data)
		for i := range columns {
			sameColumn(t, fmt.Sprintf("seed %d: %s %+v", seed, schema.Field(i).Name, columns[i]), records, i, table.Column(i).Data())
		}
		sameByParquetGo(t, schema, records, data)
		sameFooter(t, data, writeByArrow(t, schema, records, groups))
	}
}

// sameFooter requires that schema and statistics of two files are the same, and that ours tells where everything is.
func sameFooter(t testing.TB, ours, theirs []byte) {
	a, err := file.NewParquetReader(bytes.NewReader(ours))
	require.NoError(t, err)
	b, err := file.NewParquetReader(bytes.NewReader(theirs))
	require.NoError(t, err)
	require.True(t, a.MetaData().Schema.Equals(b.MetaData().Schema))
	require.Equal(t, b.NumRowGroups(), a.NumRowGroups())
	position := int64(len(magic))
	for g := range a.NumRowGroups() {
		x, y := a.MetaData().RowGroup(g), b.MetaData().RowGroup(g)
		require.Equal(t, y.NumRows(), x.NumRows())
		for i := range x.NumColumns() {
			p, err := x.ColumnChunk(i)
			require.NoError(t, err)
			q, err := y.ColumnChunk(i)
			require.NoError(t, err)
			name := p.PathInSchema().String()
			require.Equal(t, a.MetaData().Schema.Column(i).SchemaNode().FieldID(), b.MetaData().Schema.Column(i).SchemaNode().FieldID())
			start := p.DataPageOffset()
			if p.HasDictionaryPage() {
				start = p.DictionaryPageOffset()
			}
			require.Equal(t, position, start, name)
			position += p.TotalCompressedSize()
			s, err := p.Statistics()
			require.NoError(t, err)
			u, err := q.Statistics()
			require.NoError(t, err)
			require.Equal(t, u == nil, s == nil, name)
			if u == nil {
				continue
			}
			want, err := u.Encode()
			require.NoError(t, err)
			have, err := s.Encode()
			require.NoError(t, err)
			assert.Equal(t, want, have, name)
			assert.Equal(t, u.NumValues(), s.NumValues(), name)
		}
	}
}

// TestDictionaryIsGivenUp has a dictionary grow too large within a row group: what came before is in it, what comes after is not,
// nor are the row groups that follow.
func TestDictionaryIsGivenUp(t *testing.T) {
	for _, c := range []Column{
		{Encoding: parquet.Encodings.Plain, Dictionary: true, Codec: compress.Codecs.Snappy},
		{Encoding: parquet.Encodings.DeltaBinaryPacked, Dictionary: true, Codec: compress.Codecs.Snappy},
	} {
		types := []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64, &arrow.Decimal128Type{Precision: 38}}
		if c.Encoding == parquet.Encodings.DeltaBinaryPacked {
			types = types[:1]
		}
		for _, of := range types {
			schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: of, Nullable: true}}, nil)
			var records []arrow.RecordBatch
			for r := range 3 {
				b := array.NewBuilder(memory.DefaultAllocator, of)
				for i := range 140_000 {
					if i%1000 == 0 {
						b.AppendNull()
						continue
					}
					require.NoError(t, b.AppendValueFromString(strconv.Itoa((i+r*1000)%139_000)))
				}
				records = append(records, array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, 140_000))
			}
			groups := []int{1, 1, 1}
			data, _ := writeRecords(t, schema, []Column{c}, records, groups)
			name := fmt.Sprintf("%s %s", of, c.Encoding)
			sameColumn(t, name, records, 0, readByArrow(t, data).Column(0).Data())
			sameByParquetGo(t, schema, records, data)
			sameFooter(t, data, writeByArrow(t, schema, records, groups))

			f, err := file.NewParquetReader(bytes.NewReader(data))
			require.NoError(t, err)
			var encodings [][]string
			for g := range 2 {
				chunk, err := f.MetaData().RowGroup(g).ColumnChunk(0)
				require.NoError(t, err)
				var of []string
				for _, s := range chunk.EncodingStats() {
					of = append(of, s.Encoding.String())
				}
				encodings = append(encodings, of)
				assert.Equal(t, g == 0, chunk.HasDictionaryPage(), name)
			}
			assert.ElementsMatch(t, []string{"PLAIN", "RLE_DICTIONARY", "PLAIN"}, encodings[0], name)
			assert.Equal(t, []string{c.Encoding.String()}, encodings[1], name)
		}
	}
}

// TestPagesAreSmall: a page ends after 256 KiB or 64 Ki rows, however large the batch is.
func TestPagesAreSmall(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "same", Type: arrow.BinaryTypes.String}}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range 200_000 {
		rb.Field(0).(*array.StringBuilder).Append(strings.Repeat("x", i%100))
		rb.Field(1).(*array.Int64Builder).Append(int64(i))
		rb.Field(2).(*array.StringBuilder).Append("same")
	}
	rb.Field(0).(*array.StringBuilder).Append(strings.Repeat("large", 1<<20))
	rb.Field(1).(*array.Int64Builder).Append(1)
	rb.Field(2).(*array.StringBuilder).Append("same")
	records := []arrow.RecordBatch{rb.NewRecordBatch()}
	columns := []Column{{}, {Encoding: parquet.Encodings.DeltaBinaryPacked}, {Dictionary: true}}
	data, _ := writeRecords(t, schema, columns, records, nil)
	for i := range columns {
		sameColumn(t, schema.Field(i).Name, records, i, readByArrow(t, data).Column(i).Data())
	}
	f, err := file.NewParquetReader(bytes.NewReader(data))
	require.NoError(t, err)
	for column, want := range []struct{ pages, bytes, rows int }{{40, pageBytes + 200, pageRows}, {4, pageBytes, pageRows}, {4, pageBytes, pageRows}} {
		reader, err := f.RowGroup(0).GetColumnPageReader(column)
		require.NoError(t, err)
		pages, large := 0, 0
		for reader.Next() {
			p, ok := reader.Page().(*file.DataPageV1)
			if !ok {
				continue // the dictionary
			}
			pages++
			if int(p.UncompressedSize()) > want.bytes {
				large++
				assert.Less(t, int(p.UncompressedSize()), 5<<20+want.bytes)
			}
			assert.LessOrEqual(t, int(p.NumValues()), want.rows)
		}
		require.NoError(t, reader.Err())
		assert.GreaterOrEqual(t, pages, want.pages)
		assert.Equal(t, column == 0, large == 1, "only the page with the large value is large")
	}
}

func TestWriteRefuses(t *testing.T) {
	digits := &arrow.Decimal128Type{Precision: 9, Scale: 2}
	schema := func(of arrow.DataType, nullable bool) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: "v", Type: of, Nullable: nullable}}, nil)
	}
	record := func(of arrow.DataType, values ...any) arrow.RecordBatch {
		b := array.NewBuilder(memory.DefaultAllocator, of)
		for _, v := range values {
			switch v := v.(type) {
			case nil:
				b.AppendNull()
			case decimal128.Num:
				b.(*array.Decimal128Builder).Append(v)
			case int:
				b.(*array.Int64Builder).Append(int64(v))
			}
		}
		return array.NewRecordBatch(schema(of, true), []arrow.Array{b.NewArray()}, int64(len(values)))
	}
	for _, c := range []struct {
		of   arrow.DataType
		rec  arrow.RecordBatch
		want string
	}{
		{arrow.PrimitiveTypes.Int64, record(arrow.PrimitiveTypes.Int64, 1, nil), "has NULL"},
		{arrow.PrimitiveTypes.Int32, record(arrow.PrimitiveTypes.Int64, 1), `"v" is int32, not int64`},
		{digits, record(digits, decimal128.FromI64(1_000_000_000)), "more than 9 digits"},
		{digits, record(digits, decimal128.FromI64(-1_000_000_000)), "more than 9 digits"},
		{digits, record(digits, decimal128.New(1, 5)), "more than 9 digits"},
		{&arrow.Decimal128Type{Precision: 20}, record(&arrow.Decimal128Type{Precision: 20}, decimal128.New(1<<40, 0)), "more than 20 digits"},
	} {
		w, err := NewWriter(io.Discard, schema(c.of, false), []Column{{}}, memory.DefaultAllocator)
		require.NoError(t, err)
		assert.ErrorContains(t, w.Write(c.rec), c.want)
		w.Release()
	}
	for of, c := range map[arrow.DataType]Column{
		arrow.BinaryTypes.String:         {Encoding: parquet.Encodings.DeltaBinaryPacked},
		arrow.PrimitiveTypes.Uint64:      {},
		arrow.PrimitiveTypes.Float64:     {Encoding: parquet.Encodings.ByteStreamSplit},
		arrow.FixedWidthTypes.Boolean:    {Dictionary: true},
		arrow.FixedWidthTypes.Float16:    {},
		arrow.FixedWidthTypes.Date64:     {},
		arrow.ListOf(arrow.Null):         {},
		arrow.BinaryTypes.LargeString:    {},
		arrow.PrimitiveTypes.Int8:        {},
		arrow.FixedWidthTypes.Time64us:   {},
		&arrow.FixedSizeBinaryType{}:     {},
		arrow.FixedWidthTypes.Duration_s: {},
	} {
		_, err := NewWriter(io.Discard, schema(of, true), []Column{c}, memory.DefaultAllocator)
		assert.Error(t, err, "%s %+v", of, c)
	}
}

// brokenWriter takes so many bytes, and no more.
type brokenWriter int

func (w *brokenWriter) Write(p []byte) (int, error) {
	if *w -= brokenWriter(len(p)); *w < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	schema, columns := wideTestSchema()
	rec := randomRecord(rand.New(rand.NewPCG(3, 3)), schema, 100)
	data, _ := writeRecords(t, schema, columns, []arrow.RecordBatch{rec}, nil)
	for room := 0; room < len(data); room += 997 {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		out := brokenWriter(room)
		w, err := NewWriter(&out, schema, columns, mem)
		if err == nil {
			require.NoError(t, w.Write(rec))
			_, err = w.Close()
		}
		require.ErrorIs(t, err, io.ErrClosedPipe)
		mem.AssertSize(t, 0)
	}
}
