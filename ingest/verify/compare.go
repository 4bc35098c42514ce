package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

// comparison is the work on one part, at the view's position.
type comparison struct {
	*session
	part     *part
	half     half
	findings *findings
	lake     hashes
	tally    *tally       // instead of lake, of a table without a key
	held     atomic.Int64 // rows of the lake
}

// suspect is a row of the source that the lake has otherwise, or not: a difference, unless the row was touched.
type suspect struct {
	key  uint64
	kind Kind
	row  *snapshot.Row
}

// suspectBytes is how much of suspect rows one connection keeps, to name them. Beyond it they are counted only.
const suspectBytes = 16 << 20

// result is what became of a part.
type result struct {
	rows, touched int64 // of the lake; keys
	count         map[Kind]int64
	named         []Difference
}

// compare compares the part. Its errors are those of source, snapshot, decode and lake, *ChangedError, and errCollision.
func (p *comparison) compare(ctx context.Context) (result, error) {
	if err := p.readLake(ctx); err != nil {
		return result{}, err
	}
	stream, err := source.Dial(ctx, p.streamConfig(), p.host, p.view.set)
	if err != nil {
		return result{}, err
	}
	defer stream.Close()
	hasher, err := snapshot.NewHasher(p.columns, p.key)
	if err != nil {
		return result{}, err
	}
	c := &changes{comparison: p, hasher: hasher, touched: map[uint64]bool{}, seen: p.view.set.Clone()}

	var g errgroup.Group
	following, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	reading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.Go(func() error {
		err := c.follow(following, stream)
		if errors.Is(context.Cause(following), errReadAll) {
			return nil
		}
		cancel(err)
		return err
	})
	var suspects []suspect
	g.Go(func() (err error) {
		if p.tally != nil {
			err = p.countSource(reading)
		} else {
			suspects, err = p.selectRows(reading)
		}
		if err == nil {
			err = p.await(reading, c)
		}
		if err != nil {
			stop(err)
			return err
		}
		stop(errReadAll)
		return nil
	})
	if err := g.Wait(); err != nil {
		return result{}, err
	}
	for _, s := range suspects {
		if !c.touched[s.key] {
			p.findings.add(finding{s.key, s.kind, s.row})
		}
	}
	if p.tally != nil {
		p.tally.report(p)
	}
	p.lake.unsettled(func(key uint64) { p.findings.add(finding{key: key, kind: Extra}) })
	out := result{rows: p.held.Load(), touched: int64(len(c.touched)), count: p.findings.count}
	out.named, err = p.explain(ctx)
	return out, err
}

// readLake takes in the lake's rows. Of a table without a key it begins the source's snapshot too, so that the log is read with
// its position known.
func (p *comparison) readLake(ctx context.Context) error {
	if p.source.Plan.Keyless() {
		p.tally = &tally{}
		if err := p.countLake(ctx); err != nil {
			return err
		}
		return p.freeze(ctx)
	}
	return p.eachLakeRow(ctx, func(_ *snapshot.Hasher, _ arrow.RecordBatch, _ int, key, all xxh3.Uint128) error {
		p.held.Add(1)
		r := p.half.hashed(key, all)
		if !p.lake.add(r) {
			p.findings.add(finding{key: r.key, kind: Duplicate})
		}
		return nil
	})
}

var errReadAll = errors.New("everything was read")

// eachLakeRow calls fn, from several goroutines at once, with the live rows of the part.
func (p *comparison) eachLakeRow(ctx context.Context, fn func(h *snapshot.Hasher, batch arrow.RecordBatch, row int, key, all xxh3.Uint128) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.Parallel)
	mem := lake.NewRecycler(int64(p.Parallel) * (16 << 20))
	for i := range p.view.files {
		f := &p.view.files[i]
		if !p.view.table.Meets(f, p.part.interval) {
			continue
		}
		g.Go(func() error {
			h, err := snapshot.NewHasher(p.columns, p.key)
			if err != nil {
				return err
			}
			rows, err := p.view.table.OpenValues(ctx, f, p.part.interval, lakeBatch, mem)
			if err != nil {
				return err
			}
			return errors.Join(p.eachRowOf(ctx, f, rows, h, fn), rows.Close())
		})
	}
	return g.Wait()
}

const lakeBatch = 16 << 10

func (p *comparison) eachRowOf(ctx context.Context, f *lake.FileInfo, rows *lake.RowReader, h *snapshot.Hasher, fn func(h *snapshot.Hasher, batch arrow.RecordBatch, row int, key, all xxh3.Uint128) error) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		at := rows.At()
		batch, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		in, err := p.part.holds(batch, p.key[0])
		if err == nil {
			err = h.Each(batch, func(row int, key, all xxh3.Uint128) error {
				if in != nil && !in(row) || !p.part.takes(p.half.hashed(key, all).key) || f.Deleted != nil && f.Deleted.Contains(uint32(at+int64(row))) {
					return nil
				}
				return fn(h, batch, row, key, all)
			})
		}
		batch.Release()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
}

// selectRows reads the source's rows, by several connections, and returns those that are not the lake's.
func (p *comparison) selectRows(ctx context.Context) ([]suspect, error) {
	var mu sync.Mutex
	var all []suspect
	g, ctx := errgroup.WithContext(ctx)
	next := atomic.Int64{}
	for _, conn := range p.conns {
		g.Go(func() error {
			h, err := snapshot.NewHasher(p.columns, p.key)
			if err != nil {
				return err
			}
			reader := snapshot.NewReader(memory.DefaultAllocator, conn, p.source)
			defer reader.Close(ctx)
			w := &selecting{comparison: p, hasher: h}
			for {
				i := int(next.Add(1)) - 1
				if i >= len(p.part.ranges) {
					break
				}
				if err := reader.Start(ctx, p.part.ranges[i]); err != nil {
					return err
				}
				if err := w.rangeRows(ctx, reader); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, w.suspects...)
			return nil
		})
	}
	return all, g.Wait()
}

// selecting is one connection's share of the work.
type selecting struct {
	*comparison
	hasher   *snapshot.Hasher
	suspects []suspect
	kept     int // bytes of their rows
}

func (w *selecting) rangeRows(ctx context.Context, reader *snapshot.Reader) error {
	return w.eachBatch(ctx, reader, w.batch)
}

// eachBatch calls fn with the rows of a range; fn returns how many of them are the part's.
func (p *comparison) eachBatch(ctx context.Context, reader *snapshot.Reader, fn func(arrow.RecordBatch) (int64, error)) error {
	for {
		batch, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := fn(batch)
		p.progress(p.name, n)
		all := int(batch.NumRows())
		batch.Release()
		if err == nil && p.limiter != nil {
			err = p.limiter.WaitN(ctx, all)
		}
		if err != nil {
			return err
		}
	}
}

func (w *selecting) batch(batch arrow.RecordBatch) (n int64, err error) {
	err = w.hasher.Each(batch, func(row int, key, all xxh3.Uint128) error {
		r := w.half.hashed(key, all)
		if !w.part.takes(r.key) {
			return nil
		}
		n++
		s := suspect{key: r.key, kind: Missing}
		switch w.lake.settle(r) {
		case same:
			return nil
		case other:
			s.kind = Changed
		}
		if w.kept < suspectBytes {
			taken, err := w.hasher.Row(batch, row)
			if err != nil {
				return err
			}
			w.kept += taken.Size()
			s.row = &taken
		}
		w.suspects = append(w.suspects, s)
		return nil
	})
	return n, err
}

// await waits until the log was read past everything that the SELECTs may have seen.
func (p *comparison) await(ctx context.Context, c *changes) error {
	now, err := p.conns[0].Position(ctx)
	if err != nil {
		return err
	}
	c.expect(now.Executed.Union(now.Owned))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.lacks(now.Executed).IsEmpty() || !c.lacks(now.Owned).IsEmpty() && !c.past() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
