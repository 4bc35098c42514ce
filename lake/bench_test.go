package lake_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/lake"
)

// benchRows is one record batch of the test schema, in key order.
func benchRows(n int) arrow.RecordBatch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema())
	defer rb.Release()
	for i := range n {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
		rb.Field(1).(*array.Int64Builder).Append(int64(i * 7919 % 1000))
		rb.Field(2).(*array.StringBuilder).Append([]string{"new", "paid", "sent", "returned"}[i%4])
		rb.Field(3).AppendNull()
	}
	return rb.NewRecordBatch()
}

// BenchmarkWriteFile encodes data files of 512k rows of four columns.
func BenchmarkWriteFile(b *testing.B) {
	const batches = 32
	bench := open(b, 3, nil)
	rec := benchRows(16 << 10)
	defer rec.Release()
	b.ReportAllocs()
	for b.Loop() {
		w, err := bench.table.NewFileWriter(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for range batches {
			if err := w.Write(rec); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*batches*float64(rec.NumRows())/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkReadKeys reads the key column of a data file of 512k rows, as building an index does.
func BenchmarkReadKeys(b *testing.B) {
	bench := open(b, 3, nil)
	ids := make([]int64, 512<<10)
	for i := range ids {
		ids[i] = int64(i)
	}
	if err := bench.commit([]*lake.NewFile{bench.write(ids, 1)}, nil); err != nil {
		b.Fatal(err)
	}
	f := bench.table.Files()[0]
	b.ReportAllocs()
	for b.Loop() {
		sum := int64(0)
		err := bench.table.ReadColumns(b.Context(), f, []int{0}, func(rec arrow.RecordBatch, _ uint64) error {
			for _, v := range rec.Column(0).(*array.Int64).Int64Values() {
				sum += v
			}
			return nil
		})
		if err != nil || sum == 0 {
			b.Fatal(sum, err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(ids))/b.Elapsed().Seconds(), "rows/s")
}
