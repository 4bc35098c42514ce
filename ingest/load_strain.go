package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/ingest/source"
)

// strainEvery is how often a load that pauses looks at its server again.
const strainEvery = time.Second

// pauseWhileStrained waits until the server that rows are read from keeps up: before each range, since a statement that is
// being answered is over soonest when it is read.
func (w *loadWorker) pauseWhileStrained(ctx context.Context) error {
	if w.LoadMaxLag == 0 && w.LoadMaxRunning == 0 {
		return nil
	}
	for paused := false; ; paused = true {
		why, err := w.strain(ctx)
		switch {
		case err != nil:
			return err
		case why == "" && paused:
			w.Logger.Info("the load goes on", "server", w.conn.Host())
			return nil
		case why == "":
			return nil
		case !paused:
			w.Logger.Warn("the load pauses", "server", w.conn.Host(), "why", why)
		}
		if !sleep(ctx, strainEvery) {
			return ctx.Err()
		}
	}
}

// strain says why nothing more should be read from the worker's server now; empty: nothing is in the way. A lag that cannot be
// seen is none.
func (w *loadWorker) strain(ctx context.Context) (why string, err error) {
	if w.LoadMaxRunning > 0 {
		running, err := w.conn.Running(ctx)
		if err != nil {
			return "", err
		}
		if running > w.LoadMaxRunning {
			return fmt.Sprintf("%d statements are running, more than %d", running, w.LoadMaxRunning), nil
		}
	}
	if w.LoadMaxLag > 0 {
		state, err := source.Probe(ctx, w.Source, w.conn.Host())
		if err != nil {
			return "", err
		}
		if state.Lag != nil && *state.Lag > w.LoadMaxLag {
			return fmt.Sprintf("it is %s behind its source, more than %s", *state.Lag, w.LoadMaxLag), nil
		}
	}
	return "", nil
}
