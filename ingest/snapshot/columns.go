package snapshot

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// columnInfo is a row of information_schema.COLUMNS.
type columnInfo struct {
	name       string
	dataType   string // "int", lower case
	columnType string // "int unsigned", labels of ENUM and SET
	nullable   bool
	invisible  bool
	unsigned   bool
	octets     uint64 // of strings: the most bytes
	precision  uint64 // of DECIMAL: digits; of BIT: bits
	scale      uint64
	fsp        uint64 // of TIME, DATETIME, TIMESTAMP: digits of the fraction
	charset    string // "" for binary strings and what is no string
	collation  uint64
}

// binaryCollation is the id of the collation of strings without a character set.
const binaryCollation = 63

// columnInfoOf reads COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, EXTRA, CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION,
// NUMERIC_SCALE, DATETIME_PRECISION, CHARACTER_SET_NAME and the collation's id.
func columnInfoOf(row []*string) (columnInfo, error) {
	var failed error
	text := func(i int) string {
		if row[i] == nil {
			return ""
		}
		return *row[i]
	}
	number := func(i int) uint64 {
		if row[i] == nil {
			return 0
		}
		n, err := strconv.ParseUint(*row[i], 10, 64)
		if err != nil {
			failed = err
		}
		return n
	}
	c := columnInfo{
		name: text(0), dataType: strings.ToLower(text(1)), columnType: text(2), nullable: text(3) == "YES",
		invisible: strings.Contains(text(4), "INVISIBLE"), octets: number(5), precision: number(6), scale: number(7), fsp: number(8),
		charset: text(9), collation: number(10),
	}
	if c.collation == 0 {
		c.collation = binaryCollation
	}
	if c.dataType != "enum" && c.dataType != "set" {
		c.unsigned = strings.Contains(strings.ToLower(c.columnType), " unsigned") || c.dataType == "year"
	}
	return c, failed
}

// plainTypes need no metadata of their own but a constant.
var plainTypes = map[string]struct {
	t    byte
	meta uint16
}{
	"tinyint": {mysql.MYSQL_TYPE_TINY, 0}, "smallint": {mysql.MYSQL_TYPE_SHORT, 0}, "mediumint": {mysql.MYSQL_TYPE_INT24, 0},
	"int": {mysql.MYSQL_TYPE_LONG, 0}, "bigint": {mysql.MYSQL_TYPE_LONGLONG, 0},
	"float": {mysql.MYSQL_TYPE_FLOAT, 4}, "double": {mysql.MYSQL_TYPE_DOUBLE, 8},
	"date": {mysql.MYSQL_TYPE_DATE, 0}, "year": {mysql.MYSQL_TYPE_YEAR, 0},
	"tinytext": {mysql.MYSQL_TYPE_BLOB, 1}, "text": {mysql.MYSQL_TYPE_BLOB, 2}, "mediumtext": {mysql.MYSQL_TYPE_BLOB, 3}, "longtext": {mysql.MYSQL_TYPE_BLOB, 4},
	"tinyblob": {mysql.MYSQL_TYPE_BLOB, 1}, "blob": {mysql.MYSQL_TYPE_BLOB, 2}, "mediumblob": {mysql.MYSQL_TYPE_BLOB, 3}, "longblob": {mysql.MYSQL_TYPE_BLOB, 4},
	"json": {mysql.MYSQL_TYPE_JSON, 4}, "vector": {mysql.MYSQL_TYPE_VECTOR, 4},
	"geometry": {mysql.MYSQL_TYPE_GEOMETRY, 4}, "point": {mysql.MYSQL_TYPE_GEOMETRY, 4}, "linestring": {mysql.MYSQL_TYPE_GEOMETRY, 4},
	"polygon": {mysql.MYSQL_TYPE_GEOMETRY, 4}, "multipoint": {mysql.MYSQL_TYPE_GEOMETRY, 4}, "multilinestring": {mysql.MYSQL_TYPE_GEOMETRY, 4},
	"multipolygon": {mysql.MYSQL_TYPE_GEOMETRY, 4}, "geomcollection": {mysql.MYSQL_TYPE_GEOMETRY, 4}, "geometrycollection": {mysql.MYSQL_TYPE_GEOMETRY, 4},
}

// binlogType is the type and the metadata that a table map has for the column (Field::binlog_type and
// Field::save_field_metadata in sql/field.cc).
func (c *columnInfo) binlogType() (t byte, meta uint16, err error) {
	if plain, ok := plainTypes[c.dataType]; ok {
		return plain.t, plain.meta, nil
	}
	switch c.dataType {
	case "decimal":
		return mysql.MYSQL_TYPE_NEWDECIMAL, uint16(c.precision<<8 | c.scale), nil
	case "datetime":
		return mysql.MYSQL_TYPE_DATETIME2, uint16(c.fsp), nil
	case "timestamp":
		return mysql.MYSQL_TYPE_TIMESTAMP2, uint16(c.fsp), nil
	case "time":
		return mysql.MYSQL_TYPE_TIME2, uint16(c.fsp), nil
	case "bit":
		return mysql.MYSQL_TYPE_BIT, uint16(c.precision/8<<8 | c.precision%8), nil
	case "varchar", "varbinary":
		return mysql.MYSQL_TYPE_VARCHAR, uint16(c.octets), nil
	case "char", "binary":
		// Bits 8 and 9 of the length stand inverted in the byte of the type.
		high := mysql.MYSQL_TYPE_STRING ^ byte(c.octets>>4&0x30)
		return mysql.MYSQL_TYPE_STRING, uint16(high)<<8 | uint16(c.octets&0xff), nil
	case "enum":
		size := uint16(1)
		if len(splitLabels(c.columnType)) > 255 {
			size = 2
		}
		return mysql.MYSQL_TYPE_STRING, uint16(mysql.MYSQL_TYPE_ENUM)<<8 | size, nil
	case "set":
		size := uint16(len(splitLabels(c.columnType))+7) / 8
		if size > 4 {
			size = 8
		}
		return mysql.MYSQL_TYPE_STRING, uint16(mysql.MYSQL_TYPE_SET)<<8 | size, nil
	}
	return 0, 0, fmt.Errorf("its type %q is not known", c.columnType)
}
