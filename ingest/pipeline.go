package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// pipeline is what outlives a restart from the last commit.
type pipeline struct {
	Options
	epochs     map[string]int64     // writer epoch this process took, per table
	loadEpochs map[string]int64     // the same, of tables being loaded: the loader's
	current    string               // host in use, preferred while it is good
	serverUUID string               // of the host in use; empty until the first one was read from
	giveUpAt   time.Time            // when a start without any server fails; zero: never
	target     *checkpoint.Set      // fixed when the first server list was seen
	found      *checkpoint.Position // the starting point, once it was searched for
	beheaded   bool                 // the beginning of the servers' logs cannot be read
	compactor  *compactor           // of the loop under way; nil when compaction is off
	outside    *outside             // an engine that rewrites large tables; nil: none
	ignored    []string             // foreign keys whose changes are missed, as logged
	progress   *progress
}

// Run follows the source until ctx ends or Options.Until is reached. When ctx ends it commits the last complete
// transaction first; hard ends at once whatever is still going on then, which is safe too.
//
// Errors of the stream and of the lake that may pass are retried for ever, with back-off. Run returns
// *source.NoServerError when no server can ever serve the tables' checkpoints or none could within WaitForServer of the
// start, *lake.FencedError when another writer
// took the tables over, and *StoppedError when tables had to be given up.
func Run(ctx, hard context.Context, o Options) error {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return err
	}
	// A transaction is held whole up to a share of the memory; the batch it goes into is bounded by batchBytes.
	o.Source.MaxBuffered = int(o.Memory / 32)
	o.Source.Wanted = o.Tables.Match
	o.Source.HeartbeatPeriod = min(time.Second, max(o.CommitInterval, 100*time.Millisecond))
	o.Source.ReadTimeout = 3 * time.Second
	p := &pipeline{
		Options: o, epochs: map[string]int64{}, loadEpochs: map[string]int64{}, progress: newProgress(), outside: newOutside(o.Outside),
		giveUpAt: time.Now().Add(o.WaitForServer),
	}
	watching, endWatch := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { p.watch(watching) })
	defer watch.Wait()
	defer endWatch()
	retry := newBackOff()
	for {
		started := time.Now()
		err := p.once(ctx, hard)
		if err == nil {
			return nil
		}
		if errors.Is(err, errRejoin) {
			if ctx.Err() != nil {
				return nil
			}
			maps.Copy(p.epochs, p.loadEpochs) // what the loader took over is ours
			p.Logger.Info("opening the tables again", "why", err)
			continue
		}
		p.observe(Fail{Err: err, Final: isFatal(err)})
		if isFatal(err) {
			return err
		}
		if ctx.Err() != nil {
			if errors.Is(err, lake.ErrSnapshotChanged) {
				p.Logger.Warn("the last batch was not committed; the next start reads it again", "why", err)
				return nil
			}
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if time.Since(started) > time.Minute {
			retry.Reset()
		}
		pause := retry.NextBackOff()
		p.Logger.Warn("starting again from the last commit", "why", err, "in", pause.Round(time.Millisecond))
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// once opens the tables and follows the source until something breaks.
func (p *pipeline) once(ctx, hard context.Context) error {
	l := &loop{pipeline: p, tables: map[string]*table{}, cutAt: time.Now().Add(p.CommitInterval)}
	compacting, stop := context.WithCancel(ctx)
	p.compactor = p.startCompactor(compacting)
	defer l.endCompaction(stop)
	l.loader = p.newLoader()
	opening, cancel := context.WithTimeout(ctx, p.StoreTimeout)
	err := p.openTables(opening, l)
	cancel()
	if err != nil {
		return err
	}
	if err := p.begin(ctx, l); err != nil {
		return err
	}
	loading, endLoading := context.WithCancel(ctx)
	go l.loader.run(loading, hard)
	var requests sync.WaitGroup
	requests.Go(func() { l.loader.requests(loading) })
	defer func() {
		endLoading()
		requests.Wait()
		<-l.loader.ended
	}()
	if err := l.run(ctx, hard); err != nil {
		return err
	}
	return l.stoppedTables()
}

// StoppedError lists the tables that had to be given up; the others were followed to the end.
type StoppedError struct{ Tables []error }

func (e *StoppedError) Error() string {
	lines := make([]string, len(e.Tables))
	for i, t := range e.Tables {
		lines[i] = t.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives access to the reasons.
func (e *StoppedError) Unwrap() []error { return e.Tables }

func (l *loop) stoppedTables() error {
	var e StoppedError
	for _, t := range l.tables {
		if t.stopped != nil {
			e.Tables = append(e.Tables, t.stopped)
		}
	}
	if len(e.Tables) == 0 {
		return nil
	}
	slices.SortFunc(e.Tables, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return &e
}

// openTables opens every followed table that the lake has, takes it over from any older writer, and builds its index.
func (p *pipeline) openTables(ctx context.Context, l *loop) error {
	ids, err := p.Lake.Filled(ctx)
	if err != nil {
		return fmt.Errorf("list the lake's tables: %w", err)
	}
	for _, id := range ids {
		if !p.Tables.Match(id.DB, id.Table) {
			continue
		}
		t, err := p.openTable(ctx, id)
		if err != nil {
			return err
		}
		l.tables[t.name] = t
		if t.loading {
			l.loader.want(t.name, t.reload)
		}
	}
	return nil
}

func notOurs(name string) error {
	return fatal(fmt.Errorf("%s: the lake has this table, but no checkpoint of tidemark in it: another program made it, "+
		"or it was rolled back to before tidemark's first commit; move it away, or leave it out with --tables '!%s'", name, name))
}

func (p *pipeline) openTable(ctx context.Context, id catalog.Identifier) (*table, error) {
	name := id.DB + "." + id.Table
	lt, err := lake.Open(ctx, p.Lake, id)
	if err != nil {
		return nil, fmt.Errorf("%s: open: %w", name, err)
	}
	record, ok := lt.Checkpoint()
	if !ok {
		return nil, notOurs(name)
	}
	at, err := record.At()
	if err != nil {
		return nil, fatal(fmt.Errorf("%s: checkpoint: %w", name, err))
	}
	if record.State == checkpoint.StateLoading {
		return &table{name: name, loading: true}, nil
	}
	if lt.LoadRequest() != "" {
		return &table{name: name, loading: true, reload: errRequested}, nil
	}
	if err := p.takeOver(ctx, name, lt); err != nil {
		return nil, err
	}
	if err := p.partition(ctx, name, lt); err != nil {
		return nil, err
	}
	s, err := p.newSink(ctx, name, lt)
	if err != nil {
		return nil, err
	}
	return &table{name: name, sink: s, at: at, set: at.Set, ahead: true}, nil
}

// takeOver makes this process the table's writer: at its start it raises the epoch; after a restart from the last
// commit it must find its own.
func (p *pipeline) takeOver(ctx context.Context, name string, lt *lake.Table) error {
	if epoch, ours := p.epochs[name]; ours {
		return lt.Claim(ctx, p.Pipeline, epoch)
	}
	epoch, err := lt.RaiseEpoch(ctx, p.Pipeline)
	if err != nil {
		return fmt.Errorf("%s: take the table over: %w", name, err)
	}
	p.epochs[name] = epoch
	return nil
}

// begin finds where to go on from: what every table has. Followed tables that the lake does not have begin at the
// starting point.
func (p *pipeline) begin(ctx context.Context, l *loop) error {
	servers, err := p.anyServer(ctx)
	if err != nil {
		return err
	}
	l.reached = source.Reached(servers)
	if p.target == nil {
		t := p.Until.Set
		if p.Until.CaughtUp {
			t = l.reached
		}
		p.target = &t
	}
	l.target = *p.target
	if l.names, err = source.Tables(ctx, p.Source, servers, p.Tables); err != nil {
		return err
	}
	if err := l.checkPartitions(ctx, servers); err != nil {
		return err
	}
	begins := slices.ContainsFunc(l.names, func(n source.TableName) bool { return l.tables[n.DB+"."+n.Table] == nil })
	start, err := p.startAt(ctx, servers, begins)
	if err != nil {
		return err
	}
	for _, n := range l.names {
		full := n.DB + "." + n.Table
		if l.tables[full] != nil {
			continue
		}
		if p.Start.Kind == StartInitial {
			l.tables[full] = &table{name: full, loading: true}
			l.loader.want(full, nil)
		} else {
			l.tables[full] = &table{name: full, at: start, set: start.Set, ahead: true, complete: start.IsBeginning() && !p.beheaded}
		}
	}
	l.start = start
	if err := l.resume(start); err != nil {
		return err
	}
	p.observe(Begin{After: l.position()})
	p.Logger.Info("going on", "tables", len(l.tables), "after", l.position().Short())
	return nil
}

// anyServer probes the list until one answers.
func (p *pipeline) anyServer(ctx context.Context) ([]source.State, error) {
	retry := newBackOff()
	for {
		servers := source.ProbeAll(ctx, p.Source)
		if slices.ContainsFunc(servers, source.State.Answers) {
			return servers, nil
		}
		err := &source.NoServerError{Verdicts: source.Judge(servers, checkpoint.Set{}, p.Tables, nil)}
		if !err.Temporary() || p.gaveUp() {
			return nil, fatal(err)
		}
		if !p.pause(ctx, retry, err) {
			return nil, ctx.Err()
		}
	}
}

// connect opens a stream after a position on the best server, waiting while none can serve but one may come to.
func (l *loop) connect(ctx context.Context, from checkpoint.Position) (*source.Stream, error) {
	retry := newBackOff()
	for {
		servers := source.ProbeAll(ctx, l.Source)
		if l.session != nil {
			if err := l.session.unreachable(servers); err != nil {
				return nil, err
			}
		}
		chosen, err := source.Find(ctx, l.Source, servers, from, l.Tables, l.current)
		if err == nil && l.session != nil {
			if err := l.session.canReplay(&chosen); err != nil {
				return nil, err
			}
		}
		if err == nil {
			err = l.refuseCascades(ctx, servers, chosen.Host)
		}
		if err == nil {
			var stream *source.Stream
			if stream, err = chosen.Dial(ctx, l.Source); err == nil {
				if l.current != chosen.Host {
					l.Logger.Info("reading", "server", chosen.Host, "version", chosen.State.Version, "role", chosen.State.Role.String())
				}
				l.current = chosen.Host
				l.reads(&chosen, stream)
				l.observe(Follow{Server: chosen.Host})
				l.loader.reads(chosen.Host)
				return stream, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if l.reloads(ctx, servers, err) {
			return nil, errParted
		}
		if !source.CanPass(err) || l.gaveUp() {
			return nil, fatal(err)
		}
		if !l.pause(ctx, retry, err) {
			return nil, ctx.Err()
		}
	}
}

// pause says why there is nothing to do, and waits.
func (p *pipeline) pause(ctx context.Context, retry *backoff.ExponentialBackOff, why error) bool {
	wait := retry.NextBackOff()
	p.observe(Wait{Err: why})
	p.Logger.Warn("waiting for a server", "why", why, "next", wait.Round(time.Millisecond))
	return sleep(ctx, wait)
}

// gaveUp reports whether a start has waited long enough: what never worked is rather a wrong address than an outage.
func (p *pipeline) gaveUp() bool {
	return p.serverUUID == "" && !p.giveUpAt.IsZero() && time.Now().After(p.giveUpAt)
}

// lost notes that a server was lost, so that another one is preferred.
func (l *loop) lost(err error) {
	l.Logger.Warn("lost the server", "server", l.current, "why", err)
	l.observe(Lost{Server: l.current, Err: err})
	l.current = ""
}

// isFatal reports whether trying again cannot help.
func isFatal(err error) bool {
	var fenced *lake.FencedError
	var no *source.NoServerError
	var stopped *StoppedError
	var f *fatalError
	return errors.As(err, &fenced) || errors.As(err, &no) && !source.CanPass(err) || errors.As(err, &stopped) || errors.As(err, &f) || errors.Is(err, errDiffers)
}

// fatalError marks an error that trying again cannot mend.
type fatalError struct{ error }

func fatal(err error) error { return &fatalError{err} }

func (e *fatalError) Unwrap() error { return e.error }

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 100 * time.Millisecond
	b.MaxInterval = 10 * time.Second
	return b
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
