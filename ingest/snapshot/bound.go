package snapshot

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Bound is a place between the rows of a table, in the order of its primary key: before the row that has this key. It has a
// text for each column of the key, or for the first ones only, and is then before all rows that have these; in the key's order: numbers, dates and times as the server prints them, ENUM, SET and
// BIT as their number, and strings, with or without a character set, as their bytes in hexadecimal. So it is exact, goes
// through JSON, and means the same on every server that has the table.
//
// Only servers compare bounds: they know the collations.
type Bound []string

// Range is the part of a table whose keys are not before From and are before To. A nil bound is open.
type Range struct {
	From Bound `json:"from,omitempty"`
	To   Bound `json:"to,omitempty"`
}

func (r Range) String() string {
	text := func(b Bound) string {
		if b == nil {
			return ""
		}
		return "(" + strings.Join(b, ", ") + ")"
	}
	return text(r.From) + ".." + text(r.To)
}

// BoundError says that a bound does not belong to the table's key as it is now.
type BoundError struct {
	DB, Table string
	Bound     Bound
	Why       string
}

func (e *BoundError) Error() string {
	return fmt.Sprintf("the place %v does not fit the primary key of %s.%s: %s: the key was changed since; load the table again", []string(e.Bound), e.DB, e.Table, e.Why)
}

// where is the condition for a range; "" for the whole table.
func (t *Table) where(r Range) (string, error) {
	from, err := t.literals(r.From)
	if err != nil {
		return "", err
	}
	to, err := t.literals(r.To)
	if err != nil {
		return "", err
	}
	var conditions []string
	if from != nil {
		conditions = append(conditions, t.key.compare(from, true))
	}
	if to != nil {
		conditions = append(conditions, t.key.compare(to, false))
	}
	if len(conditions) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(conditions, " AND "), nil
}

// compare is the condition that a row's key is not before, or is before, a bound. It is spelled out column by column: the
// server does not look for (a, b) >= (1, 2) in an index.
func (k *key) compare(literals []string, notBefore bool) string {
	last := len(literals) - 1
	condition := ""
	for i := last; i >= 0; i-- {
		p := &k.parts[i]
		beyond := p.beyond(literals[i], notBefore != p.descending)
		equal := p.equal(literals[i])
		switch {
		case i < last:
			condition = "(" + beyond + " OR (" + equal + " AND " + condition + "))"
		case notBefore:
			condition = "(" + beyond + " OR (" + equal + "))"
		default:
			condition = "(" + beyond + ")"
		}
	}
	return condition
}

// maxListed is up to how many values of an ENUM or SET are listed in a condition.
const maxListed = 512

// beyond is the condition that a column is greater than a literal, or is less. The server does not look for a range of
// ENUM or SET values in an index; a list of values it does.
func (p *keyPart) beyond(literal string, greater bool) string {
	name := quoteName(p.name)
	if n := p.values(); n > 0 && n <= maxListed {
		at, err := strconv.Atoi(literal)
		if err == nil {
			var list []string
			first, end := at+1, n
			if !greater {
				first, end = 0, min(at, n)
			}
			for v := first; v < end; v++ {
				list = append(list, strconv.Itoa(v))
			}
			if len(list) == 0 {
				return "FALSE"
			}
			return name + " IN (" + strings.Join(list, ",") + ")"
		}
	}
	if greater {
		return name + " > " + literal
	}
	return name + " < " + literal
}

// equal is the condition that a column equals a literal. Only when an ENUM equals a text does the server see that the order
// of the rows is that of the key's other columns. The text is added to the number, so that it can do no harm where two
// labels are equal; a label with a ? may be shown other than it is (Definition).
func (p *keyPart) equal(literal string) string {
	condition := quoteName(p.name) + " = " + literal
	if p.dataType != "enum" {
		return condition
	}
	labels := splitLabels(p.columnType)
	at, err := strconv.Atoi(literal)
	if err != nil || at < 1 || at > len(labels) || strings.Contains(labels[at-1], "?") {
		return condition
	}
	return condition + " AND " + quoteName(p.name) + " = _utf8mb4 x'" + hex.EncodeToString([]byte(labels[at-1])) + "'"
}

// values is how many values an ENUM or SET has, 0 included; 0 for other types, and for more than an int can count.
func (p *keyPart) values() int {
	switch p.dataType {
	case "enum":
		return len(splitLabels(p.columnType)) + 1
	case "set":
		if n := len(splitLabels(p.columnType)); n < 32 {
			return 1 << n
		}
	}
	return 0
}

// selected is the expression that gives a value's text as a Bound has it.
func (p *keyPart) selected() string {
	name := quoteName(p.name)
	switch p.dataType {
	case "enum", "set", "bit":
		return "CAST(CAST(" + name + " AS UNSIGNED) AS CHAR)"
	}
	if p.isString() {
		return "HEX(" + name + ")"
	}
	return "CAST(" + name + " AS CHAR)"
}

func (p *keyPart) isString() bool {
	switch p.dataType {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return true
	}
	return false
}

// literals makes SQL of a bound. What it lets through cannot be anything but a literal.
func (t *Table) literals(b Bound) ([]string, error) {
	if b == nil {
		return nil, nil
	}
	unfit := func(why string) error { return &BoundError{t.DB, t.Table, b, why} }
	if len(b) == 0 || len(b) > len(t.key.parts) {
		return nil, unfit(fmt.Sprintf("the key has %d columns", len(t.key.parts)))
	}
	out := make([]string, len(b))
	for i := range b {
		p, text := &t.key.parts[i], b[i]
		switch {
		case p.isString():
			if _, err := hex.DecodeString(text); err != nil {
				return nil, unfit(fmt.Sprintf("column %s is a string, and %q is not hexadecimal", p.name, text))
			}
			charset := p.charset
			if charset == "" {
				charset = "binary"
			}
			out[i] = "_" + charset + " x'" + text + "'"
		case p.dataType == "date" || p.dataType == "datetime" || p.dataType == "timestamp" || p.dataType == "time":
			if strings.Trim(text, "-0123456789:. ") != "" || text == "" {
				return nil, unfit(fmt.Sprintf("column %s is a %s, and %q is none", p.name, p.dataType, text))
			}
			out[i] = "'" + text + "'"
		default:
			if _, err := strconv.ParseFloat(text, 64); err != nil || strings.Trim(text, "-+0123456789.e") != "" {
				return nil, unfit(fmt.Sprintf("column %s is a %s, and %q is no number", p.name, p.dataType, text))
			}
			out[i] = text
		}
	}
	return out, nil
}
