package decode

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// form says how a value is written in a row image, and so how it is read.
type form uint8

const (
	formInt8 form = iota
	formUint8
	formInt16
	formUint16
	formInt24
	formUint24
	formInt32
	formUint32
	formInt64
	formUint64 // decimal(20,0)
	formFloat
	formDouble
	formDecimal64  // at most 18 digits
	formDecimal128 // 19 to 38 digits
	formDecimalText
	formBit1
	formBits
	formDate
	formDatetime
	formTimestamp
	formTime
	formYear
	formText   // UTF-8 or ASCII, length first
	formBytes  // length first
	formPadded // BINARY(n): length first, trailing zero bytes left out
	formRecode // text in another character set, length first
	formEnum
	formSet
	formJSON
)

// store says which Arrow layout holds a column's values.
type store uint8

const (
	storeInt32 store = iota // date32 too
	storeInt64              // timestamp too
	storeFloat32
	storeFloat64
	storeDecimal
	storeBool
	storeBytes // string and binary
)

// column is the way to read one column.
type column struct {
	name     string
	arrow    arrow.DataType
	nullable bool
	key      bool
	form     form
	store    store
	size     int // bytes in a row image; 0 when a length comes first
	prefix   int // bytes of the length that comes first
	wire     int // bytes in a SELECT's answer; 0 when a length comes first

	fsp              int // fractional digits of a TIME, DATETIME or TIMESTAMP
	precision, scale int // DECIMAL
	pad              int // BINARY(n): n
	charset          *charset
	labels           [][]byte // of an ENUM or SET, in UTF-8
}

// facts is what a table map says, by column.
type facts struct {
	tm         *replication.TableMapEvent
	unsigned   map[int]bool
	collations map[int]uint64
	labelColls map[int]uint64
	enums      map[int][]string
	sets       map[int][]string
}

// factsOf unpacks the optional metadata of a table map, which the library indexes without looking when it is short.
func factsOf(p *Plan, tm *replication.TableMapEvent) (*facts, error) {
	numeric, text, labelled, enums, sets := 0, 0, 0, 0, 0
	for i := range tm.ColumnType {
		switch {
		case tm.IsNumericColumn(i):
			numeric++
		case tm.IsCharacterColumn(i):
			text++
		case tm.IsEnumColumn(i):
			labelled++
			enums++
		case tm.IsSetColumn(i):
			labelled++
			sets++
		}
	}
	missing := func(what string) error { return &MetadataError{p.DB, p.Table, what} }
	switch {
	case len(tm.SignednessBitmap)*8 < numeric:
		return nil, missing("signedness of its numbers")
	case len(tm.DefaultCharset) == 0 && len(tm.ColumnCharset) < text, len(tm.DefaultCharset) > 0 && len(tm.DefaultCharset)%2 == 0:
		return nil, missing("character sets")
	case len(tm.EnumSetDefaultCharset) == 0 && len(tm.EnumSetColumnCharset) < labelled, len(tm.EnumSetDefaultCharset) > 0 && len(tm.EnumSetDefaultCharset)%2 == 0:
		return nil, missing("character sets of its ENUM and SET columns")
	case len(tm.EnumStrValue) < enums:
		return nil, missing("values of its ENUM columns")
	case len(tm.SetStrValue) < sets:
		return nil, missing("values of its SET columns")
	}
	return &facts{
		tm: tm, unsigned: tm.UnsignedMap(), collations: tm.CollationMap(), labelColls: tm.EnumSetCollationMap(),
		enums: tm.EnumStrValueMap(), sets: tm.SetStrValueMap(),
	}, nil
}

const binaryCollation = 63

// column works out how to read column i.
func (f *facts) column(i int) (column, *ColumnError) {
	tm := f.tm
	meta := int(tm.ColumnMeta[i])
	_, nullable := tm.Nullable(i)
	c := column{name: string(tm.ColumnName[i]), nullable: nullable}
	refuse := func(name, why string) (column, *ColumnError) {
		return c, &ColumnError{Column: c.name, Type: name, Why: why}
	}
	switch t := tm.ColumnType[i]; t {
	case mysql.MYSQL_TYPE_TINY:
		c.integer(f.unsigned[i], formInt8, 1)
	case mysql.MYSQL_TYPE_SHORT:
		c.integer(f.unsigned[i], formInt16, 2)
	case mysql.MYSQL_TYPE_INT24:
		c.integer(f.unsigned[i], formInt24, 3)
	case mysql.MYSQL_TYPE_LONG:
		c.integer(f.unsigned[i], formInt32, 4)
		if f.unsigned[i] {
			c.arrow, c.store = arrow.PrimitiveTypes.Int64, storeInt64
		}
	case mysql.MYSQL_TYPE_LONGLONG:
		c.integer(f.unsigned[i], formInt64, 8)
		c.arrow, c.store = arrow.PrimitiveTypes.Int64, storeInt64
		if f.unsigned[i] {
			c.arrow, c.store = &arrow.Decimal128Type{Precision: 20}, storeDecimal
		}
	case mysql.MYSQL_TYPE_FLOAT:
		c.form, c.size, c.arrow, c.store = formFloat, 4, arrow.PrimitiveTypes.Float32, storeFloat32
	case mysql.MYSQL_TYPE_DOUBLE:
		c.form, c.size, c.arrow, c.store = formDouble, 8, arrow.PrimitiveTypes.Float64, storeFloat64
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		c.precision, c.scale = meta>>8, meta&0xff
		if c.precision == 0 || c.precision > 65 || c.scale > min(30, c.precision) {
			return refuse(fmt.Sprintf("DECIMAL(%d,%d)", c.precision, c.scale), "there is no such type")
		}
		c.decimal()
	case mysql.MYSQL_TYPE_YEAR:
		c.form, c.size, c.arrow, c.store = formYear, 1, arrow.PrimitiveTypes.Int32, storeInt32
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		c.form, c.size, c.arrow, c.store, c.nullable = formDate, 3, arrow.FixedWidthTypes.Date32, storeInt32, true
	case mysql.MYSQL_TYPE_DATETIME2:
		c.moment(formDatetime, 5, meta, &arrow.TimestampType{Unit: arrow.Microsecond})
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		c.moment(formTimestamp, 4, meta, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"})
	case mysql.MYSQL_TYPE_TIME2:
		c.moment(formTime, 3, meta, arrow.BinaryTypes.String)
		c.store, c.nullable = storeBytes, nullable
	case mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIME:
		return refuse("of MySQL 5.5 or older", "its dates are in the format from before MySQL 5.6.4; rebuild the table (ALTER TABLE ... FORCE)")
	case mysql.MYSQL_TYPE_DECIMAL:
		return refuse("DECIMAL of MySQL 4.1 or older", "rebuild the table (ALTER TABLE ... FORCE)")
	case mysql.MYSQL_TYPE_BIT:
		n := meta>>8*8 + meta&0xff
		if n == 0 || n > 64 {
			return refuse(fmt.Sprintf("BIT(%d)", n), "there is no such type")
		}
		c.form, c.size, c.arrow, c.store = formBits, (n+7)/8, arrow.BinaryTypes.Binary, storeBytes
		if n == 1 {
			c.form, c.arrow, c.store = formBit1, arrow.FixedWidthTypes.Boolean, storeBool
		}
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		return c, c.text(lengthBytes(meta), f.collations[i], "VARCHAR", "VARBINARY")
	case mysql.MYSQL_TYPE_STRING:
		return f.fixedString(c, i)
	case mysql.MYSQL_TYPE_BLOB:
		if meta < 1 || meta > 4 {
			return refuse("BLOB", fmt.Sprintf("a length of %d bytes", meta))
		}
		return c, c.text(meta, f.collations[i], "TEXT", "BLOB")
	case mysql.MYSQL_TYPE_JSON:
		if meta < 1 || meta > 4 {
			return refuse("JSON", fmt.Sprintf("a length of %d bytes", meta))
		}
		c.form, c.prefix, c.arrow, c.store = formJSON, meta, arrow.BinaryTypes.String, storeBytes
	case mysql.MYSQL_TYPE_GEOMETRY:
		return refuse("GEOMETRY", "geometry columns are not carried over yet; exclude the table")
	case mysql.MYSQL_TYPE_VECTOR:
		return refuse("VECTOR", "vector columns are not carried over yet; exclude the table")
	default:
		return refuse(fmt.Sprintf("number %d", t), "this version of tidemark does not know it; exclude the table")
	}
	return c, nil
}

func (c *column) integer(unsigned bool, signed form, size int) {
	c.form, c.size, c.arrow, c.store = signed, size, arrow.PrimitiveTypes.Int32, storeInt32
	if unsigned {
		c.form++ // the unsigned form follows the signed one
	}
}

func (c *column) decimal() {
	c.size = decimalSize(c.precision, c.scale)
	c.arrow, c.store = &arrow.Decimal128Type{Precision: int32(c.precision), Scale: int32(c.scale)}, storeDecimal
	switch {
	case c.precision <= 18:
		c.form = formDecimal64
	case c.precision <= 38:
		c.form = formDecimal128
	default:
		c.form, c.arrow, c.store = formDecimalText, arrow.BinaryTypes.String, storeBytes
	}
}

// moment plans a type whose fraction of a second follows a whole part of the given size.
func (c *column) moment(f form, whole, fsp int, t arrow.DataType) {
	c.fsp = min(fsp, 6)
	c.form, c.size, c.arrow, c.store, c.nullable = f, whole+(c.fsp+1)/2, t, storeInt64, true
}

func lengthBytes(limit int) int {
	if limit > 255 {
		return 2
	}
	return 1
}

func (c *column) text(prefix int, collation uint64, text, bytes string) *ColumnError {
	c.prefix, c.store = prefix, storeBytes
	if collation == binaryCollation {
		c.form, c.arrow = formBytes, arrow.BinaryTypes.Binary
		return nil
	}
	cs, err := charsetOf(collation)
	if err != nil {
		return &ColumnError{Column: c.name, Type: text, Why: err.Error()}
	}
	c.form, c.arrow, c.charset = formText, arrow.BinaryTypes.String, cs
	if cs.recode != nil {
		c.form = formRecode
	}
	return nil
}

// fixedString plans CHAR, BINARY, ENUM and SET: the real type and the length share the metadata, and two bits of a CHAR's
// length hide, inverted, in the byte of the type.
func (f *facts) fixedString(c column, i int) (column, *ColumnError) {
	high, low := byte(f.tm.ColumnMeta[i]>>8), int(f.tm.ColumnMeta[i]&0xff)
	var err error
	switch high {
	case mysql.MYSQL_TYPE_ENUM:
		c.form, c.size, c.arrow, c.store = formEnum, low, arrow.BinaryTypes.String, storeBytes
		if low != 1 && low != 2 {
			return c, &ColumnError{Column: c.name, Type: "ENUM", Why: fmt.Sprintf("a size of %d bytes", low)}
		}
		if c.labels, err = labelsOf(f.enums[i], f.labelColls[i]); err != nil {
			return c, &ColumnError{Column: c.name, Type: "ENUM", Why: err.Error()}
		}
		c.charset = labelCharset(f.labelColls[i])
	case mysql.MYSQL_TYPE_SET:
		c.form, c.size, c.arrow, c.store = formSet, low, arrow.BinaryTypes.String, storeBytes
		if low < 1 || low > 8 {
			return c, &ColumnError{Column: c.name, Type: "SET", Why: fmt.Sprintf("a size of %d bytes", low)}
		}
		if c.labels, err = labelsOf(f.sets[i], f.labelColls[i]); err != nil {
			return c, &ColumnError{Column: c.name, Type: "SET", Why: err.Error()}
		}
		c.charset = labelCharset(f.labelColls[i])
	default:
		limit := low
		if high&0x30 != 0x30 {
			limit |= int(high&0x30^0x30) << 4
		}
		if e := c.text(lengthBytes(limit), f.collations[i], "CHAR", "BINARY"); e != nil {
			return c, e
		}
		if c.form == formBytes {
			c.form, c.pad = formPadded, limit
		}
	}
	return c, nil
}

// labelCharset is the character set of an ENUM or SET whose labels were understood; nil for binary.
func labelCharset(collation uint64) *charset {
	if collation == binaryCollation {
		return nil
	}
	cs, err := charsetOf(collation)
	if err != nil {
		return nil
	}
	return cs
}

// labelsOf brings the labels of an ENUM or SET to UTF-8.
func labelsOf(labels []string, collation uint64) ([][]byte, error) {
	out := make([][]byte, len(labels))
	for i, l := range labels {
		out[i] = []byte(l)
	}
	if collation == binaryCollation {
		return out, nil
	}
	cs, err := charsetOf(collation)
	if err != nil {
		return nil, err
	}
	if cs.recode == nil {
		return out, nil
	}
	for i, l := range out {
		text, ok := cs.recode(nil, l)
		if !ok {
			return nil, fmt.Errorf("the label %x is not %s text", l, cs.name)
		}
		out[i] = text
	}
	return out, nil
}
