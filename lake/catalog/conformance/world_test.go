// Package conformance holds every catalog to the same promises: those of catalog.Catalog, and what the lake's committer makes of
// them.
//
// world_test.go    the catalogs, with real services
// versions_test.go one catalog's versions: created, swapped, raced for, dropped
// cut_test.go      connections that end at the answer
// lake_test.go     tables of a lake over it: commits, positions, two writers, other programs, upkeep
package conformance

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	icebergrest "github.com/apache/iceberg-go/catalog/rest"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/catalog/library"
	"github.com/tidemark/tidemark/lake/catalog/open"
	"github.com/tidemark/tidemark/lake/catalog/updates"
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

// world is a lake and its catalog.
type world struct {
	store   store.Store
	name    string // as --catalog has it; empty where there is a client
	client  func(t testing.TB, address string) catalog.Catalog
	address string                        // of the service, as it stands in name; empty where there is none
	python  string                        // opens the catalog in PyIceberg; empty where that cannot be
	unlike  func(catalog.Identifier) bool // names that it takes for others; nil: none

	id catalog.Identifier // of the table under test
}

// open returns a client of the catalog of its own.
func (w *world) open(t testing.TB) catalog.Catalog {
	t.Helper()
	return w.openAt(t, w.address)
}

// openAt is open by another way to the service.
func (w *world) openAt(t testing.TB, address string) catalog.Catalog {
	t.Helper()
	if w.client != nil {
		return w.client(t, address)
	}
	name := w.name
	if w.address != "" {
		name = strings.Replace(name, w.address, address, 1)
	}
	c, err := open.Catalog(t.Context(), name, w.store, open.Secrets{Password: databasePassword})
	check(t, err)
	if closer, ok := c.(io.Closer); ok {
		t.Cleanup(func() { check(t, closer.Close()) })
	}
	return c
}

func (w *world) lake(t testing.TB) *lake.Lake {
	return &lake.Lake{Store: w.store, Catalog: w.open(t), Logger: slog.New(slog.DiscardHandler)}
}

const databasePassword = "tidemark-s3cret/@"

// worlds are all catalogs that can run here.
var worlds = map[string]func(testing.TB) *world{
	"bucket, local folder": func(t testing.TB) *world { return &world{store: local(t), name: "bucket"} },
	"bucket, MinIO": func(t testing.TB) *world {
		b := testenv.MinIO(t)
		s, err := store.OpenS3(t.Context(), b.Name, "lake", store.S3Options{Endpoint: b.Endpoint, Region: b.Region, AccessKey: b.AccessKey, SecretKey: b.SecretKey})
		check(t, err)
		return &world{store: s, name: "bucket"}
	},
	"SQL, SQLite": func(t testing.TB) *world {
		file := filepath.Join(t.TempDir(), "catalog.db")
		return &world{
			store: local(t), name: "sql:sqlite://" + file,
			python: `__import__("pyiceberg.catalog", fromlist=["x"]).load_catalog("tidemark", type="sql", uri="sqlite:///` + file + `")`,
		}
	},
	"SQL, PostgreSQL": func(t testing.TB) *world {
		p := testenv.PostgreSQL(t, databasePassword)
		return &world{store: local(t), name: "sql:postgresql://" + p.User + "@" + p.Addr() + "/" + p.Database + "?sslmode=disable", address: p.Addr()}
	},
	"SQL, MySQL": func(t testing.TB) *world {
		s := testenv.MySQL(t)
		s.Exec(t, "CREATE DATABASE catalog; CREATE USER cat@'%' IDENTIFIED BY '"+databasePassword+"'; GRANT ALL ON catalog.* TO cat@'%'")
		return &world{store: local(t), name: "sql:mysql://cat@" + s.Addr() + "/catalog", address: s.Addr()}
	},
	"REST, the reference catalog": func(t testing.TB) *world {
		s := local(t)
		address := testenv.ReferenceCatalog(t, s.URI("warehouse"))
		return &world{store: s, name: "rest:http://" + address, address: address, python: `catalog("http://` + address + `")`, unlike: func(id catalog.Identifier) bool {
			return strings.Contains(id.DB, ".") // JdbcCatalog behind it takes a dot for a level
		}}
	},
	"REST, tidemark serve": func(t testing.TB) *world {
		s := local(t)
		address := serve(t, s)
		return &world{store: s, name: "rest:http://" + address, address: address, python: `catalog("http://` + address + `")`}
	},
	// What Glue and Hive have in common with it: all is done through iceberg-go.
	"iceberg-go's REST client, tidemark serve": func(t testing.TB) *world {
		s := local(t)
		return &world{store: s, address: serve(t, s), client: func(t testing.TB, address string) catalog.Catalog {
			c, err := icebergrest.NewCatalog(t.Context(), "test", "http://"+address)
			check(t, err)
			return updates.New(s, library.New(c, "a test"))
		}, unlike: func(id catalog.Identifier) bool {
			return strings.Contains(id.Table, "+") // the client writes it as it is, and a blank is read
		}}
	},
}

// cases are what holds of each of them.
var cases = []struct {
	name string
	run  func(*testing.T, *world)
	of   func(*world) bool
}{
	{"versions", caseVersions, every},
	{"race", caseRace, every},
	{"drop", caseDrop, every},
	{"names", caseNames, every},
	// Where there is no connection, lake's own tests make each operation of the store fail.
	{"lost answers", caseLostAnswers, func(w *world) bool { return w.address != "" }},
	{"lost answer of another", caseLostAnswerOfAnother, func(w *world) bool { return w.address != "" }},
	{"commits", caseCommits, every},
	{"writers", caseWriters, every},
	// PyIceberg has no bucket catalog, and comes here without drivers for PostgreSQL and MySQL.
	{"others", caseOthers, func(w *world) bool { return w.python != "" }},
	{"upkeep", caseUpkeep, every},
}

func every(*world) bool { return true }

// TestCatalogs runs every case over every catalog, with a table of its own in a catalog that is empty.
func TestCatalogs(t *testing.T) {
	for name, start := range worlds {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			for _, c := range cases {
				if !c.of(w) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					w.id = catalog.Identifier{DB: "Shop", Table: strings.ReplaceAll(c.name, " ", "_")}
					c.run(t, w)
					w.clear(t)
				})
			}
		})
	}
}

// clear drops all tables.
func (w *world) clear(t testing.TB) {
	t.Helper()
	c := w.open(t)
	ids, err := c.Tables(t.Context())
	check(t, err)
	for _, id := range ids {
		v, err := c.Load(t.Context(), id)
		check(t, err)
		check(t, c.Drop(t.Context(), v, "the end of a case"))
	}
}

// serve serves the lake in s and returns the address.
func serve(t testing.TB, s store.Store) string {
	t.Helper()
	server := httptest.NewServer(rest.New(rest.Options{Catalog: catalog.NewBucket(s)}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func local(t testing.TB) store.Store {
	t.Helper()
	s, err := store.OpenLocal(t.TempDir())
	check(t, err)
	return s
}
