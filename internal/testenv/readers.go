package testenv

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

func python(t testing.TB) *server.Python {
	t.Helper()
	p, err := shared.python.get(func() (*server.Python, error) {
		interpreter, err := tool((*toolbox.Box).Python)
		if err != nil {
			return nil, err
		}
		return server.StartPython(context.Background(), interpreter)
	})
	check(t, err)
	return p
}

// Duck is a DuckDB with the iceberg extension, in memory, closed with its test.
type Duck struct{ db *server.DuckDB }

// DuckDB opens one. It reads local tables as they are; for s3:// call UseBucket.
func DuckDB(t testing.TB) *Duck {
	t.Helper()
	db, err := python(t).DuckDB(t.Context())
	check(t, err)
	closeWith(t, func() error { return db.Close(context.Background()) })
	return &Duck{db}
}

// UseBucket makes s3:// paths go to the bucket's server.
func (d *Duck) UseBucket(t testing.TB, b *Bucket) *Duck {
	t.Helper()
	check(t, d.db.UseS3(t.Context(), strings.TrimPrefix(b.Endpoint, "http://"), b.AccessKey, b.SecretKey, b.Region))
	return d
}

// Attach makes the tables of a REST catalog (such as http://127.0.0.1:8181) readable as name.db.table.
func (d *Duck) Attach(t testing.TB, name, restURI string) {
	t.Helper()
	d.Query(t, fmt.Sprintf("ATTACH '' AS %s (TYPE iceberg, ENDPOINT '%s', AUTHORIZATION_TYPE 'none')", name, restURI))
}

// Query runs one statement and returns its rows in the normal form (server.Null). Read a table by its path with
// iceberg_scan('/lake/db/table') or iceberg_scan('s3://bucket/lake/db/table').
func (d *Duck) Query(t testing.TB, sql string) [][]string {
	t.Helper()
	rows, err := d.TryQuery(t.Context(), sql)
	check(t, err)
	return rows
}

// TryQuery is Query for statements that may fail.
func (d *Duck) TryQuery(ctx context.Context, sql string) ([][]string, error) {
	return d.db.Query(ctx, sql)
}

// PyIceberg runs Python statements and returns what they assigned to `result`, as JSON values. The function catalog(uri, **settings)
// opens a REST catalog; PyIcebergS3 gives the settings of a bucket.
func PyIceberg(t testing.TB, code string) any {
	t.Helper()
	v, err := python(t).PyIceberg(t.Context(), code)
	check(t, err)
	return v
}

// PyIcebergS3 is Python source text: the keyword arguments for catalog() that make s3:// paths go to the bucket.
func (b *Bucket) PyIcebergS3() string {
	return fmt.Sprintf(`**{"s3.endpoint": "%s", "s3.access-key-id": "%s", "s3.secret-access-key": "%s", "s3.region": "%s"}`,
		b.Endpoint, b.AccessKey, b.SecretKey, b.Region)
}
