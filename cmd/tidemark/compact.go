package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest/source"
)

func (a *app) compactCommand() *cobra.Command {
	var o compaction.PassOptions
	var rewrites rewriteSettings
	var engine engineSettings
	c := &cobra.Command{
		Use:   "compact",
		Short: "One maintenance pass: rewrite small and much-deleted files, expire snapshots, remove orphans",
		Long: "It may run beside an ingest. An ingest in another process notices each of its commits and opens the table again, so where an\n" +
			"ingest runs all the time, let it compact by itself (--compact on, the default).",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Options, err = rewrites.options(); err != nil {
				return err
			}
			o.EnsureDefaults()
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			if o.Outside, err = engine.open(); err != nil {
				return err
			}
			return a.compact(c.Context(), o)
		},
	}
	f := c.Flags()
	a.listFlags(c)
	engine.flags(f)
	rewrites.flags(f)
	f.DurationVar(&o.Expire.Age, "expire-after", 0, "snapshots younger than this `duration` stay (default 24h)")
	f.IntVar(&o.Expire.Keep, "keep-snapshots", 0, "so `many` snapshots stay, however old (default 20)")
	f.DurationVar(&o.Orphans.SafetyAge, "orphan-age", 0, "files younger than this `duration` that nothing references are left alone (default 72h, at least 1h)")
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be done")
	return c
}

// rewriteSettings say when data files are worth rewriting, alike for every command that rewrites.
type rewriteSettings struct {
	target string
	share  float64
	small  int
}

func (r *rewriteSettings) targetFlag(f *pflag.FlagSet) {
	f.StringVar(&r.target, "target-file-size", "256MiB", "`bytes` of a data file after compaction")
}

func (r *rewriteSettings) flags(f *pflag.FlagSet) {
	r.targetFlag(f)
	f.Float64Var(&r.share, "deleted-share", 0.2, "a data file is rewritten when more than this `share` of its rows is deleted")
	f.IntVar(&r.small, "max-small-files", 0, "merge small data files of a partition when there are more than so `many`, whatever it costs (default 0: four of about a size)")
}

func (r *rewriteSettings) targetSize() (int64, error) {
	bytes, err := humanize.ParseBytes(r.target)
	if err != nil || bytes == 0 {
		return 0, usageError{fmt.Errorf("--target-file-size %q: expected a size like 256MiB", r.target)}
	}
	return int64(bytes), nil
}

func (r *rewriteSettings) options() (o compaction.Options, err error) {
	target, err := r.targetSize()
	if err != nil {
		return o, err
	}
	if !(r.share > 0 && r.share < 1) {
		return o, usageError{fmt.Errorf("--deleted-share %g: expected more than 0 and less than 1", r.share)}
	}
	if r.small < 0 {
		return o, usageError{fmt.Errorf("--max-small-files %d: expected 0 or more", r.small)}
	}
	return compaction.Options{TargetFileSize: target, DeletedShare: r.share, MaxSmallFiles: r.small}, nil
}

// compact makes a pass over each table. A table that fails does not hold up the others.
func (a *app) compact(ctx context.Context, o compaction.PassOptions) error {
	filter, err := source.ParseFilter(a.tables)
	if err != nil {
		return usageError{fmt.Errorf("--tables: %w", err)}
	}
	l, err := a.openLake(ctx, true)
	if err != nil {
		return err
	}
	ids, err := l.Filled(ctx)
	if err != nil {
		return err
	}
	reports := []compaction.Report{}
	var failed error
	for _, id := range ids {
		if !filter.Match(id.DB, id.Table) {
			continue
		}
		r, err := compaction.Pass(ctx, l, id, o)
		failed = errors.Join(failed, err)
		reports = append(reports, r)
		if !a.json && !o.DryRun {
			fmt.Fprintln(a.out, r)
		}
		if !a.json && o.DryRun {
			fmt.Fprintf(a.out, "%s: would rewrite %d groups of data files, %d orphan files (%s)\n", id, len(r.Planned.Groups), len(r.Orphans.Names), humanize.IBytes(uint64(r.Orphans.Bytes)))
			for _, g := range r.Planned.Groups {
				fmt.Fprintf(a.out, "  %d files, %s: %s\n", len(g.Files), humanize.IBytes(uint64(g.Bytes)), g.Why)
			}
			for _, statement := range r.Sent {
				fmt.Fprintf(a.out, "  by %s: %s\n", o.Outside.Engine.Name(), statement)
			}
		}
	}
	if a.json {
		failed = errors.Join(a.printJSON(reports), failed)
	}
	return failed
}
