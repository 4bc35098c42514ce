package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
)

// bench is a table with a column id, and its writer.
type bench struct {
	testing.TB

	w     *world
	lake  *lake.Lake
	table *lake.Table
}

var columns = arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "v", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)

func newTable(t testing.TB, w *world, l *lake.Lake, format int) *bench {
	t.Helper()
	b := &bench{TB: t, w: w, lake: l}
	var err error
	b.table, err = lake.Create(t.Context(), l, w.id, columns, []int{0}, lake.CreateOptions{FormatVersion: format, Record: checkpoint.Record{Pipeline: "p", Epoch: 1, State: checkpoint.StateLive}})
	check(t, err)
	return b
}

func (b *bench) reopen() {
	b.Helper()
	var err error
	b.table, err = lake.Open(b.Context(), b.lake, b.w.id)
	check(b, err)
}

// write makes a data file with a row for each id.
func (b *bench) write(ids ...int64) *lake.NewFile {
	b.Helper()
	rows := array.NewRecordBuilder(memory.DefaultAllocator, columns)
	defer rows.Release()
	for _, n := range ids {
		rows.Field(0).(*array.Int64Builder).Append(n)
		rows.Field(1).(*array.StringBuilder).Append(fmt.Sprint("row ", n))
	}
	batch := rows.NewRecordBatch()
	defer batch.Release()
	w, err := b.table.NewFileWriter(b.Context())
	check(b, err)
	check(b, w.Write(batch))
	file, err := w.Close()
	check(b, err)
	return file
}

// record is the table's position one transaction on.
func (b *bench) record() checkpoint.Record {
	r, _ := b.table.Checkpoint()
	r.Commit = newCommitID()
	set := checkpoint.MustParseSet(r.GTIDSet)
	set.Add(checkpoint.GTID{SID: [16]byte{1}, GNO: int64(set.Count()) + 1})
	r.GTIDSet = set.String()
	return r
}

func (b *bench) commit(files ...*lake.NewFile) {
	b.Helper()
	check(b, b.table.Commit(b.Context(), lake.Commit{Add: files, Record: b.record()}))
}

// positioned demands that the table is at a position, for whoever opens it now.
func (b *bench) positioned(want checkpoint.Record) {
	b.Helper()
	now, err := lake.Open(b.Context(), b.w.lake(b), b.w.id)
	check(b, err)
	if got, ok := now.Checkpoint(); !ok || got.GTIDSet != want.GTIDSet || got.Commit != want.Commit {
		b.Fatalf("the table is at %s by %s (%v), want %s by %s", got.GTIDSet, got.Commit, ok, want.GTIDSet, want.Commit)
	}
}

// live are the ids that a table has, from its files.
func (w *world) live(t testing.TB) []int64 {
	t.Helper()
	now, err := lake.Open(t.Context(), w.lake(t), w.id)
	check(t, err)
	var ids []int64
	for _, f := range now.Files() {
		check(t, now.ReadColumns(t.Context(), f, []int{0}, func(rows arrow.RecordBatch, first uint64) error {
			for i, n := range rows.Column(0).(*array.Int64).Int64Values() {
				if f.Deleted == nil || !f.Deleted.Contains(uint32(first)+uint32(i)) {
					ids = append(ids, n)
				}
			}
			return nil
		}))
	}
	slices.Sort(ids)
	return ids
}

// rows demands that the table has these ids, for us and for PyIceberg.
func (b *bench) rows(want ...int64) {
	b.Helper()
	w := b.w
	if got := w.live(b); !slices.Equal(got, want) {
		b.Fatalf("the table has %v, want %v", got, want)
	}
	if w.python == "" {
		return
	}
	got := testenv.PyIceberg(b, fmt.Sprintf("result = sorted(%s.load_table(%q).scan(selected_fields=('id',)).to_arrow()['id'].to_pylist())", w.python, w.id))
	if text, wanted := fmt.Sprint(got), fmt.Sprint(want); text != wanted {
		b.Fatalf("PyIceberg reads %s, want %s", text, wanted)
	}
}

// snapshots counts those of main's history.
func (b *bench) snapshots() (n int) {
	b.Helper()
	v, err := b.w.open(b).Load(b.Context(), b.w.id)
	check(b, err)
	m, err := table.ParseMetadataBytes(v.Metadata)
	check(b, err)
	for s := m.CurrentSnapshot(); s != nil; n++ {
		if s.ParentSnapshotID == nil {
			return n + 1
		}
		s = m.SnapshotByID(*s.ParentSnapshotID)
	}
	return n
}

// caseCommits: snapshots with deletes, positions without, a load on a branch; each is what the next one who opens the table finds.
func caseCommits(t *testing.T, w *world) {
	for _, format := range []int{2, 3} {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) {
			if format == 3 {
				v, err := w.open(t).Load(t.Context(), w.id)
				check(t, err)
				check(t, w.open(t).Drop(t.Context(), v, "the other format"))
			}
			b := newTable(t, w, w.lake(t), format)
			r := b.record()
			check(t, b.table.SetCheckpoint(t.Context(), r)) // a table without snapshots
			b.positioned(r)
			one := b.write(1, 2, 3)
			b.commit(one)
			two := b.write(4, 5)
			r = b.record()
			check(t, b.table.Commit(t.Context(), lake.Commit{Add: []*lake.NewFile{two}, Delete: map[uint32]*roaring.Bitmap{one.ID: roaring.BitmapOf(0)}, Record: r}))
			b.positioned(r)
			b.rows(2, 3, 4, 5)
			for range 3 {
				r = b.record()
				check(t, b.table.SetCheckpoint(t.Context(), r))
				b.positioned(r)
			}
			check(t, b.table.Commit(t.Context(), lake.Commit{Delete: map[uint32]*roaring.Bitmap{one.ID: roaring.BitmapOf(1), two.ID: roaring.BitmapOf(0)}, Record: b.record()}))
			b.rows(3, 5)

			loading := b.record()
			loading.State = checkpoint.StateLoading
			check(t, b.table.StartLoad(t.Context(), loading))
			var err error
			if b.table, err = lake.OpenLoad(t.Context(), b.lake, w.id); err != nil {
				t.Fatal(err)
			}
			check(t, b.table.Claim(t.Context(), "p", 1))
			b.commit(b.write(10, 11))
			b.rows(3, 5)
			live := b.record()
			live.State = checkpoint.StateLive
			check(t, b.table.Promote(t.Context(), live))
			b.rows(10, 11)
			b.positioned(live)
		})
	}
}

// caseWriters: of writers that start at once each gets an epoch of its own, and only the one with the highest can write, be it
// rows or a position.
func caseWriters(t *testing.T, w *world) {
	newTable(t, w, w.lake(t), 3).commit()
	const writers, rounds = 3, 4
	highest := int64(1)
	for round := range rounds {
		tables := make([]*bench, writers)
		for i := range tables {
			tables[i] = &bench{TB: t, w: w, lake: w.lake(t)}
			tables[i].reopen()
		}
		epochs := make([]int64, writers)
		var g sync.WaitGroup
		for i, b := range tables {
			g.Go(func() {
				var err error
				if epochs[i], err = b.table.RaiseEpoch(t.Context(), "p"); err != nil {
					t.Error(err)
				}
			})
		}
		g.Wait()
		sorted := slices.Sorted(slices.Values(epochs))
		if sorted[0] <= highest || len(slices.Compact(sorted)) != writers {
			t.Fatalf("round %d: epochs %v, the one before was %d", round, epochs, highest)
		}
		highest = sorted[writers-1]
		before := w.live(t)
		for i, b := range tables {
			r := b.record()
			files := []*lake.NewFile{b.write(int64(round))}
			err := b.table.SetCheckpoint(t.Context(), r)
			var fenced, rowsFenced *lake.FencedError
			if owner := epochs[i] == highest; owner {
				check(t, err)
				b.positioned(r)
				continue
			} else if !errors.As(err, &fenced) || fenced.Epoch != highest {
				t.Fatalf("a writer with epoch %d, after %d: %v", epochs[i], highest, err)
			}
			b.reopenAs(epochs[i], &rowsFenced)
			if err := b.table.Commit(t.Context(), lake.Commit{Add: files, Record: r}); !errors.As(err, &rowsFenced) {
				t.Fatalf("rows of a writer with epoch %d, after %d: %v", epochs[i], highest, err)
			}
		}
		if after := w.live(t); !slices.Equal(before, after) {
			t.Fatalf("the rows were %v and are %v", before, after)
		}
	}
}

// reopenAs demands that a writer of an epoch that is over is told so when it takes up its table.
func (b *bench) reopenAs(epoch int64, fenced **lake.FencedError) {
	b.Helper()
	now, err := lake.Open(b.Context(), b.lake, b.w.id)
	check(b, err)
	if err := now.Claim(b.Context(), "p", epoch); !errors.As(err, fenced) {
		b.Fatalf("a writer with epoch %d takes up its table: %v", epoch, err)
	}
}

// caseOthers: what PyIceberg commits in the same catalog is followed: properties are kept, rows stop who did not know of them.
func caseOthers(t *testing.T, w *world) {
	b := newTable(t, w, w.lake(t), 2)
	b.commit(b.write(1, 2))
	testenv.PyIceberg(t, fmt.Sprintf(`
t = %s.load_table(%q)
with t.transaction() as tx: tx.set_properties({"owner": "somebody"})
t.manage_snapshots().create_tag(t.current_snapshot().snapshot_id, "audit").commit()`, w.python, w.id))
	r := b.record()
	check(t, b.table.SetCheckpoint(t.Context(), r))
	b.positioned(r)
	b.commit(b.write(3))
	b.rows(1, 2, 3)
	testenv.PyIceberg(t, fmt.Sprintf(`
import pyarrow as pa
t = %s.load_table(%q)
assert t.properties["owner"] == "somebody" and "audit" in t.refs()
t.append(pa.Table.from_pylist([{"id": 9, "v": "PyIceberg's"}], schema=t.schema().as_arrow()))`, w.python, w.id))
	file := b.write(4)
	if err := b.table.Commit(t.Context(), lake.Commit{Add: []*lake.NewFile{file}, Record: b.record()}); !errors.Is(err, lake.ErrSnapshotChanged) {
		t.Fatalf("a commit over rows it does not know of: %v", err)
	}
	if changed, err := b.table.Refresh(t.Context()); err != nil || !changed {
		t.Fatalf("refresh: %v, %v", changed, err)
	}
	r = b.record()
	check(t, b.table.Commit(t.Context(), lake.Commit{Add: []*lake.NewFile{file}, Record: r}))
	b.positioned(r)
	b.rows(1, 2, 3, 4, 9)
}

// caseUpkeep: a pass of compaction over a table of many commits leaves the files that it needs, metadata files among them, and
// no others.
func caseUpkeep(t *testing.T, w *world) {
	b := newTable(t, w, w.lake(t), 3)
	var want []int64
	for n := range int64(14) {
		b.commit(b.write(n))
		check(t, b.table.SetCheckpoint(t.Context(), b.record()))
		want = append(want, n)
	}
	lost := w.id.Path() + "/metadata/00007-" + newCommitID() + ".metadata.json" // of a commit that did not get through
	check(t, w.store.Put(t.Context(), lost, []byte("{}")))
	later := time.Now().Add(1000 * time.Hour)
	o := compaction.PassOptions{Expire: lake.ExpireOptions{Keep: 2, Now: later}, Orphans: compaction.OrphanOptions{Now: later}}
	r, err := compaction.Pass(t.Context(), b.lake, w.id, o)
	check(t, err)
	if r.Rewritten == 0 || r.Expired.Snapshots < 12 {
		t.Fatalf("the pass did little: %s", r)
	}
	b.rows(want...)
	b.reopen()
	needed, err := b.table.Referenced(t.Context())
	check(t, err)
	there := map[string]bool{}
	for f, err := range w.store.List(t.Context(), w.id.Path()+"/") {
		check(t, err)
		there[f.Name] = true
		if !needed[f.Name] && !strings.HasSuffix(f.Name, ".json") && !strings.HasSuffix(f.Name, "version-hint.text") && path.Ext(f.Name) != ".crc" { // Hadoop's, of the reference catalog
			t.Errorf("left: %s", f.Name)
		}
	}
	for name := range needed {
		if !there[name] && !strings.HasSuffix(name, ".json") {
			t.Errorf("missing: %s", name)
		}
	}
	if bucket := w.name == "bucket"; !bucket && there[lost] {
		t.Error("the metadata file of a commit that was lost is still there")
	} else if bucket && !there[lost] {
		t.Error("a metadata file was removed by others than the catalog")
	}
	var log []struct {
		File string `json:"metadata-file"`
	}
	v, err := b.lake.Catalog.Load(t.Context(), w.id)
	check(t, err)
	check(t, json.Unmarshal(field(t, v.Metadata, "metadata-log"), &log))
	for _, e := range log {
		if name, err := w.store.Name(e.File); err != nil || !there[name] {
			t.Errorf("the log names %s, which is not there (%v)", e.File, err)
		}
	}
	b.reopen()
	check(t, b.table.Claim(t.Context(), "p", 1))
	b.commit(b.write(100))
	b.rows(append(want, 100)...)
}

func field(t testing.TB, metadata []byte, name string) json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	check(t, json.Unmarshal(metadata, &fields))
	return fields[name]
}
