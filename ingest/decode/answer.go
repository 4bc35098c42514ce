package decode

import (
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// SelectList is what to select from the table for WireRow: all columns, invisible ones too. An ENUM key that has the label
// of no characters is selected as its number, since 0, which stands for a value that was not accepted, reads the same.
func (p *Plan) SelectList() string {
	var list strings.Builder
	for i := range p.columns {
		c := &p.columns[i]
		if i > 0 {
			list.WriteString(", ")
		}
		name := "`" + strings.ReplaceAll(c.name, "`", "``") + "`"
		if c.form == formEnum && c.wire > 0 {
			name = "CAST(" + name + " AS UNSIGNED)"
		}
		list.WriteString(name)
	}
	return list.String()
}

// CheckAnswer compares the columns of an answer with those of the plan: the table may have been altered since the plan was
// made. The error says what differs.
func (p *Plan) CheckAnswer(fields []mysql.Field) error {
	if len(fields) != len(p.columns) {
		return fmt.Errorf("there are %d columns, not %d", len(fields), len(p.columns))
	}
	for i := range fields {
		if err := p.columns[i].answers(&fields[i]); err != nil {
			return fmt.Errorf("column %q: %w", p.columns[i].name, err)
		}
	}
	return nil
}

// answers checks one column of an answer.
func (c *column) answers(f *mysql.Field) error {
	unsigned := f.Flag&mysql.UNSIGNED_FLAG != 0
	other := fmt.Errorf("it is of type %d, with the flags %#x", f.Type, f.Flag)
	if c.form == formEnum && c.wire > 0 {
		if f.Type != mysql.MYSQL_TYPE_LONGLONG {
			return other
		}
		return nil
	}
	want, signedness := wireTypes[c.form].t, wireTypes[c.form].signedness
	switch {
	case f.Type != want && (!c.form.isString() || !isStringType(f.Type)),
		signedness && unsigned != wireTypes[c.form].unsigned,
		(c.form == formEnum) != (f.Flag&mysql.ENUM_FLAG != 0), (c.form == formSet) != (f.Flag&mysql.SET_FLAG != 0):
		return other
	case f.Flag&mysql.NOT_NULL_FLAG == 0 && !c.nullable:
		return fmt.Errorf("it can be NULL now")
	}
	switch c.form {
	case formDecimal64, formDecimal128, formDecimalText:
		if int(f.Decimal) != c.scale {
			return fmt.Errorf("it has %d decimals, not %d", f.Decimal, c.scale)
		}
	case formTime, formDatetime, formTimestamp:
		if int(f.Decimal) != c.fsp {
			return fmt.Errorf("it has %d digits of a second's fraction, not %d", f.Decimal, c.fsp)
		}
	case formBytes:
		if f.Charset != binaryCollation {
			return fmt.Errorf("it has the collation %d, and was binary", f.Charset)
		}
	case formPadded:
		if f.Charset != binaryCollation || int(f.ColumnLength) != c.pad {
			return fmt.Errorf("it has the collation %d and %d bytes, and was BINARY(%d)", f.Charset, f.ColumnLength, c.pad)
		}
	case formText, formRecode:
		if name, _ := charsetName(uint64(f.Charset)); name != c.charset.name {
			return fmt.Errorf("its character set is %s, not %s", name, c.charset.name)
		}
	case formEnum, formSet:
		if name, _ := charsetName(uint64(f.Charset)); c.charset != nil && name != c.charset.name {
			return fmt.Errorf("its character set is %s, not %s", name, c.charset.name)
		}
	}
	return nil
}

// wireTypes is the type that an answer says a form has.
var wireTypes = [...]struct {
	t          byte
	signedness bool
	unsigned   bool
}{
	formInt8: {mysql.MYSQL_TYPE_TINY, true, false}, formUint8: {mysql.MYSQL_TYPE_TINY, true, true},
	formInt16: {mysql.MYSQL_TYPE_SHORT, true, false}, formUint16: {mysql.MYSQL_TYPE_SHORT, true, true},
	formInt24: {mysql.MYSQL_TYPE_INT24, true, false}, formUint24: {mysql.MYSQL_TYPE_INT24, true, true},
	formInt32: {mysql.MYSQL_TYPE_LONG, true, false}, formUint32: {mysql.MYSQL_TYPE_LONG, true, true},
	formInt64: {mysql.MYSQL_TYPE_LONGLONG, true, false}, formUint64: {mysql.MYSQL_TYPE_LONGLONG, true, true},
	formFloat: {t: mysql.MYSQL_TYPE_FLOAT}, formDouble: {t: mysql.MYSQL_TYPE_DOUBLE},
	formDecimal64: {t: mysql.MYSQL_TYPE_NEWDECIMAL}, formDecimal128: {t: mysql.MYSQL_TYPE_NEWDECIMAL}, formDecimalText: {t: mysql.MYSQL_TYPE_NEWDECIMAL},
	formBit1: {t: mysql.MYSQL_TYPE_BIT}, formBits: {t: mysql.MYSQL_TYPE_BIT},
	formDate: {t: mysql.MYSQL_TYPE_DATE}, formDatetime: {t: mysql.MYSQL_TYPE_DATETIME}, formTimestamp: {t: mysql.MYSQL_TYPE_TIMESTAMP},
	formTime: {t: mysql.MYSQL_TYPE_TIME}, formYear: {t: mysql.MYSQL_TYPE_YEAR},
	formText: {t: mysql.MYSQL_TYPE_VAR_STRING}, formBytes: {t: mysql.MYSQL_TYPE_VAR_STRING}, formRecode: {t: mysql.MYSQL_TYPE_VAR_STRING},
	formPadded: {t: mysql.MYSQL_TYPE_STRING}, formEnum: {t: mysql.MYSQL_TYPE_STRING}, formSet: {t: mysql.MYSQL_TYPE_STRING}, formJSON: {t: mysql.MYSQL_TYPE_JSON},
}

func (f form) isString() bool { return f == formText || f == formBytes || f == formRecode }

func isStringType(t byte) bool {
	switch t {
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_TINY_BLOB, mysql.MYSQL_TYPE_MEDIUM_BLOB, mysql.MYSQL_TYPE_LONG_BLOB:
		return true
	}
	return false
}
