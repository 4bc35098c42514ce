package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// Where transactions have no GTIDs, low and high are places in the binary log of one server: where the log ended before
// anything was read, and where it ended after everything was. A commit is written to the log before it can be seen. So
// only that server is read from; when it is lost, the load begins anew on another. What lies between the two places is replayed
// as one (replay.go). The loaded tables join the loop at a restart of it, which finds where all of them go on.

// pinned is the one server that a session without GTIDs reads.
type pinned struct {
	low  checkpoint.Position // where its log ended when the session began
	lost atomic.Int64        // since when it does not answer, in nanoseconds since 1970; 0: it does
}

// lookAgain is how often a server that does not answer is looked for.
const lookAgain = time.Second

// patience is how long a load waits for its server before it begins anew on another.
func (s *session) patience() time.Duration { return 6 * s.WaitForServer }

// errRejoin asks for the tables to be opened again because loaded ones are among them.
var errRejoin = errors.New("loaded tables join the stream")

// pin chooses the server: the one that an interrupted load was read from, if it is there; else the one that the loop reads, so that
// the tables come to stand close to each other in one log.
func (s *session) pin(ctx context.Context, states []source.State) (host string, err error) {
	begun := s.begunOn(ctx)
	find := func(states []source.State) int {
		return slices.IndexFunc(states, func(x source.State) bool { return x.Answers() && x.UUID == begun })
	}
	for waited := time.Duration(0); begun != [16]byte{} && find(states) < 0 && waited < s.patience(); waited += lookAgain {
		if waited == 0 {
			s.Logger.Warn("waiting for the server that tables were read from before: without GTIDs, another would mean to begin anew", "server", checkpoint.FormatUUID(begun))
		}
		if !sleep(ctx, lookAgain) {
			return "", ctx.Err()
		}
		states = source.ProbeAll(ctx, s.Source)
	}
	var best source.State
	streaming := func(x source.State) bool { return x.Answers() && x.Host == s.loader.streaming() }
	if i := find(states); i >= 0 {
		best = states[i]
	} else if i := slices.IndexFunc(states, streaming); i >= 0 {
		best = states[i]
	} else if best, err = source.BestForFile(ctx, s.Source, states, s.Tables); err != nil {
		return "", err
	}
	at, err := source.AtEnd(ctx, s.Source, best)
	if err != nil {
		return "", err
	}
	at.Anonymous = true
	s.pinned = &pinned{low: at}
	return best.Host, nil
}

// begunOn is the server that an interrupted load of the session's tables was read from; zero when there is none. What stands in the
// way of knowing it is reported when the table is opened.
func (s *session) begunOn(ctx context.Context) (server [16]byte) {
	for _, name := range s.left() {
		db, table := splitName(name)
		t, err := lake.OpenLoad(ctx, s.Lake, catalog.Identifier{DB: db, Table: table})
		if err != nil {
			continue
		}
		record, _ := t.Checkpoint()
		if at, err := record.At(); err == nil && record.State == checkpoint.StateLoading && at.Anonymous {
			return at.Place.Server
		}
	}
	return server
}

// fits reports, as an error, why a load that was recorded cannot go on in this session.
func (s *session) fits(record checkpoint.Record) error {
	switch {
	case s.pinned == nil && record.Anonymous:
		return errors.New("transactions had no GTIDs when it began")
	case s.pinned == nil:
		return nil
	case !record.Anonymous:
		return errors.New("transactions have no GTIDs any more")
	case record.ServerUUID != checkpoint.FormatUUID(s.pinned.low.Place.Server):
		return fmt.Errorf("it was read from the server %s, and without GTIDs cannot go on with another", record.ServerUUID)
	}
	return nil
}

// pinnedState finds the server among those that were probed. One that does not answer is waited for.
func (s *session) pinnedState(states []source.State) (source.State, error) {
	server := s.pinned.low.Place.Server
	for _, x := range states {
		if x.Answers() && x.UUID == server {
			s.pinned.lost.Store(0)
			return x, nil
		}
	}
	now := time.Now().UnixNano()
	if s.pinned.lost.CompareAndSwap(0, now) || now-s.pinned.lost.Load() < int64(s.patience()) {
		return source.State{}, &source.Error{Kind: source.KindNetwork, Host: checkpoint.FormatUUID(server), Op: "read tables", Err: errors.New("the server that the load began with does not answer")}
	}
	return source.State{}, &startOverError{fmt.Errorf("the server %s, which it is read from, is gone", checkpoint.FormatUUID(server))}
}

// canReplay reports, as an error, whether a load cannot go on with the server that was chosen for its replay.
func (s *session) canReplay(c *source.Choice) error {
	switch {
	case s.pinned == nil && c.ByFile:
		return &startOverError{fmt.Errorf("%s has no GTIDs any more", c.Host)}
	case s.pinned != nil && !c.ByFile:
		return &startOverError{fmt.Errorf("%s has GTIDs now", c.Host)}
	case s.pinned != nil && !c.Exact:
		return &startOverError{errors.New("the server that it was read from cannot send what came after")}
	}
	return nil
}

// replayTo makes a loop replay up to where the log of the session's server ends now.
func (s *session) replayTo(ctx context.Context, l *loop) error {
	state, err := s.pinnedState(source.ProbeAll(ctx, s.Source))
	for source.CanPass(err) && sleep(ctx, lookAgain) {
		state, err = s.pinnedState(source.ProbeAll(ctx, s.Source))
	}
	if err != nil {
		return err
	}
	l.replayFrom(replay{past: state.End, exact: true})
	return nil
}

// cutPinned ends the session once what was replayed is committed, which made the tables exact.
func (s *session) cutPinned(ctx context.Context, l *loop) (done bool, err error) {
	for _, t := range l.tables {
		if t.stopped == nil && t.sink.high != nil {
			return false, nil
		}
	}
	if err := l.flush(ctx, l.job(true)); err != nil {
		return false, err
	}
	for name, t := range l.tables {
		if t.stopped != nil {
			continue
		}
		s.settled[name], s.rejoin = true, true
		delete(s.loader.tries, name)
		l.Logger.Info("loaded table joins the stream", "table", name, "at", l.position().Short())
	}
	l.finished = true
	return true, nil
}
