package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// Partitions of the workload's tables, before and after a change of mind: by columns of the key and others, which updates
// change, NULL among their values.
const (
	partitionsBefore = `
partition:
  app.wide: [month(dt0), e]
  app.pair: [bucket(3, a), truncate(1, note)]
  app.hot: bucket(4, n)
  app.unsigned_key: [day(seen)]
  app.*: []
`
	partitionsAfter = `
partition:
  app.wide: [year(dt0), truncate(1, e), bucket(3, vb)]
  app.pair: []
  app.text_key: [truncate(2, k)]
  app.hot: truncate(50, n)
  app.unsigned_key: [hour(seen), truncate(100, v)]
`
)

func configFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tidemark.yaml")
	if err := os.WriteFile(name, []byte(strings.TrimPrefix(text, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPartitionedUnderKills loads and follows partitioned tables under a workload whose updates move rows between
// partitions, compacting all the while, and kills the process at random moments; half way the configuration asks for other
// partitions. In the end all readers read what the source has, and leave out the partitions that a query does not concern.
func TestPartitionedUnderKills(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := minioLake(t)
			rng := rand.New(rand.NewPCG(9, uint64(len(format))))
			stop := background(t, newWorkload(21), s)
			configs := []string{configFile(t, partitionsBefore), configFile(t, partitionsAfter)}
			const kills = 8
			compacted := false
			args := func(i int) []string {
				return []string{"--format-version", format, "--start", "initial", "--commit-interval", "50ms", "-c", configs[i]}
			}
			for i := range kills {
				p := startIngest(t, lake, testenv.URL(s), args(2*i/kills)...)
				p.waitForLog("msg=committed")
				select {
				case <-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond): // a random moment
				case <-p.exited:
					t.Fatalf("ingest %d ended by itself:\n%s", i, p.text())
				}
				p.kill()
				compacted = compacted || strings.Contains(p.text(), "msg=compacted")
			}
			p := startIngest(t, lake, testenv.URL(s), args(1)...)
			p.waitForLog("msg=committed")
			if !compacted {
				p.waitForLog("msg=compacted")
			}
			stop()
			p.stop()
			catchUp(t, lake, testenv.URL(s), args(1)...)
			equal(t, s, lake.byDuckDB(t))
			equal(t, s, lake.byTrino(t))
			for table, r := range lake.checkpoints(t) {
				if r.Checkpoint.State != "live" {
					t.Errorf("%s is %s", table, r.Checkpoint.State)
				}
			}

			uri := lake.serve(t)
			got := testenv.PyIceberg(t, fmt.Sprintf(`
c = catalog(%q, %s)
hot = c.load_table("app.hot")
pair = c.load_table("app.pair").scan().to_arrow().to_pylist()
wide = c.load_table("app.wide")
result = {
    "hot": sorted(f"{r['id']}={r['n']}" for r in hot.scan().to_arrow().to_pylist()),
    "pair": sorted(f"{r['a']} {r['b']} {r['n']} {r['note']}" for r in pair),
    "specs": [str(f.transform) for f in wide.spec().fields],
    "known": len(wide.specs()),
    "all": len(list(wide.scan().plan_files())),
    "few": len(list(wide.scan(row_filter="dt0 is null").plan_files())),
}
`, uri, lake.bucket.PyIcebergS3())).(map[string]any)
			for table, sql := range map[string]string{
				"hot":  "SELECT CONCAT(id, '=', n) FROM app.hot",
				"pair": "SELECT CONCAT(a, ' ', b, ' ', n, ' ', COALESCE(note, 'None')) FROM app.pair",
			} {
				var want []string
				for _, row := range s.Query(t, sql) {
					want = append(want, row[0])
				}
				var have []string
				for _, line := range got[table].([]any) {
					have = append(have, line.(string))
				}
				slices.Sort(want)
				slices.Sort(have)
				if !slices.Equal(have, want) {
					t.Errorf("PyIceberg reads %d rows of %s, want %d", len(have), table, len(want))
				}
			}
			if specs := fmt.Sprint(got["specs"]); specs != "[year truncate[1] bucket[3]]" || got["known"] != 2.0 {
				t.Errorf("wide is partitioned by %s, of %v specs", specs, got["known"])
			}
			if all, few := got["all"].(float64), got["few"].(float64); few == 0 || few >= all {
				t.Errorf("a query of one partition plans %v of %v files", few, all)
			}
			trino := testenv.Trino(t)
			catalog := trino.Catalog(t, uri, lake.bucket)
			rows := trino.Query(t, fmt.Sprintf(`SELECT count(*), sum(record_count) FROM %s.app."wide$partitions"`, catalog))
			if rows[0][0] == "0" || rows[0][0] == "1" {
				t.Errorf("Trino sees %v partitions", rows)
			}
		})
	}
}

// TestForeignPartitioning: where the configuration says nothing, a spec that Trino gives a table is followed by the ingest
// under way and kept by the next.
func TestForeignPartitioning(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := minioLake(t)
	p := startIngest(t, lake, testenv.URL(s))
	p.waitForLog("msg=committed")
	trino := testenv.Trino(t)
	catalog := trino.Catalog(t, lake.serve(t), lake.bucket)
	partitions := func() (found []string) {
		for _, row := range trino.Query(t, fmt.Sprintf(`SELECT DISTINCT partition.n_bucket FROM %s.app."hot$files" WHERE content = 0 AND partition.n_bucket IS NOT NULL`, catalog)) {
			found = append(found, row[0])
		}
		return found
	}
	for try := 0; ; try++ { // a commit of ingest may come first
		_, err := trino.TryQuery(t.Context(), fmt.Sprintf(`ALTER TABLE %s.app.hot SET PROPERTIES partitioning = ARRAY['bucket(n, 4)']`, catalog))
		if err == nil {
			break
		}
		if try == 20 {
			t.Fatal(err)
		}
	}
	step := 0
	more := func() {
		step++
		s.Exec(t, fmt.Sprintf("UPDATE app.hot SET n = n + 1; INSERT INTO app.hot VALUES (%d, %d), (%d, %d)", 100+step, step, 200+step, step+1))
	}
	until(t, "files are partitioned", func() (bool, string) {
		more()
		return len(partitions()) > 1, p.text()
	})
	p.stop()
	if strings.Contains(p.text(), "starting again") {
		t.Errorf("the ingest began again:\n%s", p.text())
	}
	more()
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
	equal(t, s, lake.byTrino(t))
}

// TestPartitionErrors: what cannot be is a mistake of the configuration, with its line, before anything is written; for
// tables that are there and for new ones.
func TestPartitionErrors(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	refused := func(config, want string) {
		t.Helper()
		name := configFile(t, config)
		p := startIngest(t, lake, testenv.URL(s), "--start", "initial", "--until", "caught-up", "-c", name)
		if code := p.wait(); code != 2 || !strings.Contains(p.text(), name+want) {
			t.Errorf("%q: exit code %d, want 2 and %q\n%s", config, code, want, p.text())
		}
	}
	both := func() {
		refused("partition:\n  app.wide: [day(dt)]\n  app.hot: [day(n)]\n", ":3: app.hot: partition: day(n): day does not take a column of type long")
		refused("partition:\n\n  'app.*': [region]\n", ":3: app.")
	}
	refused("partition:\n  app.hot: [daily(n)]\n", `:2: partition: "daily(n)": no transform is named "daily"`)
	refused("partition:\n  hot: [n]\n", ":2: partition:")
	both()
	if code, out, _ := run(t, lake.env, append([]string{"status"}, lake.args...)...); code != 0 || strings.Contains(out, "app.hot") {
		t.Errorf("there are tables already: %s", out)
	}
	catchUp(t, lake, testenv.URL(s))
	both()
	p := startIngest(t, lake, testenv.URL(s), "--until", "caught-up", "--partition", "app.hot=day(n)")
	if code := p.wait(); code != 2 || !strings.Contains(p.text(), "--partition: app.hot: partition:") {
		t.Errorf("by the flag: exit code %d\n%s", code, p.text())
	}
}

// TestPartitionedLarge loads more rows than are held at once, and then moves all of them to other partitions in one
// transaction that does not fit the memory; beside it a table without a key.
func TestPartitionedLarge(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, `CREATE DATABASE app; USE app;
CREATE TABLE app.big (id INT NOT NULL PRIMARY KEY, region VARCHAR(10), made DATETIME, pad VARCHAR(100));
CREATE TABLE app.heap (n INT, note VARCHAR(20));
SET SESSION cte_max_recursion_depth = 1000000;
INSERT INTO app.big WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
  SELECT i, IF(i % 7 = 0, NULL, CONCAT('r', i % 7)), '1969-12-25' + INTERVAL i % 10 DAY, SHA2(i, 256) FROM n;
INSERT INTO app.heap VALUES (1, 'a'), (1, 'a'), (1, 'a'), (2, 'b'), (NULL, NULL), (NULL, NULL);`)
	lake := minioLake(t)
	args := []string{"--start", "initial", "--memory", "64MiB", "--partition", "app.big=region, day(made); app.heap=n"}
	catchUp(t, lake, testenv.URL(s), args...)
	check := func() {
		t.Helper()
		const sums = "SELECT region, count(*), sum(id), min(made), max(pad) FROM %s GROUP BY region ORDER BY region"
		duck := lake.byDuckDB(t)
		want, got := s.Query(t, fmt.Sprintf(sums, "app.big")), duck(t, "big", sums)
		sortRows(want)
		sortRows(got)
		if i, differ := difference(want, got); differ {
			t.Fatalf("big: source %q, lake %q", want, at(got, i))
		}
		equalTables(t, s, duck, map[string]string{"heap": "n, note"})
	}
	check()
	s.Exec(t, `UPDATE app.big SET region = CONCAT('q', id % 5), made = made - INTERVAL 1 YEAR;
UPDATE app.heap SET n = 3, note = 'moved' WHERE n = 1 LIMIT 2; DELETE FROM app.heap WHERE n IS NULL LIMIT 1;`)
	p := startIngest(t, lake, testenv.URL(s), append(args, "--until", "caught-up", "--log-level", "debug")...)
	if code := p.wait(); code != 0 || !strings.Contains(p.text(), "spilled a part") {
		t.Fatalf("exit code %d, or nothing was spilled\n%.2000s", code, p.text())
	}
	check()
	verify := append([]string{"verify", "--source", testenv.URL(s), "--tables", "app.*"}, lake.args...)
	if code, out, log := run(t, lake.env, verify...); code != 0 {
		t.Errorf("verify: exit code %d\n%s%s", code, out, log)
	}
	if code, out, log := run(t, lake.env, append([]string{"compact", "--tables", "app.*"}, lake.args...)...); code != 0 {
		t.Errorf("compact: exit code %d\n%s%s", code, out, log)
	}
	check()
}
