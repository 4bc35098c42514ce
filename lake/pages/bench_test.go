package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/stretchr/testify/require"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// again is an allocator that gives memory again to whoever asks for as much, as lake.Recycler does.
type again map[int][][]byte

func (a again) Allocate(n int) []byte {
	if free := a[n]; len(free) > 0 {
		a[n] = free[:len(free)-1]
		return free[len(free)-1]
	}
	return memory.DefaultAllocator.Allocate(n)
}

func (a again) Free(b []byte) { a[len(b)] = append(a[len(b)], b) }

func (a again) Reallocate(n int, b []byte) []byte {
	out := a.Allocate(n)
	copy(out, b)
	a.Free(b)
	return out
}

// BenchmarkDecode reads a column of 128k rows, without a codec, in batches of 8k: by this package and by pqarrow. It reports
// nanoseconds of processor time a row.
func BenchmarkDecode(b *testing.B) {
	const rows = 128 << 10
	delta, off := parquet.WithEncoding(parquet.Encodings.DeltaBinaryPacked), parquet.WithDictionaryDefault(false)
	for _, c := range []struct {
		name  string
		kind  arrow.DataType
		nulls bool
		value func(b array.Builder, n int64)
		props []parquet.WriterProperty
	}{
		{"int64/delta1", arrow.PrimitiveTypes.Int64, false, func(b array.Builder, n int64) { b.(*array.Int64Builder).Append(n) }, []parquet.WriterProperty{off, delta}},
		{"int64/delta8", arrow.PrimitiveTypes.Int64, false, func(b array.Builder, n int64) { b.(*array.Int64Builder).Append(n*1000 + n*7919%173) }, []parquet.WriterProperty{off, delta}},
		{"int64/delta33", arrow.PrimitiveTypes.Int64, true, func(b array.Builder, n int64) { b.(*array.Int64Builder).Append(n * 2654435761 % (1 << 32)) }, []parquet.WriterProperty{off, delta}},
		{"int32/delta20", arrow.PrimitiveTypes.Int32, false, func(b array.Builder, n int64) { b.(*array.Int32Builder).Append(int32(n * 7919 % 1000003)) }, []parquet.WriterProperty{off, delta}},
		{"decimal18/delta", &arrow.Decimal128Type{Precision: 18, Scale: 4}, false, func(b array.Builder, n int64) {
			b.(*array.Decimal128Builder).Append(decimal128.FromI64(n * 123456789 % 10_000_000_000))
		}, []parquet.WriterProperty{off, delta, parquet.WithStoreDecimalAsInteger(true)}},
		{"decimal38/plain", &arrow.Decimal128Type{Precision: 38, Scale: 4}, false, func(b array.Builder, n int64) {
			b.(*array.Decimal128Builder).Append(decimal128.FromI64(n * 123456789))
		}, []parquet.WriterProperty{off}},
		{"double/plain", arrow.PrimitiveTypes.Float64, false, func(b array.Builder, n int64) { b.(*array.Float64Builder).Append(float64(n) / 3) }, []parquet.WriterProperty{off}},
		{"double/plain/nulls", arrow.PrimitiveTypes.Float64, true, func(b array.Builder, n int64) { b.(*array.Float64Builder).Append(float64(n) / 3) }, []parquet.WriterProperty{off}},
		{"string/plain", arrow.BinaryTypes.String, false, func(b array.Builder, n int64) {
			b.(*array.StringBuilder).Append(fmt.Sprintf("user%d@example%d.com", n, n%100))
		}, []parquet.WriterProperty{off}},
		{"string/plain/nulls", arrow.BinaryTypes.String, true, func(b array.Builder, n int64) {
			b.(*array.StringBuilder).Append(fmt.Sprintf("user%d@example%d.com", n, n%100))
		}, []parquet.WriterProperty{off}},
		{"string/dictionary", arrow.BinaryTypes.String, false, func(b array.Builder, n int64) {
			b.(*array.StringBuilder).Append(fmt.Sprintf("text %d text %d", n%5000, n%5000))
		}, nil},
		{"boolean/plain", arrow.FixedWidthTypes.Boolean, false, func(b array.Builder, n int64) { b.(*array.BooleanBuilder).Append(n%3 == 0) }, []parquet.WriterProperty{off}},
	} {
		build := array.NewBuilder(memory.DefaultAllocator, c.kind)
		for n := range int64(rows) {
			if c.nulls && n%10 == 3 {
				build.AppendNull()
			} else {
				c.value(build, n)
			}
		}
		column := build.NewArray()
		rec := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "c", Type: c.kind, Nullable: c.nulls}}, nil), []arrow.Array{column}, rows)
		body := write(b, rec, append(c.props, parquet.WithCompression(compress.Codecs.Uncompressed), parquet.WithDataPageSize(256<<10))...)
		mem := again{}
		f, err := file.NewParquetReader(bytes.NewReader(body), file.WithReadProps(parquet.NewReaderProperties(mem)))
		require.NoError(b, err)
		b.Run(c.name+"/own", func(b *testing.B) {
			before := cpu(b)
			for b.Loop() {
				r := NewReader(bytes.NewReader(body), f.MetaData(), Options{Columns: []int{0}, Groups: []int{0}, Batch: 8 << 10, Memory: mem, Whole: 32 << 20})
				for {
					got, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(b, err)
					release(got)
				}
				r.Close()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/rows, "cpu-ns/row")
		})
		b.Run(c.name+"/pqarrow", func(b *testing.B) {
			before := cpu(b)
			for b.Loop() {
				r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 8 << 10}, mem)
				require.NoError(b, err)
				records, err := r.GetRecordReader(b.Context(), nil, nil)
				require.NoError(b, err)
				for records.Next() {
				}
				records.Release()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/rows, "cpu-ns/row")
		})
	}
}
