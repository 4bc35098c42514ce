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
	from, last, err := resumePoint(ctx, l, filter)
	if err != nil {
		return err
	}
	inspector := source.Inspector{Config: cfg, Filter: filter, Schema: true}
	verdicts := inspector.Inspect(ctx, from)
	if a.json {
		if err := a.printJSON(verdicts); err != nil {
			return err
		}
	} else if err := a.printVerdicts(from, last, verdicts); err != nil {
		return err
	}
	if _, err := source.Pick(verdicts, from.Set, ""); err != nil {
		return errNoneServes
	}
	return nil
}

// errNoneServes is doctor's answer when it has found no server: the verdicts have the reasons.
var errNoneServes = errors.New("no server of the list can serve now; the verdicts say why, and what to do")

// resumePoint is what all followed tables of the lake have. Its time is that of the last transaction of the table that is
// furthest behind. last names that table; it is empty when all have the same.
func resumePoint(ctx context.Context, l *lake.Lake, filter source.Filter) (from checkpoint.Position, last string, err error) {
	var all []checkpoint.Position
	var names []string
	ids, err := l.Filled(ctx)
	if err != nil {
		return from, "", err
	}
	for _, id := range ids {
		if !filter.Match(id.DB, id.Table) {
			continue
		}
		t, err := lake.Open(ctx, l, id)
		if err != nil {
			return from, "", err
		}
		r, ok := t.Checkpoint()
		if !ok {
			continue
		}
		at, err := r.At()
		if err != nil {
			return from, "", fmt.Errorf("%s: %w", id, err)
		}
		all = append(all, at)
		names = append(names, id.String())
	}
	from = checkpoint.Common(all)
	behind, same := 0, true
	for i, at := range all {
		same = same && at.Set.Equal(from.Set)
		if at.Set.Count() < all[behind].Set.Count() {
			behind = i
		}
	}
	if !same {
		last = names[behind]
	}
	return from, last, nil
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
func (a *app) printVerdicts(from checkpoint.Position, last string, verdicts []source.Verdict) error {
	var b strings.Builder
	if from.IsZero() {
		b.WriteString("The lake has no checkpoint yet: the servers are judged for a start from the beginning.\n")
	} else {
		fmt.Fprintf(&b, "The lake goes on after %s", from.Short())
		if !from.Time.IsZero() {
			fmt.Fprintf(&b, ", committed at the source %s ago", source.Span(time.Since(from.Time)))
		}
		if last != "" {
			fmt.Fprintf(&b, "; furthest behind is %s", last)
		}
		b.WriteString(".\n")
	}
	for i := range verdicts {
		b.WriteString("\n" + verdicts[i].Report())
	}
	_, err := a.out.Write([]byte(b.String()))
	return err
}
