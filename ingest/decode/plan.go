package decode

import (
	"bytes"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// Plan says how to read the rows of one version of a table.
//
// It holds for the table map it was made from and for all that are Same. It is immutable and may be shared.
type Plan struct {
	DB, Table string

	// Schema has the columns in the table's order, generated and invisible ones included, in the types of the table
	// layout: int32, int64, decimal128, float32, float64, bool, date32, timestamp[us] (with UTC for TIMESTAMP), string,
	// binary. DATE, DATETIME and TIMESTAMP columns are nullable even where the source says NOT NULL, since a date that
	// does not exist becomes NULL; key columns are not.
	Schema *arrow.Schema

	// Key has the ordinals of the primary key's columns, in key order. Where the key takes only a prefix of a column,
	// the key here is the whole value: it is unique because its prefix is. A table without a primary key has none, nor has
	// one with a FLOAT or DOUBLE in it, which Iceberg does not take (table spec, "Identifier Field IDs").
	Key []int

	columns []column
	shape   shape
}

// Keyless reports whether the table has no key, so that a row is known by the values of all its columns (merge.NewRowCodec).
func (p *Plan) Keyless() bool { return len(p.Key) == 0 }

// NewPlan makes the plan for a table. Its errors are MetadataError and ColumnError.
func NewPlan(tm *replication.TableMapEvent) (*Plan, error) {
	p := &Plan{DB: string(tm.Schema), Table: string(tm.Table), shape: shapeOf(tm)}
	n := len(tm.ColumnType)
	if n == 0 || len(tm.ColumnName) != n {
		return nil, &MetadataError{p.DB, p.Table, "column names"}
	}
	if len(tm.ColumnMeta) != n || len(tm.NullBitmap) < (n+7)/8 {
		return nil, &MetadataError{p.DB, p.Table, "column types"}
	}
	isKey := make([]bool, n)
	floats := false
	for _, k := range tm.PrimaryKey {
		if k >= uint64(n) || isKey[k] {
			return nil, &MetadataError{p.DB, p.Table, "usable primary key"}
		}
		isKey[k] = true
		p.Key = append(p.Key, int(k))
		floats = floats || tm.ColumnType[k] == mysql.MYSQL_TYPE_FLOAT || tm.ColumnType[k] == mysql.MYSQL_TYPE_DOUBLE
	}
	if floats {
		p.Key, isKey = nil, make([]bool, n)
	}
	facts, err := factsOf(p, tm)
	if err != nil {
		return nil, err
	}
	fields := make([]arrow.Field, n)
	p.columns = make([]column, n)
	for i := range fields {
		c, err := facts.column(i)
		if err != nil {
			err.DB, err.Table = p.DB, p.Table
			return nil, err
		}
		c.key = isKey[i]
		if c.key {
			c.nullable = false
		}
		c.wire = c.form.wireSize()
		if c.key && c.form == formEnum && hasEmpty(c.labels) {
			c.wire = 8 // selected as a number
		}
		p.columns[i] = c
		fields[i] = arrow.Field{Name: c.name, Type: c.arrow, Nullable: c.nullable}
	}
	p.Schema = arrow.NewSchema(fields, nil)
	return p, nil
}

// Same reports whether a table map describes the table as the plan knows it. It is cheap: the id that a server gives to
// a table changes whenever it opens the table, so every rows event is asked.
func (p *Plan) Same(tm *replication.TableMapEvent) bool { return p.shape.is(tm) }

// shape is all that a plan depends on, copied out of a table map.
type shape struct {
	db, table            string
	types, nulls, signs  []byte
	metas                []uint16
	names                [][]byte
	key                  []uint64
	charsets, labelSets  [2][]uint64 // default form, per-column form
	enumLabels, setLists [][][]byte
}

func shapeOf(tm *replication.TableMapEvent) shape {
	return shape{
		db: string(tm.Schema), table: string(tm.Table),
		types: bytes.Clone(tm.ColumnType), nulls: bytes.Clone(tm.NullBitmap), signs: bytes.Clone(tm.SignednessBitmap),
		metas: slices.Clone(tm.ColumnMeta), names: cloneAll(tm.ColumnName), key: slices.Clone(tm.PrimaryKey),
		charsets:   [2][]uint64{slices.Clone(tm.DefaultCharset), slices.Clone(tm.ColumnCharset)},
		labelSets:  [2][]uint64{slices.Clone(tm.EnumSetDefaultCharset), slices.Clone(tm.EnumSetColumnCharset)},
		enumLabels: cloneLists(tm.EnumStrValue), setLists: cloneLists(tm.SetStrValue),
	}
}

func (s *shape) is(tm *replication.TableMapEvent) bool {
	return string(tm.Table) == s.table && string(tm.Schema) == s.db &&
		bytes.Equal(s.types, tm.ColumnType) && bytes.Equal(s.nulls, tm.NullBitmap) && bytes.Equal(s.signs, tm.SignednessBitmap) &&
		slices.Equal(s.metas, tm.ColumnMeta) && slices.Equal(s.key, tm.PrimaryKey) &&
		equalAll(s.names, tm.ColumnName) &&
		slices.Equal(s.charsets[0], tm.DefaultCharset) && slices.Equal(s.charsets[1], tm.ColumnCharset) &&
		slices.Equal(s.labelSets[0], tm.EnumSetDefaultCharset) && slices.Equal(s.labelSets[1], tm.EnumSetColumnCharset) &&
		slices.EqualFunc(s.enumLabels, tm.EnumStrValue, equalAll) && slices.EqualFunc(s.setLists, tm.SetStrValue, equalAll)
}

func equalAll(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

func cloneAll(list [][]byte) [][]byte {
	out := make([][]byte, len(list))
	for i, b := range list {
		out[i] = bytes.Clone(b)
	}
	return out
}

func cloneLists(lists [][][]byte) [][][]byte {
	out := make([][][]byte, len(lists))
	for i, l := range lists {
		out[i] = cloneAll(l)
	}
	return out
}
