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
