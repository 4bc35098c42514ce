package ingest

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

// A loaded table comes to the pipeline's loop in three steps. The session asks to board; the loop stops between two
// transactions and tells what it has applied; the session goes on until it has applied all of that too, commits, and
// gives its tables over. So none of them lacks a transaction that the loop has passed; what they have on top of that the
// loop skips for them.

// boarding is a session's request to be waited for.
type boarding struct {
	applied chan checkpoint.Set // the loop's answer
	tables  chan []*table       // the session's; nil when it gives up for now
}

// joining is where a session stands with that.
type joining struct {
	promoted bool           // every table is exact, and on main
	request  *boarding      // made, and not heard yet
	asked    *boarding      // heard
	meet     checkpoint.Set // what the loop has applied
	begun    time.Time      // when it told
}

// boardingLimit is how long the loop is kept waiting.
const boardingLimit = 10 * time.Second

// requests is where a session's loop sends its request, when it has one.
func (s *session) requests() (chan<- news, news) {
	if s == nil || s.request == nil {
		return nil, news{}
	}
	return s.loader.news, news{boarding: s.request}
}

// answer is where the loop's answer comes from.
func (s *session) answer() <-chan checkpoint.Set {
	if s == nil || s.asked == nil {
		return nil
	}
	return s.asked.applied
}

func (s *session) heard() { s.asked, s.request = s.request, nil }

func (s *session) boards(applied checkpoint.Set) { s.meet, s.begun = applied, time.Now() }

// cancel lets the loop go on.
func (s *session) cancel() {
	if s.asked != nil {
		s.asked.tables <- nil
	}
	s.joining = joining{promoted: s.promoted}
}

// cut commits when it is time to, and joins the pipeline's loop when the tables are exact. It reports whether they have.
func (s *session) cut(ctx context.Context, l *loop) (done bool, err error) {
	if s.pinned != nil {
		return s.cutPinned(ctx, l)
	}
	if !s.promoted && l.flushing == nil {
		s.promoted = true
		for _, t := range l.tables {
			s.promoted = s.promoted && (t.stopped != nil || t.sink.high == nil)
		}
	}
	full := l.held >= l.batchBytes()
	switch {
	case s.asked != nil && !s.begun.IsZero() && l.applied.Contains(s.meet):
		return true, s.give(ctx, l)
	case s.asked != nil && !s.begun.IsZero() && time.Since(s.begun) > boardingLimit:
		l.Logger.Warn("loaded tables cannot join yet: their server lacks what the stream has", "server", l.current, "lacks", s.meet.Subtract(l.applied).Short())
		s.cancel()
	case s.promoted && s.asked == nil && s.request == nil && l.applied.Contains(s.loader.passed()):
		s.request = &boarding{applied: make(chan checkpoint.Set, 1), tables: make(chan []*table, 1)}
	}
	if !full && time.Now().Before(l.cutAt) && (s.promoted || !s.promotable(l)) {
		return false, nil
	}
	if l.flushing != nil && !full {
		return false, nil
	}
	return false, l.hand(ctx, l.job(false))
}

// promotable reports whether every table is exact.
func (s *session) promotable(l *loop) bool {
	for _, t := range l.tables {
		if t.stopped == nil && !l.applied.Union(t.set).Contains(t.high.Subtract(l.pending)) {
			return false
		}
	}
	return true
}

// give commits, and sends the tables over.
func (s *session) give(ctx context.Context, l *loop) error {
	if err := l.flush(ctx, l.job(true)); err != nil {
		return err
	}
	var list []*table
	for name, t := range l.tables {
		if t.stopped != nil {
			continue
		}
		t.set = l.applied.Union(t.set)
		t.at, t.ahead = checkpoint.At(t.set), true
		list = append(list, t)
		delete(l.tables, name)
	}
	s.asked.tables <- list
	for _, t := range list {
		s.settled[t.name] = true
		delete(s.loader.tries, t.name)
	}
	s.joining = joining{}
	l.finished = true
	return nil
}

// promotes reports whether a commit at p makes a loaded table exact: it holds everything that the rows read could show.
func (s *sink) promotes(p *point) bool {
	return s.high != nil && p.sets[s].Contains(s.high.Subtract(p.pending))
}

// unreachable reports that no server has, or can get, what rows were read from: a server was lost with transactions that
// no other has.
func (s *session) unreachable(servers []source.State) error {
	for _, t := range s.tables {
		if !t.high.IsEmpty() && !canReach(servers, t.high, s.Tables) {
			return &startOverError{&source.NoServerError{Position: t.high, Verdicts: source.Judge(servers, t.high, s.Tables, nil)}}
		}
	}
	return nil
}

// canReach reports whether a server has a set, or may come to have it.
func canReach(servers []source.State, set checkpoint.Set, filter source.Filter) bool {
	for _, v := range source.Judge(servers, set, filter, nil) {
		if v.Kind != source.Diverged {
			return true
		}
	}
	return false
}

// hear takes what the loader says.
func (l *loop) hear(n news) error {
	t := l.tables[n.table]
	switch {
	case n.fatal != nil:
		return n.fatal
	case n.boarding != nil:
		l.boarders = append(l.boarders, n.boarding)
	case n.reload != nil:
		l.parting = append(l.parting, wanted{n.table, n.reload})
	case t == nil || !t.loading:
	case n.why == nil:
		l.Logger.Info("a table to be loaded is not in the source any more", "table", n.table)
		delete(l.tables, n.table)
		l.observe(Gone{n.table})
	default:
		t.loading = false
		l.giveUp(t, fmt.Errorf("table %s is not loaded: %w", n.table, n.why))
		l.Logger.Error("table not loaded; the others go on", "table", n.table, "why", n.why)
	}
	return nil
}

// board takes loaded tables in, between two transactions. A parked loop has no stream, and begins where they are.
func (l *loop) board(stop context.Context, parked bool) {
	for _, b := range l.boarders {
		fresh := parked && !l.follows()
		applied := l.applied.Clone()
		if fresh {
			applied = checkpoint.Set{}
		}
		b.applied <- applied
		select {
		case tables := <-b.tables:
			l.adopt(tables, fresh)
		case <-stop.Done():
			return
		}
	}
	l.boarders = nil
}

// adopt makes loaded tables the loop's own. With fresh, it goes on from what all of them have.
func (l *loop) adopt(tables []*table, fresh bool) {
	for i, t := range tables {
		switch {
		case fresh && i == 0:
			l.at, l.applied = checkpoint.Position{}, t.set.Clone()
		case fresh:
			l.applied = l.applied.Intersect(t.set)
		}
		t.sink.compactor = l.compactor
		l.tables[t.name], l.epochs[t.name] = t, t.sink.record.Epoch
		l.compactor.look(t.sink.table.ID())
		l.observe(Open{Table: t.name, Record: t.sink.record, Size: t.sink.table.Size()})
		l.Logger.Info("loaded table joins the stream", "table", t.name, "at", t.set.Short())
	}
}

// follows reports whether there is a table that gives the loop a position.
func (l *loop) follows() bool {
	for _, t := range l.tables {
		if !t.loading && t.stopped == nil {
			return true
		}
	}
	return false
}

// loads reports whether a table is being loaded.
func (l *loop) loads() bool {
	for _, t := range l.tables {
		if t.loading {
			return true
		}
	}
	return false
}

// park waits while there is nothing to follow but tables that are being loaded: only what they are loaded at tells where
// the stream begins.
func (l *loop) park(stop context.Context) error {
	for l.session == nil && !l.follows() && l.loads() {
		select {
		case <-stop.Done():
			return nil
		case n := <-l.loader.heard():
			if err := l.hear(n); err != nil {
				return err
			}
			l.board(stop, true)
		}
	}
	return nil
}

// live notes that a loaded table is exact, and main.
func (s *sink) live() {
	s.high = nil
	s.log.Info("table is loaded: it equals the source from now on", "table", s.name)
}
