package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

// types are those that a table can have, and what else a file may have that is read.
var types = []arrow.DataType{
	arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float32,
	arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond},
	arrow.FixedWidthTypes.Timestamp_us, &arrow.TimestampType{Unit: arrow.Nanosecond}, &arrow.Decimal128Type{Precision: 7, Scale: 2},
	&arrow.Decimal128Type{Precision: 18, Scale: 4}, &arrow.Decimal128Type{Precision: 38, Scale: 10},
	&arrow.Decimal128Type{Precision: 20}, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary,
}

// nullShares are the shares of NULLs among the values of columns; a column of the first cannot have any.
var nullShares = []float64{0, 0, 0.001, 0.3, 1}

// column shapes
const (
	random = iota
	ascending
	few // different values
	shapes
)

// randomBatch has rows of columns of every type and share of NULLs, of any shape.
func randomBatch(rng *rand.Rand, rows int) arrow.RecordBatch {
	var fields []arrow.Field
	var columns []arrow.Array
	for i, t := range types {
		for j, share := range nullShares {
			fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d_%d", i, j), Type: t, Nullable: j > 0})
			columns = append(columns, randomColumn(rng, t, share, rng.IntN(shapes), rows))
		}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, int64(rows))
}

func randomColumn(rng *rand.Rand, t arrow.DataType, nulls float64, shape, rows int) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, t)
	defer b.Release()
	size := rng.IntN(64)
	for row := range rows {
		if rng.Float64() < nulls {
			b.AppendNull()
			continue
		}
		n := int64(rng.Uint64())
		switch shape {
		case ascending:
			n = int64(row)*3 + rng.Int64N(5)
		case few:
			n = rng.Int64N(7)*1000003 - 3000009
		}
		text := fmt.Sprintf("%0*d", size, n)[:max(1, rng.IntN(size+1))]
		switch b := b.(type) {
		case *array.BooleanBuilder:
			b.Append(n&1 == 1 || shape == ascending)
		case *array.Int32Builder:
			b.Append(int32(n))
		case *array.Int64Builder:
			b.Append(n)
		case *array.Float32Builder:
			b.Append(float32(n))
		case *array.Float64Builder:
			b.Append(float64(n))
		case *array.Date32Builder:
			b.Append(arrow.Date32(n))
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(n))
		case *array.Decimal128Builder:
			p := t.(*arrow.Decimal128Type).Precision
			v := decimal128.FromI64(n)
			if p > 20 {
				v = v.Mul(decimal128.FromI64(987_654_321_987_654_321))
			}
			for !v.FitsInPrecision(p) {
				v, _ = v.Div(decimal128.FromI64(10))
			}
			b.Append(v)
		case *array.StringBuilder:
			b.Append(text)
		case *array.BinaryBuilder:
			b.Append([]byte(text))
		default:
			panic(t)
		}
	}
	return b.NewArray()
}

// write writes a file by pqarrow.
func write(t testing.TB, rec arrow.RecordBatch, props ...parquet.WriterProperty) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &out, parquet.NewWriterProperties(props...), pqarrow.NewArrowWriterProperties())
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	return out.Bytes()
}

// readWhole reads all columns of a file in batches of so many rows, as one array each.
func readWhole(t testing.TB, body []byte, batch int, whole int64, piece int) []arrow.Array {
	t.Helper()
	f, err := file.NewParquetReader(bytes.NewReader(body))
	require.NoError(t, err)
	var leaves []int
	for i := range f.MetaData().Schema.NumColumns() {
		leaves = append(leaves, i)
	}
	return readLeaves(t, body, leaves, batch, whole, piece)
}

func readLeaves(t testing.TB, body []byte, leaves []int, batch int, whole int64, piece int) []arrow.Array {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer func() { require.Zero(t, mem.CurrentAlloc(), "bytes that were not given back") }()
	f, err := file.NewParquetReader(bytes.NewReader(body))
	require.NoError(t, err)
	o := Options{Columns: leaves, Batch: batch, Memory: mem, Whole: whole, Piece: piece}
	for i := range f.NumRowGroups() {
		o.Groups = append(o.Groups, i)
	}
	require.NoError(t, Readable(f.MetaData(), o.Columns))
	r := NewReader(bytes.NewReader(body), f.MetaData(), o)
	defer r.Close()
	parts := make([][]arrow.Array, len(o.Columns))
	for {
		got, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		for i, a := range got {
			require.Equal(t, got[0].Len(), a.Len())
			require.Positive(t, a.Len())
			require.LessOrEqual(t, a.Len(), batch)
			require.True(t, arrow.TypeEqual(r.Type(i), a.DataType()))
			require.Equal(t, a.NullN(), a.Len()-countValid(a))
			parts[i] = append(parts[i], a)
		}
	}
	out := make([]arrow.Array, len(parts))
	for i, p := range parts {
		out[i], err = array.Concatenate(p, memory.DefaultAllocator)
		require.NoError(t, err)
		release(p)
	}
	return out
}

func countValid(a arrow.Array) int {
	n := 0
	for i := range a.Len() {
		if a.IsValid(i) {
			n++
		}
	}
	return n
}

// equal: what is read of a file is what was written, in batches of any size, from whole chunks or pieces.
func equal(t *testing.T, rng *rand.Rand, body []byte, want []arrow.Array) {
	t.Helper()
	got := readWhole(t, body, 1+rng.IntN(5000), rng.Int64N(2)<<30, 1+rng.IntN(1<<16))
	require.Len(t, got, len(want))
	for i, a := range got {
		require.True(t, array.Equal(want[i], a), "column %d, %s:\nwant %v\ngot  %v", i, want[i].DataType(), want[i], a)
	}
}

// byPqarrow reads a file by pqarrow.
func byPqarrow(t *testing.T, body []byte) (columns []arrow.Array) {
	t.Helper()
	table, err := pqarrow.ReadTable(t.Context(), bytes.NewReader(body), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	require.NoError(t, err)
	defer table.Release()
	for i := range int(table.NumCols()) {
		all, err := array.Concatenate(table.Column(i).Data().Chunks(), memory.DefaultAllocator)
		require.NoError(t, err)
		columns = append(columns, all)
	}
	return columns
}

// TestReadArrow: files that pqarrow wrote, of every type, with NULLs and without, of every encoding and codec, in small and large pages of both
// kinds, and in one row group or many.
func TestReadArrow(t *testing.T) {
	encodings := map[parquet.Type][]parquet.Encoding{
		parquet.Types.Boolean: {parquet.Encodings.RLE},
		parquet.Types.Int32:   {parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.ByteStreamSplit},
		parquet.Types.Int64:   {parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.ByteStreamSplit},
		parquet.Types.Float:   {parquet.Encodings.ByteStreamSplit},
		parquet.Types.Double:  {parquet.Encodings.ByteStreamSplit},
		parquet.Types.ByteArray: {
			parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray,
		},
	}
	codecs := []compress.Compression{
		compress.Codecs.Zstd, compress.Codecs.Snappy, compress.Codecs.Uncompressed, compress.Codecs.Gzip, compress.Codecs.Lz4Raw,
	}
	for n, version := range []parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2} {
		for k, pageSize := range []int64{200, 10 << 10} {
			for encoded := range 4 { // plain, a dictionary, and what else there is
				for m := range 2 {
					codec := codecs[(n+k+encoded+3*m)%len(codecs)]
					t.Run(fmt.Sprintf("v%d/%d/%d/%s", n+1, pageSize, encoded, codec), func(t *testing.T) {
						rng := rand.New(rand.NewPCG(uint64(n*10+k), uint64(encoded*10+m)))
						rows := []int{1 + rng.IntN(70), 1000 + 1000*k}[m]
						rec := randomBatch(rng, rows)
						defer rec.Release()
						props := []parquet.WriterProperty{
							parquet.WithDataPageVersion(version), parquet.WithDataPageSize(pageSize), parquet.WithCompression(codec), parquet.WithBatchSize(64),
							parquet.WithMaxRowGroupLength(int64(1 + rng.IntN(2*rows))), parquet.WithDictionaryDefault(encoded == 1),
							parquet.WithStoreDecimalAsInteger(encoded != 0), parquet.WithDictionaryPageSizeLimit(1 << 10),
						}
						if encoded > 1 {
							sc, err := pqarrow.ToParquet(rec.Schema(), parquet.NewWriterProperties(props...), pqarrow.NewArrowWriterProperties())
							require.NoError(t, err)
							for i := range sc.NumColumns() {
								c := sc.Column(i)
								if c.PhysicalType() == parquet.Types.Boolean && k == 0 {
									continue // in several pages pqarrow writes other values than it was given
								}
								if e := encodings[c.PhysicalType()]; e != nil {
									props = append(props, parquet.WithEncodingFor(c.Name(), e[encoded%len(e)]))
								}
							}
						}
						equal(t, rng, write(t, rec, props...), rec.Columns())
					})
				}
			}
		}
	}
}

// other is a row as parquet-go writes it: in an optional column a zero is NULL.
type other struct {
	Bool     bool     `parquet:"bool"`
	I32      int32    `parquet:"i32,delta"`
	I64      int64    `parquet:"i64,delta"`
	I64dict  int64    `parquet:"i64dict,dict"`
	F32      float32  `parquet:"f32,split"`
	F64      float64  `parquet:"f64"`
	Day      int32    `parquet:"day,date"`
	At       int64    `parquet:"at,timestamp(microsecond)"`
	D9       int32    `parquet:"d9,decimal(2:9)"`
	D18      int64    `parquet:"d18,decimal(2:18),delta"`
	D38      [16]byte `parquet:"d38,decimal(2:38)"`
	Text     string   `parquet:"text"`
	Lengths  string   `parquet:"lengths,delta"`
	Dict     string   `parquet:"textdict,dict"`
	Bytes    []byte   `parquet:"bytes"`
	OBool    bool     `parquet:"obool,optional"`
	OI32     int32    `parquet:"oi32,optional,delta"`
	OI64     int64    `parquet:"oi64,optional,delta"`
	OI64dict int64    `parquet:"oi64dict,optional,dict"`
	OF64     float64  `parquet:"of64,optional,split"`
	OText    string   `parquet:"otext,optional"`
	ODict    string   `parquet:"odict,optional,dict"`
	ODelta   string   `parquet:"odelta,optional,delta"`
}

func randomOther(rng *rand.Rand, row int) other {
	n, k := rng.Int64(), rng.Int64N(9)
	text := fmt.Sprintf("%0*d", rng.IntN(40), n)
	few := fmt.Sprint("value ", k)
	o := other{
		Bool: n&1 == 0, I32: int32(n), I64: int64(row)*7 + k, I64dict: k, F32: float32(n), F64: float64(n) / 3, Day: int32(n >> 40), At: n,
		D9: int32(k), D18: n / 10, D38: [16]byte{byte(n), 1, 2, byte(k)}, Text: text, Lengths: text, Dict: few, Bytes: []byte(text),
	}
	if k > 2 {
		o.OBool, o.OI32, o.OI64, o.OI64dict, o.OF64, o.OText, o.ODict, o.ODelta = true, o.I32, o.I64, k, o.F64, text, few, text
	}
	return o
}

// TestReadOtherWriter: files of parquet-go, which lays out pages, levels and runs by itself, are read as pqarrow reads them.
func TestReadOtherWriter(t *testing.T) {
	for version := 1; version <= 2; version++ {
		for _, page := range []int{300, 1 << 20} {
			for _, rows := range []int{1, 5, 3000} {
				t.Run(fmt.Sprintf("v%d/%d/%d", version, page, rows), func(t *testing.T) {
					rng := rand.New(rand.NewPCG(uint64(version), uint64(page+rows)))
					var out bytes.Buffer
					w := pq.NewGenericWriter[other](&out, pq.DataPageVersion(version), pq.PageBufferSize(page), pq.MaxRowsPerRowGroup(1100), pq.Compression(&pq.Zstd))
					list := make([]other, rows)
					for row := range list {
						list[row] = randomOther(rng, row)
					}
					_, err := w.Write(list)
					require.NoError(t, err)
					require.NoError(t, w.Close())
					equal(t, rng, out.Bytes(), byPqarrow(t, out.Bytes()))
				})
			}
		}
	}
}
