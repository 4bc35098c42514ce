package decode

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestClassify reads testdata/statements.txt: statements, each followed by what is expected of it behind "-> ", separated by
// empty lines. "schema NAME" sets the default schema. -update rewrites the expectations.
func TestClassify(t *testing.T) {
	const file = "testdata/statements.txt"
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	schema := ""
	for i, block := range strings.Split(strings.TrimRight(string(body), "\n"), "\n\n") {
		if i > 0 {
			out.WriteString("\n\n")
		}
		if name, ok := strings.CutPrefix(block, "schema "); ok {
			schema = name
			out.WriteString(block)
			continue
		}
		if strings.HasPrefix(block, "== ") {
			out.WriteString(block)
			continue
		}
		sql, want, _ := strings.Cut(block, "\n-> ")
		got := describe(Classify(schema, sql))
		out.WriteString(sql + "\n-> " + got)
		if got != want && !*update {
			t.Errorf("%s\n got %s\nwant %s", sql, got, want)
		}
	}
	out.WriteByte('\n')
	if *update && !bytes.Equal(body, []byte(out.String())) {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func describe(s Statement) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", s.Verb, s.Kind)
	tables := slices.Clone(s.Tables)
	slices.SortFunc(tables, func(a, b TableRef) int { return strings.Compare(a.DB+"."+a.Table, b.DB+"."+b.Table) })
	for _, t := range tables {
		fmt.Fprintf(&b, " %s.%s", t.DB, t.Table)
	}
	switch {
	case s.AnyTable() && s.DB == "":
		b.WriteString(" any table")
	case s.AnyTable():
		fmt.Fprintf(&b, " any table of %s", s.DB)
	}
	return b.String()
}

func FuzzClassify(f *testing.F) {
	body, err := os.ReadFile("testdata/statements.txt")
	if err != nil {
		f.Fatal(err)
	}
	for block := range strings.SplitSeq(string(body), "\n\n") {
		sql, _, _ := strings.Cut(block, "\n-> ")
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s := Classify("db", sql)
		if s.Kind == ChangesRows && len(s.Tables) == 0 && !s.AnyTable() {
			t.Errorf("%q changes rows of no table", sql)
		}
		// A comment in front and blanks behind change nothing.
		if again := Classify("db", "/* c */ "+sql); !strings.HasPrefix(sql, "/") && describe(again) != describe(s) {
			t.Errorf("%q: %s, behind a comment: %s", sql, describe(s), describe(again))
		}
	})
}
