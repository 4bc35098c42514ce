package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Ranges splits a table by its primary key, one range after the other, in the order of the key. It keeps no snapshot and no
// lock: each range is found by a statement of its own that counts rows from the last bound on. Rows that come and go
// meanwhile make ranges larger or smaller; together they cover every key there can be, each once.
//
// Between a range's first and last row, the server keeps the versions of rows that its reader may still see: ranges of some
// hundred thousand rows are read in seconds.
//
// A range begins where the last one ended without reading what lies before, except with a key that begins with a SET of many
// members or an ENUM in descending order.
//
// A table without a key is one range, also when it is empty. A table whose key has only the beginnings of columns (PRIMARY KEY (b(10))) is one range: its index does not have the
// order of the key.
type Ranges struct {
	table *Table
	rows  int
	from  Bound // where the next range begins
	begun bool
	done  bool
}

// NewRanges begins at a bound, nil for the beginning of the table, with ranges of about that many rows. To go on after a
// restart or an error, begin at the To of the last range or At.
func NewRanges(t *Table, rows int, from Bound) *Ranges {
	return &Ranges{table: t, rows: max(rows, 1), from: from, begun: from != nil}
}

// At is the bound where the next range begins.
func (r *Ranges) At() Bound { return r.from }

// Next finds the next range; ok is false when there is none: of an empty table there never is one. The last range is open, so
// that it takes in keys which come after it.
//
// Errors are *source.Error, *ChangedError and *BoundError. After an error Next can be called again, with another connection.
func (r *Ranges) Next(ctx context.Context, c *Conn) (next Range, ok bool, err error) {
	if r.done {
		return Range{}, false, nil
	}
	if r.table.Plan.Keyless() {
		r.done = true
		return Range{}, true, nil
	}
	to := Bound(nil)
	if r.table.key.whole() {
		if to, err = r.find(ctx, c, r.rows); err != nil {
			return Range{}, false, err
		}
	}
	if slices.Equal(to, r.from) {
		to = nil // a server that does not find keys where it orders them: no more splitting
	}
	if !r.begun && to == nil {
		first, err := r.find(ctx, c, 0)
		if err != nil {
			return Range{}, false, err
		}
		if first == nil {
			r.done = true
			return Range{}, false, nil
		}
	}
	next = Range{r.from, to}
	r.from, r.begun, r.done = to, true, to == nil
	return next, true, nil
}

// find returns the key that comes so many rows after the next range's first, or with 0 the key of any row; nil when there
// are not as many.
func (r *Ranges) find(ctx context.Context, c *Conn, rows int) (Bound, error) {
	t := r.table
	where, err := t.where(Range{From: r.from})
	if err != nil {
		return nil, err
	}
	var list []string
	for i := range t.key.parts {
		list = append(list, t.key.parts[i].selected())
	}
	order := " LIMIT 1" // any row: there is one or not
	if rows > 0 {
		order = fmt.Sprintf(" ORDER BY %s LIMIT 1 OFFSET %d", t.key.order(), rows)
	}
	query := "SELECT " + strings.Join(list, ", ") + t.from() + where + order
	var to Bound
	err = c.do(ctx, fmt.Sprintf("split %s.%s into ranges", t.DB, t.Table), func() error {
		found, err := c.rows(query)
		if err != nil || len(found) == 0 {
			return t.changed(c, err)
		}
		for i, text := range found[0] {
			if text == nil {
				return fmt.Errorf("%s has a row without a %s", t.key.index, t.key.parts[i].name)
			}
			to = append(to, *text)
		}
		return nil
	})
	return to, err
}
