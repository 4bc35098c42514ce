package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestStrictAndSuspect: a row removed from the lake behind our back, and a write that the source kept out of its binary
// log, are noticed by the next change of that key.
func TestStrictAndSuspect(t *testing.T) {
	t.Run("the source kept a write out of its log", func(t *testing.T) {
		s := testenv.MySQL(t)
		s.Exec(t, schema)
		lake := localLake(t)
		catchUp(t, lake, testenv.URL(s))
		s.Exec(t, "SET sql_log_bin = 0; INSERT INTO app.hot VALUES (77, 1)")
		s.Exec(t, "UPDATE app.hot SET n = 2 WHERE id = 77")
		ends(t, startIngest(t, lake, testenv.URL(s), "--strict", "--until", "caught-up"), 1, "id=77", "app.hot", "--strict")
		if got := lake.checkpoints(t)["hot"].Checkpoint.State; got != "live" {
			t.Errorf("after a strict stop the table is %s, want live", got)
		}
		catchUp(t, lake, testenv.URL(s))
		if got := lake.checkpoints(t)["hot"].Checkpoint.State; got != "suspect" {
			t.Errorf("the table is %s, want suspect", got)
		}
		equal(t, s, lake.byDuckDB(t)) // the lake took the source's word
	})
	t.Run("a row was removed from the lake", func(t *testing.T) {
		s := testenv.MySQL(t)
		s.Exec(t, schema)
		lake := localLake(t)
		catchUp(t, lake, testenv.URL(s))
		trino := testenv.Trino(t)
		catalog := trino.Catalog(t, lake.serve(t), lake.bucket)
		trino.Query(t, "DELETE FROM "+catalog+".app.hot WHERE id = 2")
		s.Exec(t, "DELETE FROM app.hot WHERE id = 2")
		p := startIngest(t, lake, testenv.URL(s), "--until", "caught-up")
		ends(t, p, 0, "id=2", "app.hot", "suspect")
		equal(t, s, lake.byDuckDB(t))
	})
}

// TestForeignCommits: what others commit while ingest runs is neither overwritten nor lost.
func TestForeignCommits(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *place{"local": localLake, "minio": minioLake} {
		t.Run(name, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := make(t)
			p := startIngest(t, lake, testenv.URL(s), "--serve", "127.0.0.1:0")
			p.waitForLog("committed")
			rest := lake.serve(t)
			trino := testenv.Trino(t)
			catalog := trino.Catalog(t, rest, lake.bucket)
			trino.Query(t, "INSERT INTO "+catalog+".app.hot VALUES (1000, 1000)")
			settings := ""
			if lake.bucket != nil {
				settings = ", " + lake.bucket.PyIcebergS3()
			}
			testenv.PyIceberg(t, fmt.Sprintf(`
with catalog("%s"%s).load_table("app.hot").transaction() as tx:
    tx.set_properties({"owner": "somebody"})
result = True`, rest, settings))
			s.Exec(t, "UPDATE app.hot SET n = 500 WHERE id = 1")
			want := s.Executed(t)
			until(t, "the update is committed on top", func() (bool, string) {
				return lake.checkpoints(t)["hot"].Checkpoint.GTIDSet == want, p.text()
			})
			p.waitForMetric(p.served(), `tidemark_table_foreign_commits_total{rows="changed",table="app.hot"}`, is(1))
			p.waitForMetric(p.served(), `tidemark_table_rows{table="app.hot"}`, is(4))
			p.stop()
			got := fmt.Sprint(lake.byDuckDB(t)(t, "hot", "SELECT id, n FROM %s WHERE id IN (1, 1000) ORDER BY id"))
			if got != "[[1 500] [1000 1000]]" {
				t.Errorf("the lake has %s", got)
			}
			if owner := testenv.PyIceberg(t, fmt.Sprintf(`result = catalog("%s"%s).load_table("app.hot").properties.get("owner")`, rest, settings)); owner != "somebody" {
				t.Errorf("the foreign property is %v", owner)
			}
		})
	}
}

// TestOptimizeBesideIngest: Trino rewrites the tables again and again while changes stream in. Ingest goes on without a new
// start, and the rows stay the source's.
func TestOptimizeBesideIngest(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := minioLake(t)
			catchUp(t, lake, testenv.URL(s), "--format-version", format)
			trino := testenv.Trino(t)
			catalog := trino.Catalog(t, lake.serve(t), lake.bucket)
			stop := background(t, newWorkload(31), s)
			p := startIngest(t, lake, testenv.URL(s), "--format-version", format, "--compact", "off", "--commit-interval", "3s")
			p.waitForLog("committed")
			done := 0
			until(t, "Trino has rewritten tables under ingest", func() (bool, string) {
				for table := range tables {
					if _, err := trino.TryQuery(t.Context(), "ALTER TABLE "+catalog+".app."+table+" EXECUTE optimize"); err == nil {
						done++ // else ingest's commit came first, which Trino does not get over
					}
				}
				return done >= 3 && strings.Count(p.text(), "another program committed") >= 3, p.text()
			})
			stop()
			p.stop()
			if strings.Contains(p.text(), "starting again") {
				t.Errorf("ingest had to start again:\n%s", p.text())
			}
			catchUp(t, lake, testenv.URL(s), "--format-version", format, "--strict")
			equal(t, s, lake.byDuckDB(t))
			equal(t, s, lake.byTrino(t))
		})
	}
}

// TestRollback: a table rolled back by Trino has its resume point moved back with its rows; the rows come again.
func TestRollback(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s), "--commit-interval", "1m") // in one commit: the snapshot has the position
	before := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet
	snapshot := lake.byDuckDB(t)(t, "hot", "SELECT 1 FROM %s LIMIT 1")
	if len(snapshot) != 1 {
		t.Fatal("the table has no rows to roll back")
	}
	trino := testenv.Trino(t)
	catalog := trino.Catalog(t, lake.serve(t), lake.bucket)
	id := trino.Query(t, "SELECT snapshot_id FROM "+catalog+`.app."hot$snapshots" ORDER BY committed_at DESC LIMIT 1`)[0][0]
	s.Exec(t, "UPDATE app.hot SET n = n + 100")
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
	trino.Query(t, "ALTER TABLE "+catalog+".app.hot EXECUTE rollback_to_snapshot("+id+")")
	if got := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet; got != before {
		t.Errorf("after the rollback the checkpoint is %s, want %s", got, before)
	}
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
}

// TestIdleTables: a table without changes records its position all the same.
func TestIdleTables(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	p := startIngest(t, lake, testenv.URL(s), "--checkpoint-idle-interval", "300ms")
	p.waitForLog("committed")
	s.Exec(t, "INSERT INTO app.ignored VALUES (1, 1)", "INSERT INTO app.ignored VALUES (2, 1)")
	want := s.Executed(t)
	until(t, "the idle table's checkpoint has moved", func() (bool, string) {
		return lake.checkpoints(t)["hot"].Checkpoint.GTIDSet == want, p.text()
	})
	p.stop()
}

// TestStoppedTable: an event that changes rows and is not understood stops its table and names itself; others go on, and a
// restart stops at the same place.
func TestStoppedTable(t *testing.T) {
	for name, c := range map[string]struct{ sql, says string }{
		"truncate behind a comment": {"/* tidy */ TRUNCATE TABLE app.hot", "TRUNCATE"},
		"a new column":              {"ALTER TABLE app.hot ADD COLUMN extra INT; UPDATE app.hot SET extra = 1", `"extra"`},
		"statement format":          {"SET SESSION binlog_format = 'STATEMENT'; UPDATE app.hot SET n = 9", "UPDATE app.hot"},
		"partial images":            {"SET SESSION binlog_row_image = 'MINIMAL'; UPDATE app.hot SET n = 9", "binlog_row_image"},
	} {
		t.Run(name, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := localLake(t)
			catchUp(t, lake, testenv.URL(s))
			before := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet
			s.Exec(t, c.sql)
			s.Exec(t, "INSERT INTO app.text_key VALUES ('after', 1)")
			want := s.Executed(t)
			for range 2 {
				ends(t, startIngest(t, lake, testenv.URL(s), "--until", "caught-up"), 1, "app.hot", c.says)
				if got := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet; !strings.HasPrefix(want, got) && got != before {
					t.Errorf("the stopped table is at %s", got)
				}
				if got := lake.checkpoints(t)["text_key"].Checkpoint.GTIDSet; got != want {
					t.Errorf("the other table is at %s, want %s", got, want)
				}
			}
		})
	}
}

// TestNoLocalState: a restart on a machine that has nothing but the lake goes on exactly.
func TestNoLocalState(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	for i := range 3 {
		home := t.TempDir()
		lake.env = []string{"HOME=" + home, "TMPDIR=" + home, "XDG_CACHE_HOME=" + home}
		s.Exec(t, fmt.Sprintf("UPDATE app.hot SET n = n + %d", i))
		catchUp(t, lake, testenv.URL(s))
		left, err := filepath.Glob(filepath.Join(home, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("ingest left %v (%v)", left, err)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, s, lake.byDuckDB(t))
}

// TestXA: the rows of an XA transaction appear with its commit, not with its prepare, and not at all after a rollback;
// between the two the position has a gap, across a restart too.
func TestXA(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	s.Exec(t, "XA START 'a'; UPDATE app.hot SET n = 41 WHERE id = 1; XA END 'a'; XA PREPARE 'a'")
	s.Exec(t, "XA START 'b'; UPDATE app.hot SET n = 99 WHERE id = 2; XA END 'b'; XA PREPARE 'b'")
	s.Exec(t, "INSERT INTO app.text_key VALUES ('between', 1)")
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
	s.Exec(t, "XA COMMIT 'a'", "XA ROLLBACK 'b'", "UPDATE app.hot SET n = n + 1")
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
	if got, want := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet, s.Executed(t); got != want {
		t.Errorf("the table is at %s, the source at %s", got, want)
	}
}

// TestCompressed follows transactions that the source compressed, and tagged GTIDs.
func TestCompressed(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	session := s.Session(t, "app")
	if err := session.Exec("SET SESSION binlog_transaction_compression = ON; SET GTID_NEXT = 'AUTOMATIC:mark'"); err != nil {
		t.Fatal(err)
	}
	w := newWorkload(3)
	for range 200 {
		if err := session.Exec(w.transaction()); err != nil {
			t.Fatal(err)
		}
	}
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
}
