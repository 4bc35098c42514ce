package snapshot

import (
	"bytes"
	"fmt"
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

	"github.com/tidemark/tidemark/internal/testenv"
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

func checksum(t testing.TB, batches ...arrow.RecordBatch) *Checksum {
	t.Helper()
	c, err := NewChecksum(names(sampleSchema), []string{"id"})
	require.NoError(t, err)
	for _, b := range batches {
		require.NoError(t, c.Write(b))
	}
	return c
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
	assert.Equal(t, int64(5000), want.Total().Rows)

	// In another order, in parts that are merged.
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	parts := checksum(t, sample(t, nil, ids[:17]...), sample(t, nil))
	parts.Merge(checksum(t, sample(t, nil, ids[17:3000]...), sample(t, nil, ids[3000:]...)))
	assert.Equal(t, want.Total(), parts.Total())
	assert.Empty(t, want.Different(parts))

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
	assert.Equal(t, want.Total(), checksum(t, turned).Total())

	// Through a Parquet file.
	var file bytes.Buffer
	w, err := pqarrow.NewFileWriter(sampleSchema, &file, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	require.NoError(t, w.Write(whole))
	require.NoError(t, w.Close())
	table, err := pqarrow.ReadTable(t.Context(), bytes.NewReader(file.Bytes()), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	require.NoError(t, err)
	read := checksum(t)
	for rows := array.NewTableReader(table, 777); rows.Next(); {
		require.NoError(t, read.Write(rows.RecordBatch()))
	}
	assert.Equal(t, want.Total(), read.Total())
}

func TestOtherRowsOtherSum(t *testing.T) {
	t.Parallel()
	whole := sample(t, nil, upTo(200)...)
	want := checksum(t, whole)
	seen := map[Sum]string{want.Total(): "the table"}
	differs := func(what string, c *Checksum) {
		t.Helper()
		if other, had := seen[c.Total()]; had {
			t.Errorf("%s has the sum of %s", what, other)
		}
		seen[c.Total()] = what
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
		c, err := NewChecksum([]string{"id", "v"}, []string{"id"})
		require.NoError(t, err)
		require.NoError(t, c.Write(rb.NewRecordBatch()))
		differs(fmt.Sprint(row), c)
	}
	_, err := NewChecksum([]string{"a"}, []string{"b"})
	require.ErrorContains(t, err, `"b"`)
	c, err := NewChecksum([]string{"id", "absent"}, []string{"id"})
	require.NoError(t, err)
	require.ErrorContains(t, c.Write(whole), `"absent"`)
}

func TestComparison(t *testing.T) {
	t.Parallel()
	columns, key := names(sampleSchema), []string{"id"}
	changed := map[int]bool{7: true, 1003: true, 4000: true}
	first := []arrow.RecordBatch{sample(t, nil, upTo(3000)...), sample(t, nil, upTo(5000)[3000:]...)}
	ids := append(upTo(6000)[10:5002], 7, 3, 12, 12) // 0 to 9 are missing but for 3 and 7; 5000 and 5001 are extra; 12 is there three times
	second := []arrow.RecordBatch{sample(t, changed, ids[2000:]...), sample(t, changed, ids[:2000]...)}
	different := checksum(t, first...).Different(checksum(t, second...))
	assert.NotEmpty(t, different)
	assert.Less(t, len(different), 20)
	assert.Less(t, checksum(t, first...).Rows(different), int64(100))
	want := []string{
		"changed (1003)", "changed (4000)", "changed (7)", "duplicate (12)", "duplicate (12)", "extra (5000)", "extra (5001)",
		"missing (0)", "missing (1)", "missing (2)", "missing (4)", "missing (5)", "missing (6)", "missing (8)", "missing (9)",
	}
	for _, buckets := range [][]int{nil, different} {
		c, err := NewComparison(columns, key, buckets, 100)
		require.NoError(t, err)
		for _, b := range first {
			require.NoError(t, c.First(b))
		}
		for _, b := range second {
			require.NoError(t, c.Second(b))
		}
		list, more := c.Differences()
		assert.False(t, more)
		assert.Equal(t, want, lines(list))
	}
	c, err := NewComparison(columns, key, nil, 5)
	require.NoError(t, err)
	require.NoError(t, c.First(first[0]))
	require.ErrorContains(t, c.First(sample(t, nil, 5)), "(5)")
	list, more := c.Differences()
	assert.True(t, more)
	assert.Equal(t, []string{"missing (0)", "missing (1)", "missing (10)", "missing (100)", "missing (1000)"}, lines(list))
}

func lines(list []Difference) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.String())
	}
	return out
}

// Two tables of a server, read range by range.
func TestVerify(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, numbers, `CREATE TABLE d.a (k VARCHAR(20), n INT, v DECIMAL(10,2), PRIMARY KEY (n, k)); INSERT INTO d.a SELECT CONCAT('k', i), i % 7, i / 3 FROM d.n;
		CREATE TABLE d.b LIKE d.a; INSERT INTO d.b SELECT * FROM d.a; DELETE FROM d.b WHERE k = 'k70'; INSERT INTO d.b VALUES ('new', 3, NULL); UPDATE d.b SET v = v + 0.01 WHERE k = 'k4001'`)
	c := open(t, s)
	a, b := describe(t, c, "d", "a"), describe(t, c, "d", "b")
	read := func(table *Table, rows int, write func(arrow.RecordBatch) error) {
		r := NewReader(memory.DefaultAllocator, c, table)
		for _, batch := range readAll(t, r, split(t, c, table, rows, nil)...) {
			require.NoError(t, write(batch))
		}
		r.Close(t.Context())
	}
	first, err := a.ChecksumOf()
	require.NoError(t, err)
	second, err := b.ChecksumOf()
	require.NoError(t, err)
	read(a, 800, first.Write)
	read(b, 333, second.Write)
	assert.Equal(t, int64(5000), first.Total().Rows)
	different := first.Different(second)
	assert.Len(t, different, 3)
	columns, key := a.Columns()
	comparison, err := NewComparison(columns, key, different, 10)
	require.NoError(t, err)
	read(a, 800, comparison.First)
	read(b, 333, comparison.Second)
	list, _ := comparison.Differences()
	assert.Equal(t, []string{"changed (4, k4001)", "extra (3, new)", "missing (0, k70)"}, lines(list))
}

func BenchmarkChecksum(b *testing.B) {
	batch := sample(b, nil, upTo(16384)...)
	c := checksum(b)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, c.Write(batch))
	}
	b.ReportMetric(float64(b.N)*16384/b.Elapsed().Seconds(), "rows/s")
}
