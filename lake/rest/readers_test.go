package rest_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
	"github.com/tidemark/tidemark/lake/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// served is one lake with a service over it.
type served struct {
	store   store.Store
	catalog *catalog.Bucket
	uri     string
	bucket  *testenv.Bucket // nil: a local folder
	python  string          // settings for PyIceberg's catalog()
}

func local(t *testing.T) *served {
	t.Helper()
	s, err := store.OpenLocal(t.TempDir() + "/lake")
	check(t, err)
	return serve(t, &served{store: s}, rest.S3{})
}

// minio serves a bucket; with vend the service hands out the credentials, else each reader brings its own.
func minio(t *testing.T, vend bool) *served {
	t.Helper()
	b := testenv.MinIO(t)
	s, err := store.OpenS3(t.Context(), b.Name, "my/lake", store.S3Options{Endpoint: b.Endpoint, Region: b.Region, AccessKey: b.AccessKey, SecretKey: b.SecretKey})
	check(t, err)
	readers := rest.S3{Endpoint: b.Endpoint, Region: b.Region, PathStyle: true}
	l := &served{store: s, bucket: b, python: ", " + b.PyIcebergS3()}
	if vend {
		readers.AccessKey, readers.SecretKey, l.python = b.AccessKey, b.SecretKey, ""
	}
	return serve(t, l, readers)
}

func serve(t *testing.T, l *served, readers rest.S3) *served {
	t.Helper()
	l.catalog = catalog.NewBucket(l.store)
	server := httptest.NewServer(rest.New(rest.Options{Catalog: l.catalog, Readers: readers}))
	t.Cleanup(server.Close)
	l.uri = server.URL
	return l
}

func (l *served) pyiceberg(t *testing.T, code string) any {
	t.Helper()
	return testenv.PyIceberg(t, fmt.Sprintf("import pyarrow as pa\nc = catalog(%q%s)\n", l.uri, l.python)+code)
}

func same(t *testing.T, what string, got any, want string) {
	t.Helper()
	if fmt.Sprint(got) != want {
		t.Errorf("%s: got %v, want %s", what, got, want)
	}
}

// TestEngines makes a table with PyIceberg and lets every engine read it and commit to it.
func TestEngines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lake *served
		odd  string // a name that needs escaping
	}{
		{"local", local(t), "Ünï+表 /50%?*"},
		{"MinIO", minio(t, false), "Ünï+表 /50%?*"},
		{"MinIO with credentials handed out", minio(t, true), "plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			engines(t, c.lake, c.odd)
		})
	}
}

func engines(t *testing.T, l *served, odd string) {
	l.pyiceberg(t, `
schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("s", pa.string())])
c.create_namespace("shop")
t = c.create_table("shop.orders", schema)
t.append(pa.Table.from_pylist([{"id": 1, "s": "one"}, {"id": 2, "s": None}], schema=schema))
with t.transaction() as tx: tx.set_properties({"colour": "blue"})
t.append(pa.Table.from_pylist([{"id": 3, "s": "three"}], schema=schema))
`)
	odds := catalog.Identifier{DB: "shop", Table: odd}
	l.pyiceberg(t, fmt.Sprintf(`
schema = pa.schema([pa.field("id", pa.int64()), pa.field("s", pa.string())])
t = c.create_table(("shop", %q), schema)
t.append(pa.Table.from_pylist([{"id": 7, "s": "seven"}], schema=schema))
`, odd))
	same(t, "PyIceberg's list", l.pyiceberg(t, `result = [list(i) for i in c.list_tables("shop")]`), fmt.Sprintf("[[shop orders] [shop %s]]", odd))
	same(t, "PyIceberg's rows", l.pyiceberg(t, `result = c.load_table("shop.orders").scan().to_arrow().num_rows`), "3")
	same(t, "PyIceberg's property", l.pyiceberg(t, `result = c.load_table("shop.orders").properties["colour"]`), "blue")
	same(t, "PyIceberg: absent tables", l.pyiceberg(t, `result = [c.table_exists("shop.orders"), c.table_exists("shop.none"), c.namespace_exists("none")]`), "[true false false]")

	duck := testenv.DuckDB(t)
	if l.bucket != nil && l.python != "" {
		duck.UseBucket(t, l.bucket)
	}
	duck.Attach(t, "lake", l.uri)
	same(t, "DuckDB by REST", duck.Query(t, "SELECT id, s FROM lake.shop.orders WHERE s IS NOT NULL ORDER BY id"), "[[1 one] [3 three]]")
	same(t, "DuckDB, a strange name", duck.Query(t, fmt.Sprintf("SELECT * FROM lake.shop.%q", odd)), "[[7 seven]]")
	if l.bucket == nil || l.python != "" {
		path := strings.TrimPrefix(l.catalog.Location(odds), "file://")
		same(t, "DuckDB by path", duck.Query(t, fmt.Sprintf("SELECT * FROM iceberg_scan('%s')", path)), "[[7 seven]]")
	}

	trino := testenv.Trino(t)
	cat := trino.Catalog(t, l.uri, l.bucket)
	same(t, "Trino's tables", trino.Query(t, "SHOW TABLES FROM "+cat+".shop"), fmt.Sprintf("[[orders] [%s]]", strings.ToLower(odd)))
	same(t, "Trino's rows", trino.Query(t, "SELECT id, s FROM "+cat+".shop.orders WHERE s IS NOT NULL ORDER BY id"), "[[1 one] [3 three]]")
	same(t, "Trino, a strange name", trino.Query(t, fmt.Sprintf("SELECT * FROM %s.shop.%q", cat, odd)), "[[7 seven]]")
	trino.Query(t, "INSERT INTO "+cat+".shop.orders VALUES (4, 'by Trino')")
	same(t, "PyIceberg after Trino", l.pyiceberg(t, `result = sorted(c.load_table("shop.orders").scan().to_arrow()["id"].to_pylist())`), "[1 2 3 4]")
	trino.Query(t, "DELETE FROM "+cat+".shop.orders WHERE id = 1")
	trino.Query(t, "CREATE SCHEMA "+cat+".made")
	trino.Query(t, "CREATE TABLE "+cat+".made.copy AS SELECT * FROM "+cat+".shop.orders")
	trino.Query(t, "ALTER TABLE "+cat+".made.copy ADD COLUMN n integer")

	duck.Query(t, "DETACH lake")
	duck.Attach(t, "lake", l.uri)
	same(t, "DuckDB after Trino", duck.Query(t, "SELECT id FROM lake.shop.orders ORDER BY id"), "[[2] [3] [4]]")
	same(t, "DuckDB, Trino's table", duck.Query(t, "SELECT id, n IS NULL FROM lake.made.copy ORDER BY id"), "[[2 true] [3 true] [4 true]]")

	duck.Query(t, "INSERT INTO lake.shop.orders VALUES (5, 'by DuckDB')")
	same(t, "Trino after DuckDB", trino.Query(t, "SELECT id FROM "+cat+".shop.orders ORDER BY id"), "[[2] [3] [4] [5]]")

	ids, err := l.catalog.Tables(t.Context())
	if err != nil || len(ids) != 3 {
		t.Errorf("the lake's tables: %v, %v", ids, err)
	}
}
