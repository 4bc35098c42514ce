package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// way is how one server is read on from a position, by file and offset.
type way struct {
	from  checkpoint.Position // where the stream begins
	exact bool                // that is the position itself; else it lies before it, and some transactions come again
	err   error               // why there is none
}

// Choice is the server chosen for a position, and how it is read.
type Choice struct {
	Verdict
	// ByFile is true when the stream follows the server's files from From on, and not a GTID set: transactions without a
	// GTID may come.
	ByFile bool
	From   checkpoint.Position
	// Exact is false when From lies before the position, by time: some transactions come again.
	Exact bool
}

// Dial opens the stream.
func (c *Choice) Dial(ctx context.Context, cfg Config) (*Stream, error) {
	if c.ByFile {
		return DialAt(ctx, cfg, c.Host, c.From.Place)
	}
	return Dial(ctx, cfg, c.Host, c.From.Set)
}

// Find is Choose for any position. A server is read by GTID set where every transaction has one and gtid_mode is ON. Any
// other is read by file and offset: exactly, where it is the one that the position was read from; else from the last
// transaction before the position's time less FallbackInterval, for which its log is searched. That is done only
// when no server is left that can go on exactly.
func Find(ctx context.Context, cfg Config, states []State, position checkpoint.Position, filter Filter, current string) (Choice, error) {
	tables := KnownTables(ctx, cfg, states, filter)
	Locate(ctx, cfg, states, position, false)
	v, err := Pick(JudgeAt(states, position, filter, tables), position.Set, current)
	if err != nil && Locate(ctx, cfg, states, position, true) {
		v, err = Pick(JudgeAt(states, position, filter, tables), position.Set, current)
	}
	if err != nil {
		var none *NoServerError
		if errors.As(err, &none) {
			none.From = position
		}
		return Choice{}, err
	}
	c := Choice{Verdict: v, From: position, Exact: true}
	if byFile(&v.State, position) {
		c.ByFile, c.From, c.Exact = true, v.State.way.from, v.State.way.exact
	}
	return c, nil
}

// byFile reports whether a server is read by file and offset from a position.
func byFile(s *State, p checkpoint.Position) bool { return p.Anonymous || !s.ByGTID() }

// Locate looks for the place at which each server is read on from a position by file and offset, where it has to be: on the
// server that the position was read from, and, with others, on the others too. Judge uses what it found. It reports
// whether it looked at all.
func Locate(ctx context.Context, cfg Config, states []State, position checkpoint.Position, others bool) (looked bool) {
	var wg sync.WaitGroup
	for i := range states {
		s := &states[i]
		own := !position.Place.IsZero() && position.Place.Server == s.UUID
		if !s.Answers() || !s.LogBin || !byFile(s, position) || s.way != nil || !own && !others {
			continue
		}
		looked = true
		wg.Go(func() {
			if own {
				s.way = ownWay(ctx, cfg, s, position)
			} else {
				s.way = wayByTime(ctx, cfg, *s, position)
			}
		})
	}
	wg.Wait()
	return looked
}

// ownWay makes sure that a server can still send what follows a place in its log, by having it send the first event.
func ownWay(ctx context.Context, cfg Config, s *State, position checkpoint.Position) *way {
	w := &way{from: position, exact: true}
	stream, err := dialFile(ctx, cfg, s.Host, position.Place)
	if err != nil {
		w.err = err
		return w
	}
	defer stream.Close()
	stream.packets.ctx = ctx
	if _, _, err := stream.step(); err != nil && !errors.Is(err, io.EOF) {
		w.err = stream.explain(ctx, err)
	}
	return w
}

var errNoTime = errors.New("the position was read from another server, and has no time by which to find it here")

// wayByTime looks for the last transaction before a position's time, less the fallback interval.
func wayByTime(ctx context.Context, cfg Config, s State, position checkpoint.Position) *way {
	if position.Time.IsZero() {
		return &way{err: errNoTime}
	}
	h, err := openHistory(ctx, cfg, s)
	if err != nil {
		return &way{err: err}
	}
	wanted := position.Time.Add(-cfg.ensureDefaults().FallbackInterval)
	at, from, ok, err := h.at(ctx, wanted)
	// A log that does not reach back so far will do when the position itself is in it.
	if err == nil && !ok && from.After(position.Time) {
		err = &TooOldError{Time: wanted, Hosts: []Reach{{Host: s.Host, From: from}}}
	}
	// What the reader has with GTIDs stays known; the stream begins among it.
	at.Set, at.Anonymous = position.Set, true
	return &way{from: at, err: err}
}

// AtBeginning returns the position before everything that a server's log still has, AtEnd the one after everything it has
// now.
func AtBeginning(ctx context.Context, cfg Config, s State) (checkpoint.Position, error) {
	h, err := openHistory(ctx, cfg, s)
	if err != nil {
		return checkpoint.Position{}, err
	}
	return h.scan(ctx, h.files[0], func(b boundary) bool { return b.tx == nil && b.offset <= headOfFile })
}

// AtEnd returns the position after everything that a server's log has now.
func AtEnd(ctx context.Context, cfg Config, s State) (checkpoint.Position, error) {
	h, err := openHistory(ctx, cfg, s)
	if err != nil {
		return checkpoint.Position{}, err
	}
	last := len(h.files) - 1
	at, err := h.scan(ctx, h.files[last], func(boundary) bool { return true })
	if err != nil {
		return at, err
	}
	return h.timed(ctx, last, at)
}

// BeginsWithoutGTIDs reports whether the log of the best server begins with transactions that have no GTID. With gtid_mode
// ON it does not send them: a stream from the empty GTID set begins after them, and nothing tells.
func BeginsWithoutGTIDs(ctx context.Context, cfg Config, states []State, filter Filter) (bool, error) {
	good := readable(ctx, cfg, states, filter)
	if len(good) == 0 {
		return false, nil
	}
	h, err := openHistory(ctx, cfg, good[0])
	if denied(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, f := range h.files {
		var first *Transaction
		at, err := h.scan(ctx, f, func(b boundary) bool {
			first = b.tx
			return first == nil
		})
		switch {
		case Classify(err) == KindSettings:
			return true, nil
		case err != nil:
			return false, err
		case first != nil:
			return first.Anonymous, nil
		case !at.Set.IsEmpty():
			return false, nil
		}
	}
	return false, nil
}

// BestForFile returns the server to begin with where none has GTIDs: a replica that has all followed rows in its log, else
// the primary.
func BestForFile(ctx context.Context, cfg Config, states []State, filter Filter) (State, error) {
	if good := readable(ctx, cfg, states, filter); len(good) > 0 {
		return good[0], nil
	}
	return State{}, &NoServerError{Verdicts: JudgeAt(states, checkpoint.Position{Anonymous: true}, filter, nil)}
}

// judgeWay puts into words how a server is read on by file and offset.
func judgeWay(v *Verdict, position checkpoint.Position, a checkpoint.Answer) {
	s := &v.State
	own := !position.Place.IsZero() && position.Place.Server == s.UUID
	w := s.way
	mode := fmt.Sprintf("gtid_mode is %s", orNone(s.GTIDMode))
	switch {
	case position.IsZero():
		v.Reason = fmt.Sprintf("%s, %s: by file and offset", s.Role, mode)
	case w == nil && position.Time.IsZero():
		v.set(WrongSettings, enableGTIDs, "%s, and a GTID set does not say where to go on there", mode)
	case !own && (a.Kind == checkpoint.Behind || a.Kind == checkpoint.Diverged):
		judgePosition(v, a, position.Set)
	case w == nil:
		v.set(WrongSettings, "", "%s: it can be read by time only, not exactly", mode)
	case w.err == nil && w.exact:
		v.Reason = fmt.Sprintf("%s, %s: by file and offset, exactly from %s:%d", s.Role, mode, w.from.Place.File, w.from.Place.Offset)
	case w.err == nil:
		v.Reason = fmt.Sprintf("%s, %s: by time, from %s:%d, after the last transaction not later than %s; what comes again up to %s changes nothing",
			s.Role, mode, w.from.Place.File, w.from.Place.Offset, w.from.Time.UTC().Format(time.RFC3339Nano), position.Time.UTC().Format(time.RFC3339Nano))
	default:
		judgeNoWay(v, w.err, mode)
	}
}

func judgeNoWay(v *Verdict, err error, mode string) {
	var old *TooOldError
	switch {
	case errors.Is(err, errNoTime):
		v.set(WrongSettings, "tidemark checkpoint set --file NAME:POS --server HOST:PORT, if you know where it is", "%s, and %v", mode, err)
		return
	case errors.As(err, &old):
		v.set(Purged, "load the tables again (tidemark load), and keep binary logs longer (binlog_expire_logs_seconds)",
			"%s, and its log has events from %s on only, while %s is needed", mode, old.Hosts[0].From.Format(time.RFC3339), old.Time.UTC().Format(time.RFC3339))
		return
	}
	switch kind := Classify(err); kind {
	case KindPurged:
		v.set(Purged, "use another server of the topology, or load the tables again (tidemark load)", "%s, and the file of the position is gone: %s", mode, reason(err))
	case KindDiverged:
		v.set(Diverged, "use another server of the topology, or load the tables again (tidemark load)", "%s", reason(err))
	case KindSettings:
		v.set(WrongSettings, "SET GLOBAL gtid_mode = ON_PERMISSIVE until they are read, then ON again",
			"%s, and its log has transactions without a GTID after the position, which it does not send in this mode: %s", mode, reason(err))
	default:
		v.Fault = kind
		v.set(Unreachable, accessAdvice(kind), "%s", reason(err))
	}
}
