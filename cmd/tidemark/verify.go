package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemark/tidemark/ingest/verify"
)

func (a *app) verifyCommand() *cobra.Command {
	var o verify.Options
	var memory, profile string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare lake and source row by row at one GTID set; names the differing keys",
		Long: "Each table is compared at the GTID set that the lake's newest commit has. Rows that the source has changed since are compared by its\n" +
			"binary log, so nothing is locked, no transaction is held open, and an ingest may run beside it.\n" +
			"The user needs SELECT on the tables and REPLICATION SLAVE.\n\n" +
			"Exit code 0 when every table is equal, 5 when one differs, 3 when no server can serve the lake's position.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Source, o.Tables, err = a.openSource(); err != nil {
				return err
			}
			bytes, err := humanize.ParseBytes(memory)
			if err != nil {
				return usageError{fmt.Errorf("--memory %q: expected a size like 512MiB", memory)}
			}
			o.Memory, o.Logger = int64(bytes), a.log
			o.EnsureDefaults()
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			if o.Lake, err = a.openLake(c.Context(), false); err != nil {
				return err
			}
			if profile != "" {
				stop, err := startProfile(profile)
				if err != nil {
					return err
				}
				defer stop()
			}
			return a.verify(c.Context(), o)
		},
	}
	f := c.Flags()
	a.sourceFlags(f)
	a.lakeFlags(f)
	f.BoolVar(&a.json, "json", false, "machine-readable output")
	f.DurationVar(&o.Wait, "wait", 0, "wait so long for the lake to have what the source has at the start; after that, compare what it has")
	f.IntVar(&o.Rate, "rate", 0, "read at most so many `rows` a second from the source (default: no limit)")
	f.IntVar(&o.Parallel, "parallel", 0, "`connections` to the source, and data files read at once (default 4)")
	f.StringVar(&memory, "memory", "512MiB", "`bytes` that the hashes of the rows compared at a time may take")
	f.IntVar(&o.List, "list", 0, "name so `many` differences of a table; all are counted (default 20)")
	f.StringVar(&o.State, "resume", "", "keep the progress in this `file`, and go on from it when it is there; it is removed at the end")
	f.StringVar(&profile, "cpu-profile", "", "write a CPU profile to this `file`, for go tool pprof")
	return c
}

// verify compares, and prints what came out even where it did not come to its end.
func (a *app) verify(ctx context.Context, o verify.Options) error {
	show := a.showProgress()
	o.Progress = show.rows
	report, err := verify.Run(ctx, o)
	show.end()
	if a.json {
		if perr := a.printJSON(report); perr != nil {
			return errors.Join(err, perr)
		}
	} else {
		report.WriteText(a.out)
	}
	if errors.Is(err, context.Canceled) {
		hint := "begin again"
		if o.State != "" {
			hint = "the same command goes on where it was"
		}
		return fmt.Errorf("verify was interrupted; %s", hint)
	}
	return errors.Join(err, report.Err())
}

// progressView shows how far a long command is: a bar on a terminal, a line in the log now and then elsewhere.
type progressView struct {
	app  *app
	bar  *progressbar.ProgressBar // nil without a terminal
	next time.Time                // of the next line
}

// progressEvery is the time between two lines.
const progressEvery = 10 * time.Second

func (a *app) showProgress() *progressView {
	v := &progressView{app: a, next: time.Now().Add(progressEvery)}
	if out, ok := a.errOut.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		v.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	return v
}

func (v *progressView) rows(p verify.Progress) {
	if v.bar == nil {
		if now := time.Now(); now.After(v.next) {
			v.next = now.Add(progressEvery)
			v.app.log.Info("verifying", "table", p.Table, "rows", p.Rows, "of about", p.Total)
		}
		return
	}
	if v.bar.GetMax64() != p.Total {
		v.bar.ChangeMax64(p.Total)
	}
	v.bar.Describe(p.Table)
	if err := v.bar.Set64(p.Rows); err != nil {
		v.app.log.Debug("the progress bar cannot be drawn", "error", err)
	}
}

func (v *progressView) end() {
	if v.bar == nil {
		return
	}
	if err := v.bar.Finish(); err != nil {
		v.app.log.Debug("the progress bar cannot be drawn", "error", err)
	}
}
