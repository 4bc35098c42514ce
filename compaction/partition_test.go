package compaction

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
)

// partitionBy changes the table's partition spec.
func (b *bench) partitionBy(text string) {
	b.t.Helper()
	fields, err := lake.ParsePartition(text)
	b.must(err)
	_, err = b.table.SetPartitioning(b.t.Context(), fields)
	b.must(err)
}

// inPartitions demands that every row of a file of the table's spec is of the file's partition, and returns how many files
// of other specs there are, and how many partitions of this one.
func (b *bench) inPartitions() (outdated, partitions int) {
	b.t.Helper()
	seen := map[string]bool{}
	for _, f := range b.table.Inventory() {
		if b.table.Outdated(f.Partition()) {
			outdated++
			continue
		}
		seen[f.Partition().Key()] = true
		p, err := b.table.Partitioner()
		b.must(err)
		if p == nil {
			continue
		}
		rows, err := b.table.OpenRows(b.t.Context(), &f, 1000, memory.DefaultAllocator)
		b.must(err)
		for {
			rec, err := rows.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			b.must(err)
			_, err = p.Split(rec)
			b.must(err)
			rec.Release()
		}
		b.must(rows.Close())
		if p.Partitions() != 1 || p.Partition(0).Key() != f.Partition().Key() {
			b.t.Errorf("%s has rows of %d partitions, or of another than its own", f.Path, p.Partitions())
		}
	}
	return outdated, len(seen)
}

// TestPartitionedModel is TestModel over a table whose partition spec changes, with rewrites prepared before and published
// after the change.
func TestPartitionedModel(t *testing.T) {
	specs := []string{"bucket(3, n)", "truncate(40, v), bucket(2, atext)", "", "year(atime), adate", "bucket(3, n)"}
	formats(t, func(t *testing.T, b *bench) {
		duck := testenv.DuckDB(t)
		var waiting []*Rewrite
		published, divided, most := 0, 0, 0
		for step := range 60 {
			if step%12 == 0 {
				b.partitionBy(specs[step/12])
			}
			b.random(300, 80, []float64{0, 0.02, 0.1, 0.3}[b.rng.IntN(4)])
			if step%3 == 1 {
				v, err := OpenView(t.Context(), b.lake, id)
				b.must(err)
				for _, g := range v.Plan(small).Groups {
					r, err := v.Prepare(t.Context(), g, small)
					b.must(err)
					for _, m := range r.out.moves.inputs {
						if m.places != nil {
							divided++
							break
						}
					}
					waiting = append(waiting, r)
				}
			}
			for len(waiting) > 0 && b.rng.IntN(3) > 0 {
				i := b.rng.IntN(len(waiting))
				r := waiting[i]
				waiting = slices.Delete(waiting, i, i+1)
				switch err := b.publish(r); {
				case errors.Is(err, lake.ErrStale):
				case err != nil:
					t.Fatal(err)
				default:
					published++
				}
				b.equal(duck)
			}
			_, n := b.inPartitions()
			most = max(most, n)
		}
		for _, r := range waiting {
			b.must(r.Discard(t.Context()))
		}
		b.noStrays()
		if published < 10 || divided < 3 || most < 10 {
			t.Errorf("%d rewrites published, %d divided rows anew, %d partitions at most: the test shows little", published, divided, most)
		}
	})
}

// TestDivide: files of another spec are rewritten into the table's partitions, in several portions, with deletes that came
// meanwhile; then partitions are merged, in one commit, each by itself.
func TestDivide(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 20_000), nil))
		b.must(b.upsert(numbers(15_000, 25_000), numbers(0, 100)))
		b.partitionBy("bucket(7, n)")
		v, err := OpenView(t.Context(), b.lake, id)
		b.must(err)
		var inputs []*lake.FileInfo
		for _, f := range v.Files() {
			if !f.Outdated {
				t.Fatalf("%s is of the new spec", f.Path)
			}
			inputs = append(inputs, v.files[f.Path])
		}
		out, err := rewrite(t.Context(), v.table, [][]*lake.FileInfo{inputs}, 1<<20, 300<<10)
		b.must(err)
		if n := len(out.outputs); n < 21 || n%7 != 0 {
			t.Errorf("%d outputs, expected 7 in each of several portions", n)
		}
		b.must(b.upsert(numbers(10_000, 16_000), numbers(500, 600)))
		r := &Rewrite{view: v.table, base: v.table.SnapshotID(), inputs: inputs, out: out}
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		if outdated, partitions := b.inPartitions(); outdated != 0 || partitions != 7 {
			t.Errorf("%d files of the old spec, %d partitions", outdated, partitions)
		}
		snapshots := len(b.snapshots())
		if v, err = OpenView(t.Context(), b.lake, id); err != nil {
			t.Fatal(err)
		}
		plan := v.Plan(Options{MinInputs: 3, DeletedShare: 0.99})
		if len(plan.Groups) != 1 || len(plan.Groups[0].Files) != len(b.table.Files()) {
			t.Fatalf("planned %s of %d files", &plan, len(b.table.Files()))
		}
		if r, err = v.Prepare(t.Context(), plan.Groups[0], Options{}); err != nil {
			t.Fatal(err)
		}
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		if _, partitions := b.inPartitions(); partitions != 7 || len(b.table.Files()) != 7 || len(b.snapshots()) != snapshots+1 {
			t.Errorf("%d files in %d partitions, in %d commits", len(b.table.Files()), partitions, len(b.snapshots())-snapshots)
		}
		b.noStrays()
	})
}

// TestPlanWithinPartitions: files of different partitions are neither counted nor merged together.
func TestPlanWithinPartitions(t *testing.T) {
	var files []File
	for partition, n := range []int{7, 8, 9, 8} {
		for i := range n {
			files = append(files, File{Path: fmt.Sprint(partition, " ", i), Rows: 10, Bytes: 1000, Partition: fmt.Sprint(partition), Outdated: partition == 3})
		}
	}
	p := Make(files, Options{})
	if len(p.Groups) != 1 {
		t.Fatalf("planned %+v", p)
	}
	count := map[string]int{}
	for _, f := range p.Groups[0].Files {
		count[f.Partition]++
	}
	if count["0"] != 0 || count["1"] != 8 || count["2"] != 9 || count["3"] != 8 {
		t.Errorf("planned files by partition: %v", count)
	}
}
