package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/internal/config"
)

// engineOf reads settings as a configuration file has them.
func engineOf(t *testing.T, text string) (compaction.Outside, engineSettings, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tidemark.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	var s engineSettings
	flags := pflag.NewFlagSet("ingest", pflag.ContinueOnError)
	s.flags(flags)
	require.NoError(t, config.Apply(flags, flags, file, func(string) (string, bool) { return "", false }))
	o, err := s.open()
	return o, s, err
}

// TestDocumentedEngines: the settings on the page are settings, for either engine.
func TestDocumentedEngines(t *testing.T) {
	page, err := os.ReadFile("../../docs/compaction.md")
	require.NoError(t, err)
	_, text, found := strings.Cut(string(page), "\n    compaction:\n")
	require.True(t, found)
	text, _, _ = strings.Cut(text, "\n\n")
	secret := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	text = strings.NewReplacer("/run/secrets/trino", secret, "/etc/ssl/trino-ca.pem", `""`).Replace("    compaction:\n" + text)
	o, s, err := engineOf(t, text)
	require.NoError(t, err)
	assert.Equal(t, "trino", o.Engine.Name())
	assert.Equal(t, int64(10<<30), o.LargeBytes)
	assert.Equal(t, "s3cret", s.trino.Password)
	o, _, err = engineOf(t, strings.Replace(text, "engine: trino", "engine: spark", 1))
	require.NoError(t, err)
	require.IsType(t, &compaction.Spark{}, o.Engine)
	assert.Equal(t, []string{"spark-sql", "--conf", "spark.cores.max=8", "-e"}, o.Engine.(*compaction.Spark).Submit)
}

// TestEngineSettings: what makes no sense is refused with the name of the setting, and no password in it.
func TestEngineSettings(t *testing.T) {
	for text, says := range map[string]string{
		"{engine: flink}":                         "--compaction-engine",
		"{engine: trino}":                         "--compaction-trino-uri is missing",
		"{engine: trino, trino: {uri: nonsense}}": "https://trino.example:8443",
		"{large-bytes: 0}":                        "--compaction-large-bytes",
		"{large-rows: -1}":                        "negative",
		"{fallback: someone}":                     "--compaction-fallback",
		"{timeout: 0s}":                           "--compaction-timeout",
		"{engine: trino, trino: {uri: 'http://u:hidden@t:80'}}":                          "settings of their own",
		"{engine: trino, trino: {uri: 'https://t', password-file: /nowhere}}":            "--compaction-trino-password-file",
		"{engine: trino, trino: {uri: 'http://t', password-file: '" + os.Args[0] + "'}}": "a password takes https",
		"{engine: trino, trino: {uri: 'https://t', ca: /nowhere}}":                       "/nowhere",
	} {
		_, _, err := engineOf(t, "compaction: "+text)
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), says, text)
			assert.NotContains(t, err.Error(), "hidden")
		}
	}
	o, _, err := engineOf(t, "{}")
	require.NoError(t, err)
	assert.Nil(t, o.Engine)
}
