package ingest

import (
	"context"
	"sync"
	"time"
)

// rate bounds how many rows are read a second, over all connections. Its zero value does not.
type rate struct {
	perSecond int64

	mu   sync.Mutex
	free time.Time // when the next rows may be read
}

// wait waits until n rows more may be read. ctx may end it.
func (r *rate) wait(ctx context.Context, n int64) error {
	if r.perSecond <= 0 {
		return ctx.Err()
	}
	r.mu.Lock()
	now := time.Now()
	if r.free.Before(now) {
		r.free = now
	}
	r.free = r.free.Add(time.Duration(float64(n) / float64(r.perSecond) * float64(time.Second)))
	until := r.free
	r.mu.Unlock()
	if pause := until.Sub(now); pause > 0 && !sleep(ctx, pause) {
		return ctx.Err()
	}
	return nil
}
