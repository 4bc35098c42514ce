package testenv_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/internal/testenv"
)

// restTable is the least REST catalog that lets Trino read and change the one table db.t.
type restTable struct {
	t        *testing.T
	location string // of the metadata
	mu       sync.Mutex
	metadata table.Metadata
	commits  int
}

func serveTable(t *testing.T, location, metadata string) (uri string) {
	t.Helper()
	parsed, err := table.ParseMetadataString(metadata)
	if err != nil {
		t.Fatal(err)
	}
	r := &restTable{t: t, location: location, metadata: parsed}
	type object map[string]any
	const tables = "/v1/namespaces/db/tables"
	answers := map[string]func(*http.Request) (any, error){
		"GET /v1/config": func(*http.Request) (any, error) {
			const ns = "/v1/{prefix}/namespaces"
			return object{"defaults": object{}, "overrides": object{}, "endpoints": []string{
				"GET " + ns, "GET " + ns + "/{namespace}", "GET " + ns + "/{namespace}/tables", "GET " + ns + "/{namespace}/tables/{table}",
				"POST " + ns + "/{namespace}/tables/{table}",
			}}, nil
		},
		"GET /v1/namespaces":    func(*http.Request) (any, error) { return object{"namespaces": [][]string{{"db"}}}, nil },
		"GET /v1/namespaces/db": func(*http.Request) (any, error) { return object{"namespace": []string{"db"}}, nil },
		"GET " + tables: func(*http.Request) (any, error) {
			return object{"identifiers": []object{{"namespace": []string{"db"}, "name": "t"}}}, nil
		},
		"GET " + tables + "/t":  func(*http.Request) (any, error) { return r.load(), nil },
		"POST " + tables + "/t": func(q *http.Request) (any, error) { return r.commit(q.Body) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, known := answers[q.Method+" "+q.URL.Path]
		body := any(object{"error": object{"message": "no such thing", "type": "NoSuchTableException", "code": 404}})
		if known {
			var err error
			if body, err = answer(q); err != nil {
				t.Errorf("%s %s: %v", q.Method, q.URL, err)
				w.WriteHeader(http.StatusBadRequest)
			}
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
		if err := json.NewEncoder(w).Encode(body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func (r *restTable) load() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return map[string]any{"metadata-location": r.location, "metadata": r.metadata, "config": map[string]string{}}
}

// commit keeps the new metadata in memory alone, which is enough for readers by REST.
func (r *restTable) commit(body io.Reader) (any, error) {
	var q struct {
		Updates table.Updates `json:"updates"`
	}
	if err := json.NewDecoder(body).Decode(&q); err != nil {
		return nil, err
	}
	r.mu.Lock()
	next, err := table.UpdateTableMetadata(r.metadata, q.Updates, r.location)
	if err == nil {
		r.commits++
		r.metadata, r.location = next, fmt.Sprintf("%s-%d", r.location, r.commits)
	}
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r.load(), nil
}

// metadataOf reads a table's metadata file with PyIceberg's file access.
func metadataOf(t *testing.T, location, settings string) string {
	t.Helper()
	return testenv.PyIceberg(t, fmt.Sprintf(`
from pyiceberg.io import load_file_io
with load_file_io(dict(%s), "%s").new_input("%s").open() as f: result = f.read().decode()
`, settings, location, location)).(string)
}

func TestTrinoReadsAndWritesLocalFilesAndMinIO(t *testing.T) {
	t.Parallel()
	trino := testenv.Trino(t)
	local := "file://" + filepath.Join(t.TempDir(), "lake")
	b := testenv.MinIO(t)
	for _, lake := range []struct {
		name, uri, settings string
		bucket              *testenv.Bucket
	}{
		{"local folder", local, "", nil},
		{"MinIO", b.URI("lake"), b.PyIcebergS3(), b},
	} {
		t.Run(lake.name, func(t *testing.T) {
			writeTable(t, lake.uri, lake.settings)
			location := lake.uri + "/db/t/metadata/v1.metadata.json"
			rest := serveTable(t, location, metadataOf(t, location, lake.settings))
			catalog := trino.Catalog(t, rest, lake.bucket)
			sameRows(t, "Trino", trino.Query(t, "SELECT * FROM "+catalog+".db.t ORDER BY id"))

			settings := ""
			if lake.bucket != nil {
				settings = ", " + lake.settings
			}
			rows := testenv.PyIceberg(t, fmt.Sprintf(`result = catalog("%s"%s).load_table("db.t").scan().to_arrow().num_rows`, rest, settings))
			if rows != 2.0 {
				t.Errorf("PyIceberg read %v rows by REST, want 2", rows)
			}
			duck := testenv.DuckDB(t)
			if lake.bucket != nil {
				duck.UseBucket(t, lake.bucket)
			}
			duck.Attach(t, "lake", rest)
			sameRows(t, "DuckDB by REST", duck.Query(t, "SELECT * FROM lake.db.t ORDER BY id"))

			trino.Query(t, "INSERT INTO "+catalog+".db.t (id, s) VALUES (3, 'by Trino')")
			trino.Query(t, "DELETE FROM "+catalog+".db.t WHERE id = 1")
			duck.Query(t, "DETACH lake")
			duck.Attach(t, "lake", rest)
			if rows := duck.Query(t, "SELECT id, s FROM lake.db.t ORDER BY id"); fmt.Sprint(rows) != fmt.Sprintf("[[2 %s] [3 by Trino]]", testenv.Null) {
				t.Errorf("after Trino inserted 3 and deleted 1, DuckDB reads %q", rows)
			}
		})
	}
}
