package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

// A table without a checkpoint is loaded (--start initial): its rows are read by SQL, without locks and without one point in
// time, and the binary log is replayed over them.
//
// Before anything is read, the low set is noted: what a server has executed. Whatever server a row is read from has at least
// that, so every row lacks nothing older. After each range it is noted what its server has by then: together, the high
// set. So a row that was read is the source's at some point between the two, and replaying all transactions from the low
// set past the high set, as upserts that expect nothing, leaves exactly the source's rows. Until then everything is on a branch
// that readers do not look at (lake.LoadBranch).
//
// A table without a key takes no upserts: it is read in one piece, at one moment, and its low set is what that shows. Whether it
// shows a transaction that was being committed just then cannot be told; when one of these turns out to change the table, the
// load begins anew.
//
// load.go           the loader: which tables, one session after the other
// load_session.go   a session: read, commit, replay
// load_open.go      the tables of a session, new or gone on with
// load_read.go      ranges read over several connections
// load_write.go     rows of a range into sorted data files
// load_join.go      loaded tables become the loop's
// load_again.go     tables of the loop that are loaded again
// load_request.go   tidemark load
// load_progress.go  what is recorded
// load_place.go     sources without GTIDs
// load_rate.go      --load-rate
// load_strain.go    pauses while the server is under strain

// loader loads tables beside the loop, a session of tables after the other.
type loader struct {
	options  Options
	followed *progress        // of the loop
	epochs   map[string]int64 // writer epochs of tables being loaded
	again    map[string]error // tables whose load is to begin anew, and why
	tries    map[string]int   // how often it began anew
	rate     *rate

	mu     sync.Mutex
	queue  []wanted
	wake   chan struct{}
	news   chan news // to the loop
	ended  chan struct{}
	stream atomic.Pointer[string]         // host that the loop reads
	at     atomic.Pointer[checkpoint.Set] // what the loop had applied at its last cut
}

// wanted is a table to be loaded.
type wanted struct {
	name string
	why  error // it is to be loaded anew; nil: go on with what there is
}

// news is what the loader tells the loop.
type news struct {
	boarding *boarding
	table    string // is not loaded,
	why      error  // because of this; nil: it does not exist any more
	reload   error  // the table is to be loaded again, because of this
	fatal    error  // for the whole pipeline
}

// maxTries is how often in a row the load of a table begins anew before it is given up.
const maxTries = 10

// newLoader makes a loader that is not started yet.
func (p *pipeline) newLoader() *loader {
	o := p.Options
	o.Source.Pipeline = p.Source.Pipeline + "/load" // or the two streams would end each other
	o.Until, o.Compact = Until{}, nil
	o.Memory = max(o.Memory/2, minMemory) // the stream's batches are beside it
	o.Observer = func(e Event) {
		switch e.(type) {
		case Open, Commit, Mark, Load:
			p.observe(e)
		}
	}
	return &loader{
		options: o, followed: p.progress, epochs: p.loadEpochs, again: map[string]error{}, tries: map[string]int{}, rate: &rate{perSecond: o.LoadRate},
		wake: make(chan struct{}, 1), news: make(chan news), ended: make(chan struct{}),
	}
}

// want asks for a table to be loaded, anew if there is a reason.
func (d *loader) want(name string, anew error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(d.queue, wanted{name, anew})
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// next adds the tables that are wanted to names.
func (d *loader) next(names []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.queue {
		if !slices.Contains(names, w.name) {
			names = append(names, w.name)
		}
		if w.why != nil {
			d.again[w.name] = w.why
		}
	}
	d.queue = nil
	return names
}

// run loads what is wanted until ctx ends.
func (d *loader) run(ctx, hard context.Context) {
	defer close(d.ended)
	retry := newBackOff()
	var names []string
	for {
		if names = d.next(names); len(names) == 0 {
			retry.Reset()
			select {
			case <-d.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		s := d.newSession(names)
		running, stop := context.WithCancel(ctx)
		err := s.run(running, hard)
		stop()
		s.cancel()
		if ctx.Err() != nil {
			return
		}
		err = s.judge(ctx, err)
		if isFatal(err) {
			d.send(ctx, news{fatal: err})
			return
		}
		names = s.left()
		if s.rejoin {
			d.send(ctx, news{fatal: errRejoin})
			return
		}
		if err == nil {
			continue
		}
		pause := retry.NextBackOff()
		d.options.Logger.Warn("the load goes on from its last commit", "why", err, "in", pause.Round(time.Millisecond))
		if !sleep(ctx, pause) {
			return
		}
	}
}

// judge decides what the end of a session means for its tables. What it returns is for all of them.
func (s *session) judge(ctx context.Context, err error) error {
	var none *source.NoServerError
	var anew *startOverError
	if errors.As(err, &anew) || errors.As(err, &none) && !none.Temporary() && len(s.tables) > 0 {
		for _, t := range s.tables {
			if !s.settled[t.name] {
				s.startOver(ctx, t.name, err)
			}
		}
		return nil
	}
	return err
}

// newSession makes a session of tables.
func (d *loader) newSession(names []string) *session {
	s := &session{
		pipeline: &pipeline{Options: d.options, epochs: d.epochs, progress: newProgress()},
		loader:   d, names: names, settled: map[string]bool{},
	}
	s.Source.Wanted = func(db, table string) bool { return slices.Contains(names, db+"."+table) }
	return s
}

// left are the tables of the session that are neither loaded nor given up.
func (s *session) left() []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return s.settled[name] })
}

// startOver makes the load of a table begin anew, unless it did too often.
func (s *session) startOver(ctx context.Context, name string, why error) {
	d := s.loader
	if d.tries[name]++; d.tries[name] > maxTries {
		s.report(ctx, name, fmt.Errorf("its load began anew %d times: %w", maxTries, why))
		return
	}
	s.Logger.Warn("the load of a table has to begin anew", "table", name, "why", why)
	d.again[name] = why
}

// report gives a table up. Without a reason it does not exist any more.
func (s *session) report(ctx context.Context, name string, why error) {
	s.settled[name] = true
	s.loader.send(ctx, news{table: name, why: why})
}

// send tells the loop something.
func (d *loader) send(ctx context.Context, n news) {
	select {
	case d.news <- n:
	case <-ctx.Done():
	}
}

// heard is where news come from; nil in a session's own loop.
func (d *loader) heard() <-chan news {
	if d == nil {
		return nil
	}
	return d.news
}

// reads notes which server the loop reads.
func (d *loader) reads(host string) {
	if d != nil {
		d.stream.Store(&host)
	}
}

func (d *loader) streaming() string {
	if host := d.stream.Load(); host != nil {
		return *host
	}
	return ""
}

// pass notes what the loop has applied.
func (d *loader) pass(applied checkpoint.Set) {
	if d != nil {
		set := applied.Clone()
		d.at.Store(&set)
	}
}

// passed is what the loop had applied a while ago; nothing when it follows no table yet.
func (d *loader) passed() checkpoint.Set {
	if set := d.at.Load(); set != nil {
		return *set
	}
	return checkpoint.Set{}
}
