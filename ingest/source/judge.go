package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// VerdictKind says in one word what a server is good for.
type VerdictKind string

// Verdicts. Only a server that can serve is ever read from.
const (
	CanServe      VerdictKind = "can-serve"
	Behind        VerdictKind = "behind"         // wait: it will have what it lacks
	Purged        VerdictKind = "purged"         // it has thrown away what is needed
	Diverged      VerdictKind = "diverged"       // it has another history
	Filtered      VerdictKind = "filtered"       // its filters hide followed tables
	WrongSettings VerdictKind = "wrong-settings" // it does not log what is needed
	Unreachable   VerdictKind = "unreachable"    // Fault says why
)

// Verdict is what one server is good for, for one position.
type Verdict struct {
	Host     string
	Kind     VerdictKind
	Fault    Kind     // Unreachable: what went wrong
	Reason   string   // what was found
	Advice   string   // what to do; empty when there is nothing to do
	Warnings []string // what may hurt later, or could not be looked at
	Missing  checkpoint.Set
	Meant    checkpoint.Set // Purged: the position that was probably meant; see checkpoint.Answer
	Errant   checkpoint.Set // transactions that only this replica has
	State    State
	Details  *Details // nil unless an Inspector looked
}

// Judge says for every server whether it can serve a GTID set, and if not, why and what to do. tables are the followed
// tables that are known to exist; without them, filters are judged by what they could hide.
func Judge(states []State, position checkpoint.Set, filter Filter, tables []TableName) []Verdict {
	verdicts := JudgeAt(states, checkpoint.At(position), filter, tables)
	for i := range verdicts {
		if v := &verdicts[i]; v.Kind == CanServe && !v.State.ByGTID() {
			v.set(WrongSettings, enableGTIDs, "gtid_mode is %s, and only GTIDs carry a position from server to server", orNone(v.State.GTIDMode))
		}
	}
	return verdicts
}

// JudgeAt is Judge for any position. Servers that are read by file and offset are judged by what Locate found.
func JudgeAt(states []State, at checkpoint.Position, filter Filter, tables []TableName) []Verdict {
	position := at.Set
	verdicts := make([]Verdict, len(states))
	var servers []checkpoint.Server
	var index []int
	for i := range states {
		v := &verdicts[i]
		*v = Verdict{Host: states[i].Host, Kind: CanServe, State: states[i]}
		if judgeAccess(v); v.Kind == CanServe {
			judgeSettings(v)
		}
		if states[i].Answers() {
			servers = append(servers, states[i].rules())
			index = append(index, i)
		}
	}
	errant := checkpoint.Errant(servers)
	for k, answer := range checkpoint.Resume(position, servers) {
		i := index[k]
		v := &verdicts[i]
		if v.Kind == CanServe {
			judgeFilters(v, states, i, filter, tables)
		}
		switch {
		case v.Kind != CanServe:
		case byFile(&states[i], at):
			judgeWay(v, at, answer)
		default:
			judgePosition(v, answer, position)
		}
		if !errant[k].IsEmpty() {
			v.Errant = errant[k]
			if v.Kind == CanServe && !position.Contains(errant[k]) {
				v.set(Diverged, "apply them on the primary, or rebuild this replica", "it has errant transactions, committed on it although it is a replica, that no other server has: %s", errant[k].Short())
			}
		}
	}
	return verdicts
}

func (v *Verdict) set(kind VerdictKind, advice, format string, args ...any) {
	v.Kind, v.Advice, v.Reason = kind, advice, fmt.Sprintf(format, args...)
}

// judgeAccess looks at whether the server answered, and lets us read its log.
func judgeAccess(v *Verdict) {
	s := &v.State
	if s.Err != nil {
		v.Fault = Classify(s.Err)
		v.set(Unreachable, accessAdvice(v.Fault), "%s", reason(s.Err))
		return
	}
	if s.MayDump != nil {
		v.Fault = KindPrivilege
		v.set(Unreachable, KindPrivilege.advice(), "the user may not read the binary log: %s", reason(s.MayDump))
	}
}

// reason takes host and advice off an error: the table has them beside it.
func reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return err.Error()
}

func accessAdvice(k Kind) string {
	if a := k.advice(); a != "" {
		return a
	}
	switch k {
	case KindStall:
		return "the server or the network to it hangs: look at the machine, and at firewalls that drop packets"
	case KindNetwork:
		return "is the server up, and are host name and port right?"
	}
	return ""
}

const enableGTIDs = "set enforce_gtid_consistency=ON, then gtid_mode to OFF_PERMISSIVE, ON_PERMISSIVE and ON, on every server in turn"

// judgeSettings looks at whether the server's binary log has all rows, whole.
func judgeSettings(v *Verdict) {
	s := &v.State
	const restart = "; connections that are open keep the old setting until they reconnect"
	switch {
	case s.mariaDB():
		v.set(WrongSettings, "use a MySQL server", "it is MariaDB %s, whose GTIDs are of another kind", s.Version)
	case !s.LogBin:
		v.set(WrongSettings, "start it with --log-bin", "it writes no binary log")
	case s.Format != "" && !strings.EqualFold(s.Format, "ROW"):
		v.set(WrongSettings, "SET PERSIST binlog_format=ROW"+restart, "binlog_format is %s: its log has statements where rows are needed", s.Format)
	case s.RowImage != "" && !strings.EqualFold(s.RowImage, "FULL"):
		v.set(WrongSettings, "SET PERSIST binlog_row_image=FULL"+restart, "binlog_row_image is %s: its log lacks columns of changed rows", s.RowImage)
	case !s.LogReplica && s.Role == checkpoint.RoleReplica:
		v.set(WrongSettings, "restart it with log_replica_updates=ON (log_slave_updates before 8.0.26)", "log_replica_updates is OFF: its log lacks what it replicates")
	case s.ServerID == 0:
		v.set(WrongSettings, "SET PERSIST server_id to a number of its own", "server_id is 0: it serves no replicas")
	}
	if !s.ByGTID() {
		v.Warnings = append(v.Warnings, "gtid_mode is "+orNone(s.GTIDMode)+": should this server be lost, the place on another is found by time. With GTIDs it would be exact: "+enableGTIDs)
	}
	if !s.LogReplica && s.Role == checkpoint.RoleUnknown {
		v.Warnings = append(v.Warnings, "log_replica_updates is OFF: were it a replica, its log would lack what it replicates")
	}
	if s.Metadata != "" && !strings.EqualFold(s.Metadata, "FULL") {
		v.Warnings = append(v.Warnings, "binlog_row_metadata is "+s.Metadata+": its log does not name columns; SET PERSIST binlog_row_metadata=FULL")
	}
	if s.PartialRow {
		v.Warnings = append(v.Warnings, "binlog_row_value_options has PARTIAL_JSON: updates of JSON columns are logged as differences, which stops their tables")
	}
	if s.Retention > 0 && s.Retention < 24*time.Hour {
		v.Warnings = append(v.Warnings, fmt.Sprintf("it keeps its binary log for %s only: a longer pause than that takes a new load", Span(s.Retention)))
	}
	for _, n := range s.NotSeen {
		v.Warnings = append(v.Warnings, "could not look at "+n)
	}
}

func orNone(s string) string {
	if s == "" {
		return "not there"
	}
	return s
}

// judgeFilters looks at the filters of the server and of those that it replicates from.
func judgeFilters(v *Verdict, states []State, i int, filter Filter, tables []TableName) {
	for _, j := range upstream(states, i) {
		s := &states[j]
		what, certain := s.hidden(filter, tables)
		if what == "" {
			continue
		}
		where := ""
		if j != i {
			where = " on " + s.Host + ", which it replicates from"
		}
		if len(tables) > 0 && !certain {
			v.Warnings = append(v.Warnings, what+where+"; none of the tables there are now")
			continue
		}
		v.set(Filtered, "take the filter off and rebuild the server from one without it, or leave the table out with --tables", "%s%s; its transactions arrive empty and count as executed", what, where)
		return
	}
}

// upstream returns server i and the servers of the list that its rows come through. A replica that does not know yet whose
// it is may be any primary's.
func upstream(states []State, i int) []int {
	path := []int{i}
	for k := 0; k < len(path); k++ {
		from := &states[path[k]]
		for j := range states {
			s := &states[j]
			guess := len(from.Sources) == 0 && from.Role == checkpoint.RoleReplica && s.Role == checkpoint.RolePrimary
			if s.Err == nil && (guess || slices.Contains(from.Sources, s.UUID)) && !slices.Contains(path, j) {
				path = append(path, j)
			}
		}
	}
	return path
}

// judgePosition puts the rules' answer into words.
func judgePosition(v *Verdict, a checkpoint.Answer, position checkpoint.Set) {
	s := &v.State
	v.Missing = a.Missing
	count := plural(a.Missing.Count(), "transaction")
	switch a.Kind {
	case checkpoint.OK:
		v.Reason = fmt.Sprintf("%s, %s to send", s.roleWord(), plural(s.Executed.Subtract(position).Count(), "transaction"))
		if s.Lag != nil && *s.Lag > 0 {
			v.Reason += fmt.Sprintf(", %s behind its source", Span(*s.Lag))
		}
	case checkpoint.Behind:
		v.set(Behind, "wait, or check its replication", "it lacks %s of the position: %s%s", count, a.Missing.Short(), held(a.Holders, "; held by"))
		if len(a.Holders) == 0 {
			v.Reason += "; no server that answers has them"
		}
		if s.Role == checkpoint.RoleReplica && !s.Running {
			v.Reason += "; its replication does not run"
			if s.Problem != "" {
				v.Reason += ": " + s.Problem
			}
		}
	case checkpoint.Purged:
		advice := "load the tables again (tidemark load), and keep binary logs longer (binlog_expire_logs_seconds)"
		if len(a.Holders) > 0 {
			advice = "use " + strings.Join(a.Holders, " or ") + ", which still has them"
		}
		if !a.Meant.IsEmpty() {
			v.Meant = a.Meant
			advice = fmt.Sprintf("a position means everything before it, and this one leaves out what lies before its first transaction. The set that was probably meant, if that was read too, is %[1]s: "+
				"start new tables with --start 'gtid:%[1]s'; for tables that have a checkpoint, tidemark checkpoint set --gtid '%[1]s' --reason '...'", a.Meant)
		}
		v.set(Purged, advice, "it has purged %s that the position lacks: %s", count, inFull(a.Missing))
	case checkpoint.Diverged:
		why := "which it can no longer get"
		if a.Own {
			why = "although it committed them once: it was restored, or failed over while behind"
		}
		advice := "load the tables again (tidemark load), or bring the transactions to it"
		if len(a.Holders) > 0 {
			advice = "use " + strings.Join(a.Holders, " or ") + ", which has them, or load the tables again (tidemark load)"
		}
		v.set(Diverged, advice, "it lacks %s of the position, %s: %s%s", count, why, a.Missing.Short(), held(a.Holders, "; committed on"))
	}
}

// inFull names every interval of a set, unless there are very many.
func inFull(s checkpoint.Set) string {
	const most = 2000
	if text := s.String(); len(text) <= most {
		return text
	}
	return s.Short()
}

func held(names []string, intro string) string {
	if len(names) == 0 {
		return ""
	}
	return intro + " " + strings.Join(names, ", ")
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
