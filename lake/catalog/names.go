package catalog

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Identifier names a table as the source does, with its case. Without a table it is the database's own record.
type Identifier struct{ DB, Table string }

// databaseFolder is no table's, since those have no leading dot.
const databaseFolder = ".tidemark-database"

// String is for people: db.table.
func (id Identifier) String() string {
	if id.Table == "" {
		return "database " + id.DB
	}
	return id.DB + "." + id.Table
}

// Compare orders by database, then by table.
func (id Identifier) Compare(other Identifier) int {
	return cmp.Or(strings.Compare(id.DB, other.DB), strings.Compare(id.Table, other.Table))
}

// Path is the table's folder below the lake's root.
func (id Identifier) Path() string {
	if id.Table == "" {
		return Folder(id.DB) + "/" + databaseFolder
	}
	return Folder(id.DB) + "/" + Folder(id.Table)
}

// MetadataName is the object of version n.
func (id Identifier) MetadataName(n int) string {
	return id.metadataDir() + "v" + strconv.Itoa(n) + metadataSuffix
}

const metadataSuffix = ".metadata.json"

func (id Identifier) metadataDir() string { return id.Path() + "/metadata/" }
func (id Identifier) hintName() string    { return id.metadataDir() + "version-hint.text" }

// versionOf parses the last segment of a metadata file's name.
func versionOf(file string) (n int, ok bool) {
	digits, ok := strings.CutSuffix(file, metadataSuffix)
	digits, v := strings.CutPrefix(digits, "v")
	n, err := strconv.Atoi(digits)
	return n, ok && v && err == nil && n > 0 && strconv.Itoa(n) == digits
}

// Folder turns the name of a database or table into one path segment. Letters and digits of any script, and _ - . stay
// as they are. Anything else, and a leading dot, is written as MySQL writes it in the names of its own files: @ and
// four hexadecimal digits, in UTF-16 (MySQL manual, "Mapping of Identifiers to File Names"). Percent signs would not
// do, since some readers of table metadata decode them and others do not; and slashes, question marks, stars and
// blanks mean something to one reader or another.
func Folder(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case r == '.' && i == 0, r == utf8.RuneError:
			fmt.Fprintf(&b, "@%04x", r)
		case r == '_' || r == '-' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, "@%04x@%04x", 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&b, "@%04x", r)
		}
	}
	return b.String()
}

// nameOf is the inverse of Folder. It refuses folders that Folder does not make: they are not ours.
func nameOf(folder string) (name string, ok bool) {
	var b strings.Builder
	var high rune
	for rest := folder; rest != ""; {
		if rest[0] != '@' {
			r, n := utf8.DecodeRuneInString(rest)
			b.WriteRune(r)
			rest = rest[n:]
			continue
		}
		if len(rest) < 5 {
			return "", false
		}
		u, err := strconv.ParseUint(rest[1:5], 16, 16)
		if err != nil {
			return "", false
		}
		switch r := rune(u); {
		case r >= 0xd800 && r < 0xdc00:
			high = r
		case r >= 0xdc00 && r < 0xe000:
			b.WriteRune(0x10000 + (high-0xd800)<<10 + (r - 0xdc00))
		default:
			b.WriteRune(r)
		}
		rest = rest[5:]
	}
	name = b.String()
	return name, name != "" && Folder(name) == folder
}
