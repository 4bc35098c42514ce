package ingest

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

// replay is a stretch of the source's history that the tables have already, or may have, and that comes again: after a
// position was found by time on another server, or moved back by hand. Rows are upserted in order, so the tables are right at
// its end; on the way they would fall back to what they were. So nothing of it is committed before its end: to the
// tables it is one transaction, and like one it is spilled when it grows, and forgotten when it breaks off. What
// contradicts the tables meanwhile is no sign that lake and source differ.
type replay struct {
	set   checkpoint.Set   // it ends when these are applied
	until time.Time        // ... and a transaction later than that comes
	past  checkpoint.Place // instead of until, on the server that it is of: it ends there
	exact bool             // the stream began at the tables' position, so all of their transactions are before it

	last  time.Time // of what came so far
	found bool      // a transaction of exactly the time until came
}

// endsBefore reports whether a transaction, which begins at a place, comes after all that is replayed.
func (r *replay) endsBefore(tx *source.Transaction, at checkpoint.Place, applied checkpoint.Set) bool {
	if !r.past.IsZero() && r.past.Server == at.Server {
		return applied.Contains(r.set) && at.Compare(r.past) >= 0
	}
	return applied.Contains(r.set) && (r.until.IsZero() || tx.Time.After(r.until))
}

// end is where it ends, for the log.
func (r *replay) end() string {
	switch {
	case !r.past.IsZero():
		return r.past.String()
	case !r.until.IsZero():
		return r.until.UTC().Format(time.RFC3339Nano)
	}
	return r.set.Short()
}

// saw notes a transaction of the replay.
func (r *replay) saw(tx *source.Transaction) {
	r.last, r.found = tx.Time, r.found || tx.Time.Equal(r.until)
}

// endsAtRest reports whether a server that has sent all it has ends the replay. One that is a replica may lag, and has to
// come as far as the tables were first.
func (r *replay) endsAtRest(applied checkpoint.Set, primary bool) bool {
	return applied.Contains(r.set) && (r.until.IsZero() || r.exact || primary || !r.last.Before(r.until))
}

// lost reports whether the tables' last transaction did not come again although it should have: the server read now
// does not have it. From MySQL 8.0 on every server has the time of a transaction's first commit, to the microsecond, so it
// would have been found. Before, times are in seconds, and tell nothing.
func (r *replay) lost() bool {
	return !r.until.IsZero() && r.until.Nanosecond() != 0 && !r.exact && !r.found
}

// replayFrom begins a replay, or extends the one that the tables' records ask for.
func (l *loop) replayFrom(r replay) {
	if l.again != nil {
		r.set = r.set.Union(l.again.set)
		if l.again.until.After(r.until) {
			r.until = l.again.until
		}
		r.past = l.again.past
	}
	l.again = &r
	l.Logger.Info("some transactions come again, which changes nothing; commits wait until they have passed", "until", r.end(), "exact", r.exact)
}

// recordedReplay takes over what the tables' records say about transactions that come again.
func (l *loop) recordedReplay() error {
	var r replay
	for _, t := range l.tables {
		if t.sink == nil || t.sink.record.Replay == nil {
			continue
		}
		set, err := checkpoint.ParseSet(t.sink.record.Replay.GTIDSet)
		if err != nil {
			return fatal(err)
		}
		r.set = r.set.Union(set)
		if t.sink.record.Replay.Time.After(r.until) {
			r.until = t.sink.record.Replay.Time
		}
	}
	if r.set.IsEmpty() && r.until.IsZero() {
		return nil
	}
	r.exact = true
	l.replayFrom(r)
	return nil
}

// endReplay commits what came again, all tables at once.
func (l *loop) endReplay(ctx context.Context) error {
	r := l.again
	l.again = nil
	j := l.job(true)
	j.point.replayed = true
	if r.lost() {
		j.point.doubt = "the last transaction that the tables have, of " + r.until.UTC().Format(time.RFC3339Nano) + ", is not in the log of the server read now: it may have been lost when servers changed"
	}
	l.Logger.Info("what came again has passed", "server", l.current, "file", l.at.Place.File, "position", l.at.Place.Offset)
	return l.flush(ctx, j)
}

// rest handles a heartbeat: the server has sent all it has.
func (l *loop) rest(ctx context.Context, at checkpoint.Place) error {
	l.rested = true
	if l.byFile && !l.open && !at.IsZero() {
		l.moveTo(ctx, at)
	}
	if l.again != nil && !l.open && l.again.endsAtRest(l.applied, l.primary) {
		return l.endReplay(ctx)
	}
	return nil
}

// moveTo notes the place in the server's log before which everything is applied. A new file may mean another gtid_mode: it
// is looked at, and every table is to move out of the old file, which a server may refuse to read once the mode is ON.
func (l *loop) moveTo(ctx context.Context, at checkpoint.Place) {
	if l.at.Anonymous && l.at.Place.File != at.File {
		l.together = true
		asking, cancel := context.WithTimeout(ctx, time.Second)
		if s, err := source.Probe(asking, l.Source, l.current); err == nil && s.ByGTID() {
			l.settled = s.End
		}
		cancel()
	}
	l.at.Place = at
	if l.at.Anonymous && !l.settled.IsZero() && at.Compare(l.settled) >= 0 {
		l.at.Anonymous, l.together = false, true
		l.Logger.Info("every transaction has a GTID from here on; the position is a GTID set", "server", l.current, "after", l.applied.Short())
	}
}

// atEnd reports whether what the server had when it was connected to is applied, as far as its files can tell.
func (l *loop) atEnd() bool {
	switch {
	case l.again != nil:
		return false
	case !l.byFile:
		return true
	case l.end.IsZero():
		return l.rested
	}
	return l.at.Place.Compare(l.end) >= 0
}
