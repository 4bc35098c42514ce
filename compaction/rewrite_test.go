package compaction

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/store"
	"github.com/tidemark/tidemark/merge"
)

// TestRewriteAgainstInputs merges random tables of every key layout and compares every row, column by column, with the
// row it came from: order, values, lineage, and where it is said to have gone.
func TestRewriteAgainstInputs(t *testing.T) {
	for _, format := range []int{3, 2} {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("v%d/%s", format, s.name), func(t *testing.T) {
				for _, load := range []struct{ commits, keys, size int }{{1, 50, 30}, {9, 500, 100}, {5, 60_000, 20_000}} {
					b := newBench(t, format, s, nil)
					for range load.commits {
						b.random(load.keys, load.size, 0.1)
					}
					inputs := dataFiles(b.table)
					got, err := rewrite(t.Context(), b.table, nil, [][]*lake.FileInfo{inputs}, 40<<10, minHeld)
					if err != nil {
						t.Fatal(err)
					}
					b.compare(inputs, got)
				}
			})
		}
	}
}

// TestFilesSideBySide merges files of which few overlap: no more of them are open at once.
func TestFilesSideBySide(t *testing.T) {
	const files, rows = 8, 9_000 // more than a batch each
	keys := map[string]shape{
		"bigint":  shapes[0],
		"decimal": shapes[1],
		"text":    {"text", []arrow.DataType{arrow.BinaryTypes.String}, func(n int) []any { return []any{fmt.Sprintf("a prefix longer than bounds are %07d", n)} }},
		"int,bigint": {"int,bigint", []arrow.DataType{arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64}, func(n int) []any {
			return []any{int32(n/(rows*3/2) - 3), int64(-n)} // a value goes on in the next file
		}},
	}
	for name, c := range map[string]struct {
		shape string
		step  int // from the first row of a file to that of the next
		every int // a last file has every so manieth row anew; 0: there is none
		open  int // at most
	}{
		"side by side":      {"bigint", rows, 0, 2},
		"half over another": {"bigint", rows / 2, 0, 4},
		"one over all":      {"bigint", rows, 100, 3},
		"all over each":     {"bigint", 1, 0, files},
		"decimals":          {"decimal", rows, 100, 3},
		"bounds cut short":  {"text", rows, 0, files},
		"first of two":      {"int,bigint", rows, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			open := &openFiles{}
			b := newBench(t, 3, keys[c.shape], func(s store.Store) store.Store { open.Store = s; return open })
			b.index = merge.NewIndex(b.codec)
			for i := range files {
				var put []int
				for n := range rows {
					put = append(put, i*c.step+n)
				}
				if err := b.upsert(put, nil); err != nil {
					t.Fatal(err)
				}
			}
			if c.every > 0 {
				var put []int
				for n := 0; n < files*rows; n += c.every {
					put = append(put, n)
				}
				if err := b.upsert(put, nil); err != nil {
					t.Fatal(err)
				}
			}
			inputs := dataFiles(b.table)
			b.rng.Shuffle(len(inputs), func(i, j int) { inputs[i], inputs[j] = inputs[j], inputs[i] })
			open.most = 0
			got, err := rewrite(t.Context(), b.table, nil, [][]*lake.FileInfo{inputs}, 1<<30, minHeld)
			if err != nil {
				t.Fatal(err)
			}
			if open.now != 0 || open.most > c.open {
				t.Errorf("%d files were open at once, expected %d at most; %d still are", open.most, c.open, open.now)
			}
			b.compare(inputs, got)
		})
	}
}

// openFiles counts the data files that are being read.
type openFiles struct {
	store.Store
	now, most int
}

func (s *openFiles) Open(ctx context.Context, name string) (store.Reader, error) {
	r, err := s.Store.Open(ctx, name)
	if err != nil || !strings.HasSuffix(name, ".parquet") {
		return r, err
	}
	s.now++
	s.most = max(s.most, s.now)
	return &openFile{r, s}, nil
}

type openFile struct {
	store.Reader
	of *openFiles
}

func (r *openFile) Close() error {
	r.of.now--
	return r.Reader.Close()
}

// compare reads inputs and outputs whole.
func (b *bench) compare(inputs []*lake.FileInfo, got *rewritten) {
	b.t.Helper()
	var want []arrow.RecordBatch // by ordinal
	b.codec.Reset()
	type origin struct {
		f   *lake.FileInfo
		pos uint32
	}
	from := map[uint32]origin{}
	for _, f := range inputs {
		m := got.moves.inputs[f.Path]
		live := roaring.New()
		live.AddRange(0, uint64(f.Rows))
		if f.Deleted != nil {
			live.AndNot(f.Deleted)
		}
		ordinals, err := m.positions(live)
		if err != nil {
			b.t.Fatal(err)
		}
		if !ordinals.Equals(m.to) {
			b.t.Fatalf("%s: its live rows went to %d places, %d are known", f.Path, ordinals.GetCardinality(), m.to.GetCardinality())
		}
		places := m.expand()
		for it := live.Iterator(); it.HasNext(); {
			pos := it.Next()
			one, err := m.positions(roaring.BitmapOf(pos))
			if err != nil || one.GetCardinality() != 1 || one.Minimum() != places[pos] {
				b.t.Fatalf("position %d: %v %v, expanded %d", pos, one, err, places[pos])
			}
			if _, twice := from[places[pos]]; twice {
				b.t.Fatalf("two rows went to %d", places[pos])
			}
			from[places[pos]] = origin{f, pos}
		}
		if f.Deleted != nil {
			for it := f.Deleted.Iterator(); it.HasNext(); {
				pos := it.Next()
				if _, err := m.positions(roaring.BitmapOf(pos)); !errors.Is(err, errNotMoved) || places[pos] != gone {
					b.t.Fatalf("deleted position %d: %v, expanded %d", pos, err, places[pos])
				}
			}
		}
	}
	read := map[*lake.FileInfo]arrow.RecordBatch{}
	rows := func(f *lake.FileInfo) arrow.RecordBatch {
		if read[f] == nil {
			read[f] = b.readAll(f)
		}
		return read[f]
	}
	k, err := newKeys(b.table)
	if err != nil {
		b.t.Fatal(err)
	}
	ordinal := uint32(0)
	for i, f := range got.outputs {
		if ordinal != got.moves.starts[i] {
			b.t.Fatalf("output %d starts at %d, not %d", i, ordinal, got.moves.starts[i])
		}
		// A file that is not committed has no manifest entry to inherit lineage from.
		out := b.readAll(&lake.FileInfo{DataFile: lake.DataFile{Path: f.Path, Rows: f.Rows, Size: f.Size}})
		want = append(want, out)
		if err := k.load(out); err != nil || !k.sorted {
			b.t.Fatalf("output %d: sorted %v, %v", i, k.sorted, err)
		}
		for pos := range int(out.NumRows()) {
			o := from[ordinal]
			if o.f == nil {
				b.t.Fatalf("output %d, row %d comes from nowhere", i, pos)
			}
			old := rows(o.f)
			for c := range int(out.NumCols()) {
				if !array.SliceEqual(out.Column(c), int64(pos), int64(pos)+1, old.Column(c), int64(o.pos), int64(o.pos)+1) {
					b.t.Fatalf("output %d, row %d, column %q: %s, was %s", i, pos, out.ColumnName(c), out.Column(c).ValueStr(pos), old.Column(c).ValueStr(int(o.pos)))
				}
			}
			ordinal++
		}
	}
	if int(ordinal) != len(b.rows) || len(from) != len(b.rows) {
		b.t.Fatalf("%d rows in the outputs, %d moved, %d in the model", ordinal, len(from), len(b.rows))
	}
	if len(want) > 1 {
		for _, f := range got.outputs {
			if f.Size > 4*40<<10 {
				b.t.Errorf("an output of %d bytes, for a target of %d", f.Size, 40<<10)
			}
		}
	}
}

func (b *bench) readAll(f *lake.FileInfo) arrow.RecordBatch {
	b.t.Helper()
	r, err := b.table.OpenRows(b.t.Context(), f, 1000, memory.DefaultAllocator)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	var parts [][]arrow.Array
	var schema *arrow.Schema
	rows := int64(0)
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.t.Fatal(err)
		}
		schema = rec.Schema()
		rows += rec.NumRows()
		for i, c := range rec.Columns() {
			if len(parts) <= i {
				parts = append(parts, nil)
			}
			parts[i] = append(parts[i], c)
		}
	}
	columns := make([]arrow.Array, len(parts))
	for i := range parts {
		if columns[i], err = array.Concatenate(parts[i], memory.DefaultAllocator); err != nil {
			b.t.Fatal(err)
		}
	}
	return array.NewRecordBatch(schema, columns, rows)
}

// TestOutputSizes merges files of another codec than the outputs': how many these are follows from how large they become, once a
// row group says it.
func TestOutputSizes(t *testing.T) {
	table := wideTable(t, 3, false, eight(true))
	inputs := dataFiles(table)
	in := int64(0)
	for _, f := range inputs {
		in += f.Size
	}
	one, err := rewrite(t.Context(), table, nil, [][]*lake.FileInfo{inputs}, 2*in, minHeld)
	if err != nil {
		t.Fatal(err)
	}
	if len(one.outputs) != 1 || one.bytes > in*2/3 {
		t.Fatalf("%d bytes became %d in %d files: expected one, a third smaller", in, one.bytes, len(one.outputs))
	}
	for n := int64(2); n <= 3; n++ {
		target := one.bytes / n
		out, err := rewrite(t.Context(), table, nil, [][]*lake.FileInfo{inputs}, target, minHeld)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(out.outputs)) != n {
			t.Errorf("%d bytes with a target of %d: %d files", one.bytes, target, len(out.outputs))
		}
		for _, f := range out.outputs {
			if f.Size < target*4/5 || f.Size > target*6/5 {
				t.Errorf("a file of %d bytes: the target is %d", f.Size, target)
			}
		}
	}
}

// dataFiles are the live ones of a table.
func dataFiles(t *lake.Table) (files []*lake.FileInfo) {
	infos := t.Inventory()
	for i := range infos {
		files = append(files, &infos[i])
	}
	return files
}
