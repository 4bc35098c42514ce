package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

// tableStatus is a table as status and checkpoint show print it.
type tableStatus struct {
	Table         string `json:"table"`
	FormatVersion int    `json:"format_version"`
	lake.Size
	Checkpoint *checkpoint.Record `json:"checkpoint"`
	Foreign    bool               `json:"foreign,omitempty"`     // another program's, of which nothing else is told
	Age        *float64           `json:"age_seconds,omitempty"` // since the source committed the checkpoint's last transaction
}

func (a *app) statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "For every table: rows, data and delete files, bytes, checkpoint, age, state",
		Long:  "The age of a checkpoint is the time since the source committed the last transaction that it holds: on a quiet source it grows while nothing is missing.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.tableStatuses(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TABLE\tSTATE\tROWS\tDATA FILES\tDELETE FILES\tBYTES\tAGE\tCHECKPOINT")
			for _, t := range list {
				if t.Foreign {
					fmt.Fprintf(w, "%s\tanother program's\n", t.Table)
					continue
				}
				state, age, set := "no checkpoint", "", ""
				if r := t.Checkpoint; r != nil {
					state, set = string(r.State), shortPosition(r)
				}
				if p := t.load(); p != nil {
					set = p.String()
				}
				if t.Age != nil {
					age = source.Span(time.Duration(*t.Age * float64(time.Second)))
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", t.Table, state, t.Rows, t.DataFiles, t.DeleteFiles, humanize.IBytes(uint64(t.Bytes)), age, set)
			}
			return w.Flush()
		},
	}
	a.listFlags(c)
	return c
}

// load is how far the load of a table is; nil when it is not loaded now.
func (t *tableStatus) load() *ingest.LoadProgress {
	if t.Checkpoint == nil || t.Checkpoint.State != checkpoint.StateLoading {
		return nil
	}
	p, err := ingest.ParseLoadProgress(*t.Checkpoint)
	if err != nil {
		return nil // --json has it as it is
	}
	return &p
}

func (a *app) listFlags(c *cobra.Command) {
	f := c.Flags()
	a.lakeFlags(f)
	f.StringVar(&a.tables, "tables", "*.*", "tables to show: `globs` like 'shop.*,!shop.secret'")
	f.BoolVar(&a.json, "json", false, "machine-readable output")
}

func shortPosition(r *checkpoint.Record) string {
	at, err := r.At()
	if err != nil {
		return r.GTIDSet
	}
	return at.Short()
}

func (a *app) tableStatuses(ctx context.Context) ([]tableStatus, error) {
	filter, err := source.ParseFilter(a.tables)
	if err != nil {
		return nil, usageError{fmt.Errorf("--tables: %w", err)}
	}
	l, err := a.openLake(ctx, false)
	if err != nil {
		return nil, err
	}
	ids, err := l.List(ctx)
	if err != nil {
		return nil, err
	}
	list := []tableStatus{}
	for _, id := range ids {
		if !filter.Match(id.DB, id.Table) {
			continue
		}
		if ours, err := l.Fills(ctx, id); err != nil {
			return nil, err
		} else if !ours {
			list = append(list, tableStatus{Table: id.String(), Foreign: true})
			continue
		}
		t, err := lake.Open(ctx, l, id)
		if err != nil {
			return nil, err
		}
		s := tableStatus{Table: id.String(), FormatVersion: t.FormatVersion(), Size: t.Size()}
		if r, ok := t.Checkpoint(); ok {
			s.Checkpoint = &r
			if !r.Time.IsZero() {
				age := max(time.Since(r.Time), 0).Seconds()
				s.Age = &age
			}
		}
		list = append(list, s)
	}
	return list, nil
}
