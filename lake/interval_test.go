package lake

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// TestIntervals reads parts of a file of three row groups: every row of the part comes, at the position it has in the file,
// and row groups outside of it do not.
func TestIntervals(t *testing.T) {
	t.Parallel()
	const rows, low = 3 * rowGroupRows, -rowGroupRows // keys from low on
	for name, kind := range map[string]arrow.DataType{
		"int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64, "unsigned": &arrow.Decimal128Type{Precision: 20}, "short": &arrow.Decimal128Type{Precision: 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := store.OpenLocal(t.TempDir())
			require.NoError(t, err)
			l := &Lake{Store: files, Catalog: catalog.NewBucket(files)}
			schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: kind}}, nil)
			record := checkpoint.Record{Pipeline: "p", Epoch: 1, Commit: uuid.NewString()}
			lt, err := Create(t.Context(), l, catalog.Identifier{DB: "d", Table: "t"}, schema, []int{0}, CreateOptions{FormatVersion: 3, Record: record})
			require.NoError(t, err)
			w, err := lt.NewFileWriter(t.Context())
			require.NoError(t, err)
			b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			for i := range rows {
				require.NoError(t, b.Field(0).AppendValueFromString(fmt.Sprint(i+low)))
				if (i+1)%(rowGroupRows/4) == 0 {
					require.NoError(t, w.Write(b.NewRecordBatch()))
				}
			}
			file, err := w.Close()
			require.NoError(t, err)
			record.Commit = uuid.NewString()
			require.NoError(t, lt.Commit(t.Context(), Commit{Add: []*NewFile{file}, Record: record}))
			lt, err = Open(t.Context(), l, lt.ID())
			require.NoError(t, err)
			f := &lt.Inventory()[0]
			end := func(v int64) *decimal128.Num {
				n := decimal128.FromI64(v)
				return &n
			}
			for _, c := range []struct {
				part         Interval
				meets        bool
				first, count int64 // rows read
			}{
				{Interval{}, true, 0, rows},
				{Interval{From: end(low)}, true, 0, rows},
				{Interval{To: end(low)}, false, 0, 0},
				{Interval{To: end(low + 1)}, true, 0, rowGroupRows},
				{Interval{From: end(-1), To: end(0)}, true, 0, rowGroupRows},
				{Interval{From: end(-1), To: end(1)}, true, 0, 2 * rowGroupRows},
				{Interval{From: end(0), To: end(1)}, true, rowGroupRows, rowGroupRows},
				{Interval{From: end(5), To: end(rowGroupRows + 1)}, true, rowGroupRows, 2 * rowGroupRows},
				{Interval{From: end(2*rowGroupRows - 1)}, true, 2 * rowGroupRows, rowGroupRows},
				{Interval{From: end(2 * rowGroupRows)}, false, 0, 0},
			} {
				assert.Equal(t, c.meets, lt.Meets(f, c.part), "%v", c.part)
				r, err := lt.OpenValues(t.Context(), f, c.part, 10_000, memory.DefaultAllocator)
				require.NoError(t, err)
				held, read := int64(0), int64(0)
				for {
					at := r.At()
					batch, err := r.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(t, err)
					if read == 0 {
						assert.Equal(t, c.first, at, "%v", c.part)
					}
					require.Equal(t, fmt.Sprint(at+low), batch.Column(0).ValueStr(0), "%v: the first row at %d", c.part, at)
					in, err := c.part.Holds(batch.Column(0))
					require.NoError(t, err)
					for row := range int(batch.NumRows()) {
						if in == nil || in(row) {
							held++
						}
					}
					read += batch.NumRows()
					batch.Release()
				}
				require.NoError(t, r.Close())
				assert.Equal(t, c.count, read, "%v", c.part)
				from, to := int64(low), int64(rows+low)
				if c.part.From != nil {
					from = max(from, int64(c.part.From.LowBits()))
				}
				if c.part.To != nil {
					to = min(to, int64(c.part.To.LowBits()))
				}
				assert.Equal(t, max(to-from, 0), held, "%v", c.part)
			}
		})
	}
}
