// Package config fills a command's flags from the environment and from a YAML file.
//
// Every setting is a flag; its name is also its key in the file and, upper-cased with underscores behind TIDEMARK_, its
// environment variable: commit-interval, TIDEMARK_COMMIT_INTERVAL. What is said on the command line beats the
// environment, which beats the file, which beats the default. Nested keys are joined with a dash, so
//
//	checkpoint:
//	  idle-interval: 5m
//
// sets checkpoint-idle-interval. A list is joined with commas. A key that no command knows is an error that names its line.
// The value of a flag that is a Map is a mapping, of keys of any kind.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix stands before the name of every environment variable the program reads for its own settings.
const EnvPrefix = "TIDEMARK_"

// Error is a mistake in the configuration file or the environment.
type Error struct {
	Where string // file:line or the name of a variable
	What  string
}

func (e *Error) Error() string { return e.Where + ": " + e.What }

// Map is the value of a flag that stands in the file as a mapping, from keys such as patterns to text or lists.
type Map interface {
	pflag.Value
	// SetEntry takes the entry of a key; the items of a list are joined with commas. where is its place in the file.
	SetEntry(where, key, value string) error
}

// variable is the annotation of a flag whose environment variable has a name of its own.
const variable = "variable"

// Variable gives a flag's environment variable a name that says more than the flag's, which stands beside its command.
func Variable(flags *pflag.FlagSet, flag, name string) {
	if err := flags.SetAnnotation(flag, variable, []string{name}); err != nil {
		panic(err) // there is no such flag: a mistake in the program
	}
}

// Apply sets the flags of a command that were not given on the command line from the environment and, where path is
// not empty, from the YAML file there. known holds the flags of every command: one file may serve them all, so a key
// that belongs to another command is passed over.
func Apply(flags, known *pflag.FlagSet, path string, getenv func(string) (string, bool)) error {
	taken := map[string]bool{}
	flags.Visit(func(f *pflag.Flag) { taken[f.Name] = true })

	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := EnvPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if own := f.Annotations[variable]; own != nil {
			name = own[0]
		}
		v, ok := getenv(name)
		if taken[f.Name] || !ok {
			return
		}
		taken[f.Name] = true
		if err := flags.Set(f.Name, v); err != nil {
			errs = append(errs, &Error{name, err.Error()})
		}
	})
	if err := errors.Join(errs...); err != nil || path == "" {
		return err
	}

	text, err := os.ReadFile(path)
	if err != nil {
		return &Error{path, fmt.Sprintf("cannot read the configuration file: %v", err)}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return &Error{path, err.Error()}
	}
	if len(doc.Content) == 0 {
		return nil // an empty file
	}
	asMap := func(key string, node *yaml.Node) (bool, error) {
		flag := known.Lookup(key)
		if flag == nil {
			return false, nil
		}
		if _, ok := flag.Value.(Map); !ok {
			return false, nil
		}
		if own := flags.Lookup(key); own == nil || taken[key] {
			return true, nil
		}
		return true, entries(path, key, node, flags.Lookup(key).Value.(Map))
	}
	return walk(path, "", doc.Content[0], asMap, func(key string, line int, value string) error {
		where := fmt.Sprintf("%s:%d", path, line)
		if known.Lookup(key) == nil {
			return &Error{where, fmt.Sprintf("unknown key %q%s", key, suggest(known, key))}
		}
		if flags.Lookup(key) == nil || taken[key] {
			return nil
		}
		if err := flags.Set(key, value); err != nil {
			return &Error{where, fmt.Sprintf("%s: %v", key, err)}
		}
		return nil
	})
}

// entries sets a flag that is a Map.
func entries(path, key string, node *yaml.Node, to Map) error {
	seen := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		where := fmt.Sprintf("%s:%d", path, k.Line)
		if seen[k.Value] {
			return &Error{where, fmt.Sprintf("%s: %q is there twice", key, k.Value)}
		}
		seen[k.Value] = true
		value := v.Value
		switch v.Kind {
		case yaml.ScalarNode:
			if v.Tag == "!!null" {
				value = ""
			}
		case yaml.SequenceNode:
			text, err := joined(path, key, v)
			if err != nil {
				return err
			}
			value = text
		default:
			return &Error{fmt.Sprintf("%s:%d", path, v.Line), fmt.Sprintf("%s: %s: expected a value or a list", key, k.Value)}
		}
		if err := to.SetEntry(where, k.Value, value); err != nil {
			return &Error{where, fmt.Sprintf("%s: %v", key, err)}
		}
	}
	return nil
}

// joined is a list as one text.
func joined(path, key string, list *yaml.Node) (string, error) {
	var items []string
	for _, item := range list.Content {
		if item.Kind != yaml.ScalarNode {
			return "", &Error{fmt.Sprintf("%s:%d", path, item.Line), fmt.Sprintf("%s: a list holds plain values", key)}
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, ","), nil
}

// walk calls set for every leaf below node, with its full key. Mappings that asMap takes have no leaves.
func walk(path, prefix string, node *yaml.Node, asMap func(key string, node *yaml.Node) (bool, error), set func(key string, line int, value string) error) error {
	if node.Kind != yaml.MappingNode {
		return &Error{fmt.Sprintf("%s:%d", path, node.Line), "expected `key: value` lines"}
	}
	seen := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		key := prefix + strings.ReplaceAll(k.Value, ".", "-")
		if seen[key] {
			return &Error{fmt.Sprintf("%s:%d", path, k.Line), fmt.Sprintf("key %q is there twice", key)}
		}
		seen[key] = true
		var err error
		switch v.Kind {
		case yaml.MappingNode:
			var taken bool
			if taken, err = asMap(key, v); !taken && err == nil {
				err = walk(path, key+"-", v, asMap, set)
			}
		case yaml.SequenceNode:
			var text string
			if text, err = joined(path, key, v); err == nil {
				err = set(key, k.Line, text)
			}
		default:
			err = set(key, k.Line, v.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// suggest names the known key that is closest to a mistyped one, if one is close.
func suggest(known *pflag.FlagSet, key string) string {
	best, distance := "", 3
	known.VisitAll(func(f *pflag.Flag) {
		if d := levenshtein(key, f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return "; `tidemark ingest --help` lists the settings"
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
