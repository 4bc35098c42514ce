package merge

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/tidemark/tidemark/lake"
)

// Foreign is what a commit of another program did to the rows, as far as their number tells.
type Foreign struct {
	Moved int // live rows of the data files that came
	Rows  int // by how much the number of live rows changed; 0 after a mere rewrite
}

// Follow makes an index and what is pending on top of it follow a commit of another program: the keys of the data files
// that left are dropped, those of the new ones read. Positions that the pending delta deletes in a file that left are
// looked up by their key, and deleted where the row stands now. Files that the delta's own rows are in are no part of the
// table yet.
//
// After an error index and delta are of no use. Two live rows of one key are an error, as they are for BuildIndex.
func Follow(ctx context.Context, t *lake.Table, codec *KeyCodec, x *Index, drift lake.Drift, pending *Delta) (Foreign, error) {
	if pending == nil {
		pending = NewDelta()
	}
	left := map[uint32]bool{}
	ended := map[Key]int{} // keys of rows that the delta deletes in files that left, and how many
	for _, f := range drift.Gone {
		left[f.ID] = true
		positions := pending.Delete[f.ID]
		if positions == nil {
			continue
		}
		delete(pending.Delete, f.ID)
		err := eachKey(ctx, t, f, codec, positions.Contains, func(k Key, _ []byte, _ uint32) error {
			ended[k]++
			return nil
		})
		if err != nil {
			return Foreign{}, err
		}
	}
	dropped := x.drop(func(p Place) bool {
		b := drift.Deleted[p.File]
		return left[p.File] || b != nil && b.Contains(p.Pos)
	})
	did := Foreign{Rows: -dropped}
	for _, n := range ended {
		did.Rows -= n
	}
	for _, f := range drift.Added {
		deletes := roaring.New()
		err := eachKey(ctx, t, f, codec, live(f), func(k Key, raw []byte, pos uint32) error {
			did.Moved++
			did.Rows++
			if n := ended[k]; n > 0 {
				ended[k]--
				deletes.Add(pos)
				return nil
			}
			if codec.rows {
				x.Add(k, Place{f.ID, pos})
				return nil
			}
			old, had := x.Put(k, Place{f.ID, pos})
			if had && t.File(old.File) != nil {
				return twice(codec, k, raw, pos, old)
			}
			if had { // a row of the delta, which supersedes this one
				x.Put(k, old)
				deletes.Add(pos)
			}
			return nil
		})
		if err != nil {
			return Foreign{}, err
		}
		if !deletes.IsEmpty() {
			pending.bitmap(f.ID).Or(deletes)
		}
	}
	return did, nil
}
