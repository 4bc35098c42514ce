package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

func (a *app) doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "For every server of the list: can it serve this lake's checkpoints, and if not, why and what to do",
		Long:  "Exit code 0 when at least one server can serve, 3 when none can.",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.doctor(c.Context()) },
	}
	f := c.Flags()
	a.sourceFlags(f)
	a.lakeFlags(f)
	f.BoolVar(&a.json, "json", false, "machine-readable output")
	return c
}

func (a *app) doctor(ctx context.Context) error {
	cfg, filter, err := a.openSource()
	if err != nil {
		return err
	}
	l, err := a.openLake(ctx, false)
	if err != nil {
		return err
	}
	from, since, err := resumePoint(ctx, l, filter)
	if err != nil {
		return err
	}
	inspector := source.Inspector{Config: cfg, Filter: filter, Schema: true}
	verdicts := inspector.Inspect(ctx, from, since)
	if a.json {
		if err := a.printJSON(verdicts); err != nil {
			return err
		}
	} else if err := a.printVerdicts(from, since, verdicts); err != nil {
		return err
	}
	if _, err := source.Pick(verdicts, from, ""); err != nil {
		return errNoneServes
	}
	return nil
}

// errNoneServes is doctor's answer when it has found no server: the verdicts have the reasons.
var errNoneServes = errors.New("no server of the list can serve now; the verdicts say why, and what to do")

// resumePoint is what all followed tables of the lake have, and the source commit time of the last transaction of the
// table that is furthest behind.
func resumePoint(ctx context.Context, l *lake.Lake, filter source.Filter) (from checkpoint.Set, since time.Time, err error) {
	first := true
	ids, err := l.List(ctx)
	if err != nil {
		return from, since, err
	}
	for _, id := range ids {
		if !filter.Match(id.DB, id.Table) {
			continue
		}
		t, err := lake.Open(ctx, l, id)
		if err != nil {
			return from, since, err
		}
		r, ok := t.Checkpoint()
		if !ok {
			continue
		}
		set, err := checkpoint.ParseSet(r.GTIDSet)
		if err != nil {
			return from, since, fmt.Errorf("%s: %w", id, err)
		}
		if first {
			from, since, first = set, r.Time, false
			continue
		}
		from = from.Intersect(set)
		if r.Time.Before(since) {
			since = r.Time
		}
	}
	return from, since, nil
}

func (a *app) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\n", text)
	return err
}

// printVerdicts writes a paragraph for each server: the verdict, what it rests on, what to do.
func (a *app) printVerdicts(from checkpoint.Set, since time.Time, verdicts []source.Verdict) error {
	var b strings.Builder
	if from.IsEmpty() {
		b.WriteString("The lake has no checkpoint yet: the servers are judged for a start from the beginning.\n")
	} else {
		fmt.Fprintf(&b, "The lake goes on after %s", from.Short())
		if !since.IsZero() {
			fmt.Fprintf(&b, ", committed at the source %s ago", source.Span(time.Since(since)))
		}
		b.WriteString(".\n")
	}
	for i := range verdicts {
		b.WriteString("\n" + verdicts[i].Report())
	}
	_, err := a.out.Write([]byte(b.String()))
	return err
}
