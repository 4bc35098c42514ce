package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func flagSets() (flags, known *pflag.FlagSet) {
	flags = pflag.NewFlagSet("ingest", pflag.ContinueOnError)
	flags.Duration("commit-interval", 10*time.Second, "")
	flags.Duration("checkpoint-idle-interval", 5*time.Minute, "")
	flags.String("tables", "", "")
	flags.Var(&mapping{}, "partition", "")
	flags.String("lake", "", "")
	flags.String("token", "", "")
	Variable(flags, "token", "TIDEMARK_SERVE_TOKEN")
	known = pflag.NewFlagSet("all", pflag.ContinueOnError)
	known.AddFlagSet(flags)
	known.String("other", "", "")
	return flags, known
}

// mapping notes its entries.
type mapping struct{ entries []string }

func (m *mapping) Set(text string) error { m.entries = []string{text}; return nil }
func (m *mapping) String() string        { return strings.Join(m.entries, "; ") }
func (*mapping) Type() string            { return "" }

func (m *mapping) SetEntry(where, key, value string) error {
	if value == "bad" {
		return errors.New("a bad value")
	}
	_, line, _ := strings.Cut(where, "yaml:")
	m.entries = append(m.entries, line+" "+key+" = "+value)
	return nil
}

func apply(t *testing.T, yaml string, env map[string]string, args ...string) (*pflag.FlagSet, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidemark.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	flags, known := flagSets()
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := Apply(flags, known, path, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	return flags, err
}

func TestFlagBeatsEnvironmentBeatsFile(t *testing.T) {
	flags, err := apply(t, "commit-interval: 1s\nlake: file:///file\ncheckpoint:\n  idle-interval: 7m\ntables: [a.b, '!a.c']\nother: x\n",
		map[string]string{"TIDEMARK_COMMIT_INTERVAL": "2s", "TIDEMARK_LAKE": "file:///env", "TIDEMARK_SERVE_TOKEN": "secret", "TIDEMARK_TOKEN": "no"}, "--commit-interval=3s")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"commit-interval": "3s", "lake": "file:///env", "checkpoint-idle-interval": "7m0s", "tables": "a.b,!a.c", "token": "secret"} {
		if got := flags.Lookup(name).Value.String(); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestMapping: keys of a mapping keep their dots and their order, and lists are joined.
func TestMapping(t *testing.T) {
	const text = "partition:\n  shop.orders: [day(a), bucket(16, b), c]\n  shop.*: month(a)\n\n  '`a.b`.x': []\n  b.c:\n"
	flags, err := apply(t, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "2 shop.orders = day(a),bucket(16,b),c; 3 shop.* = month(a); 5 `a.b`.x = ; 6 b.c = "
	if got := flags.Lookup("partition").Value.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if flags, err = apply(t, text, nil, "--partition", "flag"); err != nil || flags.Lookup("partition").Value.String() != "flag" {
		t.Errorf("beside the flag: %v, %v", flags.Lookup("partition").Value, err)
	}
	if flags, err = apply(t, "partition: all in one\n", nil); err != nil || flags.Lookup("partition").Value.String() != "all in one" {
		t.Errorf("as text: %v, %v", flags.Lookup("partition").Value, err)
	}
}

func TestMistakesNameTheirLine(t *testing.T) {
	for yaml, want := range map[string]string{
		"lake: x\ncomit-interval: 1s\n":       `:2: unknown key "comit-interval"; did you mean "commit-interval"?`,
		"lake: x\n\ncommit-interval: fast\n":  ":3: commit-interval:",
		"lake: x\nlake: y\n":                  "there twice",
		"- a\n":                               ":1: expected",
		"checkpoint:\n  idle-intervall: 1s\n": `:2: unknown key "checkpoint-idle-intervall"`,
		"partition:\n  a.b: x\n  a.c: bad\n":  ":3: partition: a bad value",
		"partition:\n  a.b: x\n  a.b: y\n":    `:3: partition: "a.b" is there twice`,
		"partition:\n  a.b:\n    c: d\n":      ":3: partition: a.b: expected a value or a list",
		"lake: 'unclosed\n":                   "yaml",
	} {
		_, err := apply(t, yaml, nil)
		var e *Error
		if !errors.As(err, &e) && !strings.Contains(want, "yaml") || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", yaml, err, want)
		}
	}
}
