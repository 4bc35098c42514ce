package snapshot

import (
	"strconv"
)

// key is a table's primary key, or what the server takes for one.
type key struct {
	index string // its name
	parts []keyPart
}

// keyPart is a column of a key.
type keyPart struct {
	columnInfo
	prefix     uint64 // characters, or bytes of a binary column; 0 for all of the column
	descending bool
}

// key reads the table's primary key, or the key that the server takes for one and puts into the table map: the first
// unique one of whole columns that are NOT NULL. SHOW INDEX gives keys in the order in which the server prefers them;
// information_schema does not tell it. Of the columns only the names are filled in.
func (c *Conn) key(db, table string) (key, error) {
	r, err := c.my.Execute("SHOW INDEX FROM " + quoteName(table) + " FROM " + quoteName(db))
	if err != nil {
		return key{}, err
	}
	var k key
	fit := false
	for i := range r.RowNumber() {
		// A column that is NULL or that the server does not have (Expression, before 8.0.13) is "".
		text := func(column string) string {
			if null, err := r.IsNullByName(i, column); err != nil || null {
				return ""
			}
			s, err := r.GetStringByName(i, column)
			if err != nil {
				return ""
			}
			return s
		}
		if n := text("Key_name"); n != k.index {
			if fit {
				return k, nil
			}
			k, fit = key{index: n}, text("Non_unique") == "0"
		}
		part := keyPart{columnInfo: columnInfo{name: text("Column_name")}, descending: text("Collation") == "D"}
		if sub := text("Sub_part"); sub != "" {
			if part.prefix, err = strconv.ParseUint(sub, 10, 64); err != nil {
				return key{}, err
			}
		}
		k.parts = append(k.parts, part)
		if k.index != primary && (part.prefix > 0 || text("Null") != "" || text("Expression") != "") {
			fit = false
		}
	}
	if fit {
		return k, nil
	}
	return key{}, nil
}

// primary is the name of every primary key (MySQL manual, "SHOW INDEX").
const primary = "PRIMARY"

// whole reports whether the index holds all of every column, so that the server can read rows in the key's order from it.
func (k *key) whole() bool {
	for _, p := range k.parts {
		if p.prefix > 0 {
			return false
		}
	}
	return true
}

// order is the list of an ORDER BY that the index answers.
func (k *key) order() string {
	list := ""
	for i, p := range k.parts {
		if i > 0 {
			list += ", "
		}
		list += quoteName(p.name)
		if p.descending {
			list += " DESC"
		}
	}
	return list
}
