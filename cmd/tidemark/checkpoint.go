package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark/tidemark/checkpoint"
)

func (a *app) checkpointCommand() *cobra.Command {
	c := &cobra.Command{Use: "checkpoint", Short: "The recorded positions"}
	show := &cobra.Command{
		Use:   "show",
		Short: "Show the recorded positions",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.tableStatuses(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			for _, t := range list {
				r := t.Checkpoint
				if r == nil {
					fmt.Fprintf(a.out, "%s: no checkpoint of tidemark\n", t.Table)
					continue
				}
				fmt.Fprintf(a.out, "%s (%s)\n  GTID set  %s\n  read from %s, %s:%d, transaction of %s\n  writer    pipeline %s, epoch %d, commit %s\n",
					t.Table, r.State, r.GTIDSet, r.ServerUUID, r.File, r.Position, r.Time.UTC().Format(time.RFC3339Nano), r.Pipeline, r.Epoch, r.Commit)
				if r.Anonymous {
					fmt.Fprintln(a.out, "  no GTIDs  exact by file and offset on that server, by time on others")
				}
				if r.Replay != nil {
					fmt.Fprintf(a.out, "  ahead     of the position, by what comes again: %s\n", replayText(r.Replay))
				}
				if r.Note != "" {
					fmt.Fprintf(a.out, "  note      %s\n", r.Note)
				}
			}
			return nil
		},
	}
	a.listFlags(show)
	c.AddCommand(show, a.checkpointSetCommand())
	return c
}

func replayText(r *checkpoint.Replay) string {
	switch {
	case r.Time.IsZero():
		return r.GTIDSet
	case r.GTIDSet == "":
		return "up to " + r.Time.UTC().Format(time.RFC3339Nano)
	}
	return r.GTIDSet + ", and up to " + r.Time.UTC().Format(time.RFC3339Nano)
}
