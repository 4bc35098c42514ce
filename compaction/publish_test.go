package compaction

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// small are options under which a table of a few hundred rows has much to do.
var small = Options{TargetFileSize: 24 << 10, MinInputs: 3, MaxInputs: 6, DeletedShare: 0.3, MaxGroupBytes: 200 << 10}

// TestModel makes random commits with rewrites prepared at old snapshots and published later, and demands after every
// publication that DuckDB, a fresh open and the open table read the model, and that the index equals one built anew.
func TestModel(t *testing.T) {
	for _, format := range []int{3, 2} {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("v%d/%s", format, s.name), func(t *testing.T) {
				b := newBench(t, format, s, nil)
				duck := testenv.DuckDB(t)
				var waiting []*Rewrite
				published, stale := 0, 0
				for step := range 60 {
					b.random(400, 80, []float64{0, 0.02, 0.1, 0.3}[b.rng.IntN(4)])
					if step%4 == 1 {
						v, err := OpenView(t.Context(), b.lake, id)
						if err != nil {
							t.Fatal(err)
						}
						for _, g := range v.Plan(small).Groups {
							r, err := v.Prepare(t.Context(), g, small)
							if err != nil {
								t.Fatal(err)
							}
							waiting = append(waiting, r)
						}
					}
					for len(waiting) > 0 && b.rng.IntN(3) == 0 {
						i := b.rng.IntN(len(waiting))
						r := waiting[i]
						waiting = slices.Delete(waiting, i, i+1)
						before, _ := b.table.Checkpoint()
						switch err := b.publish(r); {
						case errors.Is(err, lake.ErrStale):
							stale++ // a file was deleted as a whole, or another rewrite had it
						case err != nil:
							t.Fatal(err)
						default:
							published++
						}
						if after, _ := b.table.Checkpoint(); after.Marshal() != before.Marshal() {
							t.Fatalf("the checkpoint changed from %s to %s", before.Marshal(), after.Marshal())
						}
						b.equal(duck)
					}
				}
				for _, r := range waiting {
					if err := r.Discard(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if published < 5 || stale == 0 {
					t.Errorf("%d rewrites published, %d came too late: the test tests little", published, stale)
				}
				b.noStrays()
			})
		}
	}
}

// publish publishes a rewrite as an owner does, and makes the model's places follow.
func (b *bench) publish(r *Rewrite) error {
	b.t.Helper()
	before := b.lineage()
	m, err := r.Publish(b.t.Context(), b.table)
	if err != nil {
		return err
	}
	if after := b.lineage(); !maps.Equal(before, after) {
		b.t.Fatalf("the rows' lineage was\n%v, is\n%v", before, after)
	}
	if err := m.Apply(b.index); err != nil {
		b.t.Fatal(err)
	}
	for n := range b.rows {
		k, _ := b.encode(n)
		p, ok := b.index.Get(k)
		if !ok {
			b.t.Fatalf("key %d is not in the index any more", n)
		}
		b.places[n] = p
	}
	return nil
}

// all makes one group of all data files.
func (v *View) all() Group {
	return Group{Why: "test", Files: v.Files()}
}

func (b *bench) prepare() *Rewrite {
	b.t.Helper()
	v, err := OpenView(b.t.Context(), b.lake, id)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := v.Prepare(b.t.Context(), v.all(), small)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func numbers(from, to int) (out []int) {
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func formats(t *testing.T, run func(t *testing.T, b *bench)) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) { run(t, newBench(t, format, shapes[0], nil)) })
	}
}

// TestDeleteDuringRewrite: rows deleted or updated while the rewrite runs are so in its output, at once.
func TestDeleteDuringRewrite(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 300), nil))
		b.must(b.upsert(numbers(200, 500), numbers(0, 10)))
		r := b.prepare()
		b.must(b.upsert(numbers(100, 250), numbers(20, 30)))
		b.must(b.upsert(nil, numbers(300, 310)))
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		b.noStrays()
		if t.Failed() {
			return
		}
		if n := len(b.table.Files()); n != r.Files+1 {
			t.Errorf("%d data files, want the %d of the rewrite and one newer", n, r.Files)
		}
	})
}

// TestAllDeletedDuringRewrite: outputs that have no live row when they are published are left out.
func TestAllDeletedDuringRewrite(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 300), nil))
		b.must(b.upsert(numbers(300, 400), numbers(0, 10)))
		r := b.prepare()
		b.must(b.upsert(nil, slices.Concat(numbers(10, 299), numbers(300, 399))))
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		b.noStrays()
		r = b.prepare()
		b.must(b.upsert(nil, numbers(399, 400)))
		b.must(b.upsert(numbers(500, 501), nil))
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		b.noStrays()
	})
}

// TestInputEmptied: a file whose last rows are deleted while it is rewritten is no reason to drop the rewrite of the
// others. When it has none left at all, the rewrite is dropped.
func TestInputEmptied(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 200), nil))
		b.must(b.upsert(numbers(500, 520), nil))
		b.must(b.upsert(nil, numbers(515, 520)))
		b.must(b.upsert(numbers(300, 320), nil))
		r, late := b.prepare(), b.prepare()
		b.must(b.upsert(nil, numbers(500, 510)))
		b.must(b.upsert(numbers(600, 610), numbers(510, 515))) // leaves with this
		b.must(b.upsert(numbers(300, 320), numbers(20, 30)))   // so does the third
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		if err := b.publish(late); !errors.Is(err, lake.ErrStale) {
			t.Errorf("the files left with a rewrite: %v", err)
		}
		last := b.prepare()
		b.must(b.upsert(nil, numbers(0, 700)))
		if err := b.publish(last); !errors.Is(err, lake.ErrStale) {
			t.Errorf("no row is left: %v", err)
		}
		b.equal(testenv.DuckDB(t))
		b.noStrays()
	})
}

// TestFileReplacedTwice: of two rewrites of one file, the second is dropped, and its outputs with it.
func TestFileReplacedTwice(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 100), nil))
		b.must(b.upsert(numbers(50, 150), nil))
		first, second := b.prepare(), b.prepare()
		b.must(b.publish(first))
		if err := b.publish(second); !errors.Is(err, lake.ErrStale) {
			t.Errorf("the second rewrite: %v", err)
		}
		if err := b.publish(second); !errors.Is(err, lake.ErrStale) {
			t.Errorf("published again: %v", err)
		}
		b.equal(testenv.DuckDB(t))
		b.noStrays()
	})
}

// TestWideDeleteFile: in format 2 a delete file may cover files that are rewritten and files that are not. Neither the
// rewrite nor what comes after it brings a row back.
func TestWideDeleteFile(t *testing.T) {
	b := newBench(t, 2, shapes[0], nil)
	const files = 60
	for i := range files {
		b.must(b.upsert(numbers(i*10, i*10+10), nil))
	}
	var del []int
	for i := range files {
		del = append(del, i*10+3)
	}
	b.must(b.upsert(nil, del)) // more data files than get a delete file each
	duck := testenv.DuckDB(t)
	b.equal(duck)
	v, err := OpenView(t.Context(), b.lake, id)
	b.must(err)
	half := v.all()
	half.Files = half.Files[:files/2]
	r, err := v.Prepare(t.Context(), half, small)
	b.must(err)
	b.must(b.upsert(nil, numbers(100, 108)))
	b.must(b.publish(r))
	b.equal(duck)
	for i := range del {
		del[i]++
	}
	b.must(b.upsert(nil, del))
	b.equal(duck)
	b.must(b.publish(b.prepare()))
	b.equal(duck)
	if n := b.table.DeleteFiles(); n > 1 {
		t.Errorf("%d delete files are left though every data file was rewritten", n)
	}
}

// TestRollback: a rewrite whose inputs have deleted rows back, or are gone, is dropped.
func TestRollback(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 100), nil))
		whole := b.table.SnapshotID()
		rows := maps.Clone(b.rows)
		b.must(b.upsert(nil, numbers(0, 10)))
		r := b.prepare()
		b.rollback(whole)
		b.rows = rows
		if _, err := r.Publish(t.Context(), b.table); !errors.Is(err, lake.ErrSnapshotChanged) {
			t.Fatalf("over a rollback it does not know of: %v", err)
		}
		if _, err := b.table.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish(t.Context(), b.table); !errors.Is(err, lake.ErrStale) {
			t.Fatalf("with rows back: %v", err)
		}
		var err error
		b.index, err = merge.BuildIndex(t.Context(), b.table, b.codec)
		b.must(err)
		b.equal(testenv.DuckDB(t))
		b.noStrays()
	})
}

// rollback makes main point to an older snapshot, as another program would.
func (b *bench) rollback(snapshot int64) {
	b.t.Helper()
	b.edit(func(meta map[string]any) {
		meta["current-snapshot-id"] = snapshot
		meta["refs"].(map[string]any)["main"].(map[string]any)["snapshot-id"] = snapshot
	})
}

// TestLostRace: another writer's commit comes first. Nothing is staged again blindly: the owner is told, and after
// loading the table anew its deletes are mapped too.
func TestLostRace(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 200), nil))
		b.must(b.upsert(numbers(100, 300), nil))
		r := b.prepare()
		other, err := lake.Open(t.Context(), b.lake, id)
		b.must(err)
		b.must(b.upsert(nil, numbers(0, 20)))
		if _, err := r.Publish(t.Context(), other); !errors.Is(err, lake.ErrSnapshotChanged) || errors.Is(err, lake.ErrOvertaken) {
			t.Fatalf("the race was lost: %v", err)
		}
		if _, err := other.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		b.table = other
		b.index, err = merge.BuildIndex(t.Context(), b.table, b.codec)
		b.must(err)
		b.equal(testenv.DuckDB(t))
		b.noStrays()
	})
}

// TestForeignProperty: a change of properties alone is no reason to give up, and it stays.
func TestForeignProperty(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 200), nil))
		r := b.prepare()
		record, _ := b.table.Checkpoint()
		record.GTIDSet = "00000000-0000-0000-0000-000000000009:1-7"
		b.edit(func(meta map[string]any) {
			p := meta["properties"].(map[string]any)
			p["owner"] = "somebody"
			record.SnapshotID = b.table.SnapshotID()
			p[checkpoint.Key] = record.Marshal()
		})
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		fresh, err := lake.Open(t.Context(), b.lake, id)
		b.must(err)
		if got, _ := fresh.Checkpoint(); got.GTIDSet != record.GTIDSet {
			t.Errorf("the position went from %s back to %s", record.GTIDSet, got.GTIDSet)
		}
	})
}

// TestPendingDeletes: what the owner is about to delete when the rewrite is published follows the rows.
func TestPendingDeletes(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 200), nil))
		b.must(b.upsert(numbers(100, 300), numbers(0, 5)))
		r := b.prepare()
		pending := merge.NewDelta()
		batch := merge.NewBatch(b.codec)
		for _, n := range []int{7, 8, 150, 299} {
			k, raw := b.encode(n)
			batch.Delete(k, []byte(raw))
			delete(b.rows, n)
			delete(b.places, n)
		}
		pending.Resolve(batch.Cut(), b.index, 0)
		m, err := r.Publish(t.Context(), b.table)
		b.must(err)
		b.must(m.Apply(b.index))
		b.must(m.Deletes(pending.Delete))
		record, _ := b.table.Checkpoint()
		record.Commit = "pending"
		b.must(b.table.Commit(t.Context(), lake.Commit{Delete: pending.Delete, Record: record}))
		b.equal(testenv.DuckDB(t))
	})
}
