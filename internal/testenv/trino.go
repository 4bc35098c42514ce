package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// TrinoServer is the Trino that all test binaries of a run share.
type TrinoServer struct{ trino *server.Trino }

// ShareTrino starts the shared Trino or joins it, for programs that want it kept for as long as they run.
func ShareTrino(ctx context.Context, b *toolbox.Box) (*server.Trino, error) {
	tools, err := b.Trino(ctx)
	if err != nil {
		return nil, err
	}
	return server.ShareTrino(ctx, tools, filepath.Join(b.Dir, "trino-run"))
}

// Trino returns it, starting it when no other binary has: then this takes half a minute.
func Trino(t testing.TB) *TrinoServer {
	t.Helper()
	s, err := shared.trino.get(func() (*server.Trino, error) {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		b, err := box()
		if err != nil {
			return nil, err
		}
		return ShareTrino(ctx, b)
	})
	check(t, err)
	return &TrinoServer{s}
}

// Catalog makes a catalog over a REST service (such as http://127.0.0.1:8181), dropped with the test, and returns its name. The files
// of its tables may be local (file:///...) or, with a bucket given, on MinIO.
func (s *TrinoServer) Catalog(t testing.TB, restURI string, b *Bucket) string {
	t.Helper()
	var s3 *server.MinIO
	if b != nil {
		s3 = &server.MinIO{Endpoint: b.Endpoint, AccessKey: b.AccessKey, SecretKey: b.SecretKey, Region: b.Region}
	}
	name := fmt.Sprintf("lake_%d_%d", os.Getpid(), serial.Add(1))
	check(t, s.trino.CreateCatalog(t.Context(), name, restURI, s3))
	closeWith(t, func() error { return s.trino.DropCatalog(context.Background(), name) })
	return name
}

// CatalogOf makes a catalog of a properties file as Trino has it in etc/catalog, dropped with the test, and returns its name.
func (s *TrinoServer) CatalogOf(t testing.TB, properties string) string {
	t.Helper()
	name := fmt.Sprintf("lake_%d_%d", os.Getpid(), serial.Add(1))
	check(t, s.trino.CreateCatalogOf(t.Context(), name, properties))
	closeWith(t, func() error { return s.trino.DropCatalog(context.Background(), name) })
	return name
}

// Proxy puts a network in front of Trino that can break.
func (s *TrinoServer) Proxy(t testing.TB) *Proxy {
	t.Helper()
	p, err := server.StartProxy(strings.TrimPrefix(s.trino.URL, "http://"))
	check(t, err)
	closeWith(t, p.Close)
	return &Proxy{p}
}

// Query runs one statement and returns its rows in the normal form (server.Null). Name tables in full: catalog.db.table.
func (s *TrinoServer) Query(t testing.TB, sql string) [][]string {
	t.Helper()
	rows, err := s.TryQuery(t.Context(), sql)
	check(t, err)
	return rows
}

// TryQuery is Query for statements that may fail.
func (s *TrinoServer) TryQuery(ctx context.Context, sql string) ([][]string, error) {
	return s.trino.Query(ctx, sql)
}
