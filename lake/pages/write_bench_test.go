package pages

import (
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
)

// BenchmarkWriteColumn writes a column of 128 Ki rows in batches of 8 Ki, of each kind that the benchmark's tables have,
// without codec unless it says so.
func BenchmarkWriteColumn(b *testing.B) {
	const batches, rows = 16, 8 << 10
	rng := rand.New(rand.NewPCG(1, 1))
	texts := func(value func(n int) string) func(array.Builder, int) {
		return func(b array.Builder, n int) { b.(*array.StringBuilder).Append(value(n)) }
	}
	plain, delta := Column{}, Column{Encoding: parquet.Encodings.DeltaBinaryPacked}
	for _, c := range []struct {
		name  string
		of    arrow.DataType
		as    Column
		nulls int // one of so many
		value func(b array.Builder, n int)
	}{
		{"int64/delta/ascending", arrow.PrimitiveTypes.Int64, delta, 0, func(b array.Builder, n int) { b.(*array.Int64Builder).Append(int64(n)) }},
		{"int64/delta/random", arrow.PrimitiveTypes.Int64, delta, 0, func(b array.Builder, _ int) { b.(*array.Int64Builder).Append(rng.Int64N(1 << 40)) }},
		{"int64/delta/NULLs", arrow.PrimitiveTypes.Int64, delta, 10, func(b array.Builder, n int) { b.(*array.Int64Builder).Append(int64(n * 3)) }},
		{"int32/delta/random", arrow.PrimitiveTypes.Int32, delta, 0, func(b array.Builder, n int) { b.(*array.Int32Builder).Append(int32(n * 7 % 1000003)) }},
		{"int64/plain", arrow.PrimitiveTypes.Int64, plain, 0, func(b array.Builder, n int) { b.(*array.Int64Builder).Append(int64(n)) }},
		{"int64/dictionary", arrow.PrimitiveTypes.Int64, Column{Dictionary: true}, 0, func(b array.Builder, _ int) { b.(*array.Int64Builder).Append(rng.Int64N(100)) }},
		{"decimal18/delta", &arrow.Decimal128Type{Precision: 18, Scale: 4}, delta, 0, func(b array.Builder, n int) {
			b.(*array.Decimal128Builder).Append(decimal128.FromI64(int64(n) * 123456789 % 10_000_000_000))
		}},
		{"decimal38/plain", &arrow.Decimal128Type{Precision: 38, Scale: 4}, plain, 0, func(b array.Builder, n int) {
			b.(*array.Decimal128Builder).Append(decimal128.FromI64(int64(n) * 123456789 % 10_000_000_000))
		}},
		{"float64/plain", arrow.PrimitiveTypes.Float64, plain, 0, func(b array.Builder, n int) { b.(*array.Float64Builder).Append(float64(n) / 3) }},
		{"float64/NULLs", arrow.PrimitiveTypes.Float64, plain, 10, func(b array.Builder, n int) { b.(*array.Float64Builder).Append(float64(n) / 3) }},
		{"bool", arrow.FixedWidthTypes.Boolean, plain, 0, func(b array.Builder, n int) { b.(*array.BooleanBuilder).Append(n%3 == 0) }},
		{"text/plain", arrow.BinaryTypes.String, plain, 0, texts(func(n int) string { return fmt.Sprintf("user%d@example%d.com", n, n%100) })},
		{"text/plain/NULLs", arrow.BinaryTypes.String, plain, 10, texts(func(n int) string { return fmt.Sprintf("user%d@example%d.com", n, n%100) })},
		{"text/plain/snappy", arrow.BinaryTypes.String, Column{Codec: compress.Codecs.Snappy}, 0, texts(func(n int) string { return fmt.Sprintf("user%d@example%d.com", n, n%100) })},
		{"text/plain/zstd", arrow.BinaryTypes.String, Column{Codec: compress.Codecs.Zstd}, 0, texts(func(n int) string { return fmt.Sprintf("user%d@example%d.com", n, n%100) })},
		{"text/dictionary", arrow.BinaryTypes.String, Column{Dictionary: true}, 0, texts(func(int) string { return fmt.Sprintf("%050d", rng.IntN(5000)) })},
		{"text/dictionary/few", arrow.BinaryTypes.String, Column{Dictionary: true}, 0, texts(func(n int) string { return []string{"new", "paid", "sent", "returned"}[n%4] })},
	} {
		b.Run(c.name, func(b *testing.B) {
			schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: c.of, Nullable: c.nulls > 0}}, nil)
			var records []arrow.RecordBatch
			for batch := range batches {
				build := array.NewBuilder(memory.DefaultAllocator, c.of)
				for n := range rows {
					if c.nulls > 0 && rng.IntN(c.nulls) == 0 {
						build.AppendNull()
						continue
					}
					c.value(build, batch*rows+n)
				}
				records = append(records, array.NewRecordBatch(schema, []arrow.Array{build.NewArray()}, rows))
			}
			w, err := NewWriter(io.Discard, schema, []Column{c.as}, memory.DefaultAllocator)
			if err != nil {
				b.Fatal(err)
			}
			before := w.offset
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range records {
					if err := w.Write(r); err != nil {
						b.Fatal(err)
					}
				}
				if err := w.EndGroup(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(w.offset-before)/float64(b.N)/batches/rows, "bytes/row")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batches/rows, "ns/row")
			b.ReportMetric(0, "ns/op")
		})
	}
}
