package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/monitor"
)

func (a *app) ingestCommand() *cobra.Command {
	var (
		o            ingest.Options
		start, until string
		memory       string
		serve        serveSettings
		cascades     string
		bound        time.Duration
		profile      string
		compact      string
		processors   float64
		engine       engineSettings
		rewrites     rewriteSettings
	)
	c := &cobra.Command{
		Use:   "ingest",
		Short: "Stream changes into the lake; until stopped, or --until is reached",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Source, o.Tables, err = a.openSource(); err != nil {
				return err
			}
			if o.Start, err = ingest.ParseStart(start); err != nil {
				return usageError{err}
			}
			if err := o.Start.Fits(o.Source.Hosts); err != nil {
				return usageError{err}
			}
			if o.Until, err = ingest.ParseUntil(until); err != nil {
				return usageError{err}
			}
			switch cascades {
			case "refuse", "ignore":
				o.IgnoreCascades = cascades == "ignore"
			default:
				return usageError{fmt.Errorf("--cascades %q: expected refuse or ignore", cascades)}
			}
			bytes, err := humanize.ParseBytes(memory)
			if err != nil {
				return usageError{fmt.Errorf("--memory %q: expected a size like 512MiB", memory)}
			}
			o.Memory, o.Pipeline, o.Logger = int64(bytes), a.pipeline, a.log
			switch compact {
			case "on":
				compact, err := rewrites.options()
				if err != nil {
					return err
				}
				if !(processors >= 0) {
					return usageError{fmt.Errorf("--compact-cpu %g: expected more than 0, or 0 for a quarter of all", processors)}
				}
				if processors > 0 {
					compact.Pace = compaction.NewPace(processors)
				}
				o.Compact = &compact
				if o.Outside, err = engine.open(); err != nil {
					return err
				}
			case "off":
			default:
				return usageError{fmt.Errorf("--compact %q: expected on or off", compact)}
			}
			o.EnsureDefaults()
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			if serve.address != "" {
				if err := serve.validate(c.Context()); err != nil {
					return err
				}
			}
			if o.Lake, err = a.openLake(c.Context(), true); err != nil {
				return err
			}
			if serve.address != "" {
				m := monitor.New(bound)
				o.Observer = m.Observe
				stop, err := a.startServer(c.Context(), &serve, o.Lake, m.Handler())
				if err != nil {
					return err
				}
				defer func() {
					if err := stop(); err != nil {
						a.log.Warn("stop serving", "error", err)
					}
				}()
			}
			a.showLoads(&o)
			limitMemory(o.Memory)
			stop, err := startProfile(profile)
			if err != nil {
				return err
			}
			defer stop()
			return ingest.Run(c.Context(), context.WithoutCancel(c.Context()), o)
		},
	}
	f := c.Flags()
	a.sourceFlags(f)
	a.lakeFlags(f)
	f.StringVar(&start, "start", "initial", "where a table without a checkpoint begins: `initial, earliest, latest, gtid:SET, timestamp:RFC3339 or file:NAME:POS[@HOST:PORT]`; initial loads it first")
	loadFlags(f, &o)
	f.StringVar(&until, "until", "", "stop, with exit code 0, once every table's checkpoint holds it: `caught-up or gtid:SET`")
	f.DurationVar(&o.CommitInterval, "commit-interval", 10*time.Second, "time between commits")
	f.DurationVar(&o.IdleInterval, "checkpoint-idle-interval", 5*time.Minute, "a table without changes records its position this often")
	f.DurationVar(&o.WaitForServer, "wait-for-server", 20*time.Second, "how long a start waits for a server that can serve; one that was read from is waited for for ever")
	f.StringVar(&memory, "memory", "1GiB", "`bytes` that batches and files being written may take")
	f.IntVar(&o.FormatVersion, "format-version", 3, "Iceberg format `version` of new tables: 3 (deletion vectors) or 2 (position deletes)")
	f.StringVar((*string)(&o.OnPurged), "on-purged", "stop", "when no server has any more what tables lack: `stop or reload` them; stop ends with exit code 3")
	f.StringVar((*string)(&o.OnDiverged), "on-diverged", "stop", "when tables have what no server has any more: `stop or reload` them; stop ends with exit code 3")
	f.BoolVar(&o.Strict, "strict", false, "stop at the first sign that lake and source differ")
	f.StringVar(&compact, "compact", "on", "rewrite data files beside the stream and expire old snapshots: `on or off`")
	f.Float64Var(&processors, "compact-cpu", 0, "with --compact on: rewrites together keep at most so many `processors` busy, such as 0.5 (default: a quarter of all)")
	rewrites.flags(f)
	f.DurationVar(&o.Expire.Age, "expire-after", 0, "with --compact on: snapshots younger than this `duration` stay (default 24h)")
	f.IntVar(&o.Expire.Keep, "keep-snapshots", 0, "with --compact on: so `many` snapshots stay, however old (default 20)")
	f.StringVar(&cascades, "cascades", "refuse", "`refuse or ignore` tables that foreign keys change without the binary log showing it (MySQL before 9.6)")
	f.DurationVar(&o.ProbeInterval, "probe-interval", 30*time.Second, "all servers are looked at this often, beside the stream")
	f.DurationVar(&o.RetentionWarning, "retention-warning", 6*time.Hour, "warn when a server purges what the lake lacks within this time")
	f.StringVar(&serve.address, "serve", "", "also serve the Iceberg REST catalog, /metrics and /healthz on this `address`")
	serve.flags(f)
	engine.flags(f)
	f.DurationVar(&bound, "unhealthy-after", monitor.DefaultBound, "/healthz answers 503 when no server can serve, or commits fail, for so long")
	f.StringVar(&profile, "cpu-profile", "", "write a CPU profile to this `file`, for go tool pprof")
	return c
}

// startProfile profiles the process until stop is called, unless name is empty.
func startProfile(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, usageError{fmt.Errorf("--cpu-profile: %w", err)}
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		if err := file.Close(); err != nil {
			slog.Warn("the CPU profile is not whole", "error", err)
		}
	}, nil
}
