package decode

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark/tidemark/internal/testenv"
)

var update = flag.Bool("update", false, "rewrite the tables and expectations from what the server or the code says")

// TestCharsetTablesAreTheServers holds collations.txt and charsets.gz against a real server, code by code.
func TestCharsetTablesAreTheServers(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	var ids, sets strings.Builder
	var names []string
	for _, row := range s.Query(t, "SELECT character_set_name, id FROM information_schema.collations ORDER BY 1, 2") {
		if len(names) == 0 || names[len(names)-1] != row[0] {
			if len(names) > 0 {
				ids.WriteByte('\n')
			}
			names = append(names, row[0])
			ids.WriteString(row[0] + " " + row[1])
		} else {
			ids.WriteString("," + row[1])
		}
	}
	ids.WriteByte('\n')

	s.Exec(t, "CREATE DATABASE cs; CREATE TABLE cs.n (n INT UNSIGNED PRIMARY KEY)",
		"SET cte_max_recursion_depth=70000; INSERT INTO cs.n WITH RECURSIVE c AS (SELECT 0 n UNION ALL SELECT n+1 FROM c WHERE n<65535) SELECT n FROM c")
	wide := map[string]bool{"big5": true, "cp932": true, "eucjpms": true, "euckr": true, "gb18030": true, "gb2312": true, "gbk": true, "sjis": true, "ujis": true}
	slices.SortStableFunc(names, func(a, b string) int { // small tables first: finding them costs little
		return strings.Compare(fmt.Sprint(wide[a], a), fmt.Sprint(wide[b], b))
	})
	for _, name := range names {
		switch {
		case name == "binary", name == "ascii", strings.HasPrefix(name, "utf"), name == "ucs2":
			continue
		}
		codes := s.Query(t, codesQuery(name, "LPAD(HEX(n),2,'0')", "n < 256"))
		if wide[name] {
			codes = append(codes, s.Query(t, codesQuery(name, "HEX(n)", "n >= 0x8000"))...)
		}
		if name == "ujis" || name == "eucjpms" {
			codes = append(codes, s.Query(t, codesQuery(name, "CONCAT('8F',HEX(n))", "n >= 0x8000"))...)
		}
		writeRuns(t, &sets, name, codes)
	}

	if *update {
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
		if err == nil {
			_, err = w.Write([]byte(sets.String()))
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			err = os.WriteFile("charsets.gz", z.Bytes(), 0o644)
		}
		if err == nil {
			err = os.WriteFile("collations.txt", []byte(ids.String()), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if ids.String() != collations {
		t.Errorf("collations.txt is not the server's list (rewrite it with -update)")
	}
	z, err := gzip.NewReader(bytes.NewReader(charsetTables))
	if err != nil {
		t.Fatal(err)
	}
	have := bufio.NewScanner(z)
	have.Buffer(nil, 1<<20)
	for line := range strings.Lines(sets.String()) {
		if !have.Scan() || have.Text() != strings.TrimSuffix(line, "\n") {
			t.Fatalf("charsets.gz has %q, the server %q (rewrite it with -update)", clip(have.Text()), clip(line))
		}
	}
	if have.Scan() {
		t.Errorf("charsets.gz has more than the server: %q", clip(have.Text()))
	}
}

// codesQuery asks for the codes that are one well-formed character, with the character in UTF-8.
func codesQuery(charset, code, where string) string {
	text := fmt.Sprintf("CONVERT(UNHEX(%s) USING %s)", code, charset)
	return fmt.Sprintf(`SELECT %s AS c, HEX(CONVERT(%s USING utf8mb4)) FROM cs.n
		WHERE %s AND CHAR_LENGTH(%[2]s) = 1 AND HEX(%[2]s) = %[1]s ORDER BY n`, code, text, where)
}

func writeRuns(t *testing.T, out *strings.Builder, name string, codes [][]string) {
	t.Helper()
	next, run := uint64(0), ""
	end := func() {
		if run != "" {
			out.WriteString(strconv.Quote(run) + "\n")
			run = ""
		}
	}
	for _, c := range codes {
		utf, err := hex.DecodeString(c[1])
		if err != nil {
			t.Fatal(err)
		}
		r, n := utf8.DecodeRune(utf)
		if n != len(utf) {
			t.Fatalf("%s %s is %q", name, c[0], utf)
		}
		if r == '?' && c[0] != "3F" {
			continue // the server has no Unicode for it
		}
		if r == utf8.RuneError && len(c[0]) == 2 {
			continue // the first half of a character
		}
		code, err := strconv.ParseUint(c[0], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if code != next || run == "" || len(c[0]) > 2 && code&0xff == 0 {
			end()
			out.WriteString(name + " " + c[0] + " ")
		}
		run += string(r)
		next = code + 1
	}
	end()
}

// TestTextInEveryCharset stores text in every character set that has a code for it, and compares.
func TestTextInEveryCharset(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	c := s.Session(t, "")
	rows, err := c.Query("SELECT character_set_name FROM information_schema.character_sets WHERE character_set_name <> 'binary' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{
		"gbk": "中", "gb18030": "中", "latin1": "ß", "koi8r": "я", "cp1251": "я", "greek": "Ω", "ujis": "日本", "sjis": "日本", "utf8mb4": "日本", "utf16le": "日本",
	}
	var ddl, names []string
	for _, row := range rows {
		label := labels[row[0]]
		if label == "" {
			label = "b"
		}
		names = append(names, row[0])
		ddl = append(ddl, fmt.Sprintf("c_%s VARCHAR(40) CHARACTER SET %[1]s, e_%[1]s ENUM('a','%[2]s') CHARACTER SET %[1]s, s_%[1]s SET('a','%[2]s') CHARACTER SET %[1]s", row[0], label))
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.Exec("CREATE DATABASE ch; USE ch; SET sql_mode='', NAMES utf8mb4",
		"CREATE TABLE ch.t (id INT PRIMARY KEY, "+strings.Join(ddl, ", ")+")"))
	id := 0
	for _, name := range names {
		text := repertoire(t, name)
		for len(text) > 0 {
			n := min(40, len(text))
			id++
			chunk := strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(string(text[:n]))
			check(c.Exec(fmt.Sprintf("INSERT INTO ch.t (id, c_%s, e_%[1]s, s_%[1]s) VALUES (%d, '%s', 2, 3)", name, id, chunk)))
			text = text[n:]
		}
	}
	events := rowsEvents(t, s, "ch.t")
	got, _, _ := follow(t, events)
	plan, err := NewPlan(events[0].table)
	check(err)
	compare(t, plan.Schema, got, s.Query(t, "SELECT * FROM ch.t"))
	t.Logf("%d character sets, %d rows", len(names), id)
}

// repertoire is text that a character set can hold: all of the Basic Multilingual Plane for one of Unicode, at most some
// thousand characters else.
func repertoire(t *testing.T, name string) []rune {
	t.Helper()
	var text []rune
	switch name {
	case "ascii":
		for r := range rune(128) {
			text = append(text, r)
		}
	case "utf8mb3", "ucs2", "utf8mb4", "utf16", "utf16le", "utf32", "gb18030":
		for r := range rune(0x10000) {
			if r < 0xd800 || r > 0xdfff {
				text = append(text, r)
			}
		}
		if name != "utf8mb3" && name != "ucs2" {
			for r := rune(0x10000); r < 0x110000; r += 331 {
				text = append(text, r)
			}
		}
	default:
		table, err := loadTable(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, plane := range [][]uint16{table.one[:], table.two, table.three} {
			for i, r := range plane {
				if r != 0 && r != utf8.RuneError && (len(plane) == 256 || i%5 == 0) {
					text = append(text, rune(r))
				}
			}
		}
	}
	return text
}
