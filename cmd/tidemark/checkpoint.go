package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
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
			}
			return nil
		},
	}
	a.listFlags(show)
	c.AddCommand(show)
	return c
}
