package snapshot

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// NoTableError says that a server has no such table, or does not show it to the user.
type NoTableError struct{ Host, DB, Table string }

func (e *NoTableError) Error() string {
	return fmt.Sprintf("%s has no table %s.%s that the user may read (a view is none; GRANT SELECT ON `%[2]s`.`%[3]s`)", e.Host, e.DB, e.Table)
}

// Definition reads what a table looks like now, as the table map event that the binary log would have for it with
// binlog_row_metadata=FULL (Table_map_log_event in sql/log_event.cc): decode.NewPlan of it is a plan that is Same as the
// binary log's. TableID and Flags are zero.
//
// The privilege SELECT on the whole table is needed and enough. With one on some of its columns only, the server would show
// a table without the others; that is an error (source.KindPrivilege).
//
// One thing cannot be told from here: the server shows the labels of ENUM and SET columns in the Basic Multilingual
// Plane only, with a ? for other characters (emoji). With such a label, the plan is not Same; values are right all the same.
//
// Errors are *NoTableError and *source.Error.
func Definition(ctx context.Context, c *Conn, db, table string) (*replication.TableMapEvent, error) {
	d, err := c.define(ctx, db, table)
	if err != nil {
		return nil, err
	}
	return d.tm, nil
}

func (c *Conn) define(ctx context.Context, db, table string) (*definition, error) {
	var d *definition
	var absent *NoTableError
	err := c.do(ctx, fmt.Sprintf("read the definition of %s.%s", db, table), func() error {
		// Columns and keys come by two questions: the table is the same for both when it is so twice.
		for range definitionTries {
			before := d
			var err error
			if d, err = c.definition(db, table); err != nil {
				if errors.As(err, &absent) {
					return nil
				}
				return err
			}
			if before != nil && reflect.DeepEqual(before, d) {
				return c.mayRead(d.tm)
			}
		}
		return fmt.Errorf("it changed %d times while it was read", definitionTries-1)
	})
	if err != nil {
		return nil, err
	}
	if absent != nil {
		return nil, absent
	}
	return d, nil
}

const definitionTries = 10

// mayRead holds the columns that information_schema shows to the user against those that the table has. SHOW CREATE TABLE
// shows all, one on a line, or fails.
func (c *Conn) mayRead(tm *replication.TableMapEvent) error {
	rows, err := c.rows("SHOW CREATE TABLE " + quoteName(string(tm.Schema)) + "." + quoteName(string(tm.Table)))
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) < 2 || rows[0][1] == nil {
		return errors.New("SHOW CREATE TABLE shows nothing")
	}
	if n := strings.Count(*rows[0][1], "\n  `"); n != len(tm.ColumnName) {
		return mysql.NewError(mysql.ER_COLUMNACCESS_DENIED_ERROR, fmt.Sprintf("the table has %d columns, and the user may read %d", n, len(tm.ColumnName)))
	}
	return nil
}

// definition is a table map and what it does not tell of the key.
type definition struct {
	tm  *replication.TableMapEvent
	key key
}

func (c *Conn) definition(db, table string) (*definition, error) {
	rows, err := c.rows("SELECT t.TABLE_SCHEMA, t.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE, c.IS_NULLABLE, c.EXTRA, "+
		"c.CHARACTER_OCTET_LENGTH, c.NUMERIC_PRECISION, c.NUMERIC_SCALE, c.DATETIME_PRECISION, c.CHARACTER_SET_NAME, l.ID "+
		"FROM information_schema.TABLES t JOIN information_schema.COLUMNS c ON c.TABLE_SCHEMA=t.TABLE_SCHEMA AND c.TABLE_NAME=t.TABLE_NAME "+
		"LEFT JOIN information_schema.COLLATIONS l ON l.COLLATION_NAME=c.COLLATION_NAME "+
		"WHERE t.TABLE_SCHEMA=? AND t.TABLE_NAME=? AND t.TABLE_TYPE='BASE TABLE' ORDER BY c.ORDINAL_POSITION", db, table)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, &NoTableError{c.host, db, table}
	}
	tm := &replication.TableMapEvent{
		Schema: []byte(*rows[0][0]), Table: []byte(*rows[0][1]), ColumnCount: uint64(len(rows)),
		NullBitmap: make([]byte, (len(rows)+7)/8), VisibilityBitmap: make([]byte, (len(rows)+7)/8),
	}
	columns := make([]columnInfo, len(rows))
	for i, row := range rows {
		if columns[i], err = columnInfoOf(row[2:]); err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	if err := c.describe(tm, columns); err != nil {
		return nil, err
	}
	key, err := c.key(*rows[0][0], *rows[0][1])
	if err != nil {
		return nil, err
	}
	for n := range key.parts {
		part := &key.parts[n]
		i := slices.IndexFunc(columns, func(c columnInfo) bool { return strings.EqualFold(c.name, part.name) })
		if i < 0 {
			return nil, fmt.Errorf("its key has a column %q that is not shown: the user needs SELECT on the whole table", part.name)
		}
		part.columnInfo = columns[i]
		tm.PrimaryKey, tm.PrimaryKeyPrefix = append(tm.PrimaryKey, uint64(i)), append(tm.PrimaryKeyPrefix, part.prefix)
	}
	return &definition{tm, key}, nil
}

// describe fills in everything but the key.
func (c *Conn) describe(tm *replication.TableMapEvent, columns []columnInfo) error {
	var signs []bool
	var text, labelled []uint64
	for i := range columns {
		column := &columns[i]
		t, meta, err := column.binlogType()
		if err != nil {
			return fmt.Errorf("column %q: %w", column.name, err)
		}
		tm.ColumnName = append(tm.ColumnName, []byte(column.name))
		tm.ColumnType, tm.ColumnMeta = append(tm.ColumnType, t), append(tm.ColumnMeta, meta)
		if column.nullable {
			tm.NullBitmap[i/8] |= 1 << (i % 8)
		}
		if !column.invisible {
			tm.VisibilityBitmap[i/8] |= 0x80 >> (i % 8)
		}
		switch {
		case tm.IsNumericColumn(i):
			signs = append(signs, column.unsigned)
		case tm.IsCharacterColumn(i), t == mysql.MYSQL_TYPE_VECTOR: // a VECTOR is a BLOB to the server, of the collation binary
			text = append(text, column.collation)
		case tm.IsEnumOrSetColumn(i):
			labelled = append(labelled, column.collation)
			labels, err := c.labels(column)
			if err != nil {
				return fmt.Errorf("column %q: %w", column.name, err)
			}
			if tm.IsEnumColumn(i) {
				tm.EnumStrValue = append(tm.EnumStrValue, labels)
			} else {
				tm.SetStrValue = append(tm.SetStrValue, labels)
			}
		}
	}
	tm.SignednessBitmap = bitsFromTheTop(signs)
	tm.DefaultCharset, tm.ColumnCharset = charsets(text)
	tm.EnumSetDefaultCharset, tm.EnumSetColumnCharset = charsets(labelled)
	return nil
}

func bitsFromTheTop(flags []bool) []byte {
	if len(flags) == 0 {
		return nil
	}
	out := make([]byte, (len(flags)+7)/8)
	for i, set := range flags {
		if set {
			out[i/8] |= 0x80 >> (i % 8)
		}
	}
	return out
}

// charsets brings collations into one of the table map's two forms, as the server chooses it
// (Table_map_log_event::init_charset_field): the commonest collation and then pairs of column and collation, where that
// is shorter or as short, else all of them. Of collations that are equally common the lowest number is the default.
func charsets(collations []uint64) (withDefault, all []uint64) {
	if len(collations) == 0 {
		return nil, nil
	}
	count := map[uint64]int{}
	for _, id := range collations {
		count[id]++
	}
	common := collations[0]
	for id, n := range count {
		if n > count[common] || n == count[common] && id < common {
			common = id
		}
	}
	if len(collations) < 1+2*(len(collations)-count[common]) {
		return nil, collations
	}
	withDefault = []uint64{common}
	for i, id := range collations {
		if id != common {
			withDefault = append(withDefault, uint64(i), id)
		}
	}
	return withDefault, nil
}

// quoteName writes a name as an identifier.
func quoteName(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// quoteText writes a string literal, for a session without sql_mode.
func quoteText(s string) string { return "'" + mysql.Escape(s) + "'" }
