package source

import (
	"context"
	"fmt"
	"sync"

	"github.com/tidemark/tidemark/checkpoint"
)

// Inspector looks at all servers of the list as a person or a monitor wants to see them: judged, and with what will hurt
// later. One goroutine uses it at a time.
type Inspector struct {
	Config Config
	Filter Filter
	Schema bool // also ask every server for the followed tables and their foreign keys, which takes it longer

	rooms Headrooms
}

// Details are what an inspection finds beside the verdict.
type Details struct {
	Lacks checkpoint.Set // of the position: what the server has not executed
	Extra checkpoint.Set // what it has executed beyond the position: what is to be sent
	Gone  checkpoint.Set // what it has purged and the position lacks

	Headroom *Headroom // nil: no telling
	Tables   int       // followed tables that the user may see; with Schema
	Cascades []Cascade // foreign keys that change followed tables without the binary log showing it; with Schema
	Hides    string    // why it does not show that
}

// Inspect probes all servers at once and judges them for a position. What could not be looked at is among the verdict's warnings.
func (n *Inspector) Inspect(ctx context.Context, position checkpoint.Position) []Verdict {
	states := ProbeAll(ctx, n.Config)
	Locate(ctx, n.Config, states, position, n.Schema)
	verdicts := JudgeAt(states, position, n.Filter, KnownTables(ctx, n.Config, states, n.Filter))
	var wg sync.WaitGroup
	for i := range verdicts {
		if states[i].Err != nil {
			continue
		}
		wg.Go(func() { n.look(ctx, states, i, &verdicts[i], position) })
	}
	wg.Wait()
	return verdicts
}

func (n *Inspector) look(ctx context.Context, states []State, i int, v *Verdict, at checkpoint.Position) {
	s, position := states[i], at.Set
	d := &Details{Lacks: position.Subtract(s.Executed), Extra: s.Executed.Subtract(position), Gone: s.Purged.Subtract(position)}
	v.Details = d
	failed := func(what string, err error) {
		if err != nil {
			v.Warnings = append(v.Warnings, fmt.Sprintf("could not look at %s: %s", what, reason(err)))
		}
	}
	if !byFile(&s, at) {
		room, ok, err := n.rooms.Of(ctx, n.Config, s, position, at.Time)
		failed("how long it keeps what the lake lacks", err)
		if err == nil && ok {
			d.Headroom = &room
		}
	}
	if !n.Schema || !s.Answers() {
		return
	}
	names, err := tablesOf(ctx, n.Config.ensureDefaults(), s.Host, n.Filter)
	failed("the tables", err)
	d.Tables = len(names)
	d.Hides = whyHidden(states, i)
	if d.Cascades, err = HiddenCascades(ctx, n.Config, states, i, n.Filter); err != nil {
		failed("the foreign keys", err)
	}
	if err == nil && len(names) == 0 {
		v.Warnings = append(v.Warnings, "the user sees no followed table on it: there is none, or it takes SELECT on them, also for a look at their foreign keys")
	}
}
