package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark/tidemark/internal/testenv"
)

const catalogToken = "t0p-s3cret-token"

// documented returns the lines of code that the catalog's page has for an engine, with this test's addresses and keys.
func documented(t testing.TB, engine, address string, b *testenv.Bucket) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/catalog.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "\n### "+engine+"\n")
	text, _, _ = strings.Cut(text, "\n#")
	var code strings.Builder
	for line := range strings.Lines(text) {
		if after, ok := strings.CutPrefix(line, "    "); ok {
			code.WriteString(after)
		}
	}
	if code.Len() == 0 {
		t.Fatalf("docs/catalog.md has no lines of code for %s", engine)
	}
	return strings.NewReplacer(
		"http://127.0.0.1:8181", address, "the-token", catalogToken,
		"127.0.0.1:9000", strings.TrimPrefix(b.Endpoint, "http://"), "us-east-1", b.Region, "the-access-key", b.AccessKey, "the-secret-key", b.SecretKey,
	).Replace(code.String())
}

// engines are those that use one catalog as its page says.
type engines struct {
	duck      *testenv.Duck
	trino     *testenv.TrinoServer
	lake      string // Trino's name of the catalog
	pyiceberg string // Python: the settings of a catalog
	spark     string // spark-defaults.conf
}

func attachAll(t testing.TB, address string, b *testenv.Bucket) *engines {
	t.Helper()
	e := &engines{duck: testenv.DuckDB(t), trino: testenv.Trino(t), spark: documented(t, "Spark", address, b)}
	for statement := range strings.SplitSeq(documented(t, "DuckDB", address, b), ";\n") {
		if statement != "" {
			e.duck.Query(t, statement)
		}
	}

	e.lake = e.trino.CatalogOf(t, documented(t, "Trino", address, b))

	var file struct {
		Catalog map[string]map[string]string `yaml:"catalog"`
	}
	if err := yaml.Unmarshal([]byte(documented(t, "PyIceberg", address, b)), &file); err != nil {
		t.Fatal(err)
	}
	settings := file.Catalog["lake"]
	delete(settings, "type") // catalog() says it
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	e.pyiceberg = string(text)
	return e
}

func (e *engines) python(t testing.TB, code string) any {
	t.Helper()
	return testenv.PyIceberg(t, "import pyarrow as pa\nc = catalog(**"+e.pyiceberg+")\n"+code)
}

// say demands that every engine reads the same rows; columns are those of a table db.name.
func (e *engines) say(t testing.TB, table, columns, want string) {
	t.Helper()
	for engine, got := range map[string]any{
		"DuckDB":    e.duck.Query(t, "SELECT "+columns+" FROM lake."+table+" ORDER BY 1"),
		"Trino":     e.trino.Query(t, "SELECT "+columns+" FROM "+e.lake+"."+table+" ORDER BY 1"),
		"PyIceberg": e.python(t, fmt.Sprintf("result = sorted(list(r.values()) for r in c.load_table(%q).scan(selected_fields=%q.split(', ')).to_arrow().to_pylist())", table, columns)),
	} {
		if fmt.Sprint(got) != want {
			t.Errorf("%s reads %v of %s, want %s", engine, got, table, want)
		}
	}
}

// TestEnginesBesideIngest: while changes stream in, Trino, DuckDB, PyIceberg and Spark work in the same catalog, attached as its
// page says. Each makes a table of its own, inserts, updates, deletes, changes the schema, rewrites, renames; each reads
// what the others did, and changes it; and they read and rewrite the tables that ingest fills. In the end those are the
// source's.
func TestEnginesBesideIngest(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema+"CREATE DATABASE shop; CREATE TABLE shop.orders (id INT NOT NULL PRIMARY KEY, v VARCHAR(20)); INSERT INTO shop.orders VALUES (1, 'one'), (2, 'two')")
	lake := minioLake(t)
	lake.env = append(lake.env, "TIDEMARK_SERVE_TOKEN="+catalogToken)
	stop := background(t, newWorkload(41), s)
	p := startIngest(t, lake, testenv.URL(s), "--tables", "*.*,!app.ignored", "--serve", "127.0.0.1:0", "--log-level", "debug")
	for table := range tables {
		p.waitForLog("msg=committed table=app." + table)
	}
	p.waitForLog("msg=committed table=shop.orders")
	e := attachAll(t, p.served(), lake.bucket)
	e.say(t, "shop.orders", "id, v", "[[1 one] [2 two]]")
	before := p.commits()
	for name, work := range map[string]func(testing.TB, *engines){"Trino": trinoWorks, "DuckDB": duckWorks, "PyIceberg": pyicebergWorks} {
		t.Run(name, func(t *testing.T) { work(t, e) })
	}
	t.Run("Spark", func(t *testing.T) { sparkWorks(t, e) })
	t.Run("each other's tables", func(t *testing.T) { allWork(t, e) })
	t.Run("tables that ingest fills", func(t *testing.T) { upkeep(t, e, p) })
	if now := p.commits(); now < before+10 {
		t.Errorf("ingest committed %d times meanwhile", now-before)
	}
	stop()
	p.stop()
	for _, bad := range []string{"starting again", "suspect", catalogToken} {
		if strings.Contains(p.text(), bad) {
			t.Errorf("the log says %q:\n%s", bad, p.text())
		}
	}
	catchUp(t, lake, testenv.URL(s), "--strict")
	equal(t, s, lake.byDuckDB(t))
	p = start(t, lake.env, append([]string{"serve", "--listen", "127.0.0.1:0"}, lake.args...)...)
	e = attachAll(t, p.served(), lake.bucket)
	equal(t, s, func(t testing.TB, table, sql string) [][]string {
		return e.duck.Query(t, fmt.Sprintf(sql, "lake.app."+table))
	})
	equal(t, s, func(t testing.TB, table, sql string) [][]string {
		return e.trino.Query(t, fmt.Sprintf(sql, e.lake+".app."+table))
	})
	for table, r := range lake.checkpoints(t) {
		if tables[table] != "" && r.Checkpoint.State != "live" {
			t.Errorf("%s is %s", table, r.Checkpoint.State)
		}
	}
}

// TestTablesOfOthers: the lake has tables that another program made, of which tidemark could not read one. No command minds
// them, until the source has a table of such a name: that ends the ingest, and theirs stays as it is.
func TestTablesOfOthers(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := minioLake(t)
	duck := lake.duck(t)
	duck.Attach(t, "lake", lake.serve(t))
	for _, sql := range []string{"CREATE SCHEMA lake.app", "CREATE TABLE lake.app.late AS SELECT 7 AS id", "CREATE SCHEMA lake.reports", "CREATE TABLE lake.reports.daily (day DATE)"} {
		duck.Query(t, sql)
	}
	catchUp(t, lake, testenv.URL(s), "--tables", "*.*,!app.ignored")
	equal(t, s, lake.byDuckDB(t))
	for _, command := range []string{"status", "checkpoint show", "compact", "doctor --source " + testenv.URL(s), "verify --source " + testenv.URL(s) + " --tables *.*,!app.ignored"} {
		code, out, log := run(t, lake.env, append(strings.Fields(command), lake.args...)...)
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s%s", command, code, out, log)
		}
		if command == "status" && strings.Count(out, "another program's") != 2 {
			t.Errorf("status:\n%s", out)
		}
	}
	s.Exec(t, "CREATE TABLE app.late (id INT NOT NULL PRIMARY KEY); INSERT INTO app.late VALUES (1)")
	ends(t, startIngest(t, lake, testenv.URL(s), "--until", "caught-up"), 1, "app.late", "another program made it", "--tables '!app.late'")
	if got := fmt.Sprint(duck.Query(t, "SELECT * FROM lake.app.late")); got != "[[7]]" {
		t.Errorf("the other program's table has %s", got)
	}
	catchUp(t, lake, testenv.URL(s), "--tables", "app.*,!app.ignored,!app.late")
}

// TestForeignSchema: a column that another engine adds to a table that tidemark fills stops that table at its next change,
// with an error; the others are followed. DuckDB, which would take the key away with it, is refused.
func TestForeignSchema(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := minioLake(t)
	catchUp(t, lake, testenv.URL(s))
	address := lake.serve(t)
	duck := lake.duck(t)
	duck.Attach(t, "lake", address)
	if _, err := duck.TryQuery(t.Context(), "ALTER TABLE lake.app.pair ADD COLUMN extra INTEGER"); err == nil || !strings.Contains(err.Error(), "identifier fields") {
		t.Errorf("DuckDB took the key away: %v", err)
	}
	trino := testenv.Trino(t)
	trino.Query(t, "ALTER TABLE "+trino.Catalog(t, address, lake.bucket)+".app.hot ADD COLUMN extra integer")
	before := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet
	s.Exec(t, "UPDATE app.hot SET n = 9", "UPDATE app.pair SET n = 9")
	ends(t, startIngest(t, lake, testenv.URL(s), "--until", "caught-up"), 1, "app.hot", "differ")
	after := lake.checkpoints(t)
	if after["hot"].Checkpoint.GTIDSet != before || after["pair"].Checkpoint.GTIDSet != s.Executed(t) {
		t.Errorf("hot is at %s, pair at %s", after["hot"].Checkpoint.GTIDSet, after["pair"].Checkpoint.GTIDSet)
	}
}

// commits counts the commits that the log tells of.
func (p *tidemark) commits() int { return strings.Count(p.text(), "msg=committed") }

func trinoWorks(t testing.TB, e *engines) {
	table := e.lake + ".by_trino.t"
	for _, sql := range []string{
		"CREATE SCHEMA " + e.lake + ".by_trino",
		"CREATE TABLE " + table + " WITH (format_version = 3) AS SELECT CAST(id AS bigint) id, v AS s FROM " + e.lake + ".shop.orders",
		"INSERT INTO " + table + " VALUES (3, 'three'), (4, 'four')",
		"UPDATE " + table + " SET s = 'TWO' WHERE id = 2",
		"DELETE FROM " + table + " WHERE id = 3",
		"MERGE INTO " + table + " t USING (VALUES (4, 'FOUR'), (5, 'five')) AS n (id, s) ON t.id = n.id " +
			"WHEN MATCHED THEN UPDATE SET s = n.s WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.s)",
		"ALTER TABLE " + table + " ADD COLUMN n integer",
		"ALTER TABLE " + table + " RENAME COLUMN s TO name",
		"UPDATE " + table + " SET n = 7 WHERE id = 1",
		"ALTER TABLE " + table + " EXECUTE optimize",
		"ALTER TABLE " + table + " RENAME TO " + e.lake + ".by_trino.moved",
		"CREATE TABLE " + e.lake + ".by_trino.gone (id bigint)",
		"DROP TABLE " + e.lake + ".by_trino.gone",
	} {
		e.trino.Query(t, sql)
	}
	if files := e.trino.Query(t, `SELECT count(*) FROM `+e.lake+`.by_trino."moved$files"`); fmt.Sprint(files) != "[[1]]" {
		t.Errorf("files after optimize: %v", files)
	}
	e.say(t, "by_trino.moved", "id, name", "[[1 one] [2 TWO] [4 FOUR] [5 five]]")
}

func duckWorks(t testing.TB, e *engines) {
	for _, sql := range []string{
		"CREATE SCHEMA lake.by_duckdb",
		"CREATE TABLE lake.by_duckdb.t (id BIGINT, s VARCHAR)",
		"INSERT INTO lake.by_duckdb.t SELECT id, v FROM lake.shop.orders",
		"INSERT INTO lake.by_duckdb.t VALUES (3, 'three'), (4, 'four')",
		"UPDATE lake.by_duckdb.t SET s = 'TWO' WHERE id = 2",
		"DELETE FROM lake.by_duckdb.t WHERE id = 3",
		"BEGIN; INSERT INTO lake.by_duckdb.t VALUES (5, 'five'); CREATE TABLE lake.by_duckdb.other (id BIGINT); COMMIT",
		"ALTER TABLE lake.by_duckdb.t ADD COLUMN n INTEGER",
		"ALTER TABLE lake.by_duckdb.t RENAME COLUMN s TO name",
		"CREATE TABLE lake.by_duckdb.gone AS SELECT 1 AS id",
		"DROP TABLE lake.by_duckdb.gone",
	} {
		e.duck.Query(t, sql)
	}
	e.say(t, "by_duckdb.t", "id, name", "[[1 one] [2 TWO] [4 four] [5 five]]")
}

func pyicebergWorks(t testing.TB, e *engines) {
	files := e.python(t, `
from datetime import datetime, timedelta
from pyiceberg.types import IntegerType
schema = pa.schema([pa.field("id", pa.int64()), pa.field("s", pa.string())])
rows = lambda *r: pa.Table.from_pylist([{"id": i, "s": s} for i, s in r], schema=schema)
c.create_namespace("by_pyiceberg")
t = c.create_table("by_pyiceberg.t", schema)
t.append(rows((1, "one"), (2, "two")))
t.append(rows((3, "three"), (4, "four")))
t.upsert(rows((2, "TWO"), (5, "five")), join_cols=["id"])
t.delete("id = 3")
with t.update_schema() as u:
    u.add_column("n", IntegerType())
    u.rename_column("s", "name")
t.overwrite(t.scan().to_arrow())  # one file of all
t.maintenance.expire_snapshots().older_than(datetime.now() + timedelta(days=1)).commit()
c.rename_table("by_pyiceberg.t", "by_pyiceberg.moved")
c.create_table("by_pyiceberg.gone", schema)
c.purge_table("by_pyiceberg.gone")
t = c.load_table("by_pyiceberg.moved")
result = [len(t.inspect.files()), len(t.snapshots())]
`)
	if fmt.Sprint(files) != "[1 1]" {
		t.Errorf("files and snapshots after the upkeep: %v", files)
	}
	e.say(t, "by_pyiceberg.moved", "id, name", "[[1 one] [2 TWO] [4 four] [5 five]]")
}

// sparkWorks comes after the others, and changes a table of each.
func sparkWorks(t testing.TB, e *engines) {
	statements := []string{
		"CREATE NAMESPACE lake.by_spark",
		"CREATE TABLE lake.by_spark.t USING iceberg TBLPROPERTIES ('format-version'='3') AS SELECT CAST(id AS BIGINT) id, v s FROM lake.shop.orders",
		"INSERT INTO lake.by_spark.t VALUES (3, 'three'), (4, 'four')",
		"UPDATE lake.by_spark.t SET s = 'TWO' WHERE id = 2",
		"DELETE FROM lake.by_spark.t WHERE id = 3",
		"MERGE INTO lake.by_spark.t t USING (SELECT 5L id, 'five' s) n ON t.id = n.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
		"ALTER TABLE lake.by_spark.t ADD COLUMN n INT",
		"ALTER TABLE lake.by_spark.t RENAME COLUMN s TO name",
		"CALL lake.system.rewrite_data_files(table => 'by_spark.t', options => map('rewrite-all', 'true'))",
		"ALTER TABLE lake.by_spark.t RENAME TO by_spark.moved",
		"CREATE TABLE lake.by_spark.gone (id INT) USING iceberg",
		"DROP TABLE lake.by_spark.gone PURGE",
	}
	others := []string{"by_trino.moved", "by_duckdb.t", "by_pyiceberg.moved"}
	for _, table := range others {
		statements = append(statements, "INSERT INTO lake."+table+" VALUES (8, 'by Spark', NULL), (9, 'by Spark', NULL)", "DELETE FROM lake."+table+" WHERE id = 9")
	}
	for table := range tables {
		statements = append(statements, "SELECT * FROM lake.app."+table+" LIMIT 5")
	}
	statements = append(statements, "SELECT id, name FROM lake.by_spark.moved ORDER BY id")
	rows := testenv.Spark(t, e.spark, statements...)
	const want = "[[1 one] [2 TWO] [4 four] [5 five]]"
	if got := fmt.Sprint(rows[len(rows)-1]); got != want {
		t.Errorf("Spark reads %s, want %s", got, want)
	}
	e.say(t, "by_spark.moved", "id, name", want)
	for _, table := range others {
		if got := fmt.Sprint(e.duck.Query(t, "SELECT name FROM lake."+table+" WHERE id > 5")); got != "[[by Spark]]" {
			t.Errorf("Spark made %s of %s", got, table)
		}
	}
}

// allWork lets each engine change what the others made. PyIceberg 0.12 reads tables of format 3 and cannot write rows to them.
func allWork(t testing.TB, e *engines) {
	for table, format := range map[string]int{"by_trino.moved": 3, "by_duckdb.t": 2, "by_pyiceberg.moved": 2} {
		e.trino.Query(t, "UPDATE "+e.lake+"."+table+" SET name = 'by Trino' WHERE id = 1")
		e.trino.Query(t, "DELETE FROM "+e.lake+"."+table+" WHERE id = 8")
		e.duck.Query(t, "DELETE FROM lake."+table+" WHERE id = 2")
		e.duck.Query(t, "INSERT INTO lake."+table+" (id, name) VALUES (6, 'by DuckDB')")
		want := "[4 by DuckDB] [6 by DuckDB]"
		e.duck.Query(t, "UPDATE lake."+table+" SET name = 'by DuckDB' WHERE id = 4")
		e.trino.Query(t, "ALTER TABLE "+e.lake+"."+table+" EXECUTE optimize") // some of DuckDB's position deletes are in an encoding that PyArrow cannot read
		if format == 2 {
			e.python(t, fmt.Sprintf(`
t = c.load_table(%q)
t.append(pa.Table.from_pylist([{"id": 7, "name": "by PyIceberg"}], schema=t.schema().as_arrow()))
t.delete("id = 5")`, table))
			want += " [7 by PyIceberg]"
		} else {
			e.python(t, fmt.Sprintf(`
with c.load_table(%q).update_schema() as u: u.update_column("name", doc="by PyIceberg")`, table))
			want = strings.Replace(want, "] [6", "] [5 five] [6", 1)
		}
		e.say(t, table, "id, name", "[[1 by Trino] "+want+"]")
	}
}

// upkeep rewrites, tags and labels the tables that a running ingest fills.
func upkeep(t testing.TB, e *engines, p *tidemark) {
	rewritten := 0
	until(t, "Trino has rewritten tables under ingest", func() (bool, string) {
		for table := range tables {
			if _, err := e.trino.TryQuery(t.Context(), "ALTER TABLE "+e.lake+".app."+table+" EXECUTE optimize"); err == nil {
				rewritten++ // else ingest's commit came first, which Trino does not get over
			}
		}
		return rewritten >= 3, p.text()
	})
	e.python(t, `
for name in ("app.hot", "app.wide", "shop.orders"):
    t = c.load_table(name)
    t.manage_snapshots().create_tag(t.current_snapshot().snapshot_id, "audit").commit()
    with t.transaction() as tx: tx.set_properties({"owner": "somebody"})
`)
	owner := e.python(t, `result = [c.load_table("app." + n).properties["owner"] for n in ("hot", "wide")]`)
	if fmt.Sprint(owner) != "[somebody somebody]" {
		t.Errorf("properties: %v", owner)
	}
	for table := range tables {
		for _, sql := range []string{"SELECT count(*) FROM lake.app." + table, "SELECT * FROM lake.app." + table + " LIMIT 5"} {
			e.duck.Query(t, sql)
		}
	}
}
