package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// A table that the loop follows may have to be loaded again: somebody asked for it (tidemark load), or no server has any
// more what it lacks (--on-purged, --on-diverged). The loop lets go of it between two transactions, and the loader loads it like
// a new one. Readers see its old state until the swap.

// errRequested is why a table is loaded again.
var errRequested = errors.New("somebody asked for it")

// errParted says that tables have to leave the loop before it can go on.
var errParted = errors.New("tables are to be loaded again")

// requestsEvery is how often tables are looked at for a request to load them again.
const requestsEvery = 5 * time.Second

// requests tells the loop of requests to load its tables again, until ctx ends.
func (d *loader) requests(ctx context.Context) {
	tick := time.NewTicker(requestsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, name := range d.followed.names() {
			db, table := splitName(name)
			requested, err := lake.LoadRequested(ctx, d.options.Lake, catalog.Identifier{DB: db, Table: table})
			switch {
			case ctx.Err() != nil:
				return
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				d.options.Logger.Debug("cannot look for a request to load a table", "table", name, "why", err)
			case requested:
				d.send(ctx, news{table: name, reload: errRequested})
			}
		}
	}
}

// part lets go of the tables that are to be loaded again.
func (l *loop) part(hard context.Context) error {
	if len(l.parting) == 0 {
		return nil
	}
	if err := l.flush(hard, l.job(false)); err != nil {
		return err
	}
	for _, w := range l.parting {
		if t := l.tables[w.name]; t == nil || t.loading {
			continue
		}
		l.Logger.Warn("a table is loaded again; its old state stays readable meanwhile", "table", w.name, "why", w.why)
		l.tables[w.name] = &table{name: w.name, loading: true}
		l.loader.want(w.name, w.why)
	}
	l.parting = nil
	return nil
}

// reloads decides whether an error of choosing a server is answered by loading again the tables that it is about, and
// notes them.
func (l *loop) reloads(ctx context.Context, servers []source.State, err error) bool {
	var none *source.NoServerError
	if l.session != nil || !errors.As(err, &none) || none.Temporary() {
		return false
	}
	reload := false
	for _, v := range none.Verdicts {
		reload = reload || v.Kind == source.Purged && l.OnPurged == Reload || v.Kind == source.Diverged && l.OnDiverged == Reload
	}
	if !reload {
		return false
	}
	tables := source.KnownTables(ctx, l.Source, servers, l.Tables)
	if _, _, err := lowSet(servers, l.Tables, tables); err != nil {
		return false // none can be loaded from either
	}
	var all, affected []*table
	for _, t := range l.tables {
		if t.loading || t.stopped != nil {
			continue
		}
		all = append(all, t)
		set := l.applied
		if t.ahead {
			set = set.Union(t.set)
		}
		if !canServe(servers, set, l.Tables) {
			affected = append(affected, t)
		}
	}
	if len(affected) == 0 {
		affected = all
	}
	for _, t := range affected {
		l.parting = append(l.parting, wanted{t.name, fmt.Errorf("what came after its checkpoint is lost: %w", none)})
	}
	return len(affected) > 0
}

// common is what all tables that are followed have; without one, what the loop has applied.
func (l *loop) common() checkpoint.Set {
	var common checkpoint.Set
	first := true
	for _, t := range l.tables {
		if t.loading || t.stopped != nil {
			continue
		}
		set := l.applied
		if t.ahead {
			set = set.Union(t.set)
		}
		if first {
			common, first = set, false
		} else {
			common = common.Intersect(set)
		}
	}
	if first {
		return l.applied
	}
	return common.Clone()
}
