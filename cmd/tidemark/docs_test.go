package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pages are what the documentation consists of.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	m := map[string]string{}
	for _, name := range append(names, "../../README.md", "../../examples/README.md") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		m[name] = string(text)
	}
	return m
}

// TestDocumentedFlags: what follows `tidemark`, and every --flag, exists.
func TestDocumentedFlags(t *testing.T) {
	root := newRoot(os.Stdout, os.Stderr)
	flags := pflag.NewFlagSet("all", pflag.ContinueOnError)
	addFlags(flags, root)
	flag := regexp.MustCompile("`[^`\n]*`|(?m)^    .*$")
	name := regexp.MustCompile(`(?:^|[\s\x60(])--([a-z][a-z0-9-]*)`)
	command := regexp.MustCompile(`(?:^    |\x60)(?:\./bin/)?tidemark ([a-z]+(?: show)?)`)
	for page, text := range pages(t) {
		for _, code := range flag.FindAllString(text, -1) {
			if plain := strings.Trim(code, "` "); !strings.HasPrefix(plain, "--") && !strings.Contains(plain, "tidemark") {
				continue // another program's
			}
			for _, m := range name.FindAllStringSubmatch(code, -1) {
				assert.NotNil(t, flags.Lookup(m[1]), "%s: --%s in %s", page, m[1], code)
			}
			for _, m := range command.FindAllStringSubmatch(code, -1) {
				c, rest, err := root.Find(strings.Fields(m[1]))
				assert.True(t, err == nil && c != root && len(rest) == 0, "%s: tidemark %s", page, m[1])
			}
		}
	}
}

// TestDocumentedLinks: links between pages lead somewhere, to a heading too.
func TestDocumentedLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			there, err := os.Stat(target)
			if !assert.NoError(t, err, page) || m[2] == "" || there.IsDir() {
				continue
			}
			body, err := os.ReadFile(target)
			require.NoError(t, err)
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(string(body), -1) {
				anchor := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
				anchors = append(anchors, "#"+strings.ReplaceAll(anchor, " ", "-"))
			}
			assert.Contains(t, anchors, m[2], "%s: %s", page, m[0])
		}
	}
}
