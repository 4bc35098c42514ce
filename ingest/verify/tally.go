package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/zeebo/xxh3"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
)

// A table without a key has no first before images to go by: one row of several that are the same is as good as another. Its
// rows are counted. The lake's count one each, at the lake's position; those of a snapshot of the source, at a position S,
// take one off; and of what the binary log has between the two, what came counts one and what went takes one off. In the end
// no row counts anything.
//
// Of S it is known which transactions it shows, but for those that were being committed when it was taken. When one of these
// changes the table, the comparison is made again.

// tally counts rows by their hash. It is safe for concurrent use.
type tally struct {
	moment snapshot.Moment // of the source's snapshot
	shards [64]tallyShard

	mu   sync.Mutex
	rows map[xxh3.Uint128]*snapshot.Row // of some that the source has, or had, more of: to name them
	kept int                            // bytes of them
}

type tallyShard struct {
	mu     sync.Mutex
	counts map[xxh3.Uint128]int32
}

// tallyBytes is about what a row takes that is not the same as another.
const tallyBytes = 64

// add counts a row and returns what its kind counts now.
func (t *tally) add(row xxh3.Uint128, by int32) int32 {
	s := &t.shards[row.Hi>>58]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = map[xxh3.Uint128]int32{}
	}
	n := s.counts[row] + by
	if n == 0 {
		delete(s.counts, row)
	} else {
		s.counts[row] = n
	}
	return n
}

// take takes one off for a row of the source, and keeps the row where the lake has no more of them, as far as is known.
func (t *tally) take(h *snapshot.Hasher, batch arrow.RecordBatch, row int, of xxh3.Uint128) error {
	if t.add(of, -1) >= 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rows[of] != nil || t.kept >= suspectBytes {
		return nil
	}
	taken, err := h.Row(batch, row)
	if err != nil {
		return err
	}
	if t.rows == nil {
		t.rows = map[xxh3.Uint128]*snapshot.Row{}
	}
	t.rows[of] = &taken
	t.kept += taken.Size()
	return nil
}

// report tells the findings of what is left.
func (t *tally) report(p *comparison) {
	for i := range t.shards {
		for row, n := range t.shards[i].counts {
			f := finding{key: p.half.hashed(row, row).key, kind: Extra}
			if n < 0 {
				f.kind, f.source, n = Missing, t.rows[row], -n
			}
			for range n {
				p.findings.add(f)
			}
		}
	}
}

// errUncertain says that the snapshot may show a transaction, or not.
var errUncertain = errors.New("a transaction was committed just when the snapshot was taken, and the table has no key")

// counts reports whether a transaction is one between the lake's position and the snapshot.
func (t *tally) counts(gtid checkpoint.GTID) (bool, error) {
	if t.moment.Open.ContainsGTID(gtid) {
		return false, fmt.Errorf("%w (%s)", errUncertain, gtid)
	}
	return t.moment.Set.ContainsGTID(gtid), nil
}

// countLake counts the lake's rows.
func (p *comparison) countLake(ctx context.Context) error {
	return p.eachLakeRow(ctx, func(_ *snapshot.Hasher, _ arrow.RecordBatch, _ int, _, all xxh3.Uint128) error {
		p.held.Add(1)
		p.tally.add(all, 1)
		return nil
	})
}

// freeze takes the snapshot, over the connection that countSource will read it by.
func (p *comparison) freeze(ctx context.Context) (err error) {
	if p.tally.moment, err = p.conns[0].Freeze(ctx); err != nil {
		return err
	}
	if missing := p.view.set.Subtract(p.tally.moment.Set); !missing.IsEmpty() {
		return &source.Error{Kind: source.KindStall, Host: p.host, Op: "take a snapshot", Err: fmt.Errorf("it lacks %s", missing.Short())}
	}
	return nil
}

// countSource takes the snapshot's rows off, and ends it.
func (p *comparison) countSource(ctx context.Context) error {
	h, err := snapshot.NewHasher(p.columns, p.key)
	if err != nil {
		return err
	}
	reader := snapshot.NewReader(memory.DefaultAllocator, p.conns[0], p.source)
	defer reader.Close(ctx)
	if err := reader.Start(ctx, snapshot.Range{}); err != nil {
		return err
	}
	err = p.eachBatch(ctx, reader, func(batch arrow.RecordBatch) (n int64, err error) {
		err = h.Each(batch, func(row int, _, all xxh3.Uint128) error {
			if !p.part.takes(p.half.hashed(all, all).key) {
				return nil
			}
			n++
			return p.tally.take(h, batch, row, all)
		})
		return n, err
	})
	if err != nil {
		return err
	}
	return p.conns[0].Thaw(ctx)
}
