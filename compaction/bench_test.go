package compaction

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
	"github.com/tidemark/tidemark/merge"
)

// wideSchema is that of the project's benchmark (internal/bench): 12 columns, about 195 bytes a row.
func wideSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "a", Type: arrow.PrimitiveTypes.Int32},
		{Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "c", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "amount", Type: &arrow.Decimal128Type{Precision: 18, Scale: 4}},
		{Name: "created", Type: &arrow.TimestampType{Unit: arrow.Microsecond}},
		{Name: "updated", Type: arrow.FixedWidthTypes.Timestamp_us},
		{Name: "name", Type: arrow.BinaryTypes.String},
		{Name: "email", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "notes", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "doc", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "score", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	}, nil)
}

func wideRow(rb *array.RecordBuilder, n int64) {
	rb.Field(0).(*array.Int64Builder).Append(n)
	rb.Field(1).(*array.Int32Builder).Append(int32(n * 7 % 1000003))
	if n%10 == 0 {
		rb.Field(2).AppendNull()
	} else {
		rb.Field(2).(*array.Int64Builder).Append(n * 3 % 4000000000)
	}
	rb.Field(3).(*array.Int32Builder).Append(int32(n % 3000))
	rb.Field(4).(*array.Decimal128Builder).Append(decimal128.FromI64(n * 123456789 % 10_000_000_000))
	rb.Field(5).(*array.TimestampBuilder).Append(arrow.Timestamp(1735689600_123456 + n*1_000_000))
	rb.Field(6).(*array.TimestampBuilder).Append(arrow.Timestamp(1748736000_000000 + n%5000000*1_000_000))
	rb.Field(7).(*array.StringBuilder).Append(fmt.Sprintf("name-%d-%X", n%5000, n*2654435761))
	rb.Field(8).(*array.StringBuilder).Append(fmt.Sprintf("user%d@example%d.com", n, n%100))
	rb.Field(9).(*array.StringBuilder).Append(strings.Repeat(fmt.Sprintf("text %d ", n%5000), 5))
	rb.Field(10).(*array.StringBuilder).Append(fmt.Sprintf(`{"f": %g, "k": %d, "v": "s%d"}`, float64(n%5000)/7, n, n%5000))
	rb.Field(11).(*array.Float64Builder).Append(float64(n) / 3)
}

// BenchmarkRewrite merges 1.2 million rows, a tenth of them deleted, anywhere: with keys at random over all files, and with a range of
// keys each. Of eight files as large: young ones, as commits leave them, into a small file that will be merged again
// (small) and into one of the target size (full), and old ones, as they are when many of their rows are deleted (worn). And of a
// large old one that takes four young ones along, a twentieth of its rows each (along). And of young ones of which every fourth
// row is deleted, so that rows come in short runs, into full ones (fourth). It reports rows of input per second
// of processor time.
func BenchmarkRewrite(b *testing.B) {
	for _, format := range []int{3, 2} {
		for _, keys := range []string{"random", "ranges"} {
			for _, c := range []struct {
				name   string
				files  []wideFile
				target int64
			}{
				{"small", eight(true), 1 << 30},
				{"full", eight(true), 16 << 20},
				{"worn", eight(false), 16 << 20},
				{"along", []wideFile{{1_000_000, false, 0}, {50_000, true, 0}, {50_000, true, 0}, {50_000, true, 0}, {50_000, true, 0}}, 16 << 20},
				{"fourth", slices.Repeat([]wideFile{{150_000, true, 4}}, 8), 16 << 20},
			} {
				t := wideTable(b, format, keys == "random", c.files)
				b.Run(fmt.Sprintf("v%d/%s/%s", format, keys, c.name), func(b *testing.B) {
					benchmarkRewrite(b, t, c.target)
				})
			}
		}
	}
}

func benchmarkRewrite(b *testing.B, t *lake.Table, target int64) {
	inputs := dataFiles(t)
	rows := int64(0)
	for _, f := range inputs {
		rows += f.Rows
	}
	size := int64(0)
	before := processor()
	for b.Loop() {
		r, err := rewrite(b.Context(), t, nil, [][]*lake.FileInfo{inputs}, target, minHeld)
		if err != nil {
			b.Fatal(err)
		}
		size = r.bytes
		if err := t.Discard(b.Context(), r.outputs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/float64(rows), "bytes/row")
	b.ReportMetric(float64(rows)*float64(b.N)/(processor()-before).Seconds(), "rows/cpu-s")
}

// BenchmarkReadRows reads the rows of 8 files of 150,000 rows as a rewrite does, one file after the other, and reports
// rows per second of processor time.
func BenchmarkReadRows(b *testing.B) {
	t := wideTable(b, 3, true, eight(true))
	mem := lake.NewRecycler(recycled)
	rows := int64(0)
	infos := t.Inventory()
	before := processor()
	for b.Loop() {
		for i := range infos {
			r, err := t.OpenRows(b.Context(), &infos[i], batchRows, mem)
			if err != nil {
				b.Fatal(err)
			}
			for {
				rec, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				rows += rec.NumRows()
				rec.Release()
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(rows)/(processor()-before).Seconds(), "rows/cpu-s")
}

// BenchmarkApply makes an index of 1.2 million keys follow a rewrite of all of them, with keys at random over the files.
func BenchmarkApply(b *testing.B) {
	t := wideTable(b, 3, true, eight(true))
	codec, err := merge.NewKeyCodec(wideSchema().Fields()[:1])
	if err != nil {
		b.Fatal(err)
	}
	infos := t.Inventory()
	var inputs []*lake.FileInfo
	for i := range infos {
		inputs = append(inputs, &infos[i])
	}
	out, err := rewrite(b.Context(), t, nil, [][]*lake.FileInfo{inputs}, 256<<20, minHeld)
	if err != nil {
		b.Fatal(err)
	}
	m := &Remap{moves: out.moves, inputs: map[uint32]*moved{}}
	bytes := uint64(0)
	for _, f := range inputs {
		m.inputs[f.ID] = out.moves.inputs[f.Path]
		bytes += out.moves.inputs[f.Path].to.GetSizeInBytes()
	}
	for _, f := range out.outputs {
		m.output = append(m.output, f.ID)
	}
	var x *merge.Index
	for b.Loop() {
		b.StopTimer()
		if x, err = merge.BuildIndex(b.Context(), t, codec); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := m.Apply(x); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(bytes)/float64(x.Len()), "bytes/row")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(x.Len()), "ns/row")
}

// wideFile is a file of so many rows: young as commits leave it, or as large rewrites do.
type wideFile struct {
	rows  int
	young bool
	every int // row is deleted; 0: a tenth of them, anywhere
}

func (f wideFile) deleted(rng *rand.Rand) *roaring.Bitmap {
	rows := roaring.New()
	if f.every == 0 {
		for range f.rows / 10 {
			rows.Add(rng.Uint32N(uint32(f.rows)))
		}
		return rows
	}
	for at := f.every - 1; at < f.rows; at += f.every {
		rows.Add(uint32(at))
	}
	return rows
}

// eight are eight files as large.
func eight(young bool) []wideFile { return slices.Repeat([]wideFile{{150_000, young, 0}}, 8) }

// wideTable is a table of such files.
func wideTable(b testing.TB, format int, random bool, files []wideFile) *lake.Table {
	b.Helper()
	dir := b.TempDir()
	local, err := store.OpenLocal(dir)
	if err != nil {
		b.Fatal(err)
	}
	l := &lake.Lake{Store: local, Catalog: catalog.NewBucket(local), Logger: slog.New(slog.DiscardHandler)}
	record := checkpoint.Record{Pipeline: "p", Epoch: 1, State: checkpoint.StateLive}
	t, err := lake.Create(b.Context(), l, id, wideSchema(), []int{0}, lake.CreateOptions{FormatVersion: format, Record: record})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	var owner []int // of each key
	for i, f := range files {
		owner = append(owner, slices.Repeat([]int{i}, f.rows)...)
	}
	if random {
		rng.Shuffle(len(owner), func(i, j int) { owner[i], owner[j] = owner[j], owner[i] })
	}
	var add []*lake.NewFile
	deletes := map[uint32]*roaring.Bitmap{}
	for file, shape := range files {
		w, err := t.NewFileWriter(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if w.Expect(int64(shape.rows)); shape.young {
			w.Brief(math.MaxInt64)
		}
		rb := array.NewRecordBuilder(memory.DefaultAllocator, wideSchema())
		rows := 0
		flush := func() {
			rec := rb.NewRecordBatch()
			defer rec.Release()
			if err := w.Write(rec); err != nil {
				b.Fatal(err)
			}
			rows = 0
		}
		for n, o := range owner {
			if o != file {
				continue
			}
			wideRow(rb, int64(n))
			if rows++; rows == 16<<10 {
				flush()
			}
		}
		flush()
		f, err := w.Close()
		if err != nil {
			b.Fatal(err)
		}
		add = append(add, f)
		deletes[f.ID] = shape.deleted(rng)
	}
	record.Commit = "filled"
	if err := t.Commit(b.Context(), lake.Commit{Add: add, Delete: deletes, Record: record}); err != nil {
		b.Fatal(err)
	}
	return t
}

// processor is the processor time of this process so far.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
