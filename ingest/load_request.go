package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// lookEvery is how often LoadNow looks at the tables that somebody else loads.
const lookEvery = 500 * time.Millisecond

// asked is a table that was asked to be loaded.
type asked struct {
	id      catalog.Identifier
	request string // its id; empty for one whose load was under way
	commit  string // of its checkpoint when asked
	honored bool

	last  string    // commit seen
	since time.Time // when it was seen first
}

// LoadNow loads the tables of o now, again where the lake has them, and returns when all are live. It asks whoever writes a
// table to do it, by a property of the table: an ingest that runs goes on with the others meanwhile. Tables for which
// nobody begins within wait it takes over and loads itself, as well as those that the lake does not have.
//
// It returns what Run returns. Readers see the old state until the new one is complete.
func LoadNow(ctx, hard context.Context, o Options, wait time.Duration) error {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return err
	}
	servers := source.ProbeAll(ctx, o.Source)
	names, err := source.Tables(ctx, o.Source, servers, o.Tables)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("no table of the source matches --tables %s", o.Tables)
	}
	var others []*asked
	var own []string
	for _, n := range names {
		a, err := ask(ctx, &o, catalog.Identifier{DB: n.DB, Table: n.Table})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			own = append(own, n.String())
		case err != nil:
			return err
		default:
			others = append(others, a)
		}
	}
	mine, err := await(ctx, &o, others, wait)
	if err != nil {
		return err
	}
	if own = append(own, mine...); len(own) == 0 {
		return nil
	}
	o.Logger.Info("loading, with no ingest to do it", "tables", len(own))
	if o.Tables, err = source.ParseFilter(strings.Join(own, ",")); err != nil {
		return err
	}
	o.Start, o.Until = Start{Kind: StartInitial}, Until{CaughtUp: true}
	if o.Pipeline == "" {
		o.Pipeline = o.Source.Pipeline
	}
	o.Source.Pipeline += "/once" // an ingest of other tables keeps its stream
	return Run(ctx, hard, o)
}

// ask asks for a table to be loaded, unless its load is under way. It fails with fs.ErrNotExist when the lake does not have it.
func ask(ctx context.Context, o *Options, id catalog.Identifier) (*asked, error) {
	t, err := lake.Open(ctx, o.Lake, id)
	if err != nil {
		return nil, fmt.Errorf("%s: open: %w", id, err)
	}
	record, ok := t.Checkpoint()
	if !ok {
		return nil, fmt.Errorf("%s: the lake has this table, but no checkpoint of tidemark in it: move it away, or leave it out with --tables", id)
	}
	a := &asked{id: id, commit: record.Commit}
	if record.State == checkpoint.StateLoading {
		return a, nil
	}
	a.request = uuid.NewString()
	return a, t.RequestLoad(ctx, a.request)
}

// await waits until the tables are loaded by whoever writes them, and returns those that nobody began to load.
func await(ctx context.Context, o *Options, tables []*asked, wait time.Duration) (left []string, err error) {
	began, said := time.Now(), time.Now()
	if len(tables) > 0 {
		o.Logger.Info("asked the ingest that writes the tables to load them", "tables", len(tables), "for", wait)
	}
	for len(tables) > 0 {
		if !sleep(ctx, lookEvery) {
			return nil, ctx.Err()
		}
		say := time.Since(said) >= sayEvery
		if say {
			said = time.Now()
		}
		open := tables[:0:0]
		for _, a := range tables {
			done, record, err := a.look(ctx, o)
			if err != nil {
				return nil, err
			}
			switch {
			case done:
				o.Logger.Info("table is loaded by the ingest that writes it", "table", a.id.String())
			case !a.honored && time.Since(began) >= wait:
				left = append(left, a.id.String())
			default:
				open = append(open, a)
				if say && a.honored {
					a.tell(o, record, wait)
				}
			}
		}
		tables = open
	}
	return left, nil
}

// tell tells how far a load is that somebody else does, or that it does not move.
func (a *asked) tell(o *Options, record checkpoint.Record, patience time.Duration) {
	if a.last != record.Commit {
		a.last, a.since = record.Commit, time.Now()
	}
	p, err := ParseLoadProgress(record)
	switch {
	case err != nil:
	case time.Since(a.since) > patience+sayEvery:
		o.Logger.Warn("the load does not go on: is the ingest running? Once it is started again it goes on; without one, start tidemark load again, which takes it over",
			"table", a.id.String(), "progress", p.String(), "no commit for", time.Since(a.since).Round(time.Second))
	default:
		o.Logger.Info("the ingest loads", "table", a.id.String(), "progress", p.String())
	}
}

// look looks at what became of a table.
func (a *asked) look(ctx context.Context, o *Options) (done bool, record checkpoint.Record, err error) {
	t, err := lake.Open(ctx, o.Lake, a.id)
	if err != nil {
		return false, record, fmt.Errorf("%s: open: %w", a.id, err)
	}
	record, _ = t.Checkpoint()
	if a.request == "" {
		a.honored = a.honored || record.Commit != a.commit
	} else {
		a.honored = a.honored || t.LoadRequest() != a.request
	}
	return a.honored && record.State != checkpoint.StateLoading, record, nil
}
