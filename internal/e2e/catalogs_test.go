package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// catalogOf is what a page of documentation gives as --catalog.
func catalogOf(t testing.TB, lines string) string {
	t.Helper()
	m := regexp.MustCompile(`--catalog (\S+)`).FindStringSubmatch(lines)
	if m == nil {
		t.Fatalf("no --catalog in %q", lines)
	}
	return m[1]
}

// TestOtherCatalogs: tables in an SQL database and in the reference REST catalog, as docs/catalog.md says, are loaded and
// followed through kills, verified and compacted; engines that know the catalog read the source's rows in the end.
func TestOtherCatalogs(t *testing.T) {
	t.Run("sql", func(t *testing.T) {
		const password = "the-password"
		lake := minioLake(t)
		db := testenv.PostgreSQL(t, password)
		here := strings.NewReplacer("127.0.0.1:5432", db.Addr(), "s3://lake/prefix", lake.uri)
		name := here.Replace(catalogOf(t, documented(t, "SQL: tidemark", "", lake.bucket)))
		lake.args = append(lake.args, "--catalog", name+"?sslmode=disable")
		lake.env = append(lake.env, "TIDEMARK_CATALOG_PASSWORD="+password)
		trino := testenv.Trino(t)
		catalog := sync.OnceValue(func() string { // Trino wants the tables of the catalog to be there
			return trino.CatalogOf(t, here.Replace(documented(t, "SQL: Trino", "", lake.bucket)))
		})
		inCatalog(t, lake, func(t testing.TB, table, sql string) [][]string {
			return trino.Query(t, fmt.Sprintf(sql, catalog()+".app."+table))
		})
	})
	t.Run("rest", func(t *testing.T) {
		lake := localLake(t)
		address := "http://" + testenv.ReferenceCatalog(t, lake.uri)
		none := &testenv.Bucket{}
		lake.args = append(lake.args, "--catalog", catalogOf(t, documented(t, "REST: tidemark", address, none)))
		lake.env = append(lake.env, "TIDEMARK_CATALOG_TOKEN="+catalogToken)
		duck := testenv.DuckDB(t)
		for statement := range strings.SplitSeq(documented(t, "REST: DuckDB", address, none), ";\n") {
			if statement != "" {
				duck.Query(t, statement)
			}
		}
		inCatalog(t, lake, func(t testing.TB, table, sql string) [][]string {
			return duck.Query(t, fmt.Sprintf(sql, "lake.app."+table))
		})
	})
}

// inCatalog is the story of a lake with a catalog beside it.
func inCatalog(t *testing.T, lake *place, read query) {
	t.Helper()
	const kills = 6
	rng := rand.New(rand.NewPCG(7, 7))
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	stop := background(t, newWorkload(51), s)
	ingest := func(more ...string) *tidemark {
		args := append([]string{"ingest", "--source", testenv.URL(s), "--tables", "app.*,!app.ignored", "--commit-interval", "100ms", "--checkpoint-idle-interval", "200ms"}, lake.args...)
		return start(t, lake.env, append(args, more...)...)
	}
	for i := range kills {
		p := ingest()
		if i%2 == 1 {
			p.waitForLog("msg=committed")
		}
		select {
		case <-time.After(time.Duration(rng.IntN(1500)) * time.Millisecond): // a random moment
		case <-p.exited:
			t.Fatalf("ingest %d ended by itself:\n%s", i, p.text())
		}
		p.kill()
	}
	p := ingest("--serve", "127.0.0.1:0")
	p.waitForLog("serving /metrics and /healthz")
	until(t, "tables have been compacted beside it", func() (bool, string) {
		if p.commits() < 30 {
			return false, p.text()
		}
		code, _, log := run(t, lake.env, append([]string{"compact", "--tables", "app.*"}, lake.args...)...)
		if code != 0 {
			t.Fatalf("compact: exit code %d\n%s", code, log)
		}
		return true, ""
	})
	stop()
	lake.reaches(t, s, p)
	p.stop()
	equal(t, s, read)
	code, out, log := run(t, lake.env, append([]string{"verify", "--json", "--source", testenv.URL(s), "--tables", "app.*,!app.ignored"}, lake.args...)...)
	var v verified
	if err := json.Unmarshal([]byte(out), &v); code != 0 || err != nil || !v.Equal || len(v.Tables) != len(tables) {
		t.Errorf("verify: exit code %d, %v\n%s%s", code, err, out, log)
	}
	code, out, log = run(t, lake.env, append([]string{"status"}, lake.args...)...)
	for table := range tables {
		if code != 0 || !strings.Contains(out, "app."+table) {
			t.Errorf("status: exit code %d, no app.%s in\n%s%s", code, table, out, log)
		}
	}
	for table, r := range lake.checkpoints(t) {
		if r.Checkpoint.State != "live" || r.Checkpoint.Epoch < 2 {
			t.Errorf("%s: %+v", table, r.Checkpoint)
		}
	}
	code, _, log = run(t, lake.env, append([]string{"load", "--source", testenv.URL(s), "--tables", "app.pair"}, lake.args...)...)
	if code != 0 {
		t.Errorf("load again: exit code %d\n%s", code, log)
	}
	equal(t, s, read)
}

// TestCatalogErrors: what is wrong about a catalog is said at the start, without its password.
func TestCatalogErrors(t *testing.T) {
	lake := localLake(t)
	for name, want := range map[string][]string{
		"glue:":                                  {"make build TAGS=glue"},
		"hive:metastore:9083":                    {"make build TAGS=hive"},
		"nessie":                                 {"rest:URL", "sql:URL"},
		"iceberg:there":                          {"iceberg is no kind of catalog"},
		"sql:oracle://me:s3cret@there/db":        {`"oracle"`, "postgresql://"},
		"sql:mysql://me:s3cret@there/":           {"mysql://USER@HOST:PORT/DATABASE"},
		"sql:mysql://me:s3cret@there/db?ssl=yes": {`unknown parameter "ssl"`},
		"sql:postgresql://me:s3cret%zz@there/db": {"%XX"},
		"rest:there":                             {"http://HOST:PORT"},
		"rest:http://me:s3cret@there":            {"TIDEMARK_CATALOG_TOKEN"},
		"rest:http://there?token=s3cret":         {`unknown parameter "token"`},
	} {
		code, _, log := run(t, nil, append([]string{"status", "--catalog", name}, lake.args...)...)
		if code != 2 || strings.Contains(log, "s3cret") {
			t.Errorf("--catalog %s: exit code %d\n%s", name, code, log)
		}
		for _, text := range want {
			if !strings.Contains(log, text) {
				t.Errorf("--catalog %s does not say %q:\n%s", name, text, log)
			}
		}
	}
	for name, want := range map[string]string{
		"sql:postgresql://me:s3cret@127.0.0.1:1/db": "127.0.0.1:1", "sql:mysql://me:s3cret@127.0.0.1:1/db": "127.0.0.1:1",
		"rest:http://127.0.0.1:1": "127.0.0.1:1", "sql:sqlite:///proc/no/catalog.db": "/proc/no/catalog.db",
	} {
		code, _, log := run(t, nil, append([]string{"status", "--catalog", name}, lake.args...)...)
		if code != 1 || !strings.Contains(log, want) || strings.Contains(log, "s3cret") {
			t.Errorf("--catalog %s: exit code %d\n%s", name, code, log)
		}
	}
	if code, _, log := run(t, nil, append([]string{"serve", "--catalog", "rest:http://127.0.0.1:1"}, lake.args...)...); code != 2 || !strings.Contains(log, "bucket") {
		t.Errorf("serve: exit code %d\n%s", code, log)
	}
}
