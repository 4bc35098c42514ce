package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/merge"
)

// loading is a table that is being read.
type loading struct {
	name     string
	source   *snapshot.Table
	table    *lake.Table // its owner is the session's goroutine
	codec    func() *merge.KeyCodec
	low      checkpoint.Set
	rows     int // of a range
	unsorted atomic.Bool
	before   int64        // rows that were read before the session
	read     atomic.Int64 // rows, of unfinished ranges too, since the session began

	mu       sync.Mutex
	progress LoadProgress // with what is finished but not committed
	high     checkpoint.Set
	files    []*lake.NewFile // of finished ranges, not committed
	bytes    int64           // of the data files of ranges finished since the session began
	dirty    bool            // there is something to commit
	failed   error           // why its load cannot go on

	told pace // of what is told about it
}

// giveUp ends the load of a table; its first reason counts.
func (t *loading) giveUp(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = why
	}
}

func (t *loading) over() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// lowSet chooses where loads begin: at what a server has executed that can send all that comes after, and that has
// about everything there is. Its host is the one to ask for definitions.
func lowSet(states []source.State, filter source.Filter, tables []source.TableName) (host string, low checkpoint.Set, err error) {
	var all checkpoint.Set
	for _, s := range states {
		if s.Usable() {
			all = all.Union(s.Executed)
		}
	}
	var best *source.Verdict
	var bestMissing uint64
	var verdicts []source.Verdict
	for i := range states {
		if !states[i].Usable() {
			continue
		}
		verdicts = source.Judge(states, states[i].Executed, filter, tables)
		v := &verdicts[i]
		if v.Kind != source.CanServe || !v.Errant.IsEmpty() {
			continue
		}
		const small = 1000 // transactions that a replica that keeps up may lack
		missing := all.Subtract(v.State.Executed).Count()
		if missing <= small {
			missing = 0
		}
		if best == nil || missing < bestMissing || missing == bestMissing && v.State.Role == checkpoint.RoleReplica && best.State.Role != checkpoint.RoleReplica {
			best, bestMissing = v, missing
		}
	}
	if best == nil {
		if verdicts == nil {
			verdicts = source.Judge(states, checkpoint.Set{}, filter, tables)
		}
		return "", low, &source.NoServerError{Verdicts: verdicts}
	}
	return best.Host, best.State.Executed, nil
}

// open makes the session's tables ready to be read: it creates those that the lake does not have, goes on with those whose
// load was interrupted, and starts over those that cannot.
func (s *session) open(ctx context.Context) error {
	states, err := s.anyServer(ctx)
	if err != nil {
		return err
	}
	var host string
	var low checkpoint.Set
	if slices.ContainsFunc(states, source.State.ByGTID) {
		host, low, err = lowSet(states, s.Tables, source.KnownTables(ctx, s.Source, states, s.Tables))
	} else if host, err = s.pin(ctx, states); err == nil {
		low = s.pinned.low.Set
	}
	if err != nil {
		return err
	}
	conn, err := snapshot.Open(ctx, s.Source, host)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := s.refuseHidden(ctx, states, host); err != nil {
		return err
	}
	for _, name := range s.left() {
		t, err := s.openOne(ctx, conn, name, low)
		var gone *snapshot.NoTableError
		switch {
		case err == nil:
			if old := t.low; s.pinned == nil && !old.Equal(low) && !canServe(states, old, s.Tables) {
				s.startOver(ctx, name, fmt.Errorf("no server can send what came after %s, where it began", old.Short()))
				if s.settled[name] {
					continue
				}
				if t, err = s.openOne(ctx, conn, name, low); err != nil {
					return err
				}
			}
			s.tables = append(s.tables, t)
		case errors.As(err, &gone):
			s.report(ctx, name, nil)
		case ctx.Err() != nil, source.IsStreamError(err), isFatal(err), errors.Is(err, errAgain):
			return err
		default:
			fault, err := split(err)
			if err != nil {
				return err
			}
			s.report(ctx, name, fault)
		}
	}
	return nil
}

// refuseHidden gives up the tables that foreign keys change behind the binary log of the server.
func (s *session) refuseHidden(ctx context.Context, states []source.State, host string) error {
	if s.IgnoreCascades {
		return nil
	}
	i := slices.IndexFunc(states, func(x source.State) bool { return x.Host == host })
	hidden, err := source.HiddenCascades(ctx, s.Source, states, i, s.Tables)
	if err != nil {
		return err
	}
	for _, c := range hidden {
		if name := c.Child.String(); slices.Contains(s.left(), name) {
			s.report(ctx, name, hiddenChanges(c, host))
		}
	}
	return nil
}

// canServe reports whether a server can send what comes after a position, now or when it has caught up.
func canServe(states []source.State, position checkpoint.Set, filter source.Filter) bool {
	_, err := source.Pick(source.Judge(states, position, filter, nil), position, "")
	return err == nil || source.CanPass(err)
}

func (s *session) openOne(ctx context.Context, conn *snapshot.Conn, name string, low checkpoint.Set) (*loading, error) {
	db, table := splitName(name)
	described, err := snapshot.Describe(ctx, conn, db, table)
	if err != nil {
		return nil, err
	}
	if _, err := lake.SchemaFromArrow(described.Plan.Schema, described.Plan.Key); err != nil {
		return nil, err
	}
	if err := s.Partitions.check(name, described.Plan); err != nil {
		return nil, err
	}
	if s.pinned != nil && described.Plan.Keyless() {
		return nil, errors.New("it has no key, and the source no GTIDs: nothing tells which rows were read before a change and which after; add a key, enable GTIDs, or leave the table out (--tables)")
	}
	t := &loading{name: name, source: described, low: low}
	rows, bytes, err := described.Size(ctx, conn)
	if err != nil {
		return nil, err
	}
	t.rows = s.rangeRows(rows, bytes)
	t.progress = LoadProgress{Low: low.String(), Estimate: rows, Began: time.Now().UTC().Truncate(time.Second)}
	if err := s.openLake(ctx, t, catalog.Identifier{DB: db, Table: table}); err != nil {
		return nil, err
	}
	if err := t.table.Fits(described.Plan.Schema, described.Plan.Key); err != nil {
		return nil, fmt.Errorf("its columns in the source and in the lake differ: %w", err)
	}
	if _, err := keyCodec(t.table); err != nil {
		return nil, err
	}
	t.codec = func() *merge.KeyCodec {
		codec, _ := keyCodec(t.table) // it was made once before
		return codec
	}
	return t, nil
}

// rangeRows is how many rows a range is to have: enough for a data file, few enough to read again after a crash, and so few that
// every connection has some ranges, or the last ones would be waited for.
func (s *session) rangeRows(rows, bytes int64) int {
	const wanted, least, most, each = 256 << 20, 20_000, 2_000_000, 3
	switch {
	case s.LoadRange > 0:
		return s.LoadRange
	case rows <= 0 || bytes <= 0:
		return 200_000
	}
	return int(max(min(wanted/max(bytes/rows, 1), most, rows/int64(each*s.LoadWorkers)), least))
}

// openLake opens the lake's table on the branch of loads, or creates it, and finds or records where the load is.
func (s *session) openLake(ctx context.Context, t *loading, id catalog.Identifier) error {
	record := checkpoint.Record{
		Version: checkpoint.Version, Pipeline: s.Pipeline, Epoch: 1, GTIDSet: t.progress.Low,
		Time: time.Now().UTC().Truncate(time.Microsecond), State: checkpoint.StateLoading, Load: t.progress.json(),
	}
	if s.pinned != nil {
		record.Reach(s.pinned.low)
	}
	fail := func(err error) error { return &lakeError{fmt.Errorf("%s: %w", t.name, err)} }
	lt, err := lake.OpenLoad(ctx, s.Lake, id)
	if errors.Is(err, fs.ErrNotExist) {
		plan := t.source.Plan
		lt, err = lake.Create(ctx, s.Lake, id, plan.Schema, plan.Key, lake.CreateOptions{FormatVersion: s.FormatVersion, Record: record, Loading: true, Partition: s.Partitions.fieldsOf(id.DB, id.Table)})
		if errors.Is(err, fs.ErrExist) {
			return fail(fmt.Errorf("%w: another writer created it just now", errAgain))
		}
		if err != nil {
			return fail(fmt.Errorf("create the table in the lake: %w", err))
		}
		s.epochs[t.name] = record.Epoch
		s.Logger.Info("created table", "table", t.name, "format", s.FormatVersion, "state", record.State, "key", keyNames(plan))
		t.table = lt
		delete(s.loader.again, t.name)
		s.opened(t)
		return nil
	}
	if err != nil {
		return fail(fmt.Errorf("open: %w", err))
	}
	if err := s.takeOver(ctx, t.name, lt); err != nil {
		return fail(err)
	}
	if err := s.partition(ctx, t.name, lt); err != nil {
		return fail(err)
	}
	t.table = lt
	old, _ := lt.Checkpoint()
	p, why := ParseLoadProgress(old)
	switch {
	case s.loader.again[t.name] != nil:
		why = s.loader.again[t.name]
	case old.State != checkpoint.StateLoading:
		why = errors.New("it is to be loaded again")
	case why == nil && s.fits(old) != nil:
		why = s.fits(old)
	case why == nil && p.Rows > 0 && lt.SnapshotID() == 0:
		why = fmt.Errorf("the branch %s is gone", lake.LoadBranch)
	}
	if why == nil {
		defer s.opened(t)
		return s.resume(t, p, old)
	}
	s.Logger.Info("the load begins anew", "table", t.name, "why", why)
	record.Commit = newCommit()
	if err := lt.StartLoad(ctx, record); err != nil {
		return fail(fmt.Errorf("begin the load: %w", err))
	}
	delete(s.loader.again, t.name)
	s.opened(t)
	return nil
}

func (s *session) opened(t *loading) {
	record, _ := t.table.Checkpoint()
	s.observe(Open{Table: t.name, Record: record, Size: t.table.Size()})
}

// resume goes on from what is recorded.
func (s *session) resume(t *loading, p LoadProgress, record checkpoint.Record) error {
	var err error
	if t.low, err = checkpoint.ParseSet(record.GTIDSet); err != nil {
		return err
	}
	if t.high, err = checkpoint.ParseSet(p.High); err != nil {
		return err
	}
	if p.Estimate == 0 {
		p.Estimate = t.progress.Estimate
	}
	t.progress, t.before = p, p.Rows
	s.Logger.Info("the load goes on", "table", t.name, "progress", p.String(), "from", t.low.Short())
	return nil
}
