package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// TableName names a table of the source.
type TableName struct{ DB, Table string }

func (n TableName) String() string { return n.DB + "." + n.Table }

// Filter says which tables are followed. The zero value follows every table but those of the system's schemas.
type Filter struct {
	text             string
	include, exclude []pattern
}

type pattern struct{ db, table glob }

// systemSchemas are never followed: they describe the server, not the data, and differ from server to server.
var systemSchemas = [...]string{"mysql", "information_schema", "performance_schema", "sys", "ndbinfo"}

func isSystem(db string) bool { return slices.Contains(systemSchemas[:], strings.ToLower(db)) }

// ParseFilter reads a list like 'shop.*,crm.customer_?,!shop.secret': database and table are globs (* any characters,
// ? one), ! excludes, and exclusions win wherever they stand. Names with a dot, comma or blank stand in back quotes. An empty
// list, or one of exclusions only, follows everything else. Names are compared with case, as MySQL does on Linux.
func ParseFilter(text string) (Filter, error) {
	f := Filter{text: text}
	items, err := splitQuoted(text, ',')
	if err != nil {
		return Filter{}, fmt.Errorf("table list %q: %w", text, err)
	}
	for _, item := range items {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		body, not := strings.CutPrefix(item, "!")
		names, err := splitQuoted(strings.TrimSpace(body), '.')
		if err != nil {
			return Filter{}, fmt.Errorf("table list: %q: %w", item, err)
		}
		if len(names) != 2 || names[0] == "" || names[1] == "" {
			return Filter{}, fmt.Errorf("table list: %q: expected DATABASE.TABLE, for a whole database DATABASE.*", item)
		}
		p := pattern{parseGlob(names[0]), parseGlob(names[1])}
		if not {
			f.exclude = append(f.exclude, p)
		} else {
			f.include = append(f.include, p)
		}
	}
	return f, nil
}

// splitQuoted splits at separators outside back quotes.
func splitQuoted(text string, separator byte) ([]string, error) {
	var parts []string
	start, quoted := 0, false
	for i := range len(text) {
		switch {
		case text[i] == '`':
			quoted = !quoted
		case text[i] == separator && !quoted:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	if quoted {
		return nil, errors.New("a back quote is not closed")
	}
	return append(parts, text[start:]), nil
}

func (f Filter) String() string {
	if f.text == "" {
		return "*.*"
	}
	return f.text
}

// Match reports whether a table is followed.
func (f Filter) Match(db, table string) bool {
	if isSystem(db) {
		return false
	}
	hit := func(p pattern) bool { return p.db.match(db) && p.table.match(table) }
	return (len(f.include) == 0 || slices.ContainsFunc(f.include, hit)) && !slices.ContainsFunc(f.exclude, hit)
}

// patterns returns what is included, made explicit.
func (f Filter) patterns() []pattern {
	if len(f.include) == 0 {
		return []pattern{{parseGlob("*"), parseGlob("*")}}
	}
	return f.include
}

// glob is a pattern of characters, anyOne and anyRun.
type glob []rune

const (
	anyOne rune = -1
	anyRun rune = -2
)

// parseGlob reads * and ? outside back quotes, which are taken off.
func parseGlob(text string) glob {
	var g glob
	quoted := false
	for _, c := range text {
		switch {
		case c == '`':
			quoted = !quoted
		case c == '*' && !quoted:
			g = append(g, anyRun)
		case c == '?' && !quoted:
			g = append(g, anyOne)
		default:
			g = append(g, c)
		}
	}
	return g
}

// parseLike reads the % and _ of replicate-wild-do-table and its kin, with \ before one that stands for itself.
func parseLike(text string) glob {
	var g glob
	escaped := false
	for _, c := range text {
		switch {
		case escaped:
			g, escaped = append(g, c), false
		case c == '\\':
			escaped = true
		case c == '%':
			g = append(g, anyRun)
		case c == '_':
			g = append(g, anyOne)
		default:
			g = append(g, c)
		}
	}
	return g
}

func literal(text string) glob { return glob([]rune(text)) }

func (g glob) match(name string) bool {
	_, ok := common(g, literal(name))
	return ok
}

// common returns a name that both globs match, if there is one. Names and patterns are short; the memory of failures
// keeps patterns with many stars cheap.
func common(a, b glob) (string, bool) {
	failed := map[[2]int]bool{}
	var walk func(i, j int) ([]rune, bool)
	walk = func(i, j int) ([]rune, bool) {
		if i == len(a) && j == len(b) {
			return nil, true
		}
		if failed[[2]int{i, j}] {
			return nil, false
		}
		if i < len(a) && a[i] == anyRun {
			if rest, ok := walk(i+1, j); ok {
				return rest, true
			}
		}
		if j < len(b) && b[j] == anyRun {
			if rest, ok := walk(i, j+1); ok {
				return rest, true
			}
		}
		if i < len(a) && j < len(b) {
			ni, nj, c := i+1, j+1, rune('x')
			if a[i] == anyRun {
				ni = i
			}
			if b[j] == anyRun {
				nj = j
			}
			fits := true
			switch {
			case a[i] >= 0 && b[j] >= 0:
				c, fits = a[i], a[i] == b[j]
			case a[i] >= 0:
				c = a[i]
			case b[j] >= 0:
				c = b[j]
			}
			if fits && (ni > i || nj > j) {
				if rest, ok := walk(ni, nj); ok {
					return append([]rune{c}, rest...), true
				}
			}
		}
		failed[[2]int{i, j}] = true
		return nil, false
	}
	name, ok := walk(0, 0)
	return string(name), ok
}
