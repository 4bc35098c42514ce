package lake_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var id = catalog.Identifier{DB: "db", Table: "t"}

func schema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "v", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "d", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}, Nullable: true},
	}, nil)
}

type bench struct {
	t     testing.TB
	lake  *lake.Lake
	count *store.Counted
	table *lake.Table
	path  string
}

func open(t testing.TB, format int, wrap func(store.Store) store.Store) *bench {
	t.Helper()
	dir := t.TempDir()
	local, err := store.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s store.Store = local
	if wrap != nil {
		s = wrap(s)
	}
	count := store.Count(s)
	b := &bench{t: t, count: count, lake: &lake.Lake{Store: count, Catalog: catalog.NewBucket(count), Logger: slog.New(slog.DiscardHandler)}, path: dir + "/db/t"}
	record := checkpoint.Record{Pipeline: "p", Epoch: 1, State: checkpoint.StateLive}
	if b.table, err = lake.Create(t.Context(), b.lake, id, schema(), []int{0}, lake.CreateOptions{FormatVersion: format, Record: record}); err != nil {
		t.Fatal(err)
	}
	return b
}

// write makes an uncommitted data file with the given ids.
func (b *bench) write(ids []int64, v int64) *lake.NewFile {
	b.t.Helper()
	rec := b.rows(ids, v)
	defer rec.Release()
	w, err := b.table.NewFileWriter(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		b.t.Fatal(err)
	}
	f, err := w.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func (b *bench) commit(add []*lake.NewFile, deletes map[uint32]*roaring.Bitmap) error {
	return b.table.Commit(b.t.Context(), lake.Commit{Add: add, Delete: deletes, Record: b.record()})
}

func (b *bench) record() checkpoint.Record {
	r, _ := b.table.Checkpoint()
	r.Commit = uuid.NewString()
	set := checkpoint.MustParseSet(r.GTIDSet)
	set.Add(checkpoint.GTID{SID: [16]byte{1}, GNO: int64(set.Count()) + 1})
	r.GTIDSet = set.String()
	return r
}

// model is what the table is to hold: id -> value, and where each id stands.
type model struct {
	rows  map[int64]int64
	place map[int64][2]uint32 // file, position
}

// TestCommitsAgainstModel makes random commits in both formats and reads the table with a fresh Open, with iceberg-go's
// own scan and with DuckDB.
func TestCommitsAgainstModel(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			b := open(t, format, nil)
			rng := rand.New(rand.NewPCG(1, uint64(format)))
			m := model{map[int64]int64{}, map[int64][2]uint32{}}
			duck := testenv.DuckDB(t)
			for c := int64(1); c <= 30; c++ {
				deletes := map[uint32]*roaring.Bitmap{}
				drop := func(n int64) {
					p := m.place[n]
					if deletes[p[0]] == nil {
						deletes[p[0]] = roaring.New()
					}
					deletes[p[0]].Add(p[1])
					delete(m.rows, n)
					delete(m.place, n)
				}
				ids := map[int64]bool{}
				for range rng.IntN(60) {
					n := rng.Int64N(200)
					if _, there := m.rows[n]; there {
						drop(n)
					}
					ids[n] = true
				}
				for _, n := range slices.Sorted(maps.Keys(m.rows)) { // in an order that is always the same
					if rng.IntN(20) == 0 {
						drop(n)
					}
				}
				var add []*lake.NewFile
				if sorted := slices.Sorted(maps.Keys(ids)); len(sorted) > 0 {
					f := b.write(sorted, c)
					add = append(add, f)
					for pos, n := range sorted {
						m.rows[n], m.place[n] = c, [2]uint32{f.ID, uint32(pos)}
					}
				}
				if len(add)+len(deletes) == 0 {
					continue
				}
				if err := b.commit(add, deletes); err != nil {
					t.Fatal(err)
				}
				if c%10 == 0 {
					b.equal(m, duck)
				}
			}
		})
	}
}

func (b *bench) equal(m model, duck *testenv.Duck) {
	b.t.Helper()
	var want []string
	for n, v := range m.rows {
		want = append(want, fmt.Sprintf("%d=%d", n, v))
	}
	slices.Sort(want)
	check := func(reader string, got []string) {
		b.t.Helper()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			b.t.Fatalf("%s reads %d rows, want %d:\n got %v\nwant %v", reader, len(got), len(want), got, want)
		}
	}
	again, err := lake.Open(b.t.Context(), b.lake, id)
	if err != nil {
		b.t.Fatal(err)
	}
	check("a fresh Open", rowsOf(b.t, again))
	check("the open table", rowsOf(b.t, b.table))
	var byDuck []string
	for _, row := range duck.Query(b.t, "SELECT id || '=' || v FROM iceberg_scan('"+b.path+"')") {
		byDuck = append(byDuck, row[0])
	}
	check("DuckDB", byDuck)
	check("iceberg-go", scan(b.t, b.lake))
	for _, f := range again.Files() {
		if f.Deleted != nil && f.Deleted.IsEmpty() {
			b.t.Errorf("%s has an empty deletion", f.Path)
		}
	}
}

func rowsOf(t testing.TB, tab *lake.Table) (rows []string) {
	t.Helper()
	for _, f := range tab.Files() {
		err := tab.ReadColumns(t.Context(), f, []int{1, 0}, func(rec arrow.RecordBatch, first uint64) error {
			v, n := rec.Column(0).(*array.Int64), rec.Column(1).(*array.Int64)
			for i := range n.Len() {
				if f.Deleted == nil || !f.Deleted.Contains(uint32(first)+uint32(i)) {
					rows = append(rows, fmt.Sprintf("%d=%d", n.Value(i), v.Value(i)))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// metadata is the table's newest metadata.
func metadata(t testing.TB, l *lake.Lake) table.Metadata {
	t.Helper()
	v, err := l.Catalog.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := table.ParseMetadataBytes(v.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	return meta
}

// scan reads the table as iceberg-go does.
func scan(t testing.TB, l *lake.Lake) (rows []string) {
	t.Helper()
	v, err := l.Catalog.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	meta := metadata(t, l)
	files := func(ctx context.Context) (icebergio.IO, error) { return store.IcebergIO(ctx, l.Store), nil }
	tab := table.New(table.Identifier{id.DB, id.Table}, meta, v.URI, files, nil)
	_, records, err := tab.Scan().ToArrowRecords(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range records {
		if err != nil {
			t.Fatal(err)
		}
		n, v := rec.Column(0).(*array.Int64), rec.Column(1).(*array.Int64)
		for i := range n.Len() {
			rows = append(rows, fmt.Sprintf("%d=%d", n.Value(i), v.Value(i)))
		}
	}
	return rows
}

// TestWideCommit spreads a commit's deletes over 300 data files, again and again: few object writes, few delete files.
func TestWideCommit(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			b := open(t, format, nil)
			const files = 300
			m := model{map[int64]int64{}, map[int64][2]uint32{}}
			var add []*lake.NewFile
			for i := range int64(files) {
				var ids []int64
				for k := range int64(10) {
					ids = append(ids, i*10+k)
				}
				f := b.write(ids, 0)
				for pos, n := range ids {
					m.rows[n], m.place[n] = 0, [2]uint32{f.ID, uint32(pos)}
				}
				add = append(add, f)
			}
			if err := b.commit(add, nil); err != nil {
				t.Fatal(err)
			}
			for round := range int64(6) {
				deletes := map[uint32]*roaring.Bitmap{}
				spread := int64(files)
				if round%2 == 0 && round > 0 {
					spread = 5 // a narrow commit in between
				}
				for i := range spread {
					n := i*10 + round
					p := m.place[n]
					deletes[p[0]] = roaring.BitmapOf(p[1])
					delete(m.rows, n)
				}
				before := writes(b.count.Tally())
				if err := b.commit(nil, deletes); err != nil {
					t.Fatal(err)
				}
				if n := writes(b.count.Tally()) - before; n > 64 {
					t.Errorf("round %d: %d object writes for a commit over %d data files", round, n, spread)
				}
				again, err := lake.Open(t.Context(), b.lake, id)
				if err != nil {
					t.Fatal(err)
				}
				most := files
				if format == 2 {
					most = 1 + 5 // one over all files, and those of the narrow commit
				}
				if n := again.DeleteFiles(); n > most {
					t.Errorf("round %d: %d delete files", round, n)
				}
			}
			b.equal(m, testenv.DuckDB(t))
		})
	}
}

func writes(t store.Tally) (n int64) {
	for _, op := range []string{"Put", "PutIfAbsent", "Create"} {
		n += t.Calls[op]
	}
	return n
}

// TestUnknownOutcome lets every operation of a commit fail before and after its effect: the commit is then in the table
// once, or not at all, and the caller is told the truth or told to look.
func TestUnknownOutcome(t *testing.T) {
	var operations []fault.Plan
	{
		var faulty *fault.Faulty
		b := open(t, 3, func(s store.Store) store.Store { faulty = fault.Store(s); return faulty })
		faulty.Forget()
		f := b.write([]int64{1, 2}, 1)
		if err := b.commit([]*lake.NewFile{f}, nil); err != nil {
			t.Fatal(err)
		}
		operations = fault.Each(faulty.Events())
	}
	if len(operations) < 5 {
		t.Fatalf("only %d operations were seen", len(operations))
	}
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for i := range operations {
			t.Run(fmt.Sprintf("%s/%s", mode, operations[i]), func(t *testing.T) {
				var faulty *fault.Faulty
				b := open(t, 3, func(s store.Store) store.Store { faulty = fault.Store(s); return faulty })
				plan := operations[i]
				plan.Mode, plan.Match = mode, "" // names differ from run to run: the operation's turn is what counts
				faulty.Forget()
				faulty.Set(plan)
				err := tryCommit(b)
				faulty.Set()
				again, openErr := lake.Open(t.Context(), b.lake, id)
				if openErr != nil {
					t.Fatal(openErr)
				}
				rows := len(rowsOf(t, again))
				r, _ := again.Checkpoint()
				switch {
				case err == nil && (rows != 2 || r.GTIDSet == ""):
					t.Errorf("acknowledged, but the table has %d rows at %q", rows, r.GTIDSet)
				case rows != 0 && rows != 2, (rows == 2) != (r.GTIDSet != ""):
					t.Errorf("rows and position came apart: %d rows at %q", rows, r.GTIDSet)
				}
			})
		}
	}
}

// tryCommit writes and commits a file, and returns the first error.
func tryCommit(b *bench) error {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema())
	defer rb.Release()
	rb.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2}, nil)
	for c := 1; c < 4; c++ {
		rb.Field(c).AppendNulls(2)
	}
	rec := rb.NewRecordBatch()
	defer rec.Release()
	w, err := b.table.NewFileWriter(b.t.Context())
	if err != nil {
		return err
	}
	if err := w.Write(rec); err != nil {
		return errors.Join(err, w.Abort())
	}
	f, err := w.Close()
	if err != nil {
		return err
	}
	return b.commit([]*lake.NewFile{f}, nil)
}

// TestFencing: a writer that finds a higher epoch, or another pipeline, stops and publishes nothing.
func TestFencing(t *testing.T) {
	b := open(t, 3, nil)
	other, err := lake.Open(t.Context(), b.lake, id)
	if err != nil {
		t.Fatal(err)
	}
	if epoch, err := other.RaiseEpoch(t.Context(), "p"); err != nil || epoch != 2 {
		t.Fatalf("epoch %d, %v", epoch, err)
	}
	f := b.write([]int64{1}, 1)
	var fenced *lake.FencedError
	if err := b.commit([]*lake.NewFile{f}, nil); !errors.As(err, &fenced) || fenced.Epoch != 2 {
		t.Errorf("the older writer is told %v", err)
	}
	if _, err := other.RaiseEpoch(t.Context(), "q"); !errors.As(err, &fenced) || !strings.Contains(err.Error(), `"p"`) {
		t.Errorf("another pipeline is told %v", err)
	}
}

// TestRowsChangedByOthers: a commit on top of another writer's snapshot is refused, one on top of a changed property is
// not, and the property stays.
func TestRowsChangedByOthers(t *testing.T) {
	b := open(t, 3, nil)
	other, err := lake.Open(t.Context(), b.lake, id)
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.lake.Catalog.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	foreign := []byte(strings.Replace(string(v.Metadata), `"properties":{`, `"properties":{"owner":"somebody",`, 1))
	if _, err := b.lake.Catalog.Swap(t.Context(), v, foreign); err != nil {
		t.Fatal(err)
	}
	f := b.write([]int64{1}, 1)
	if err := b.commit([]*lake.NewFile{f}, nil); err != nil {
		t.Fatalf("a foreign property stood in the way: %v", err)
	}
	if v, err = b.lake.Catalog.Load(t.Context(), id); err != nil || !strings.Contains(string(v.Metadata), `"owner":"somebody"`) {
		t.Errorf("the foreign property is gone (%v)", err)
	}
	stale := &bench{t: t, lake: b.lake, table: other}
	if err := other.Claim(t.Context(), "p", 1); err != nil {
		t.Fatal(err)
	}
	f = stale.write([]int64{2}, 1)
	if err := stale.commit([]*lake.NewFile{f}, nil); !errors.Is(err, lake.ErrSnapshotChanged) {
		t.Errorf("a commit over rows it does not know: %v", err)
	}
	if changed, err := other.Refresh(t.Context()); err != nil || !changed {
		t.Errorf("refresh: changed %v, %v", changed, err)
	}
	if err := stale.commit([]*lake.NewFile{f}, nil); err != nil {
		t.Error(err)
	}
}

// TestAllRowsDeleted: a data file without live rows leaves the table, with its deletes.
func TestAllRowsDeleted(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			b := open(t, format, nil)
			f := b.write([]int64{1, 2, 3}, 1)
			for _, step := range []struct {
				add    []*lake.NewFile
				delete []uint32
			}{{[]*lake.NewFile{f}, nil}, {nil, []uint32{0}}, {nil, []uint32{1, 2}}} {
				deletes := map[uint32]*roaring.Bitmap{}
				if step.delete != nil {
					deletes[f.ID] = roaring.BitmapOf(step.delete...)
				}
				if err := b.commit(step.add, deletes); err != nil {
					t.Fatal(err)
				}
			}
			if files, deletes := len(b.table.Files()), b.table.DeleteFiles(); files+deletes != 0 {
				t.Errorf("%d data files and %d delete files are left", files, deletes)
			}
			b.equal(model{}, testenv.DuckDB(t))
		})
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, format := range []int{3, 2} {
		b.Run(fmt.Sprint("v", format), func(b *testing.B) {
			x := open(b, format, nil)
			f := x.write([]int64{1}, 1)
			var last *lake.NewFile
			for b.Loop() {
				deletes := map[uint32]*roaring.Bitmap{}
				if last != nil {
					deletes[last.ID] = roaring.BitmapOf(0)
				}
				if err := x.commit([]*lake.NewFile{f}, deletes); err != nil {
					b.Fatal(err)
				}
				last, f = f, x.write([]int64{1}, 1)
			}
		})
	}
}
