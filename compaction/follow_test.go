package compaction

import (
	"errors"
	"fmt"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// TestIndexFollowsOthers: another program rewrites the table, deletes rows and adds one, while updates, inserts and deletes
// are pending that were resolved against the table before. They are committed on top, and the index is as one built anew.
func TestIndexFollowsOthers(t *testing.T) {
	for _, format := range []int{3, 2} {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("v%d/%s", format, s.name), func(t *testing.T) {
				b := newBench(t, format, s, nil)
				b.must(b.upsert(numbers(0, 300), nil))
				duck := testenv.DuckDB(t)
				for range 4 {
					b.random(300, 60, 0.03)
					b.must(b.upsert([]int{200, 201, 202, 203}, nil))
					rewrite := b.prepare()
					other, err := lake.Open(t.Context(), b.lake, id)
					b.must(err)
					lost := b.elsewhere(other, 203)

					add, deletes, err := b.stage([]int{200, 201, 400 + b.version, 500 + b.version}, []int{202, 7, 8, 9})
					b.must(err)
					_, err = rewrite.Publish(t.Context(), other)
					b.must(err)
					if err := b.commit(add, deletes); !errors.Is(err, lake.ErrSnapshotChanged) {
						t.Fatalf("a commit on top of another program's: %v", err)
					}
					drift, err := b.table.Follow(t.Context())
					b.must(err)
					did, err := merge.Follow(t.Context(), b.table, b.codec, b.index, drift, &merge.Delta{Delete: deletes})
					b.must(err)
					if did.Rows != -lost || did.Moved == 0 || len(drift.Gone) == 0 || len(drift.Added) == 0 {
						t.Errorf("it saw %+v, %d files gone and %d added; %d rows were deleted", did, len(drift.Gone), len(drift.Added), lost)
					}
					b.must(b.commit(add, deletes))
					b.relocate()
					b.equal(duck)
				}
			})
		}
	}
}

// TestFollowNoticesARollback: what is at another position, or has rows back, is not followed.
func TestFollowNoticesARollback(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 100), nil))
		first := b.table.SnapshotID()
		b.must(b.upsert(nil, numbers(0, 5)))
		b.edit(func(meta map[string]any) {
			meta["current-snapshot-id"] = first
			meta["refs"].(map[string]any)["main"].(map[string]any)["snapshot-id"] = first
		})
		if _, err := b.table.Follow(t.Context()); !errors.Is(err, lake.ErrMoved) {
			t.Errorf("a rollback: %v", err)
		}
	})
}

// elsewhere deletes rows as another program would: the position stays what it is. It returns how many there were.
func (b *bench) elsewhere(other *lake.Table, list ...int) (n int) {
	b.t.Helper()
	paths := map[uint32]string{}
	for _, f := range b.table.Files() {
		paths[f.ID] = f.Path
	}
	deletes := map[uint32]*roaring.Bitmap{}
	for _, number := range list {
		p, there := b.places[number]
		if !there {
			continue
		}
		n++
		for _, f := range other.Files() {
			if f.Path == paths[p.File] {
				deletes[f.ID] = roaring.BitmapOf(p.Pos)
			}
		}
		delete(b.rows, number)
		delete(b.places, number)
	}
	record, _ := other.Checkpoint()
	b.must(other.Claim(b.t.Context(), record.Pipeline, record.Epoch))
	b.must(other.Commit(b.t.Context(), lake.Commit{Delete: deletes, Record: record}))
	return n
}

// relocate takes the places of all rows from the index.
func (b *bench) relocate() {
	for n := range b.rows {
		k, _ := b.encode(n)
		b.places[n], _ = b.index.Get(k)
	}
}
