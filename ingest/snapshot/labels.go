package snapshot

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// labels returns the labels of an ENUM or SET in the column's character set.
func (c *Conn) labels(column *columnInfo) ([][]byte, error) {
	list := splitLabels(column.columnType)
	if len(list) == 0 {
		return nil, fmt.Errorf("its type %q has no labels", column.columnType)
	}
	out := make([][]byte, len(list))
	for i, l := range list {
		out[i] = []byte(l)
	}
	switch column.charset {
	case "", "binary", "utf8mb4", "utf8mb3", "utf8", "ascii":
		return out, nil
	}
	// The server knows its character sets best. A result has at most 4,096 columns, and there may be 65,535 labels.
	const most = 1000
	for n := 0; n < len(list); n += most {
		var query strings.Builder
		for i, l := range list[n:min(n+most, len(list))] {
			query.WriteString([2]string{"SELECT ", ","}[min(i, 1)])
			fmt.Fprintf(&query, "HEX(CONVERT(%s USING %s))", quoteText(l), column.charset)
		}
		rows, err := c.rows(query.String())
		if err != nil {
			return nil, err
		}
		for i, text := range rows[0] {
			if out[n+i], err = hex.DecodeString(*text); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// splitLabels takes a column type apart: its labels in quotes, quotes in them doubled.
func splitLabels(columnType string) []string {
	_, rest, _ := strings.Cut(columnType, "(")
	var labels []string
	for strings.HasPrefix(rest, "'") {
		var label strings.Builder
		i := 1
		for ; i < len(rest); i++ {
			b := rest[i]
			switch {
			case b == '\'' && i+1 < len(rest) && rest[i+1] == '\'':
				i++
			case b == '\\' && i+1 < len(rest):
				i++
				b = unescaped(rest[i])
			case b == '\'':
				goto end
			}
			label.WriteByte(b)
		}
	end:
		labels = append(labels, label.String())
		rest = strings.TrimPrefix(rest[min(i+1, len(rest)):], ",")
	}
	return labels
}

// unescaped is the character that an escape of append_unescaped (sql/sql_show.cc) stands for.
func unescaped(b byte) byte {
	switch b {
	case '0':
		return 0
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	}
	return b
}
