package compaction

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
	"github.com/tidemark/tidemark/merge"
)

// later are options for a pass in the far future, when everything is old.
func later(keep int) PassOptions {
	now := time.Now().Add(1000 * time.Hour)
	return PassOptions{Options: small, Expire: lake.ExpireOptions{Keep: keep, Now: now}, Orphans: OrphanOptions{Now: now}}
}

// reopen loads table and index anew, as an owner does that finds another writer's commit.
func (b *bench) reopen() {
	b.t.Helper()
	_, err := b.table.Refresh(b.t.Context())
	b.must(err)
	b.index, err = merge.BuildIndex(b.t.Context(), b.table, b.codec)
	b.must(err)
	for n := range b.rows {
		k, _ := b.encode(n)
		b.places[n], _ = b.index.Get(k)
	}
}

// TestPass runs passes between random commits: readers see the model, the table stays small, and the store holds
// nothing but what the table needs.
func TestPass(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		duck := testenv.DuckDB(t)
		most := 0
		for round := range 8 {
			for range 12 {
				b.random(300, 60, 0.05)
			}
			r, err := Pass(t.Context(), b.lake, id, later(3))
			b.must(err)
			b.reopen()
			b.equal(duck)
			most = max(most, len(b.table.Files()))
			if r.Rewritten == 0 || round > 0 && r.Expired.Snapshots == 0 || r.Stale > 0 {
				t.Errorf("round %d: %s", round, r)
			}
			if again, err := Pass(t.Context(), b.lake, id, later(3)); err != nil || again.Rewritten > 1 {
				t.Errorf("a second pass: %s, %v", again, err)
			}
			b.reopen()
			b.equal(duck)
		}
		if most > 12 {
			t.Errorf("%d data files after a pass", most)
		}
		known, err := b.table.Referenced(t.Context())
		b.must(err)
		for o, err := range b.lake.Store.List(t.Context(), id.Path()+"/") {
			b.must(err)
			if name := path.Base(o.Name); !known[o.Name] && !strings.HasSuffix(name, ".metadata.json") && name != "version-hint.text" {
				t.Errorf("%s is left", o.Name)
			}
		}
	})
}

// TestPassOverNothing: an empty table, and one that is not there.
func TestPassOverNothing(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		if r, err := Pass(t.Context(), b.lake, id, later(1)); err != nil || r.Rewritten+r.Expired.Snapshots+len(r.Orphans.Names) > 0 {
			t.Errorf("%s, %v", r, err)
		}
		if _, err := Pass(t.Context(), b.lake, catalog.Identifier{DB: "db", Table: "none"}, later(1)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a table that is not there: %v", err)
		}
	})
}

// TestDryRun changes nothing.
func TestDryRun(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		for range 10 {
			b.random(300, 60, 0.05)
		}
		o := later(1)
		o.DryRun = true
		b.must(b.lake.Store.Put(t.Context(), id.Path()+"/data/stray.parquet", []byte("x")))
		before := b.table.SnapshotID()
		r, err := Pass(t.Context(), b.lake, id, o)
		b.must(err)
		if changed, err := b.table.Refresh(t.Context()); changed || err != nil || b.table.SnapshotID() != before || len(r.Planned.Groups) == 0 || len(r.Orphans.Names) != 1 {
			t.Errorf("changed %v, %v; %v", changed, err, r)
		}
		if _, err := b.lake.Store.Get(t.Context(), id.Path()+"/data/stray.parquet"); err != nil {
			t.Error(err)
		}
	})
}

// TestExpireKeeps: what a branch, a tag or the count protects stays, with its files.
func TestExpireKeeps(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		var ids []int64
		for i := range 12 {
			b.must(b.upsert(numbers(i*10, i*10+20), nil))
			ids = append(ids, b.table.SnapshotID())
		}
		b.edit(func(meta map[string]any) {
			refs := meta["refs"].(map[string]any)
			refs["year-end"] = map[string]any{"type": "tag", "snapshot-id": ids[2]}
			refs["side"] = map[string]any{"type": "branch", "snapshot-id": ids[6]}
		})
		_, err := b.table.Refresh(t.Context())
		b.must(err)
		if done, err := b.table.Expire(t.Context(), lake.ExpireOptions{Keep: 2}); err != nil || done.Snapshots != 0 {
			t.Errorf("young snapshots: %+v, %v", done, err)
		}
		done, err := b.table.Expire(t.Context(), lake.ExpireOptions{Keep: 2, Now: time.Now().Add(25 * time.Hour)})
		b.must(err)
		if done.Snapshots != 12-5 || done.Files == 0 { // two of main, two of side, the tag
			t.Errorf("expired %+v", done)
		}
		b.equal(testenv.DuckDB(t))
		there := b.snapshots()
		for i, s := range ids {
			if want := slices.Contains([]int{2, 5, 6, 10, 11}, i); there[s] != want {
				t.Errorf("snapshot %d of 12 is there: %v", i+1, there[s])
			}
		}
		for _, s := range []int64{ids[2], ids[6], ids[11]} {
			testenv.DuckDB(t).Query(t, fmt.Sprintf("SELECT count(*) FROM iceberg_scan('%s', snapshot_from_id=%d)", b.path, s))
		}
		needed, err := b.table.Referenced(t.Context())
		b.must(err)
		for name := range needed {
			if strings.HasSuffix(name, ".metadata.json") {
				continue
			}
			if _, err := b.lake.Store.Get(t.Context(), name); err != nil {
				t.Errorf("a file that is needed: %v", err)
			}
		}
	})
}

// TestExpireKeepsPosition: other programs' snapshots on top have no checkpoint, so the one that has it stays.
func TestExpireKeepsPosition(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		for i := range 6 {
			b.must(b.upsert(numbers(i*10, i*10+20), nil))
		}
		want, _ := b.table.Checkpoint()
		b.edit(func(meta map[string]any) { // as if two engines had committed after us
			snapshots := meta["snapshots"].([]any)
			for _, s := range snapshots[len(snapshots)-2:] {
				delete(s.(map[string]any)["summary"].(map[string]any), "tidemark.checkpoint")
			}
			delete(meta["properties"].(map[string]any), "tidemark.checkpoint")
		})
		_, err := b.table.Refresh(t.Context())
		b.must(err)
		held, ok := b.table.Checkpoint()
		if !ok || held.GTIDSet == want.GTIDSet {
			t.Fatalf("the test's premise: %v %v", held, ok)
		}
		done, err := b.table.Expire(t.Context(), lake.ExpireOptions{Keep: 1, Now: time.Now().Add(25 * time.Hour)})
		b.must(err)
		fresh, err := lake.Open(t.Context(), b.lake, id)
		b.must(err)
		if got, ok := fresh.Checkpoint(); !ok || got.GTIDSet != held.GTIDSet || done.Snapshots != 3 {
			t.Errorf("after %+v the position is %q (%v), was %q", done, got.GTIDSet, ok, held.GTIDSet)
		}
	})
}

// TestOrphansAreOld: nothing young is touched, nothing that the table needs, no metadata file.
func TestOrphansAreOld(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		for range 5 {
			b.random(100, 60, 0.05)
		}
		r := b.prepare() // its outputs are referenced by nothing yet
		stray := id.Path() + "/data/sub/stray.parquet"
		b.must(b.lake.Store.Put(t.Context(), stray, []byte("stray")))
		b.must(b.lake.Store.Put(t.Context(), id.Path()+"/metadata/notes.txt", []byte("mine")))
		if got, err := RemoveOrphans(t.Context(), b.lake, id, OrphanOptions{}); err != nil || len(got.Names) > 0 {
			t.Errorf("young files: %v, %v", got, err)
		}
		if _, err := RemoveOrphans(t.Context(), b.lake, id, OrphanOptions{SafetyAge: time.Minute}); err == nil {
			t.Error("a safety age of a minute was taken")
		}
		got, err := RemoveOrphans(t.Context(), b.lake, id, OrphanOptions{Now: time.Now().Add(80 * time.Hour)})
		b.must(err)
		if len(got.Names) != 1+r.Files || !slices.Contains(got.Names, stray) || got.Bytes != 5+r.Bytes {
			t.Errorf("old files: %+v", got)
		}
		if _, err := b.lake.Store.Get(t.Context(), id.Path()+"/metadata/notes.txt"); err != nil {
			t.Error(err)
		}
		b.equal(testenv.DuckDB(t))
	})
}

// TestTidy: delete files without a data file, and many small manifests.
func TestTidy(t *testing.T) {
	b := newBench(t, 2, shapes[0], nil)
	for i := range 60 {
		b.must(b.upsert(numbers(i*10, i*10+10), nil))
	}
	var del []int
	for i := range 60 {
		del = append(del, i*10+3)
	}
	b.must(b.upsert(nil, del))
	b.must(b.publish(b.prepare()))
	if n := b.table.DeleteFiles(); n != 1 {
		t.Fatalf("the test's premise: %d delete files", n)
	}
	done, err := b.table.Tidy(t.Context())
	b.must(err)
	if done.DeleteFiles != 1 || b.table.DeleteFiles() != 0 {
		t.Errorf("%+v, %d delete files are left", done, b.table.DeleteFiles())
	}
	b.equal(testenv.DuckDB(t))
	if done, err := b.table.Tidy(t.Context()); err != nil || done != (lake.Tidied{}) {
		t.Errorf("nothing to do: %+v, %v", done, err)
	}
}

// raced makes another writer commit just before each of the first few swaps.
type raced struct {
	store.Store
	before func()
}

func (r *raced) PutIfAbsent(ctx ctx, name string, body []byte) error {
	if f := r.before; f != nil {
		r.before = nil
		f()
	}
	return r.Store.PutIfAbsent(ctx, name, body)
}

// TestPassBesideIngest: commits of another writer come between reading and swapping; their deletes are not lost.
func TestPassBesideIngest(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			var between *raced
			b := newBench(t, format, shapes[0], func(s store.Store) store.Store { between = &raced{Store: s}; return between })
			for range 10 {
				b.random(300, 60, 0.05)
			}
			left := 3
			var again func()
			again = func() {
				b.must(b.upsert(numbers(100*left, 100*left+7), numbers(50*left, 50*left+9)))
				if left--; left > 0 {
					between.before = again
				}
			}
			between.before = again
			r, err := Pass(t.Context(), b.lake, id, PassOptions{Options: small})
			b.must(err)
			if left > 0 || r.Rewritten == 0 {
				t.Errorf("%d commits did not come in between; %s", left, r)
			}
			b.reopen()
			b.equal(testenv.DuckDB(t))
		})
	}
}

// TestPassEnds: a pass that is interrupted leaves no data file behind.
func TestPassEnds(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		for range 10 {
			b.random(300, 60, 0.05)
		}
		if _, err := Pass(t.Context(), b.lake, id, PassOptions{Options: Options{MinInputs: 1}}); err == nil {
			t.Error("options that make no sense were taken")
		}
		v, err := OpenView(t.Context(), b.lake, id)
		b.must(err)
		ended, cancel := newCancelled(t)
		defer cancel()
		if _, err := v.Prepare(ended, v.all(), small); !errors.Is(err, ended.Err()) {
			t.Errorf("an ended context: %v", err)
		}
		b.noStrays()
	})
}

// TestManifestsMerge: many manifests with few entries become few, without a change for readers, and row ids stay.
func TestManifestsMerge(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		duck := testenv.DuckDB(t)
		for round := range 14 { // more than a manifest's entries at once, so that each round begins a new one
			var add []int
			for i := range 101 {
				add = append(add, round*1000+i)
			}
			b.must(b.scatter(add))
			b.must(b.upsert(nil, add[:95]))
		}
		b.equal(duck)
		before := b.lineage()
		done, err := b.table.Tidy(t.Context())
		b.must(err)
		if done.Manifests < 5 {
			t.Errorf("%+v", done)
		}
		if !maps.Equal(before, b.lineage()) {
			t.Error("row ids changed")
		}
		b.equal(duck)
		b.random(2000, 50, 0.1)
		b.must(b.publish(b.prepare()))
		b.equal(duck)
		if done, err := b.table.Tidy(t.Context()); err != nil || done.Manifests != 0 {
			t.Errorf("again: %+v, %v", done, err)
		}
	})
}
