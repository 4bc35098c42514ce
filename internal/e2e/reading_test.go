package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// readSchema has tables small enough to be read whole at every snapshot, by engines that start slowly. The row with the key 0 is
// changed by every round.
const readSchema = `CREATE DATABASE IF NOT EXISTS app;
CREATE TABLE app.one (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, d DECIMAL(12,2), note VARCHAR(60)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE app.two (a INT NOT NULL, b VARCHAR(20) NOT NULL, n BIGINT NOT NULL, note VARCHAR(60), PRIMARY KEY (a, b)) DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO app.one VALUES (0, 0, 0, NULL);
INSERT INTO app.two VALUES (0, '', 0, NULL);
`

// readColumns are the columns of its tables.
var readColumns = map[string][]string{"one": {"id", "n", "d", "note"}, "two": {"a", "b", "n", "note"}}

// change is a random statement: rows come, change, change their key, and go.
func change(r *rand.Rand) string {
	id := 1 + r.IntN(300)
	text := []string{"NULL", "'plain'", "'ünï 値'", fmt.Sprintf("'%d'", r.IntN(1e6))}[r.IntN(4)]
	switch r.IntN(7) {
	case 0, 1:
		return fmt.Sprintf("REPLACE INTO app.one VALUES (%d, %d, %d.%02d, %s), (%d, 1, NULL, 'more')", id, r.Int64(), r.IntN(1e6)-5e5, r.IntN(100), text, id+1)
	case 2:
		return fmt.Sprintf("UPDATE app.one SET d = d / 2, note = %s WHERE id BETWEEN %d AND %d", text, id, id+r.IntN(30))
	case 3:
		return fmt.Sprintf("DELETE FROM app.one WHERE id BETWEEN %d AND %d", id, id+r.IntN(12))
	case 4:
		return fmt.Sprintf("UPDATE IGNORE app.one SET id = id + 7 WHERE id BETWEEN %d AND %d ORDER BY id DESC", id, id+10)
	case 5:
		return fmt.Sprintf("REPLACE INTO app.two VALUES (%d, 'b%d', %d, %s), (%d, 'ü%d', 2, NULL)", id%40+1, r.IntN(9), r.Int64(), text, id%40+1, r.IntN(9))
	default:
		return fmt.Sprintf("UPDATE IGNORE app.two SET b = CONCAT('x', b), n = n + 1 WHERE a = %d AND LENGTH(b) < 15; DELETE FROM app.two WHERE a = %d", id%40+1, r.IntN(40)+1)
	}
}

// reading is a lake that several engines read at each of its snapshots.
type reading struct {
	*place
	format  string
	ingest  *tidemark
	catalog string // Spark's name
}

// committed is a snapshot of a table.
type committed struct {
	lake  *reading
	table string
	id    string
	set   string // GTID set
	what  string // operation
}

// TestEveryEngineSeesEveryCommit: at every snapshot that ingest, compaction and expiry left of random changes, in both formats,
// DuckDB by path and by REST, Trino, PyIceberg and Spark read the same rows: the source's at that GTID set. Under make soak it goes on
// with new changes until TIDEMARK_SOAK is over.
func TestEveryEngineSeesEveryCommit(t *testing.T) {
	everyEngine(t, 1, func(round int) bool { return round < 16 })
	text := os.Getenv("TIDEMARK_SOAK")
	if text == "" {
		return
	}
	limit, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(limit)
	for seed := uint64(2); time.Now().Before(end); seed++ {
		everyEngine(t, seed, func(round int) bool { return round < 60 && time.Now().Before(end) })
	}
}

func everyEngine(t *testing.T, seed uint64, more func(round int) bool) {
	s := testenv.MySQL(t)
	s.Exec(t, readSchema)
	lakes := []*reading{{format: "3", catalog: "lake"}, {format: "2", catalog: "lake2"}}
	for _, l := range lakes {
		l.place = minioLake(t)
		l.ingest = startIngest(t, l.place, testenv.URL(s), "--pipeline", "v"+l.format, "--format-version", l.format, "--commit-interval", "20ms")
	}
	model := map[string]map[string][]string{} // rows by GTID set and table
	rng := rand.New(rand.NewPCG(seed, 3))
	for round := 0; more(round); round++ {
		for range 1 + rng.IntN(6) {
			var tx strings.Builder
			for range 1 + rng.IntN(4) {
				tx.WriteString(change(rng) + ";")
			}
			s.Exec(t, "BEGIN; "+tx.String()+" COMMIT")
		}
		s.Exec(t, "BEGIN; UPDATE app.one SET n = n + 1 WHERE id = 0; UPDATE app.two SET n = n + 1 WHERE a = 0; COMMIT")
		set := s.Executed(t)
		model[set] = map[string][]string{}
		for table, columns := range readColumns {
			model[set][table] = texts(s.Query(t, "SELECT "+strings.Join(columns, ", ")+" FROM app."+table))
		}
		for _, l := range lakes {
			until(t, "both tables are at "+set, func() (bool, string) {
				at := l.checkpoints(t)
				return at["one"].Checkpoint.GTIDSet == set && at["two"].Checkpoint.GTIDSet == set, l.ingest.text()
			})
			if round%5 == 2 { // what was before is gone, or rewritten by another process
				if code, out, log := run(t, l.env, append([]string{"compact", "--keep-snapshots", "12", "--expire-after", "1ms"}, l.args...)...); code != 0 {
					t.Fatalf("compact: exit code %d\n%s%s", code, out, log)
				}
			}
		}
	}
	for _, l := range lakes {
		l.ingest.stop()
	}
	compare(t, lakes, model)
}

// compare reads every snapshot by every engine.
func compare(t *testing.T, lakes []*reading, model map[string]map[string][]string) {
	duck, trino := testenv.DuckDB(t), testenv.Trino(t)
	duck.UseBucket(t, lakes[0].bucket) // both buckets are of one server
	all := map[*reading][]committed{}
	catalogs := map[*reading]string{}
	python := map[*reading]string{}
	defaults := ""
	for _, l := range lakes {
		address := l.serve(t)
		catalogs[l] = trino.Catalog(t, address, l.bucket)
		duck.Attach(t, l.catalog, address)
		python[l] = fmt.Sprintf("c = catalog(%q, %s)\n", address, l.bucket.PyIcebergS3())
		all[l] = l.snapshots(t, python[l])
		defaults += strings.ReplaceAll(documented(t, "Spark", address, l.bucket), "spark.sql.catalog.lake", "spark.sql.catalog."+l.catalog) + "\n"
	}
	var statements []string
	known, replaced, total := 0, 0, 0
	got := map[string]map[committed][]string{}
	for _, engine := range []string{"DuckDB by path", "DuckDB by REST", "Trino", "PyIceberg", "Spark"} {
		got[engine] = map[committed][]string{}
	}
	for _, l := range lakes {
		for _, p := range all[l] {
			columns := strings.Join(readColumns[p.table], ", ")
			total++
			got["DuckDB by path"][p] = texts(duck.Query(t, fmt.Sprintf("SELECT %s FROM iceberg_scan('%s', snapshot_from_id => %s)", columns, l.path(p.table), p.id)))
			got["DuckDB by REST"][p] = texts(duck.Query(t, fmt.Sprintf("SELECT %s FROM %s.app.%s AT (VERSION => %s)", columns, l.catalog, p.table, p.id)))
			got["Trino"][p] = texts(trino.Query(t, fmt.Sprintf("SELECT %s FROM %s.app.%s FOR VERSION AS OF %s", columns, catalogs[l], p.table, p.id)))
			got["PyIceberg"][p] = texts(pythonRows(t, python[l], p, readColumns[p.table]))
			statements = append(statements, fmt.Sprintf("SELECT %s FROM %s.app.%s VERSION AS OF %s", columns, l.catalog, p.table, p.id))
			if p.what == "replace" {
				replaced++
			}
			if model[p.set] != nil {
				known++
			}
		}
	}
	for i, rows := range testenv.Spark(t, defaults, statements...) {
		list := slices.Concat(all[lakes[0]], all[lakes[1]])
		got["Spark"][list[i]] = texts(rows)
	}
	for _, l := range lakes {
		for _, p := range all[l] {
			want, by := model[p.set][p.table], "the source"
			if model[p.set] == nil {
				want, by = got["Trino"][p], "Trino"
			}
			for engine, rows := range got {
				if !slices.Equal(rows[p], want) {
					t.Errorf("format %s, %s, snapshot %s (%s, %s): %s reads %d rows, %s %d:\n%.1000q\n%.1000q", l.format, p.table, p.id, p.what, p.set, engine, len(rows[p]), by, len(want), rows[p], want)
				}
			}
		}
	}
	if known < len(model) || replaced == 0 || total < 2*len(model) {
		t.Errorf("%d snapshots, %d with known rows, %d of compaction: too few to prove anything", total, known, replaced)
	}
	t.Logf("%d snapshots, %d with known rows, %d of compaction", total, known, replaced)
}

// snapshots lists those of all tables, oldest first.
func (l *reading) snapshots(t testing.TB, catalog string) (list []committed) {
	t.Helper()
	for _, table := range []string{"one", "two"} {
		answer := testenv.PyIceberg(t, catalog+fmt.Sprintf(`
result = [[str(s.snapshot_id), s.summary["tidemark.checkpoint"], s.summary.operation.value] for s in c.load_table("app.%s").metadata.snapshots]`, table))
		for _, row := range answer.([]any) {
			values := row.([]any)
			var record struct {
				Set string `json:"gtid_set"`
			}
			if err := json.Unmarshal([]byte(values[1].(string)), &record); err != nil {
				t.Fatal(err)
			}
			list = append(list, committed{l, table, values[0].(string), record.Set, values[2].(string)})
		}
	}
	return list
}

// pythonRows reads a snapshot by PyIceberg.
func pythonRows(t testing.TB, catalog string, p committed, columns []string) (rows [][]string) {
	t.Helper()
	answer := testenv.PyIceberg(t, catalog+fmt.Sprintf(`
table = c.load_table("app.%s").scan(snapshot_id=%s).to_arrow()
result = [["NULL" if row[c] is None else str(row[c]) for c in %q.split(", ")] for row in table.to_pylist()]`, p.table, p.id, strings.Join(columns, ", ")))
	for _, row := range answer.([]any) {
		var values []string
		for _, v := range row.([]any) {
			values = append(values, v.(string))
		}
		rows = append(rows, values)
	}
	return rows
}

// texts are rows as sorted lines.
func texts(rows [][]string) []string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = strings.ReplaceAll(strings.Join(row, "|"), testenv.Null, "NULL")
	}
	slices.Sort(lines)
	return lines
}
