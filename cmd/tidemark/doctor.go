package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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
	from, err := resumePoint(ctx, l, filter)
	if err != nil {
		return err
	}
	servers := source.ProbeAll(ctx, cfg)
	source.Locate(ctx, cfg, servers, from, true)
	verdicts := source.JudgeAt(servers, from, filter, source.KnownTables(ctx, cfg, servers, filter))
	if a.json {
		if err := a.printJSON(verdicts); err != nil {
			return err
		}
	} else if err := a.printVerdicts(from, verdicts); err != nil {
		return err
	}
	_, err = source.Pick(verdicts, from.Set, "")
	var none *source.NoServerError
	if errors.As(err, &none) {
		none.From = from
	}
	return err
}

// resumePoint is what all followed tables of the lake have.
func resumePoint(ctx context.Context, l *lake.Lake, filter source.Filter) (checkpoint.Position, error) {
	var all []checkpoint.Position
	ids, err := l.List(ctx)
	if err != nil {
		return checkpoint.Position{}, err
	}
	for _, id := range ids {
		if !filter.Match(id.DB, id.Table) {
			continue
		}
		t, err := lake.Open(ctx, l, id)
		if err != nil {
			return checkpoint.Position{}, err
		}
		r, ok := t.Checkpoint()
		if !ok {
			continue
		}
		at, err := r.At()
		if err != nil {
			return checkpoint.Position{}, fmt.Errorf("%s: %w", id, err)
		}
		all = append(all, at)
	}
	return checkpoint.Common(all), nil
}

func (a *app) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\n", text)
	return err
}

func (a *app) printVerdicts(from checkpoint.Position, verdicts []source.Verdict) error {
	head := "The lake goes on after " + from.Short() + "."
	if from.IsZero() {
		head = "The lake has no checkpoint yet: the servers are judged for a start from the beginning."
	}
	_, err := fmt.Fprintf(a.out, "%s\n%s\n", head, source.Table(verdicts))
	return err
}
