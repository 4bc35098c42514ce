package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/lake/catalog"
)

// The heavy rewrites of large tables can be an engine's work (compaction.Outside). The compactor hands them over and goes
// on; the engine's commit is followed like any other program's, when the table's next one meets it. An engine that
// fails is left alone for a while, longer each time, and meanwhile its work is done here, unless it is to wait.

// Engines that failed are tried again after these pauses.
const (
	firstRest = 10 * time.Second
	longRest  = 30 * time.Minute
	handRest  = time.Hour // a statement that somebody has to run by hand is logged again
)

// outside is the engine, and what it has been asked for. It outlives restarts from the last commit.
type outside struct {
	compaction.Outside

	mu    sync.Mutex
	busy  string          // the table it works on; empty: none
	files map[string]bool // that it rewrites, by path
	rests map[string]*rest
}

// rest is how a table's work failed of late.
type rest struct {
	retry  *backoff.ExponentialBackOff
	until  time.Time
	byHand bool
}

// newOutside is nil when everything is rewritten here.
func newOutside(o compaction.Outside) *outside {
	if o.Engine == nil {
		return nil
	}
	return &outside{Outside: o, rests: map[string]*rest{}}
}

// plan says what is worth rewriting of some files of a view, here and by the engine. What the engine is working on is neither.
func (x *outside) plan(view *compaction.View, files []compaction.File, id catalog.Identifier, o compaction.Options) (here compaction.Plan, there compaction.Work) {
	if x == nil {
		return compaction.Make(files, o), there
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.busy == id.String() {
		var left []compaction.File
		for _, f := range files {
			if !x.files[f.Path] {
				left = append(left, f)
			}
		}
		files = left
	}
	here, there = view.Divide(compaction.Make(files, o), o, x.Outside)
	r := x.rests[id.String()]
	switch {
	case len(there.Groups) == 0:
	case x.busy != "":
		there.Groups = nil // the next look finds them again
	case r != nil && time.Now().Before(r.until):
		if !x.Wait && !r.byHand {
			here.Groups = append(here.Groups, there.Groups...)
		}
		there.Groups = nil
	default:
		x.busy, x.files = id.String(), map[string]bool{}
		for _, path := range there.Paths() {
			x.files[path] = true
		}
	}
	return here, there
}

// ended notes how the work came out, and returns for how long the engine is left alone with this table.
func (x *outside) ended(table string, err error) (pause time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.busy, x.files = "", nil
	if err == nil {
		delete(x.rests, table)
		return 0
	}
	r := x.rests[table]
	if r == nil {
		r = &rest{retry: backoff.NewExponentialBackOff()}
		r.retry.InitialInterval, r.retry.Multiplier, r.retry.MaxInterval = firstRest, 2, longRest
		r.retry.Reset()
		x.rests[table] = r
	}
	pause = r.retry.NextBackOff()
	if r.byHand = errors.Is(err, compaction.ErrByHand); r.byHand {
		pause = handRest
	}
	r.until = time.Now().Add(pause)
	return pause
}

// send has the engine do its work on a table, beside everything else.
func (c *compactor) send(ctx context.Context, id catalog.Identifier, w compaction.Work) {
	c.beside.Go(func() {
		engine, table, started := c.outside.Engine, id.String(), time.Now()
		err := engine.Rewrite(ctx, w)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		pause := c.outside.ended(table, err)
		took := time.Since(started)
		log := c.Logger.With("table", table, "engine", engine.Name(), "files", len(w.Paths()), "bytes", w.Bytes())
		switch {
		case err == nil:
			log.Info("an engine rewrote large files", "took", took.Round(time.Millisecond))
		case ctx.Err() != nil:
			return
		case errors.Is(err, compaction.ErrByHand):
			for _, statement := range engine.Statements(w) {
				log.Info("large files are worth rewriting: run the statement", "statement", statement, "again", pause)
			}
		default:
			log.Warn("an engine did not rewrite large files", "why", err, "took", took.Round(time.Millisecond), "next", pause.Round(time.Second), "meanwhile", c.outside.meanwhile())
		}
		c.observe(Sent{Table: table, Engine: engine.Name(), Files: len(w.Paths()), Bytes: w.Bytes(), Duration: took, Err: err})
		c.look(id)
	})
}

// meanwhile says who does an engine's work while it is left alone.
func (x *outside) meanwhile() string {
	if x.Wait {
		return "nobody"
	}
	return "tidemark"
}
