package ingest

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/tidemark/tidemark/ingest/source"
)

// watch looks at all servers of the list from time to time, until ctx ends: for the observer, and to warn before a
// server purges what the lake still lacks. It has connections of its own and shares nothing with the stream.
func (p *pipeline) watch(ctx context.Context) {
	inspector := source.Inspector{Config: p.Source, Filter: p.Tables}
	warnings := warnings{threshold: p.RetentionWarning, log: p.Logger, rooms: map[string]room{}}
	tick := time.NewTicker(p.ProbeInterval)
	defer tick.Stop()
	for {
		position, known := p.progress.position()
		verdicts := inspector.Inspect(ctx, position)
		if ctx.Err() != nil {
			return
		}
		if known {
			warnings.look(verdicts)
		}
		p.observe(Probe{Verdicts: verdicts, Position: position.Set, Known: known})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-p.progress.changed:
		}
	}
}

// room is how a server stands to the position.
type room uint8

const (
	roomUnknown room = iota
	roomEnough
	roomShort // the oldest transaction that the lake lacks is purged soon
	roomGone  // it is purged
)

// warnings tells the log how long the servers still have what the lake lacks, once for each change.
type warnings struct {
	threshold time.Duration
	log       *slog.Logger
	rooms     map[string]room // by host
}

func (w *warnings) look(verdicts []source.Verdict) {
	for _, v := range verdicts {
		if v.Details == nil || v.Details.Headroom == nil {
			continue // it may come back as it was
		}
		h, before := v.Details.Headroom, w.rooms[v.Host]
		now := roomEnough
		switch {
		case h.Gone:
			now = roomGone
		case h.Within(w.threshold):
			now = roomShort
		}
		if w.rooms[v.Host] = now; now == before {
			continue
		}
		switch now {
		case roomShort:
			w.log.Warn("a server is about to purge what the lake lacks: commit, or raise its retention, before", "server", v.Host, "left", h.String(),
				"file", h.File, "limit", h.Limit, "retention", source.Span(v.State.Retention), "lacking", v.Details.Extra.Short(), "longer_on", longer(verdicts, *h))
		case roomGone:
			w.log.Warn("a server has purged what the lake lacks", "server", v.Host, "purged", v.Details.Gone.Short(), "still_on", longer(verdicts, *h))
		case roomEnough:
			if before != roomUnknown {
				w.log.Info("a server keeps what the lake lacks long enough again", "server", v.Host, "left", h.String())
			}
		}
	}
}

// longer lists the servers that can serve and have more headroom.
func longer(verdicts []source.Verdict, than source.Headroom) string {
	var hosts []string
	for _, v := range verdicts {
		if v.Kind != source.CanServe || v.Details == nil || v.Details.Headroom == nil {
			continue
		}
		if h := v.Details.Headroom; !h.Gone && (than.Gone || h.Forever || h.Left > than.Left) {
			hosts = append(hosts, v.Host+" ("+h.String()+")")
		}
	}
	if len(hosts) == 0 {
		return "no server"
	}
	return strings.Join(hosts, ", ")
}
