package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

// setting is what `tidemark checkpoint set` was told.
type setting struct {
	gtid, file, server, reason string
	allowSkip                  bool
}

func (a *app) checkpointSetCommand() *cobra.Command {
	var s setting
	c := &cobra.Command{
		Use:   "set",
		Short: "Move the recorded positions by hand",
		Long: "For a cluster that took another's place where there are no GTIDs, and whose file and offset were announced; or for a position that\n" +
			"was given wrongly. A server of the list has to be able to go on from the new position, and transactions that the lake lacks may\n" +
			"not be skipped. A running ingest of the pipeline ends with exit code 4; the next one goes on from the new position.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case (s.gtid == "") == (s.file == ""):
				return usageError{errors.New("one of --gtid SET and --file NAME:POS is needed")}
			case s.file != "" && s.server == "":
				return usageError{errors.New("--server is missing: HOST:PORT of the server that --file is on")}
			case s.file == "" && s.server != "":
				return usageError{errors.New("--server goes with --file")}
			case strings.TrimSpace(s.reason) == "":
				return usageError{errors.New("--reason is missing: it is recorded with the position")}
			}
			return a.setCheckpoints(c.Context(), s)
		},
	}
	f := c.Flags()
	a.sourceFlags(f)
	a.lakeFlags(f)
	f.StringVar(&s.gtid, "gtid", "", "the position: everything in this GTID `set`")
	f.StringVar(&s.file, "file", "", "the position: everything before this `NAME:POS` in the binary log of --server")
	f.StringVar(&s.server, "server", "", "`HOST:PORT` of the list that --file is on")
	f.StringVar(&s.reason, "reason", "", "why: a `text` that is recorded")
	f.BoolVar(&s.allowSkip, "allow-skip", false, "even where transactions that the lake lacks are skipped: such tables become suspect")
	return c
}

func (a *app) setCheckpoints(ctx context.Context, s setting) error {
	cfg, filter, err := a.openSource()
	if err != nil {
		return err
	}
	l, err := a.openLake(ctx, true)
	if err != nil {
		return err
	}
	servers := source.ProbeAll(ctx, cfg)
	to, err := s.position(ctx, cfg, servers)
	if err != nil {
		return err
	}
	serves, err := source.Find(ctx, cfg, servers, to, filter, "")
	if err != nil {
		return err
	}
	known := source.Reached(servers)
	moves, err := planMoves(ctx, l, filter, to, known)
	if err != nil {
		return err
	}
	if err := refuseSkips(moves); err != nil && !s.allowSkip {
		return err
	}
	note := fmt.Sprintf("set by %s at %s: %s", whoAmI(), time.Now().UTC().Format(time.RFC3339), strings.TrimSpace(s.reason))
	for i := range moves {
		m := &moves[i]
		if err := m.apply(ctx, a.pipeline, note, known); err != nil {
			return fmt.Errorf("%s: %w", m.table.ID(), err)
		}
		fmt.Fprintf(a.out, "%s: moved from %s to %s, which %s can serve\n", m.table.ID(), m.From.Short(), m.To.Short(), serves.Host)
		if m.Repeats() {
			fmt.Fprintln(a.out, "  what the table has beyond that comes again: rows are upserted in order, so in the end it changes nothing, and nothing is committed on the way")
		}
	}
	return nil
}

// position reads, or looks for, the new position.
func (s *setting) position(ctx context.Context, cfg source.Config, servers []source.State) (checkpoint.Position, error) {
	if s.gtid != "" {
		set, err := checkpoint.ParseSet(s.gtid)
		if err != nil {
			return checkpoint.Position{}, usageError{fmt.Errorf("--gtid: %w", err)}
		}
		return checkpoint.At(set), nil
	}
	file, offset, err := ingest.ParseFileOffset(s.file)
	if err != nil {
		return checkpoint.Position{}, usageError{fmt.Errorf("--file: %w", err)}
	}
	host, err := source.ParseHost(s.server)
	if err != nil {
		return checkpoint.Position{}, usageError{fmt.Errorf("--server: %w", err)}
	}
	i := slices.IndexFunc(servers, func(st source.State) bool { return st.Host == host })
	if i < 0 {
		return checkpoint.Position{}, usageError{fmt.Errorf("--server: %s is not in the list of servers: %s", host, strings.Join(cfg.Hosts, ", "))}
	}
	if servers[i].Err != nil {
		return checkpoint.Position{}, servers[i].Err
	}
	return source.AtPlace(ctx, cfg, servers[i], file, offset)
}

// tableMove is a move of one table.
type tableMove struct {
	checkpoint.Move
	table *lake.Table
}

// planMoves looks at what the move means for every followed table of the lake.
func planMoves(ctx context.Context, l *lake.Lake, filter source.Filter, to checkpoint.Position, known checkpoint.Set) ([]tableMove, error) {
	ids, err := l.Filled(ctx)
	if err != nil {
		return nil, err
	}
	var moves []tableMove
	for _, id := range ids {
		if !filter.Match(id.DB, id.Table) {
			continue
		}
		t, err := lake.Open(ctx, l, id)
		if err != nil {
			return nil, err
		}
		r, ok := t.Checkpoint()
		switch {
		case !ok:
			return nil, fmt.Errorf("%s has no checkpoint of tidemark; leave it out with --tables", id)
		case r.State == checkpoint.StateLoading:
			return nil, fmt.Errorf("%s is being loaded: its position is not to be moved before that has ended; leave it out with --tables", id)
		}
		from, err := r.At()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		moves = append(moves, tableMove{checkpoint.NewMove(from, to, known), t})
	}
	if len(moves) == 0 {
		return nil, errors.New("the lake has none of the tables of --tables")
	}
	return moves, nil
}

// refuseSkips names what the moves would skip.
func refuseSkips(moves []tableMove) error {
	var b strings.Builder
	for _, m := range moves {
		switch {
		case !m.Skipped.IsEmpty():
			fmt.Fprintf(&b, "\n  %s lacks %s", m.table.ID(), m.Skipped.Short())
		case !m.Since.IsZero():
			fmt.Fprintf(&b, "\n  %s has what was committed up to %s, and the last transaction before the new position is of %s", m.table.ID(), m.Since.UTC().Format(time.RFC3339Nano), m.To.Time.UTC().Format(time.RFC3339Nano))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return fmt.Errorf("nothing was moved: the servers have executed transactions before the new position that tables lack, and that would never be read:%s\n"+
		"let ingest read them first; or, with --allow-skip, the tables become suspect and want to be loaded again", b.String())
}

// apply takes the table over, so that whoever writes it stops, and records the position.
func (m *tableMove) apply(ctx context.Context, pipeline, note string, known checkpoint.Set) error {
	if _, err := m.table.RaiseEpoch(ctx, pipeline); err != nil {
		return err
	}
	r, ok := m.table.Checkpoint()
	if !ok {
		return errors.New("it has lost its checkpoint just now: it was rolled back")
	}
	// A running ingest may have moved on until this moment. What it read since, servers have.
	now, err := r.At()
	if err != nil {
		return err
	}
	m.Move = checkpoint.NewMove(now, m.To, known.Union(now.Set.Subtract(m.From.Set)))
	m.Apply(&r, note)
	r.Commit = uuid.NewString()
	return m.table.SetCheckpoint(ctx, r)
}

// whoAmI is the user who runs the program, and where.
func whoAmI() string {
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
