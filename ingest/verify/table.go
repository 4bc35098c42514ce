package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// table is one table's comparison.
type table struct {
	*run
	id     catalog.Identifier
	name   string
	rows   int64 // of the lake, about
	report TableReport
	done   *tableState
}

// view is the lake's table at one of its commits. Nothing of it changes; its files may be removed when snapshots expire.
type view struct {
	table  *lake.Table
	files  []lake.FileInfo
	set    checkpoint.Set // the position: L in the package's comment
	opened time.Time
}

// viewAge is for how long the parts of a table are compared at one position. For each of them the log is read from there.
const viewAge = 10 * time.Minute

// look opens the table for what is told of it before anything is compared.
func (t *table) look(ctx context.Context) error {
	lt, err := lake.Open(ctx, t.Lake, t.id)
	if err != nil {
		return err
	}
	t.name = t.id.String()
	for _, f := range lt.Files() {
		t.rows += f.Live()
	}
	return nil
}

// LoadingError says that a table is being loaded, and equals nothing yet.
type LoadingError struct{ Table string }

func (e *LoadingError) Error() string {
	return e.Table + " is being loaded: verify it when the load has ended"
}

// open opens the lake's newest commit; within Options.Wait, one that has what the source had at the start.
func (t *table) open(ctx context.Context) (*view, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		lt, err := lake.Open(ctx, t.Lake, t.id)
		if err != nil {
			return nil, err
		}
		record, ok := lt.Checkpoint()
		if !ok {
			return nil, fmt.Errorf("%s has no checkpoint of tidemark, so there is no telling at which position it should equal the source", t.name)
		}
		at, err := record.At()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		if at.Anonymous {
			return nil, fmt.Errorf("%s is at %s, where transactions have no GTIDs: verify compares at a GTID set", t.name, at.Short())
		}
		set := at.Set
		t.report.State, t.report.Behind = record.State, int64(t.goal.Subtract(set).Count())
		if record.State == checkpoint.StateLoading {
			return nil, &LoadingError{t.name}
		}
		patient := time.Now().Before(t.waitEnd)
		if record.Replay != nil && !patient {
			return nil, fmt.Errorf("%s is ahead of its position, since transactions that it has are to come again: let the ingest pass them (--wait), then verify", t.name)
		}
		if record.Replay == nil && (t.report.Behind == 0 || !patient) {
			return &view{table: lt, files: lt.Inventory(), set: set, opened: time.Now()}, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// maxFailures is how often in a row an attempt may fail without having compared a part.
const maxFailures = 6

// table compares one table, going on after faults that may pass.
func (r *run) table(ctx context.Context, t *table) error {
	t.done = r.state.table(t.name)
	r.progress(t.name, t.done.rows())
	defer func() { t.report.sum(t.done) }()
	if t.done.Finished {
		return nil
	}
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 100*time.Millisecond, 5*time.Second
	for failures := 0; ; failures++ {
		before := len(t.done.Parts)
		err := t.attempt(ctx)
		switch {
		case err == nil && t.done.Finished:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil || len(t.done.Parts) > before:
			failures = 0
			retry.Reset()
		}
		if err == nil {
			continue // with another view
		}
		if failures >= maxFailures || !mayPass(err) {
			return err
		}
		wait := retry.NextBackOff()
		r.Logger.Warn("verify goes on after a fault", "table", t.name, "why", err, "in", wait.Round(time.Millisecond))
		r.current = ""
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// mayPass reports whether another attempt, with another view of the lake or another server, may do.
func mayPass(err error) bool {
	var changed *snapshot.ChangedError
	return source.CanPass(err) || source.IsStreamError(err) && source.Classify(err) != source.KindPrivilege || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errUncertain) || errors.As(err, &changed)
}

// session is a view of the lake and a server to compare it with.
type session struct {
	*table
	view         *view
	host         string
	conns        []*snapshot.Conn
	source       *snapshot.Table
	columns, key []string
}

// streamConfig has only the table's rows delivered.
func (s *session) streamConfig() source.Config {
	cfg := s.Source
	cfg.Wanted = func(db, table string) bool { return db == s.id.DB && table == s.id.Table }
	return cfg
}

// attempt compares the parts that are not done yet, for as long as one view is good.
func (t *table) attempt(ctx context.Context) error {
	v, err := t.open(ctx)
	if err != nil {
		return err
	}
	s := &session{table: t, view: v}
	servers := slices.DeleteFunc(source.ProbeAll(ctx, t.Source), withoutGTIDs)
	chosen, err := source.Choose(ctx, t.Source, servers, v.set, t.Tables, t.current)
	if err != nil {
		return err
	}
	s.host, t.current = chosen.Host, chosen.Host
	defer func() {
		for _, c := range s.conns {
			c.Close()
		}
	}()
	for range t.Parallel {
		c, err := snapshot.Open(ctx, t.Source, s.host)
		if err != nil {
			return err
		}
		s.conns = append(s.conns, c)
	}
	if s.source, err = snapshot.Describe(ctx, s.conns[0], t.id.DB, t.id.Table); err != nil {
		return err
	}
	if err := v.table.Fits(s.source.Plan.Schema, s.source.Plan.Key); err != nil {
		return fmt.Errorf("%s: the columns in source and lake differ, so that rows cannot be compared: %w", t.name, err)
	}
	s.columns, s.key = s.source.Columns()
	plan := newPlanner(&t.Options, s.source, t.done, t.rows)
	for {
		parts, err := plan.next(ctx, s.conns[0])
		if err != nil {
			return err
		}
		for _, p := range t.done.rest(parts) {
			if time.Since(v.opened) > viewAge {
				return nil
			}
			if err := s.part(ctx, p); err != nil {
				return err
			}
		}
		if t.done.Finished {
			return nil
		}
	}
}

// part compares a part and notes the outcome.
func (s *session) part(ctx context.Context, p *part) error {
	began, counted := time.Now(), s.count(0)
	for h := range 2 {
		c := &comparison{session: s, part: p, half: h == 1, findings: newFindings(s.List - s.done.named())}
		out, err := c.compare(ctx)
		if err != nil {
			s.count(counted - s.count(0)) // its rows come again
		}
		if errors.Is(err, errCollision) && h == 0 {
			continue
		}
		if err != nil {
			return err
		}
		s.Logger.Debug("compared", "table", s.name, "part", p.String(), "rows", out.rows, "touched", out.touched, "took", time.Since(began).Round(time.Millisecond))
		s.done.Parts = append(s.done.Parts, partDone{
			part: *p, Position: Position{s.view.set.String(), s.view.table.SnapshotID(), s.host},
			Rows: out.rows, Touched: out.touched, Count: out.count, Named: out.named,
		})
		s.done.Finished = p.To == nil && p.N == max(p.Of-1, 0)
		return s.state.save()
	}
	return nil
}
