package ingest

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

// startSet is the starting point as a GTID set: what a table that starts now counts as having. A point that has to be
// searched for is found once, and only when it is needed: the servers may have thrown it away since the tables began.
func (p *pipeline) startSet(ctx context.Context, servers []source.State, needed bool) (checkpoint.Set, error) {
	switch p.Start.Kind {
	case StartGTID:
		if holes := p.Start.Set.LeadingHoles(); needed && !holes.IsEmpty() {
			p.Logger.Warn("the starting set leaves out what lies before it, which is read too, or asked for in vain", "left out", holes.Short())
		}
		return p.Start.Set, nil
	case StartLatest:
		return source.Reached(servers), nil
	case StartTime, StartFile:
		if !needed {
			return source.Reached(servers), nil
		}
		return p.searched(ctx, servers)
	}
	return source.Oldest(servers), nil
}

// searched looks for the starting point in the servers' binary logs.
func (p *pipeline) searched(ctx context.Context, servers []source.State) (checkpoint.Set, error) {
	if p.found != nil {
		return p.found.Set, nil
	}
	var at checkpoint.Position
	var host string
	var err error
	if p.Start.Kind == StartTime {
		at, host, err = source.AtTime(ctx, p.Source, servers, p.Tables, p.Start.Time)
	} else {
		host = p.Start.Host
		i := slices.IndexFunc(servers, func(s source.State) bool { return s.Host == host || host == "" })
		if i < 0 {
			return checkpoint.Set{}, fatal(p.Start.Fits(p.Source.Hosts))
		}
		host = servers[i].Host
		if err = servers[i].Err; err == nil {
			at, err = source.AtPlace(ctx, p.Source, servers[i], p.Start.File, p.Start.Offset)
		}
	}
	if err != nil {
		err = fmt.Errorf("starting point %s: %w", p.Start, err)
		if source.IsStreamError(err) && source.CanPass(err) && !p.gaveUp() {
			return checkpoint.Set{}, err
		}
		return checkpoint.Set{}, fatal(err)
	}
	p.Logger.Info("found the starting point", "start", p.Start.String(), "server", host, "file", at.Place.File, "position", at.Place.Offset, "after", at.Set.Short(), "time", at.Time)
	p.found = &at
	return at.Set, nil
}
