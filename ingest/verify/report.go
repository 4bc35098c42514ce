package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
)

// Result is what came out for a table.
type Result string

// Results.
const (
	Equal       Result = "equal"
	Different   Result = "different"
	NotInLake   Result = "not-in-lake" // the source has it, the lake does not
	Interrupted Result = "interrupted" // the run was ended before the table was compared to its end
	Failed      Result = "failed"      // it could not be compared, or not to its end; Error says why
)

// Report is the outcome of a run.
type Report struct {
	Equal  bool          `json:"equal"` // every table
	Tables []TableReport `json:"tables"`
}

// Position is what a part was compared at.
type Position struct {
	GTIDSet    string `json:"gtid_set"`    // the position in the source
	SnapshotID int64  `json:"snapshot_id"` // of the lake's table; 0 for one without rows
	Server     string `json:"server"`      // that the rows were read from
}

// Compared is the parts of a table that were compared at one position.
type Compared struct {
	Position
	Parts int   `json:"parts"`
	Rows  int64 `json:"rows"` // of the lake, at the position
}

// TableReport is the outcome of a table.
type TableReport struct {
	Table    string           `json:"table"`
	Result   Result           `json:"result"`
	State    checkpoint.State `json:"state,omitempty"` // of the lake's table
	Rows     int64            `json:"rows"`            // of the lake, at their positions
	Touched  int64            `json:"touched"`         // keys that were compared by the binary log, having been changed since the position
	Behind   int64            `json:"behind"`          // transactions that the source had at the start, and the position lacks
	Compared []Compared       `json:"compared,omitempty"`

	Differences int64          `json:"differences"`
	Count       map[Kind]int64 `json:"count,omitempty"`
	Named       []Difference   `json:"named,omitempty"` // some of them
	Error       string         `json:"error,omitempty"`

	err error
}

func (t *TableReport) fail(err error) { t.Result, t.Error, t.err = Failed, err.Error(), err }

// sum adds the parts up.
func (t *TableReport) sum(done *tableState) {
	t.Result = Equal
	t.Count = map[Kind]int64{}
	for i := range done.Parts {
		p := &done.Parts[i]
		t.Rows += p.Rows
		t.Touched += p.Touched
		for kind, n := range p.Count {
			t.Count[kind] += n
			t.Differences += n
		}
		t.Named = append(t.Named, p.Named...)
		if n := len(t.Compared); n == 0 || t.Compared[n-1].Position != p.Position {
			t.Compared = append(t.Compared, Compared{Position: p.Position})
		}
		last := &t.Compared[len(t.Compared)-1]
		last.Parts++
		last.Rows += p.Rows
	}
	sortDifferences(t.Named)
	if t.Differences > 0 {
		t.Result = Different
	}
}

// absent reports on a table that the lake does not have.
func (r *run) absent(ctx context.Context, n source.TableName) TableReport {
	t := TableReport{Table: n.String(), Result: NotInLake}
	conn, err := snapshot.Open(ctx, r.Source, r.host())
	if err != nil {
		t.fail(err)
		return t
	}
	defer conn.Close()
	if _, err = snapshot.Describe(ctx, conn, n.DB, n.Table); err != nil {
		t.fail(err)
	}
	return t
}

// DifferentError says that lake and source differ: exit code 5.
type DifferentError struct{ Tables []string }

func (e *DifferentError) Error() string {
	return "lake and source differ in " + strings.Join(e.Tables, ", ")
}

// Err is nil when every table is equal, else a *DifferentError joined with the errors of tables that could not be compared.
func (r *Report) Err() error {
	var different DifferentError
	var failed []error
	for _, t := range r.Tables {
		switch t.Result {
		case Different, NotInLake:
			different.Tables = append(different.Tables, t.Table)
		case Failed:
			failed = append(failed, t.err)
		}
		if t.Result == Failed && t.Differences > 0 {
			different.Tables = append(different.Tables, t.Table)
		}
	}
	if len(different.Tables) > 0 {
		failed = append([]error{&different}, failed...)
	}
	return errors.Join(failed...)
}

func (r *Report) finish() {
	slices.SortStableFunc(r.Tables, func(a, b TableReport) int { return strings.Compare(a.Table, b.Table) })
	r.Equal = r.Err() == nil
}

// WriteText writes the report for a person.
func (r *Report) WriteText(w io.Writer) {
	for i := range r.Tables {
		r.Tables[i].writeText(w)
	}
}

func (t *TableReport) writeText(w io.Writer) {
	say := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	rows := humanize.Comma(t.Rows) + " rows"
	switch t.Result {
	case Equal:
		say("%s: equal, %s", t.Table, rows)
	case Different:
		say("%s: DIFFERENT in %s of %s", t.Table, plural(t.Differences, "key"), rows)
	case NotInLake:
		say("%s: NOT IN THE LAKE", t.Table)
	case Interrupted:
		say("%s: interrupted after %s, %s until then", t.Table, rows, plural(t.Differences, "difference"))
	case Failed:
		say("%s: FAILED after %s: %s", t.Table, rows, t.Error)
		if t.Differences > 0 {
			say("  until then different in %s", plural(t.Differences, "key"))
		}
	}
	for _, d := range t.Named {
		say("  %s", d)
	}
	if more := t.Differences - int64(len(t.Named)); more > 0 && len(t.Named) > 0 {
		say("  and %s more", humanize.Comma(more))
	}
	for _, c := range t.Compared {
		set, err := checkpoint.ParseSet(c.GTIDSet)
		if err != nil {
			continue
		}
		part := ""
		if len(t.Compared) > 1 {
			part = humanize.Comma(c.Rows) + " rows "
		}
		say("  %sat %s, snapshot %d, with %s", part, set.Short(), c.SnapshotID, c.Server)
	}
	if t.Touched > 0 {
		say("  %s changed since that position: compared by the binary log", plural(t.Touched, "key"))
	}
	if t.Behind > 0 {
		say("  the source had %s more at the start, which the lake does not have yet", plural(t.Behind, "transaction"))
	}
	switch {
	case t.State == checkpoint.StateSuspect && t.Result == Equal:
		say("  it is marked suspect, and is equal now; the mark stays until the table is loaded again (tidemark load)")
	case t.State == checkpoint.StateSuspect:
		say("  it is marked suspect; load it again (tidemark load)")
	case t.State == checkpoint.StatePartial:
		say("  it is partial: followed from a point on and never loaded, so it lacks by nature what was not touched since")
	}
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return humanize.Comma(n) + " " + noun + "s"
}
