package source

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// Replication is a server's place in the topology, and what its filters leave out.
type Replication struct {
	Role    checkpoint.Role
	Sources [][16]byte     // servers it replicates from, as far as it knows their UUIDs
	Running bool           // all replication threads run; only with RoleReplica
	Lag     *time.Duration // nil: unknown
	Problem string         // the last replication error, if any
	Applier []FilterRule   // replication filters of the server
	Binlog  []FilterRule   // binlog-do-db and binlog-ignore-db
}

// FilterRule is one replication or binary log filter, named as the server's option is.
type FilterRule struct {
	Option string // "replicate-do-db", "replicate-wild-ignore-table", "binlog-ignore-db", ...
	Values []string
}

func (r FilterRule) String() string { return r.Option + "=" + strings.Join(r.Values, ",") }

// ask fills in what the user may see. Denials are noted in s.NotSeen.
func (r *Replication) ask(c *session, s *State) error {
	status, err := either(c, "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
	switch {
	case denied(err):
		s.NotSeen = append(s.NotSeen, "whether it is a replica, its lag and its filters (takes REPLICATION CLIENT)")
	case err != nil && !unknownStatement(err):
		return err
	case err == nil:
		r.readStatus(status)
	}
	if r.Role == checkpoint.RoleUnknown {
		if err := r.askFilters(c, s); err != nil {
			return err
		}
	}
	logs, err := either(c, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
	switch {
	case denied(err):
		s.NotSeen = append(s.NotSeen, "binlog-do-db and binlog-ignore-db (takes REPLICATION CLIENT)")
	case err != nil && !unknownStatement(err):
		return err
	}
	for _, row := range logs {
		if n, err := strconv.ParseUint(row["Position"], 10, 64); err == nil {
			s.End = checkpoint.Place{Server: s.UUID, File: row["File"], Offset: n}
		}
		r.Binlog = appendRule(r.Binlog, "binlog-do-db", row["Binlog_Do_DB"])
		r.Binlog = appendRule(r.Binlog, "binlog-ignore-db", row["Binlog_Ignore_DB"])
	}
	return nil
}

// either asks in the newer words, and in the older ones where those are not understood.
func either(c *session, newer, older string) ([]map[string]string, error) {
	rows, err := c.rows(newer)
	if unknownStatement(err) {
		rows, err = c.rows(older)
	}
	return rows, err
}

// statusFilters maps the columns of SHOW REPLICA STATUS.
var statusFilters = [...][2]string{
	{"Replicate_Do_DB", "replicate-do-db"},
	{"Replicate_Ignore_DB", "replicate-ignore-db"},
	{"Replicate_Do_Table", "replicate-do-table"},
	{"Replicate_Ignore_Table", "replicate-ignore-table"},
	{"Replicate_Wild_Do_Table", "replicate-wild-do-table"},
	{"Replicate_Wild_Ignore_Table", "replicate-wild-ignore-table"},
	{"Replicate_Rewrite_DB", "replicate-rewrite-db"},
}

// readStatus reads one row a channel. Replication channels of group replication count as replication.
func (r *Replication) readStatus(rows []map[string]string) {
	if len(rows) == 0 {
		r.Role = checkpoint.RolePrimary
		return
	}
	r.Role, r.Running = checkpoint.RoleReplica, true
	for _, row := range rows {
		get := func(names ...string) string {
			for _, n := range names {
				if v, ok := row[n]; ok {
					return v
				}
			}
			return ""
		}
		if id, err := checkpoint.ParseUUID(get("Source_UUID", "Master_UUID")); err == nil {
			r.Sources = append(r.Sources, id)
		}
		if get("Replica_IO_Running", "Slave_IO_Running") != "Yes" || get("Replica_SQL_Running", "Slave_SQL_Running") != "Yes" {
			r.Running = false
		}
		if n, err := strconv.ParseInt(get("Seconds_Behind_Source", "Seconds_Behind_Master"), 10, 64); err == nil {
			if lag := time.Duration(n) * time.Second; r.Lag == nil || *r.Lag < lag {
				r.Lag = &lag
			}
		}
		for _, e := range []string{get("Last_SQL_Error"), get("Last_IO_Error")} {
			if e != "" {
				r.Problem = e
			}
		}
		for _, f := range statusFilters {
			r.Applier = appendRule(r.Applier, f[1], row[f[0]])
		}
	}
	if len(r.Sources) < len(rows) {
		r.Sources = nil // one of them is not known yet: nothing can be concluded from the others
	}
}

// askFilters reads the filter tables of 8.0, for a user who may not see the replication status: those of the channels, or, without
// any, the global ones that channels begin with. (Not both: once a global filter is emptied, MySQL 9.7 shows beside it
// the text of another.)
func (r *Replication) askFilters(c *session, s *State) error {
	for _, table := range []string{"replication_applier_filters", "replication_applier_global_filters"} {
		rows, err := c.rows("SELECT filter_name AS n, filter_rule AS r FROM performance_schema." + table)
		switch {
		case denied(err):
			s.NotSeen = append(s.NotSeen, fmt.Sprintf("replication filters in performance_schema.%s (takes SELECT on it)", table))
		case isAbsent(err): // 5.7: SHOW SLAVE STATUS has them all
		case err != nil:
			return err
		}
		for _, row := range rows {
			option := strings.ReplaceAll(strings.ToLower(row["n"]), "_", "-")
			r.Applier = appendRule(r.Applier, option, row["r"])
		}
		if len(rows) > 0 {
			return nil
		}
	}
	return nil
}

func appendRule(rules []FilterRule, option, text string) []FilterRule {
	values := splitRule(option, text)
	if len(values) == 0 {
		return rules
	}
	for i := range rules {
		if rules[i].Option == option {
			for _, v := range values {
				if !slices.Contains(rules[i].Values, v) {
					rules[i].Values = append(rules[i].Values, v)
				}
			}
			return rules
		}
	}
	return append(rules, FilterRule{Option: option, Values: values})
}

// splitRule splits a list of names or patterns; rewrite rules are pairs in parentheses, of which the first name counts:
// rows of that database arrive under another name.
func splitRule(option, text string) []string {
	var values []string
	if option == "replicate-rewrite-db" {
		for pair := range strings.SplitSeq(text, "(") {
			if from, _, ok := strings.Cut(pair, ","); ok && strings.TrimSpace(from) != "" {
				values = append(values, unquote(from))
			}
		}
		return values
	}
	for v := range strings.SplitSeq(text, ",") {
		if v = unquote(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}

func unquote(v string) string {
	return strings.Trim(strings.ReplaceAll(strings.TrimSpace(v), "`", ""), "'")
}
