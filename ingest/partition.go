package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

// Partitions says how tables are partitioned: of the patterns that match a table the first counts, and a table that none
// matches keeps the partition spec that it has, whoever gave it. The zero value has none. It is the value of a flag, and of
// a mapping in the configuration file.
type Partitions struct {
	rules []partitionRule
}

type partitionRule struct {
	pattern string
	tables  source.Filter
	fields  []lake.PartitionField
	where   string // it stands: a line of a file, or the flag
}

// PartitionError is a partition that a table cannot have, with where it is asked for.
type PartitionError struct {
	Where string
	Table string
	Err   error // *lake.PartitionError
}

func (e *PartitionError) Error() string { return fmt.Sprintf("%s: %s: %v", e.Where, e.Table, e.Err) }

// Unwrap gives access to the reason.
func (e *PartitionError) Unwrap() error { return e.Err }

// SetEntry adds a pattern such as shop.order*, with its list as lake.ParsePartition reads it.
func (p *Partitions) SetEntry(where, pattern, list string) error {
	if strings.Contains(pattern, "!") {
		return fmt.Errorf("%q: a pattern excludes nothing here: put one with another list before it", pattern)
	}
	tables, err := source.ParseFilter(pattern)
	if err != nil {
		return err
	}
	fields, err := lake.ParsePartition(list)
	var bad *lake.PartitionError
	if errors.As(err, &bad) {
		return errors.New(bad.Reason)
	}
	if err != nil {
		return err
	}
	p.rules = append(p.rules, partitionRule{strings.TrimSpace(pattern), tables, fields, where})
	return nil
}

// Set reads PATTERN=LIST;PATTERN=LIST, as in 'shop.orders=day(created_at), region; shop.*='.
func (p *Partitions) Set(text string) error {
	p.rules = nil
	for rule := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(rule) == "" {
			continue
		}
		pattern, list, ok := strings.Cut(rule, "=")
		if !ok {
			return fmt.Errorf("%q: expected TABLES=LIST", strings.TrimSpace(rule))
		}
		if err := p.SetEntry("--partition", pattern, list); err != nil {
			return err
		}
	}
	return nil
}

// String is what Set reads.
func (p *Partitions) String() string {
	var rules []string
	for _, r := range p.rules {
		var fields []string
		for _, f := range r.fields {
			fields = append(fields, f.String())
		}
		rules = append(rules, r.pattern+"="+strings.Join(fields, ", "))
	}
	return strings.Join(rules, "; ")
}

// Type names the flag's value in the help.
func (*Partitions) Type() string { return "TABLES=LIST;..." }

// of is the rule for a table, or nil.
func (p *Partitions) of(db, table string) *partitionRule {
	for i := range p.rules {
		if p.rules[i].tables.Match(db, table) {
			return &p.rules[i]
		}
	}
	return nil
}

// fieldsOf is the partition of a new table.
func (p *Partitions) fieldsOf(db, table string) []lake.PartitionField {
	if r := p.of(db, table); r != nil {
		return r.fields
	}
	return nil
}

// check reports, as *PartitionError, a partition that a table of the plan's columns cannot have.
func (p *Partitions) check(name string, plan *decode.Plan) error {
	rule := p.of(splitName(name))
	if rule == nil {
		return nil
	}
	sc, err := lake.SchemaFromArrow(plan.Schema, plan.Key)
	if err != nil {
		return err
	}
	if err := lake.CheckPartition(sc, rule.fields); err != nil {
		return &PartitionError{rule.where, name, err}
	}
	return nil
}

// partition gives an open table of the lake the partition spec that is asked for. Data files that it has stay as they are.
func (p *pipeline) partition(ctx context.Context, name string, lt *lake.Table) error {
	rule := p.Partitions.of(lt.ID().DB, lt.ID().Table)
	if rule == nil {
		return nil
	}
	before := lt.Partitioning()
	changed, err := lt.SetPartitioning(ctx, rule.fields)
	var bad *lake.PartitionError
	switch {
	case errors.As(err, &bad):
		return fatal(&PartitionError{rule.where, name, bad})
	case err != nil:
		return fmt.Errorf("%s: set the partition: %w", name, err)
	case changed:
		p.Logger.Info("new data files are partitioned otherwise", "table", name, "by", fmt.Sprint(rule.fields), "before", fmt.Sprint(before))
	}
	return nil
}

// checkPartitions reports a partition that a table which is yet to be created cannot have. Tables whose columns cannot be
// followed are left to who creates them.
func (l *loop) checkPartitions(ctx context.Context, servers []source.State) error {
	var conn *snapshot.Conn
	host := servers[slices.IndexFunc(servers, source.State.Answers)].Host
	for _, n := range l.names {
		full := n.DB + "." + n.Table
		rule := l.Partitions.of(n.DB, n.Table)
		if t := l.tables[full]; rule == nil || len(rule.fields) == 0 || t != nil && t.sink != nil {
			continue
		}
		if conn == nil {
			var err error
			if conn, err = snapshot.Open(ctx, l.Source, host); err != nil {
				return err
			}
			defer conn.Close()
		}
		definition, err := snapshot.Definition(ctx, conn, n.DB, n.Table)
		if err != nil && source.IsStreamError(err) {
			return err
		}
		var plan *decode.Plan
		if err == nil {
			plan, err = decode.NewPlan(definition)
		}
		if err != nil {
			continue
		}
		var bad *PartitionError
		if err := l.Partitions.check(full, plan); errors.As(err, &bad) {
			return fatal(bad)
		}
	}
	return nil
}
