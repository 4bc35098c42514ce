package testenv

import (
	"testing"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// CompatibilityKit runs Apache Iceberg's tests of REST catalogs against the service at uri, whose lake is in a local folder
// (file:///...), and returns what they found.
func CompatibilityKit(t testing.TB, uri, lake string) *server.KitResult {
	t.Helper()
	kit, err := tool((*toolbox.Box).Kit)
	check(t, err)
	r, err := server.RunKit(t.Context(), kit, t.TempDir(), uri, lake)
	check(t, err)
	return r
}

// Spark runs statements in a Spark session of their own, with the settings of a spark-defaults.conf, and returns the rows of each.
func Spark(t testing.TB, defaults string, statements ...string) [][][]string {
	t.Helper()
	tools, err := tool((*toolbox.Box).Spark)
	check(t, err)
	rows, err := server.RunSpark(t.Context(), tools, t.TempDir(), defaults, statements)
	check(t, err)
	return rows
}
