package snapshot

import (
	"bytes"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
)

// sampleSchema has a column of every type that a table in the lake can have.
var sampleSchema = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int32},
	{Name: "big", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "unsigned", Type: &arrow.Decimal128Type{Precision: 20}, Nullable: true},
	{Name: "dec", Type: &arrow.Decimal128Type{Precision: 38, Scale: 10}, Nullable: true},
	{Name: "f", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
	{Name: "d", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "yes", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
	{Name: "local", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
	{Name: "utc", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
	{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "b", Type: arrow.BinaryTypes.Binary, Nullable: true},
}, nil)

// sample makes rows with these ids; change says which of them to make otherwise.
func sample(t testing.TB, change map[int]bool, ids ...int) arrow.RecordBatch {
	t.Helper()
	rb := array.NewRecordBuilder(memory.DefaultAllocator, sampleSchema)
	defer rb.Release()
	for _, id := range ids {
		r := rand.New(rand.NewPCG(uint64(id), 1))
		for i := range sampleSchema.NumFields() {
			if null := r.IntN(8) == 0; i > 0 && null && (i != 10 || !change[id]) {
				rb.Field(i).AppendNull()
				continue
			}
			n := r.Int64() - r.Int64()
			switch b := rb.Field(i).(type) {
			case *array.Int32Builder:
				b.Append(int32(id))
			case *array.Int64Builder:
				b.Append(n)
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(n))
			case *array.Float32Builder:
				b.Append(float32(n) / 7)
			case *array.Float64Builder:
				b.Append(float64(n) / 7)
			case *array.BooleanBuilder:
				b.Append(n > 0)
			case *array.Date32Builder:
				b.Append(arrow.Date32(n % 1_000_000))
			case *array.TimestampBuilder:
				b.Append(arrow.Timestamp(n % 1e17))
			case *array.StringBuilder:
				text := fmt.Sprint("text ", n%5)
				if change[id] {
					text += "!"
				}
				b.Append(text)
			case *array.BinaryBuilder:
				b.Append([]byte{byte(n), 0})
			}
		}
	}
	return rb.NewRecordBatch()
}

func names(schema *arrow.Schema) []string {
	var out []string
	for _, f := range schema.Fields() {
		out = append(out, f.Name)
	}
	return out
}

// sum is the hashes of rows added up, modulo 2 to the 128: it does not depend on their order.
type sum struct {
	rows   int
	hi, lo uint64
}

func checksum(t testing.TB, batches ...arrow.RecordBatch) (total sum) {
	t.Helper()
	h, err := NewHasher(names(sampleSchema), []string{"id"})
	require.NoError(t, err)
	for _, b := range batches {
		require.NoError(t, h.Each(b, total.add))
	}
	return total
}

func (s *sum) add(_ int, _, all xxh3.Uint128) error {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, all.Lo, 0)
	s.hi, _ = bits.Add64(s.hi, all.Hi, carry)
	s.rows++
	return nil
}

func upTo(n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	return ids
}

// The same rows have the same sum, however they come.
func TestSameRowsSameSum(t *testing.T) {
	t.Parallel()
	ids := upTo(5000)
	whole := sample(t, nil, ids...)
	want := checksum(t, whole)
	assert.Equal(t, 5000, want.rows)

	// In another order, in parts.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	assert.Equal(t, want, checksum(t, sample(t, nil, ids[:17]...), sample(t, nil), sample(t, nil, ids[17:3000]...), sample(t, nil, ids[3000:]...)))

	// With columns in another order, others between them, and in another layout.
	var fields []arrow.Field
	var columns []arrow.Array
	for i := range slices.Backward(sampleSchema.Fields()) {
		f := sampleSchema.Field(i)
		column := whole.Column(i)
		switch column := column.(type) {
		case *array.String:
			b := array.NewLargeStringBuilder(memory.DefaultAllocator)
			for row := range column.Len() {
				if column.IsNull(row) {
					b.AppendNull()
				} else {
					b.Append(column.Value(row))
				}
			}
			f.Type = arrow.BinaryTypes.LargeString
			columns = append(columns, b.NewArray())
		default:
			columns = append(columns, column)
		}
		fields = append(fields, f, arrow.Field{Name: f.Name + " 2", Type: whole.Column(0).DataType()})
		columns = append(columns, whole.Column(0))
	}
	turned := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, whole.NumRows())
	assert.Equal(t, want, checksum(t, turned))

	// Through a Parquet file.
	var file bytes.Buffer
	w, err := pqarrow.NewFileWriter(sampleSchema, &file, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	require.NoError(t, w.Write(whole))
	require.NoError(t, w.Close())
	table, err := pqarrow.ReadTable(t.Context(), bytes.NewReader(file.Bytes()), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	require.NoError(t, err)
	var read []arrow.RecordBatch
	for rows := array.NewTableReader(table, 777); rows.Next(); {
		rows.RecordBatch().Retain()
		read = append(read, rows.RecordBatch())
	}
	assert.Equal(t, want, checksum(t, read...))
}

func TestOtherRowsOtherSum(t *testing.T) {
	t.Parallel()
	whole := sample(t, nil, upTo(200)...)
	want := checksum(t, whole)
	seen := map[sum]string{want: "the table"}
	differs := func(what string, s sum) {
		t.Helper()
		if other, had := seen[s]; had {
			t.Errorf("%s has the sum of %s", what, other)
		}
		seen[s] = what
	}
	differs("nothing", checksum(t))
	differs("a row twice", checksum(t, whole, sample(t, nil, 5)))
	differs("a row three times", checksum(t, whole, sample(t, nil, 5, 5)))
	differs("a row less", checksum(t, sample(t, nil, upTo(199)...)))
	for i := range sampleSchema.NumFields() { // a column moved by a row
		columns := slices.Clone(whole.Columns())
		for j := range columns {
			columns[j] = array.NewSlice(columns[j], 0, 199)
		}
		columns[i] = array.NewSlice(whole.Column(i), 1, 200)
		differs("moved "+sampleSchema.Field(i).Name, checksum(t, array.NewRecordBatch(sampleSchema, columns, 199)))
	}
	// What is nearly the same.
	two := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "v", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	for _, row := range [][2]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"NULL", ""}, {"", "NULL"}, {"NULL", "NULL"}, {"", ""}} {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, two)
		for i, v := range row {
			if v == "NULL" {
				rb.Field(i).AppendNull()
			} else {
				rb.Field(i).(*array.StringBuilder).Append(v)
			}
		}
		h, err := NewHasher([]string{"id", "v"}, []string{"id"})
		require.NoError(t, err)
		var s sum
		require.NoError(t, h.Each(rb.NewRecordBatch(), s.add))
		differs(fmt.Sprint(row), s)
	}
	_, err := NewHasher([]string{"a"}, []string{"b"})
	require.ErrorContains(t, err, `"b"`)
	h, err := NewHasher([]string{"id", "absent"}, []string{"id"})
	require.NoError(t, err)
	require.ErrorContains(t, h.Each(whole, new(sum).add), `"absent"`)
}

// A row taken out of its batch says what it differs in.
func TestRow(t *testing.T) {
	t.Parallel()
	h, err := NewHasher(names(sampleSchema), []string{"id"})
	require.NoError(t, err)
	row := func(batch arrow.RecordBatch, i int) Row {
		t.Helper()
		r, err := h.Row(batch, i)
		require.NoError(t, err)
		return r
	}
	one, other := sample(t, nil, 6, 7), sample(t, map[int]bool{7: true}, 7, 8)
	assert.Equal(t, []string{"7"}, row(one, 1).Key)
	assert.True(t, h.SameKey(row(one, 1), row(other, 0)))
	assert.Equal(t, []string{"s"}, h.Differing(row(one, 1), row(other, 0)))
	assert.Empty(t, h.Differing(row(one, 1), row(sample(t, nil, 7), 0)))
	assert.False(t, h.SameKey(row(one, 1), row(other, 1)))
}

func BenchmarkHash(b *testing.B) {
	batch := sample(b, nil, upTo(16384)...)
	h, err := NewHasher(names(sampleSchema), []string{"id"})
	require.NoError(b, err)
	var s sum
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, h.Each(batch, s.add))
	}
	b.ReportMetric(float64(b.N)*16384/b.Elapsed().Seconds(), "rows/s")
}
