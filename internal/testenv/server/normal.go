package server

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// Null is the normal form of NULL. No value of a text column starts with a zero byte in our tests.
//
// The normal form is one spelling for a value, whichever of MySQL, DuckDB, Trino or PyIceberg returned it, so that the rows of two
// systems compare equal as strings:
//
//	boolean, BIT(1)        true, false
//	integers, YEAR         decimal digits
//	DECIMAL                exact, with the column's scale: -12.50
//	FLOAT, DOUBLE          the shortest digits that read back as the same number of the column's width: 0.1, 1e+20
//	text, ENUM, SET, JSON  the text as it is, UTF-8
//	binary, BIT(n)         0x and hexadecimal, small letters
//	DATE                   2026-01-31
//	TIME                   the text as MySQL prints it, with the column's fractional digits: -838:59:59.000
//	DATETIME               2026-01-31T23:59:59.000000
//	TIMESTAMP              2026-01-31T23:59:59.000000Z, in UTC
//	zero dates             Null, as in the lake
const Null = "\x00NULL"

// binaryCharset is the collation id of columns that hold bytes.
const binaryCharset = 63

func normalMySQL(v mysql.FieldValue, f *mysql.Field) string {
	switch v.Type {
	case mysql.FieldValueTypeNull:
		return Null
	case mysql.FieldValueTypeUnsigned:
		return strconv.FormatUint(v.AsUint64(), 10)
	case mysql.FieldValueTypeSigned:
		return strconv.FormatInt(v.AsInt64(), 10)
	case mysql.FieldValueTypeFloat:
		return normalFloat(v.AsFloat64(), f.Type == mysql.MYSQL_TYPE_FLOAT)
	}
	raw := v.AsString()
	switch f.Type {
	case mysql.MYSQL_TYPE_BIT:
		if f.ColumnLength == 1 {
			return strconv.FormatBool(len(raw) > 0 && raw[len(raw)-1] != 0)
		}
		return normalBytes(raw)
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		if bytes.Contains(raw, []byte("-00")) || bytes.HasPrefix(raw, []byte("0000")) {
			return Null
		}
	case mysql.MYSQL_TYPE_DATETIME:
		return normalTimestamp(string(raw), "")
	case mysql.MYSQL_TYPE_TIMESTAMP:
		return normalTimestamp(string(raw), "Z")
	case mysql.MYSQL_TYPE_TIME:
		whole, fraction, _ := strings.Cut(string(raw), ".")
		if f.Decimal == 0 || f.Decimal > 6 {
			return whole
		}
		return whole + "." + (fraction + "000000")[:f.Decimal]
	case mysql.MYSQL_TYPE_GEOMETRY, mysql.MYSQL_TYPE_VECTOR:
		return normalBytes(raw)
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_STRING,
		mysql.MYSQL_TYPE_TINY_BLOB, mysql.MYSQL_TYPE_MEDIUM_BLOB, mysql.MYSQL_TYPE_LONG_BLOB, mysql.MYSQL_TYPE_BLOB:
		if f.Charset == binaryCharset && f.Flag&(mysql.ENUM_FLAG|mysql.SET_FLAG) == 0 {
			return normalBytes(raw)
		}
	}
	return string(raw)
}

func normalBytes(raw []byte) string { return "0x" + hex.EncodeToString(raw) }

func normalFloat(v float64, single bool) string {
	if math.IsNaN(v) {
		return "NaN"
	}
	bits := 64
	if single {
		bits = 32
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

// normalTimestamp takes "2026-01-31 23:59:59[.f...]" (or with a T) and gives it six fractional digits.
func normalTimestamp(text, zone string) string {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(whole) < len("2026-01-31 23:59:59") {
		return fmt.Sprintf("not a timestamp: %q", text)
	}
	if whole[:4] == "0000" || whole[5:7] == "00" || whole[8:10] == "00" {
		return Null
	}
	if len(fraction) < 6 {
		fraction += "000000"[len(fraction):]
	}
	return whole[:10] + "T" + whole[11:] + "." + fraction[:6] + zone
}
