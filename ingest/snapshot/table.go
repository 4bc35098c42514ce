package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/ingest/decode"
)

// Table is a table as it was when it was described. It is immutable, may be shared, and is good for every server that has
// the table in this form.
type Table struct {
	DB, Table string
	Map       *replication.TableMapEvent // see Definition
	Plan      *decode.Plan

	key key
}

// Describe reads what a table looks like now. Errors are those of Definition and of decode.NewPlan.
func Describe(ctx context.Context, c *Conn, db, table string) (*Table, error) {
	d, err := c.define(ctx, db, table)
	if err != nil {
		return nil, err
	}
	plan, err := decode.NewPlan(d.tm)
	if err != nil {
		return nil, err
	}
	return &Table{DB: plan.DB, Table: plan.Table, Map: d.tm, Plan: plan, key: d.key}, nil
}

// Columns returns the names of the table's columns, and of those that a row is known by: its key's, or all.
func (t *Table) Columns() (columns, key []string) {
	for _, f := range t.Plan.Schema.Fields() {
		columns = append(columns, f.Name)
	}
	for _, k := range t.Plan.Key {
		key = append(key, columns[k])
	}
	if t.Plan.Keyless() {
		key = columns
	}
	return columns, key
}

// ByNumber reports whether the order of the rows is, first of all, that of the numbers in the first column of the key: whole
// ones, in ascending order. Then a Bound of that column alone is a number, and means the same to those who do not know
// the server's collations.
func (t *Table) ByNumber() bool {
	if t.Plan.Keyless() {
		return false
	}
	first := &t.key.parts[0]
	if !t.key.whole() || first.descending {
		return false
	}
	switch first.dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return true
	}
	return false
}

// ChangedError says that a table is not on the server what it was when it was described: it was altered, or removed, or
// the server is behind.
type ChangedError struct {
	Host, DB, Table string
	Why             string
	Err             error // of the server; nil when the difference was seen in an answer
}

func (e *ChangedError) Error() string {
	text := fmt.Sprintf("%s: table %s.%s is not what it was when its definition was read: %s", e.Host, e.DB, e.Table, e.Why)
	if e.Err != nil {
		text += fmt.Sprintf(" (%v)", e.Err)
	}
	return text
}

func (e *ChangedError) Unwrap() error { return e.Err }

// changed turns the server's error for a table that is not as expected into a ChangedError.
func (t *Table) changed(c *Conn, err error) error {
	var answer *mysql.MyError
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Code {
	case mysql.ER_BAD_DB_ERROR, mysql.ER_NO_SUCH_TABLE:
		return &ChangedError{c.host, t.DB, t.Table, "it is gone", err}
	case mysql.ER_BAD_FIELD_ERROR:
		return &ChangedError{c.host, t.DB, t.Table, "a column is gone", err}
	case mysql.ER_KEY_DOES_NOT_EXITS:
		return &ChangedError{c.host, t.DB, t.Table, "its key is another", err}
	case mysql.ER_TABLE_DEF_CHANGED, mysql.ER_NEED_REPREPARE:
		return &ChangedError{c.host, t.DB, t.Table, "it was altered just now", err}
	}
	return err
}

// from is the FROM clause. The index is named because a range of keys may look better in another to the server, whose rows
// it would then have to sort.
func (t *Table) from() string {
	from := " FROM " + quoteName(t.DB) + "." + quoteName(t.Table)
	if t.Plan.Keyless() {
		return from
	}
	return from + " FORCE INDEX (" + quoteName(t.key.index) + ")"
}

// order is the ORDER BY clause of rows in the order of the key.
func (t *Table) order() string {
	if t.Plan.Keyless() {
		return ""
	}
	return " ORDER BY " + t.key.order()
}
