package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// session loads some tables together: it opens them, reads their rows, replays the binary log over them, and sends them
// to the pipeline's loop.
type session struct {
	*pipeline // of its own: a stream of its own, writer epochs of loaded tables
	loader    *loader
	names     []string
	tables    []*loading
	low       checkpoint.Set // what a server must have to be read from: every table's low set
	began     time.Time      // when reading began
	finished  chan struct{}  // a range was finished
	settled   map[string]bool

	joining
	pinned *pinned // where transactions have no GTIDs
	rejoin bool    // there are tables that join the loop when it starts again
}

// startOverError says that a load cannot go on from what it has, and can begin anew.
type startOverError struct{ error }

func (e *startOverError) Unwrap() error { return e.error }

func newCommit() string { return uuid.NewString() }

// run loads the tables. After an error those that have not joined the loop, and are not given up, have to be loaded again;
// they go on from what was committed.
func (s *session) run(ctx, hard context.Context) error {
	opening, cancel := context.WithTimeout(ctx, s.StoreTimeout)
	err := s.open(opening)
	cancel()
	if err != nil || len(s.tables) == 0 {
		return err
	}
	for _, t := range s.tables {
		s.low = s.low.Union(t.low)
	}
	if err := s.readAll(ctx, hard); err != nil {
		return err
	}
	return s.replay(ctx, hard)
}

// readAll reads all ranges that are not finished. Finished ones are committed with every commit interval, and at the end.
func (s *session) readAll(ctx, hard context.Context) error {
	s.finished, s.began = make(chan struct{}, 1), time.Now()
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	g, reading := errgroup.WithContext(reading)
	tasks := make(chan task)
	g.Go(func() error { return s.split(reading, tasks) })
	for n := range s.LoadWorkers {
		g.Go(func() error { return (&loadWorker{session: s, n: n}).run(reading, tasks) })
	}
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	commit := time.NewTicker(max(s.CommitInterval, time.Millisecond))
	defer commit.Stop()
	tell := time.NewTicker(tellEvery)
	defer tell.Stop()
	for {
		var failed error
		select {
		case <-s.finished:
			failed = s.commitRead(hard, false)
		case <-commit.C:
			failed = s.commitRead(hard, true)
		case now := <-tell.C:
			s.tell(now)
		case err := <-ended:
			if cerr := s.commitRead(hard, true); err == nil || cerr != nil {
				err = cerr
			}
			s.tell(time.Now())
			s.dropFailed(hard)
			return err
		}
		if failed != nil {
			cancel()
			return errors.Join(failed, without(<-ended, context.Canceled))
		}
	}
}

// without is err unless it is that one.
func without(err, that error) error {
	if errors.Is(err, that) {
		return nil
	}
	return err
}

// commitRead commits what is finished: of all tables, or only of those that are read whole.
func (s *session) commitRead(ctx context.Context, all bool) error {
	for _, t := range s.tables {
		t.mu.Lock()
		due := t.failed == nil && t.dirty && (all || t.progress.Read())
		files, p := t.files, t.progress
		if due {
			t.files, t.dirty = nil, false
		}
		load := p.json()
		t.mu.Unlock()
		if !due {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, s.StoreTimeout)
		err := s.commitOne(ctx, t, files, p.Low, load)
		cancel()
		if err != nil {
			return err
		}
		if len(files) > 0 {
			s.Logger.Info("loaded", "table", t.name, "rows", p.Rows, "ranges", p.Ranges, "files", len(files), "read", p.Read())
		}
	}
	return nil
}

func (s *session) commitOne(ctx context.Context, t *loading, files []*lake.NewFile, low string, load []byte) error {
	began := time.Now()
	record, _ := t.table.Checkpoint()
	record.Commit, record.GTIDSet, record.Load = newCommit(), low, load
	c := Commit{Table: t.name, Files: len(files)}
	var err error
	if len(files) == 0 {
		err = t.table.SetCheckpoint(ctx, record)
	} else {
		t.table.Take(files)
		err = t.table.Commit(ctx, lake.Commit{Add: files, Record: record})
	}
	if err != nil {
		return fmt.Errorf("%s: commit of a load: %w", t.name, err)
	}
	for _, f := range files {
		c.Rows += int(f.Rows)
		c.Bytes += f.Size
	}
	c.Duration, c.Size = time.Since(began), t.table.Size()
	c.Record, _ = t.table.Checkpoint()
	s.observe(c)
	return nil
}

// dropFailed takes tables out whose load cannot go on, and reports them.
func (s *session) dropFailed(ctx context.Context) {
	good := s.tables[:0:0]
	for _, t := range s.tables {
		why := t.over()
		if why == nil {
			good = append(good, t)
			continue
		}
		if err := t.table.Discard(ctx, t.files); err != nil {
			s.Logger.Debug("uncommitted files stay behind", "table", t.name, "error", err)
		}
		var anew *startOverError
		if errors.As(why, &anew) {
			s.startOver(ctx, t.name, why)
		} else {
			s.report(ctx, t.name, why)
		}
	}
	s.tables = good
}

// replay follows the binary log from the low sets on, until the tables are exact and have joined the loop.
func (s *session) replay(ctx, hard context.Context) error {
	if len(s.tables) == 0 {
		return nil
	}
	l := &loop{pipeline: s.pipeline, tables: map[string]*table{}, cutAt: time.Now().Add(s.CommitInterval), session: s}
	for _, t := range s.tables {
		ts, err := s.toReplay(ctx, t)
		if errors.Is(err, merge.ErrTwice) {
			s.startOver(ctx, t.name, err)
			continue
		}
		if err != nil {
			return err
		}
		l.tables[t.name] = ts
	}
	if len(l.tables) == 0 {
		return nil
	}
	err := l.resume(checkpoint.Position{})
	if err == nil && s.pinned != nil {
		err = s.replayTo(ctx, l)
	}
	if err != nil {
		return err
	}
	s.Logger.Info("replaying", "tables", len(l.tables), "after", l.position().Short())
	err = l.run(ctx, hard)
	for _, t := range l.tables { // those that did not join
		if t.stopped != nil {
			s.startOver(ctx, t.name, t.stopped)
		}
	}
	return err
}

// toReplay makes a table that is read a table that a loop can follow.
func (s *session) toReplay(ctx context.Context, t *loading) (*table, error) {
	record, _ := t.table.Checkpoint()
	at, err := record.At()
	if err != nil {
		return nil, err
	}
	s.Logger.Info("all rows are read", "table", t.name, "rows", t.progress.Rows)
	high := t.high
	return &table{name: t.name, set: at.Set, at: at, ahead: true, high: high, sink: &sink{
		name: t.name, table: t.table, record: record, strict: s.Strict, brief: s.Brief, log: s.Logger, committed: time.Now(), high: &high,
	}}, nil
}
