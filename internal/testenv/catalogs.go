package testenv

import (
	"testing"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// PostgreSQL starts a server that ends with its test, with one account and this password.
func PostgreSQL(t testing.TB, password string) *server.PostgreSQL {
	t.Helper()
	tools, err := tool((*toolbox.Box).PostgreSQL)
	check(t, err)
	p, err := server.StartPostgreSQL(t.Context(), tools, password)
	check(t, err)
	closeWith(t, p.Close)
	return p
}

// ReferenceCatalog starts Apache Iceberg's own REST catalog, with its warehouse at a URI, and returns its address: host:port.
func ReferenceCatalog(t testing.TB, warehouse string) string {
	t.Helper()
	kit, err := tool((*toolbox.Box).Kit)
	check(t, err)
	r, err := server.StartReference(t.Context(), kit, warehouse)
	check(t, err)
	closeWith(t, r.Close)
	return r.Addr()
}
