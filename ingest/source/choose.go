package source

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// A replica counts as caught up when it lags no more than this: in time where it says so, else in transactions that
// other servers have and it lacks.
const (
	smallLag     = 10 * time.Second
	smallMissing = 1000
)

// Choose judges the servers and picks the one to read position from: the current one while it can serve, else a
// replica that has caught up, else the primary, else the replica that lags
// least; among equals the first of the list. Its
// error is a *NoServerError.
//
// Where replication filters are in play, it asks the source which followed tables there are.
func Choose(ctx context.Context, cfg Config, states []State, position checkpoint.Set, filter Filter, current string) (Verdict, error) {
	tables := KnownTables(ctx, cfg, states, filter)
	return Pick(Judge(states, position, filter, tables), position, current)
}

// KnownTables returns the followed tables that servers without filters have, where filters are in play at all: a filtered
// server may never have seen the table that it hides. Without an answer it returns none, and the filters are judged by
// what they could hide.
func KnownTables(ctx context.Context, cfg Config, states []State, filter Filter) []TableName {
	var open []State
	for _, s := range states {
		if s.Answers() && len(s.Applier)+len(s.Binlog) == 0 {
			open = append(open, s)
		}
	}
	if len(open) == 0 || len(open) == len(states) {
		return nil
	}
	tables, err := Tables(ctx, cfg, open, filter)
	if err != nil {
		return nil
	}
	return tables
}

// Pick makes the choice among judged servers. See Choose.
func Pick(verdicts []Verdict, position checkpoint.Set, current string) (Verdict, error) {
	var all checkpoint.Set
	for i := range verdicts {
		all = all.Union(verdicts[i].State.Executed)
	}
	best, bestRank, bestMissing := -1, 0, uint64(0)
	for i := range verdicts {
		v := &verdicts[i]
		if v.Kind != CanServe {
			continue
		}
		if v.Host == current {
			return *v, nil
		}
		missing := all.Subtract(v.State.Executed).Count()
		rank := rankOf(&v.State, missing)
		if best < 0 || rank < bestRank || rank == bestRank && rank == rankLagging && missing < bestMissing {
			best, bestRank, bestMissing = i, rank, missing
		}
	}
	if best < 0 {
		return Verdict{}, &NoServerError{Position: position.Clone(), Verdicts: verdicts}
	}
	return verdicts[best], nil
}

const (
	rankReplica = iota
	rankPrimary
	rankLagging
)

func rankOf(s *State, missing uint64) int {
	replica := s.Role == checkpoint.RoleReplica || s.Role == checkpoint.RoleUnknown && s.ReadOnly
	switch {
	case !replica:
		return rankPrimary
	case s.Role == checkpoint.RoleReplica && !s.Running && missing > 0:
		return rankLagging
	case s.Lag != nil && *s.Lag <= smallLag, missing <= smallMissing:
		return rankReplica
	}
	return rankLagging
}

// NoServerError says that no server of the list can serve a position now, and for each why.
type NoServerError struct {
	Position checkpoint.Set
	From     checkpoint.Position // where the position is more than a GTID set
	Verdicts []Verdict
}

// Temporary reports whether waiting can help: a server is unreachable in a way that passes, or behind.
func (e *NoServerError) Temporary() bool {
	for _, v := range e.Verdicts {
		switch {
		case v.Kind == Behind:
			return true
		case v.Kind == Unreachable && v.Fault != KindAuth && v.Fault != KindPrivilege && v.Fault != KindTLS && v.Fault != KindFatal && v.Fault != KindSettings:
			return true
		}
	}
	return false
}

// Exact reports whether servers were seen and refused because they cannot serve the position exactly, and none can be
// waited for: exit code 3.
func (e *NoServerError) Exact() bool {
	return !e.Temporary() && slices.ContainsFunc(e.Verdicts, func(v Verdict) bool { return v.Kind != Unreachable })
}

// Error is a table for a person.
func (e *NoServerError) Error() string {
	var b strings.Builder
	if e.From.Anonymous {
		fmt.Fprintf(&b, "no server of the list can go on from %s", e.From.Short())
	} else if e.Position.IsEmpty() {
		b.WriteString("no server of the list can be read from")
	} else {
		fmt.Fprintf(&b, "no server of the list can go on exactly from %s", e.Position.Short())
	}
	switch {
	case len(e.Verdicts) == 0:
		b.WriteString(": the list is empty")
	case e.Temporary():
		b.WriteString(" yet:")
	default:
		b.WriteString(":")
	}
	b.WriteString(Table(e.Verdicts))
	return b.String()
}

// Table shows verdicts to a person: a line each with host, verdict and reason, and below it what to do.
func Table(verdicts []Verdict) string {
	host, kind := 0, 0
	for _, v := range verdicts {
		host, kind = max(host, len(v.Host)), max(kind, len(v.label()))
	}
	var b strings.Builder
	for _, v := range verdicts {
		fmt.Fprintf(&b, "\n  %-*s  %-*s  %s", host, v.Host, kind, v.label(), v.Reason)
		indent := strings.Repeat(" ", host+kind+6)
		if v.Advice != "" {
			fmt.Fprintf(&b, "\n%sdo: %s", indent, v.Advice)
		}
		for _, w := range v.Warnings {
			fmt.Fprintf(&b, "\n%snote: %s", indent, w)
		}
	}
	return b.String()
}

func (v *Verdict) label() string {
	if v.Fault != KindNone {
		return fmt.Sprintf("%s (%s)", v.Kind, v.Fault)
	}
	return string(v.Kind)
}

// readable returns the servers that have all rows of the followed tables in their log, and nothing of their own, whatever
// position is wanted; the best first.
func readable(ctx context.Context, cfg Config, states []State, filter Filter) []State {
	tables := KnownTables(ctx, cfg, states, filter)
	errant := map[string]bool{}
	servers := usable(states)
	for i, set := range checkpoint.Errant(servers) {
		errant[servers[i].Name] = !set.IsEmpty()
	}
	var good []State
	for i := range states {
		v := Verdict{Host: states[i].Host, Kind: CanServe, State: states[i]}
		if judgeAccess(&v); v.Kind == CanServe {
			judgeSettings(&v)
		}
		if v.Kind == CanServe {
			judgeFilters(&v, states, i, filter, tables)
		}
		if v.Kind == CanServe && !errant[v.Host] {
			good = append(good, states[i])
		}
	}
	slices.SortStableFunc(good, func(a, b State) int { return cmp.Compare(rankOf(&a, 0), rankOf(&b, 0)) })
	return good
}
