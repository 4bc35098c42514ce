package lake_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// TestLoadBranch loads a table on its branch, twice, the second time over what it has: readers see none of it before the
// promotion, all of it after, and the checkpoint that counts is the load's.
func TestLoadBranch(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			b := open(t, format, nil)
			duck := testenv.DuckDB(t)
			sees := func(want string) {
				t.Helper()
				if got := duck.Query(t, "SELECT count(*), sum(v) FROM iceberg_scan('"+b.path+"')"); fmt.Sprint(got) != want {
					t.Errorf("DuckDB sees %v, want %s", got, want)
				}
			}
			record := func(state checkpoint.State) checkpoint.Record {
				r := b.record()
				r.State = state
				return r
			}
			commit := func(c lake.Commit) {
				t.Helper()
				c.Record = record(checkpoint.StateLoading)
				if err := b.table.Commit(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			reopen := func(snapshots bool) {
				t.Helper()
				var err error
				if b.table, err = lake.OpenLoad(t.Context(), b.lake, id); err != nil {
					t.Fatal(err)
				}
				if r, ok := b.table.Checkpoint(); !ok || r.State != checkpoint.StateLoading {
					t.Fatalf("the checkpoint is %v, %v", r, ok)
				}
				if got := b.table.SnapshotID() != 0; got != snapshots {
					t.Fatalf("the branch has a head: %v, want %v", got, snapshots)
				}
				if _, err := b.table.RaiseEpoch(t.Context(), "p"); err != nil {
					t.Fatal(err)
				}
			}
			for round := range int64(2) {
				before := []string{"[[0 " + server.Null + "]]", "[[3 6]]"}[round]
				if err := b.table.StartLoad(t.Context(), record(checkpoint.StateLoading)); err != nil {
					t.Fatal(err)
				}
				sees(before)
				reopen(false)
				first := b.write([]int64{1, 2, 3}, round+1)
				commit(lake.Commit{Add: []*lake.NewFile{first}})
				sees(before)
				reopen(true)
				id := b.table.Files()[0].ID
				commit(lake.Commit{Add: []*lake.NewFile{b.write([]int64{4}, round+4)}, Delete: map[uint32]*roaring.Bitmap{id: roaring.BitmapOf(1)}})
				sees(before)
				if err := b.table.Promote(t.Context(), record(checkpoint.StateLive)); err != nil {
					t.Fatal(err)
				}
				sees([]string{"[[3 6]]", "[[3 9]]"}[round])
				main, err := lake.Open(t.Context(), b.lake, b.table.ID())
				if err != nil {
					t.Fatal(err)
				}
				if r, ok := main.Checkpoint(); !ok || r.State != checkpoint.StateLive || main.SnapshotID() != b.table.SnapshotID() || len(main.Files()) != 2 {
					t.Errorf("after the promotion main has %v, %d files", r, len(main.Files()))
				}
			}
			// Started over, and then empty.
			if err := b.table.StartLoad(t.Context(), record(checkpoint.StateLoading)); err != nil {
				t.Fatal(err)
			}
			commit(lake.Commit{Add: []*lake.NewFile{b.write([]int64{7}, 7)}})
			if err := b.table.StartLoad(t.Context(), record(checkpoint.StateLoading)); err != nil {
				t.Fatal(err)
			}
			reopen(false)
			if err := b.table.Promote(t.Context(), record(checkpoint.StateLive)); err != nil {
				t.Fatal(err)
			}
			sees("[[0 " + server.Null + "]]")
			if err := b.commit([]*lake.NewFile{b.write([]int64{8}, 8)}, nil); err != nil {
				t.Fatal(err)
			}
			sees("[[1 8]]")
		})
	}
	if _, err := lake.OpenLoad(t.Context(), open(t, 3, nil).lake, catalog.Identifier{DB: "no", Table: "such"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a table that is not there: %v", err)
	}
}

// TestFork: data files written through another handle are the table's own to commit.
func TestFork(t *testing.T) {
	b := open(t, 3, nil)
	fork := &bench{t: t, lake: b.lake, table: b.table.Fork()}
	files := []*lake.NewFile{fork.write([]int64{1, 2}, 1), fork.write([]int64{3}, 1)}
	b.table.Take(files)
	if err := b.commit(files, nil); err != nil {
		t.Fatal(err)
	}
	if got := b.table.Files(); len(got) != 2 || got[0].ID == got[1].ID || got[0].ID == 0 {
		t.Errorf("the files are %v", got)
	}
}
