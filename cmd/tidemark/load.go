package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest"
)

func (a *app) loadCommand() *cobra.Command {
	var (
		o      ingest.Options
		memory string
		merge  rewriteSettings
		wait   time.Duration

		profile string
	)
	c := &cobra.Command{
		Use:   "load",
		Short: "Load, or load again, the named tables now; beside a running ingest or without one",
		Long: "Asks the ingest that writes the tables to load them, and waits for it; tables for which none begins within --wait-for-ingest are taken over and loaded here. " +
			"Ends with exit code 0 once all are live. Their old state stays readable until then.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("tables") {
				return usageError{errors.New("--tables is missing: the tables to load, such as 'shop.orders'")}
			}
			var err error
			if o.Source, o.Tables, err = a.openSource(); err != nil {
				return err
			}
			bytes, err := humanize.ParseBytes(memory)
			if err != nil {
				return usageError{fmt.Errorf("--memory %q: expected a size like 512MiB", memory)}
			}
			o.Memory, o.Pipeline, o.Logger = int64(bytes), a.pipeline, a.log
			o.EnsureDefaults()
			target, err := merge.targetSize()
			if err != nil {
				return err
			}
			merged := compaction.Options{TargetFileSize: target} // by the ingest that goes on from here
			o.Brief, o.BriefLoad = merged.Brief(), merged.BriefLoad()
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			if o.Lake, err = a.openLake(c.Context(), true); err != nil {
				return err
			}
			a.showLoads(&o)
			limitMemory(o.Memory)
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			defer stop()
			return ingest.LoadNow(c.Context(), context.WithoutCancel(c.Context()), o, wait)
		},
	}
	f := c.Flags()
	a.sourceFlags(f)
	a.lakeFlags(f)
	loadFlags(f, &o)
	merge.targetFlag(f)
	f.DurationVar(&wait, "wait-for-ingest", 30*time.Second, "how long a running ingest may take to begin, before the tables are taken over from it")
	f.DurationVar(&o.CommitInterval, "commit-interval", 10*time.Second, "time between commits")
	f.StringVar(&memory, "memory", "1GiB", "`bytes` that batches and files being written may take")
	f.StringVar(&profile, "cpu-profile", "", "write a CPU profile to this `file`, for go tool pprof")
	f.IntVar(&o.FormatVersion, "format-version", 3, "Iceberg format `version` of new tables: 3 (deletion vectors) or 2 (position deletes)")
	return c
}

// loadFlags are the knobs of loads and of the tables they make, alike for every command that loads.
func loadFlags(f *pflag.FlagSet, o *ingest.Options) {
	f.IntVar(&o.LoadWorkers, "load-workers", 0, "connections that read a table at once (default: 4, fewer with little --memory)")
	f.DurationVar(&o.LoadMaxLag, "load-max-lag", 0, "loads pause while the replica they read from is further behind its source; 0: they do not")
	f.IntVar(&o.LoadMaxRunning, "load-max-running", 0, "loads pause while their server runs more `statements` than this (Threads_running); 0: they do not")
	f.Int64Var(&o.LoadRate, "load-rate", 0, "`rows` a second that loads read at most; 0: no limit")
	f.Var(&o.Partitions, "partition", "how tables are partitioned: `TABLES=LIST;...` such as 'shop.orders=day(created_at), bucket(16, customer_id); shop.*='; of the patterns that match a table the first counts")
	f.IntVar(&o.LoadRange, "load-range", 0, "`rows` that are read at once; 0: as many as make a data file of good size")
}
