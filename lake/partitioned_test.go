package lake_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
)

func fields(t testing.TB, text string) []lake.PartitionField {
	t.Helper()
	f, err := lake.ParsePartition(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// spread makes uncommitted data files with the given ids, which ascend, one for each partition, and says where each id stands.
func (b *bench) spread(ids []int64, v int64) (files []*lake.NewFile, places map[int64][2]uint32) {
	b.t.Helper()
	p, err := b.table.Partitioner()
	if err != nil {
		b.t.Fatal(err)
	}
	places = map[int64][2]uint32{}
	note := func(f *lake.NewFile, ids []int64) {
		files = append(files, f)
		for pos, n := range ids {
			places[n] = [2]uint32{f.ID, uint32(pos)}
		}
	}
	if p == nil {
		note(b.write(ids, v), ids)
		return files, places
	}
	rec := b.rows(ids, v)
	defer rec.Release()
	numbers, err := p.Split(rec)
	if err != nil {
		b.t.Fatal(err)
	}
	for part := range p.Partitions() {
		var own []int64
		for row, n := range numbers {
			if n == int32(part) {
				own = append(own, ids[row])
			}
		}
		w, err := b.table.NewFileWriter(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		w.In(p.Partition(int32(part)))
		of := b.rows(own, v)
		if err := w.Write(of); err != nil {
			b.t.Fatal(err)
		}
		of.Release()
		f, err := w.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		note(f, own)
	}
	return files, places
}

// rows is what write writes.
func (b *bench) rows(ids []int64, v int64) arrow.RecordBatch {
	b.t.Helper()
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema())
	defer rb.Release()
	for _, n := range ids {
		rb.Field(0).(*array.Int64Builder).Append(n)
		rb.Field(1).(*array.Int64Builder).Append(v)
		if n%3 == 0 {
			rb.Field(2).AppendNull()
			rb.Field(3).AppendNull()
			continue
		}
		rb.Field(2).(*array.StringBuilder).Append(fmt.Sprint("text ", n))
		if err := rb.Field(3).AppendValueFromString(fmt.Sprintf("%d.25", n-100)); err != nil {
			b.t.Fatal(err)
		}
	}
	return rb.NewRecordBatch()
}

// TestPartitionedCommits is TestCommitsAgainstModel over a table whose partition spec changes on the way: every update may
// move a row to another partition, and commits delete rows of files of all specs at once.
func TestPartitionedCommits(t *testing.T) {
	specs := []string{"bucket(4, id), truncate(3, v)", "s", "", "truncate(1000, d), bucket(2, s)", "bucket(4, id), truncate(3, v)", "d", "v"}
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			b := open(t, format, nil)
			rng := rand.New(rand.NewPCG(7, uint64(format)))
			m := model{map[int64]int64{}, map[int64][2]uint32{}}
			duck := testenv.DuckDB(t)
			for c := int64(1); c <= 42; c++ {
				if c%6 == 1 {
					want := fields(t, specs[int(c)/6])
					if changed, err := b.table.SetPartitioning(t.Context(), want); err != nil || !changed {
						t.Fatalf("partition by %v: %v, %v", want, changed, err)
					}
					if changed, err := b.table.SetPartitioning(t.Context(), want); err != nil || changed {
						t.Fatalf("partition by %v again: %v, %v", want, changed, err)
					}
					b.equal(m, duck)
					for n, p := range m.place { // ids of files are kept
						if b.table.File(p[0]) == nil {
							t.Fatalf("the file of %d is another", n)
						}
					}
				}
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
				for range 10 + rng.IntN(60) {
					n := rng.Int64N(200)
					if _, there := m.rows[n]; there && !ids[n] {
						drop(n)
					}
					ids[n] = true
				}
				for _, n := range slices.Sorted(maps.Keys(m.rows)) { // in an order that is always the same
					if rng.IntN(20) == 0 {
						drop(n)
					}
				}
				add, places := b.spread(slices.Sorted(maps.Keys(ids)), c)
				for n, p := range places {
					m.rows[n], m.place[n] = c, p
				}
				if err := b.commit(add, deletes); err != nil {
					t.Fatal(err)
				}
				if c%5 == 0 {
					if _, err := b.table.Tidy(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if c%3 == 0 {
					b.equal(m, duck)
				}
			}
			b.equal(m, duck)
			again, err := lake.Open(t.Context(), b.lake, id)
			if err != nil {
				t.Fatal(err)
			}
			partitions := map[string]bool{}
			for _, f := range again.Files() {
				open := b.table.File(m.fileOf(b, f.Path))
				if open == nil || open.Partition().Key() != f.Partition().Key() {
					t.Errorf("%s is of another partition when it is read back", f.Path)
				}
				partitions[f.Partition().Key()] = true
			}
			t.Log(len(partitions), "partitions")
			if len(partitions) < 20 {
				t.Errorf("%d partitions: the test shows little", len(partitions))
			}
		})
	}
}

func (model) fileOf(b *bench, path string) uint32 {
	for _, f := range b.table.Files() {
		if f.Path == path {
			return f.ID
		}
	}
	return 0
}

// TestSetPartitioning: a spec that was there before is used again, fields keep their ids, and what cannot be is refused with
// nothing changed.
func TestSetPartitioning(t *testing.T) {
	b := open(t, 3, nil)
	set := func(text string) {
		t.Helper()
		if _, err := b.table.SetPartitioning(t.Context(), fields(t, text)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(b.table.Partitioning()); got != fmt.Sprint(fields(t, text)) {
			t.Fatalf("it is partitioned by %s, not by %s", got, text)
		}
	}
	meta := func() (id, last int, specs string) {
		m := metadata(t, b.lake)
		var all []string
		for _, s := range m.PartitionSpecs() {
			all = append(all, s.String())
		}
		return m.DefaultPartitionSpec(), *m.LastPartitionSpecID(), strings.Join(all, " ")
	}
	set("bucket(4, id)")
	set("v, bucket(4, id)")
	set("bucket(4, id)")
	if id, last, specs := meta(); id != 1 || last != 1001 || strings.Count(specs, "1000: id_bucket_4") != 2 || strings.Count(specs, "1001: v") != 1 {
		t.Errorf("spec %d of %s, last field id %d", id, specs, last)
	}
	set("")
	if id, _, specs := meta(); id != 0 {
		t.Errorf("spec %d of %s", id, specs)
	}
	_, _, before := meta()
	var e *lake.PartitionError
	if _, err := b.table.SetPartitioning(t.Context(), fields(t, "day(v)")); !errors.As(err, &e) || !strings.Contains(err.Error(), "db.t") {
		t.Errorf("day of a number: %v", err)
	}
	if _, _, after := meta(); after != before {
		t.Errorf("specs are %s, were %s", after, before)
	}
	if _, err := b.table.NewFileWriter(t.Context()); err != nil {
		t.Fatal(err)
	}
	set("v")
	w, err := b.table.NewFileWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rec := b.rows([]int64{1}, 1)
	defer rec.Release()
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err == nil {
		t.Error("a data file of a partitioned table was closed without a partition")
	}
}

// TestForeignSpec: another program's spec is followed from the next commit on, that of the race included.
func TestForeignSpec(t *testing.T) {
	b := open(t, 3, nil)
	if err := b.commit([]*lake.NewFile{b.write([]int64{1, 2}, 1)}, nil); err != nil {
		t.Fatal(err)
	}
	other, err := lake.Open(t.Context(), b.lake, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.SetPartitioning(t.Context(), fields(t, "v")); err != nil {
		t.Fatal(err)
	}
	m := model{map[int64]int64{1: 1, 2: 1, 3: 2}, nil}
	if err := b.commit([]*lake.NewFile{b.write([]int64{3}, 2)}, nil); err != nil { // was written for the old spec
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.table.Partitioning()); got != "[v]" {
		t.Errorf("after a commit on top, new files are partitioned by %s", got)
	}
	b.equal(m, testenv.DuckDB(t))
	files, _ := b.spread([]int64{4, 5}, 3)
	if err := b.commit(files, nil); err != nil {
		t.Fatal(err)
	}
	m.rows[4], m.rows[5] = 3, 3
	b.equal(m, testenv.DuckDB(t))
}
