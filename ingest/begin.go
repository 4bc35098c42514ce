package ingest

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

// startAt is the starting point as a position: what a table that begins now counts as having. A point that has to be
// searched for is found once, and only when it is needed: the servers may have thrown it away since the tables began.
func (p *pipeline) startAt(ctx context.Context, servers []source.State, needed bool) (checkpoint.Position, error) {
	byGTID := slices.ContainsFunc(servers, source.State.ByGTID)
	switch p.Start.Kind {
	case StartGTID:
		if holes := p.Start.Set.LeadingHoles(); needed && !holes.IsEmpty() {
			p.Logger.Warn("the starting set leaves out what lies before it, which is read too, or asked for in vain", "left out", holes.Short())
		}
		return checkpoint.At(p.Start.Set), nil
	case StartInitial: // tables that begin now are loaded
		return checkpoint.At(source.Reached(servers)), nil
	case StartLatest:
		if byGTID || !needed {
			return checkpoint.At(source.Reached(servers)), nil
		}
	case StartTime, StartFile:
		if !needed {
			return checkpoint.At(source.Reached(servers)), nil
		}
	default:
		if byGTID || !needed {
			return p.earliest(ctx, servers, needed)
		}
	}
	if p.found != nil {
		return *p.found, nil
	}
	at, host, err := p.search(ctx, servers)
	if err != nil {
		err = fmt.Errorf("starting point %s: %w", p.Start, err)
		if mayPass := source.IsStreamError(err) && source.CanPass(err) && !p.gaveUp(); mayPass || ctx.Err() != nil {
			return checkpoint.Position{}, err
		}
		return checkpoint.Position{}, fatal(err)
	}
	p.Logger.Info("found the starting point", "start", p.Start.String(), "server", host, "file", at.Place.File, "position", at.Place.Offset, "after", at.Set.Short(), "time", at.Time)
	p.found = &at
	return at, nil
}

// earliest is what servers with GTIDs still have. It is no beginning where their logs begin with transactions without GTIDs,
// which they do not send any more.
func (p *pipeline) earliest(ctx context.Context, servers []source.State, needed bool) (checkpoint.Position, error) {
	at := checkpoint.At(source.Oldest(servers))
	if !needed || !at.IsBeginning() {
		return at, nil
	}
	without, err := source.BeginsWithoutGTIDs(ctx, p.Source, servers, p.Tables)
	if err == nil && without {
		p.Logger.Warn("the servers' binary logs begin with transactions that have no GTID, which they do not send any more: tables lack what those did, and are partial")
		p.beheaded = true
	}
	return at, err
}

// search looks for the starting point in the servers' binary logs.
func (p *pipeline) search(ctx context.Context, servers []source.State) (at checkpoint.Position, host string, err error) {
	switch p.Start.Kind {
	case StartTime:
		return source.AtTime(ctx, p.Source, servers, p.Tables, p.Start.Time)
	case StartFile:
		i := slices.IndexFunc(servers, func(s source.State) bool { return s.Host == p.Start.Host || p.Start.Host == "" })
		if i < 0 {
			return at, "", p.Start.Fits(p.Source.Hosts)
		}
		if servers[i].Err != nil {
			return at, "", servers[i].Err
		}
		at, err = source.AtPlace(ctx, p.Source, servers[i], p.Start.File, p.Start.Offset)
		return at, servers[i].Host, err
	}
	best, err := source.BestForFile(ctx, p.Source, servers, p.Tables)
	if err != nil {
		return at, "", err
	}
	if p.Start.Kind == StartLatest {
		at, err = source.AtEnd(ctx, p.Source, best)
	} else {
		at, err = source.AtBeginning(ctx, p.Source, best)
	}
	return at, best.Host, err
}

// resume makes the tables' common position the one to go on from.
func (l *loop) resume(start checkpoint.Position) error {
	var all []checkpoint.Position
	for _, t := range l.tables {
		if t.loading {
			continue
		}
		all = append(all, t.at)
		if t.at.Time.After(l.newest) {
			l.newest = t.at.Time
		}
	}
	if len(all) == 0 {
		all = append(all, start)
	}
	l.at = checkpoint.Common(all)
	l.applied = l.at.Set
	return l.recordedReplay()
}

// position is where the loop stands.
func (l *loop) position() checkpoint.Position {
	at := l.at
	at.Set = l.applied
	return at
}

// reads notes how the server just connected to is read.
func (l *loop) reads(c *source.Choice, stream *source.Stream) {
	s := &c.State
	l.serverUUID, l.primary = stream.ServerUUID(), s.Role == checkpoint.RolePrimary
	l.byFile, l.end, l.rested, l.settled = c.ByFile, s.End, false, checkpoint.Place{}
	if !c.ByFile {
		l.at.Place = checkpoint.Place{Server: stream.UUID()} // where in its files, the first transaction tells
		return
	}
	l.at.Anonymous = l.at.Anonymous || !s.ByGTID()
	if s.ByGTID() {
		l.settled = s.End
	}
	l.Logger.Info("reading by file and offset", "server", c.Host, "gtid_mode", s.GTIDMode, "file", c.From.Place.File, "position", c.From.Place.Offset, "exact", c.Exact)
	l.at.Place, l.at.Time = c.From.Place, c.From.Time
	if c.Exact {
		return
	}
	for _, t := range l.tables { // their places are on another server: they take all that comes
		t.at.Place, t.ahead = checkpoint.Place{}, false
	}
	l.replayFrom(replay{until: l.newest})
}
