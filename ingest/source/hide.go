package source

import (
	"fmt"
	"slices"
	"strings"
)

// hidden says which followed table a server's filters hide, and which filter does; empty when none does. Hidden
// transactions still enter the server's executed set, empty: such a server looks complete and silently lacks rows.
//
// certain is true when the table is one of those known to exist; else it is one that could.
func (s State) hidden(filter Filter, tables []TableName) (what string, certain bool) {
	for _, t := range tables {
		if rule := s.hides(t.DB, t.Table); rule != "" {
			return fmt.Sprintf("%s hides %s", rule, t), true
		}
	}
	for _, t := range s.suspects(filter) {
		if rule := s.hides(t.DB, t.Table); rule != "" && filter.Match(t.DB, t.Table) {
			return fmt.Sprintf("%s may hide tables of %s (such as %s)", rule, filter, t), false
		}
	}
	return "", false
}

// hides returns the rule that hides a table, by the rules for row-based logging.
// https://dev.mysql.com/doc/refman/9.0/en/replication-rules-db-options.html and ...-table-options.html
func (s State) hides(db, table string) string {
	if rule := hidesDB(s.Binlog, "binlog", db); rule != "" {
		return rule
	}
	if rule := hidesDB(s.Applier, "replicate", db); rule != "" {
		return rule
	}
	full := db + "." + table
	exact := func(v string) bool { return v == full }
	wild := func(v string) bool {
		d, t, _ := strings.Cut(v, ".")
		return parseLike(d).match(db) && parseLike(t).match(table)
	}
	var closed []string // lists that name what is taken: everything else is not
	for _, step := range []struct {
		option string
		takes  bool
		hit    func(string) bool
	}{
		{"replicate-do-table", true, exact},
		{"replicate-ignore-table", false, exact},
		{"replicate-wild-do-table", true, wild},
		{"replicate-wild-ignore-table", false, wild},
	} {
		rule, ok := find(s.Applier, step.option)
		if !ok {
			continue
		}
		if slices.ContainsFunc(rule.Values, step.hit) {
			if step.takes {
				return ""
			}
			return rule.String()
		}
		if step.takes {
			closed = append(closed, rule.String())
		}
	}
	return strings.Join(closed, " ")
}

func hidesDB(rules []FilterRule, kind, db string) string {
	if rule, ok := find(rules, "replicate-rewrite-db"); ok && kind == "replicate" && slices.Contains(rule.Values, db) {
		return rule.String()
	}
	if rule, ok := find(rules, kind+"-do-db"); ok {
		if !slices.Contains(rule.Values, db) {
			return rule.String()
		}
		return ""
	}
	if rule, ok := find(rules, kind+"-ignore-db"); ok && slices.Contains(rule.Values, db) {
		return rule.String()
	}
	return ""
}

func find(rules []FilterRule, option string) (FilterRule, bool) {
	for _, r := range rules {
		if r.Option == option {
			return r, true
		}
	}
	return FilterRule{}, false
}

// suspects returns names on which the filters could show themselves: for every followed pattern one name that no
// filter mentions, and one in common with each filter's names, where there is one.
func (s State) suspects(filter Filter) []TableName {
	rules := append(append([]FilterRule(nil), s.Applier...), s.Binlog...)
	if len(rules) == 0 {
		return nil
	}
	any := pattern{glob{anyRun}, glob{anyRun}}
	mentioned := []pattern{{parseGlob("any_database*"), parseGlob("any_table*")}, {any.db, parseGlob("any_table*")}, any}
	for _, r := range rules {
		for _, v := range r.Values {
			switch db, table, isTable := strings.Cut(v, "."); {
			case strings.Contains(r.Option, "-wild-"):
				mentioned = append(mentioned, pattern{parseLike(db), parseLike(table)})
			case isTable:
				mentioned = append(mentioned, pattern{literal(db), literal(table)}, pattern{literal(db), parseGlob("any_table*")})
			default:
				mentioned = append(mentioned, pattern{literal(v), parseGlob("any_table*")}, pattern{literal(v), any.table})
			}
		}
	}
	var names []TableName
	for _, p := range filter.patterns() {
		for _, m := range mentioned {
			db, ok := common(p.db, m.db)
			table, also := common(p.table, m.table)
			if ok && also && db != "" && table != "" {
				names = append(names, TableName{DB: db, Table: table})
			}
		}
	}
	return names
}
