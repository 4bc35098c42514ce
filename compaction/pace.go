package compaction

import (
	"context"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"golang.org/x/time/rate"
)

// Pace bounds what rewrites take of a machine's processors: those that share one together keep so many busy on average, at most. Each pays
// for the time of every batch of rows that it reads, sorts or divides, waiting for the store included, before it goes on; sending what it
// wrote is free. Nil is no bound.
type Pace struct {
	limiter *rate.Limiter // of microseconds
	most    time.Duration // that a batch costs
}

// paceSlack is how much work may be done at once that is paid for before or after, and the most that a batch costs: a rewrite that hangs, for a
// store that does not answer, keeps no processor busy, and does not hold the others up.
const paceSlack = 250 * time.Millisecond

// NewPace returns the pace of so many processors, more than 0, such as 0.5 or 2.
func NewPace(processors float64) *Pace {
	return &Pace{rate.NewLimiter(rate.Limit(processors*float64(time.Second/time.Microsecond)), int(paceSlack/time.Microsecond)), paceSlack}
}

// worker is a rewrite that works at a pace, until its context ends.
type worker struct {
	ctx   context.Context
	pace  *Pace
	since time.Time // it works unpaid
}

// work returns a worker who begins now.
func (p *Pace) work(ctx context.Context) *worker { return &worker{ctx, p, time.Now()} }

// pay waits until what was done since it was last called, a microsecond at least, fits into the pace. It fails when the context ends.
func (w *worker) pay() error {
	if w.pace == nil {
		return w.ctx.Err()
	}
	err := w.pace.limiter.WaitN(w.ctx, int(min(time.Since(w.since)+time.Microsecond, w.pace.most)/time.Microsecond))
	w.since = time.Now()
	return err
}

// pacedRows are paid for batch by batch.
type pacedRows struct {
	rowReader
	worker *worker
}

func (r pacedRows) Next() (arrow.RecordBatch, error) {
	if err := r.worker.pay(); err != nil {
		return nil, err
	}
	return r.rowReader.Next()
}
