package decode

import (
	"errors"
	"fmt"
	"strings"
)

// MetadataError says that a table map does not carry what a plan needs.
type MetadataError struct {
	DB, Table string
	Missing   string // what is missing: "column names", ...
}

func (e *MetadataError) Error() string {
	return fmt.Sprintf("table %s.%s: the binary log has no %s: the server must run with binlog_row_metadata=FULL "+
		"(SET PERSIST binlog_row_metadata=FULL, on every server of the list; it holds for what is written from then on)", e.DB, e.Table, e.Missing)
}

// ColumnError says that a column is of a type or character set that is not understood.
type ColumnError struct {
	DB, Table, Column string
	Type              string // as in the source, as far as the table map tells
	Why               string
}

func (e *ColumnError) Error() string {
	return fmt.Sprintf("table %s.%s: column %q has type %s, which cannot be read: %s", e.DB, e.Table, e.Column, e.Type, e.Why)
}

// RowImageError says that a row image lacks columns.
type RowImageError struct {
	DB, Table string
	Image     string   // "before" or "after"
	Missing   []string // columns
}

func (e *RowImageError) Error() string {
	missing := e.Missing
	if len(missing) > 5 {
		missing = append(missing[:5:5], fmt.Sprintf("and %d more", len(e.Missing)-5))
	}
	return fmt.Sprintf("table %s.%s: the %s image of a row lacks columns (%s): the server must run with binlog_row_image=FULL "+
		"(SET PERSIST binlog_row_image=FULL, on every server of the list, and in no session otherwise); load the table again", e.DB, e.Table, e.Image, strings.Join(missing, ", "))
}

// ValueError says that a value is whole but cannot be carried over exactly.
type ValueError struct {
	DB, Table, Column string
	Row               string // the key of the row, as far as it is known
	Why               string
}

func (e *ValueError) Error() string {
	row := ""
	if e.Row != "" {
		row = " of the row " + e.Row
	}
	return fmt.Sprintf("table %s.%s: column %q%s: %s", e.DB, e.Table, e.Column, row, e.Why)
}

// CorruptError says that the body of a rows event does not fit the table map it refers to.
type CorruptError struct {
	DB, Table string
	Column    string // "" when no column is at fault
	Offset    int    // in the body of the rows event, bytes
	Why       string
}

func (e *CorruptError) Error() string {
	column := ""
	if e.Column != "" {
		column = fmt.Sprintf(" column %q,", e.Column)
	}
	return fmt.Sprintf("table %s.%s:%s offset %d of a rows event: %s: the event is damaged or the table map is not its own; "+
		"verify the server's binary log (mysqlbinlog --verify-binlog-checksum)", e.DB, e.Table, column, e.Offset, e.Why)
}

// ErrPoisoned is what every call of Rows returns, together with the first error, after one has failed.
var ErrPoisoned = errors.New("an earlier rows event failed, and what came after it would be out of order: start again from the last commit")
