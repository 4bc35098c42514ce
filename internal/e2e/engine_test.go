package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// bigSchema has a table whose rows do not pack, so that few of them make files that count as large here.
const bigSchema = `CREATE DATABASE IF NOT EXISTS app;
CREATE TABLE app.big (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL, bytes VARBINARY(1000) NOT NULL);
`

// bigTables is for equalTables.
var bigTables = map[string]string{"big": "id"}

// grow inserts so many rows of a kilobyte.
func grow(rows int) string {
	return fmt.Sprintf("INSERT INTO app.big (n, bytes) WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i < %d) SELECT i, RANDOM_BYTES(1000) FROM s", rows)
}

// largeHere makes tables of half a megabyte large, and rewrites of as much heavy.
var largeHere = []string{"--target-file-size", "512KiB", "--compaction-large-bytes", "512KiB"}

// writing runs statements in turn, twenty a second, until the returned function is called.
func writing(t testing.TB, s *testenv.Server, statement func(n int) string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	session := s.Session(t, "app")
	go func() {
		defer close(done)
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			if err := session.Exec(statement(n)); err != nil {
				t.Errorf("%s: %v", statement(n), err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

var movedRows = regexp.MustCompile(`msg="another program committed".* "rows moved"=(\d+) "rows more or less"=(-?\d+)`)

// TestTrinoRewrites: Trino rewrites a table's large files while ingest fills it and merges its small ones. Ingest follows: it
// reads the keys of Trino's files alone, does not start again, and the rows stay the source's.
func TestTrinoRewrites(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, bigSchema)
			lake := minioLake(t)
			trino := testenv.Trino(t)
			for range 10 {
				s.Exec(t, grow(300), "UPDATE app.big SET n = n + 1 WHERE id % 7 = 0", "DELETE FROM app.big WHERE id % 40 = 0")
				catchUp(t, lake, testenv.URL(s), "--format-version", format, "--compact", "off")
			}
			catalog := trino.Catalog(t, lake.serve(t), lake.bucket)
			p := startIngest(t, lake, testenv.URL(s), append(largeHere, "--format-version", format, "--serve", "127.0.0.1:0", "--commit-interval", "1s",
				"--compaction-engine", "trino", "--compaction-trino-uri", "http://"+trino.Proxy(t).Addr(), "--compaction-trino-catalog", catalog)...)
			address := p.served()
			stop := writing(t, s, func(int) string { return grow(2) }) // Trino loses against deletes: see TestTrinoFails
			p.waitForMetric(address, `tidemark_table_engine_rewrites_total{result="done",table="app.big"}`, above(0))
			p.waitForMetric(address, `tidemark_table_foreign_commits_total{rows="same",table="app.big"}`, above(0))
			p.waitForLog("msg=compacted table=app.big") // the small files that ingest wrote since
			stop()
			p.stop()
			text := p.text()
			for _, bad := range []string{"starting again", "suspect", "refused", "did not answer"} {
				if strings.Contains(text, bad) {
					t.Errorf("the log says %q:\n%s", bad, text)
				}
			}
			rows, err := strconv.Atoi(s.Query(t, "SELECT COUNT(*) FROM app.big")[0][0])
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range movedRows.FindAllStringSubmatch(text, -1) {
				if moved, err := strconv.Atoi(m[1]); err != nil || moved == 0 || moved >= rows || m[2] != "0" {
					t.Errorf("of %d rows in the end: %s", rows, m[0])
				}
			}
			catchUp(t, lake, testenv.URL(s), "--format-version", format, "--strict")
			equalTables(t, s, lake.byDuckDB(t), bigTables)
			equalTables(t, s, lake.byTrino(t), bigTables)
		})
	}
}

// TestTrinoFails: while Trino is away, and while it always comes too late, ingest goes on and rewrites by itself; Trino is
// asked again later. Told to wait, it leaves large files alone.
func TestTrinoFails(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, bigSchema)
	lake := minioLake(t)
	trino := testenv.Trino(t)
	proxy := trino.Proxy(t)
	proxy.Cut(t)
	catalog := trino.Catalog(t, lake.serve(t), lake.bucket)
	engine := append(largeHere, "--serve", "127.0.0.1:0", "--compaction-engine", "trino", "--compaction-trino-uri", "http://"+proxy.Addr(), "--compaction-trino-catalog", catalog)
	const result = `tidemark_table_engine_rewrites_total{result=%q,table="app.big"}`

	p := startIngest(t, lake, testenv.URL(s), engine...)
	address := p.served()
	stop := writing(t, s, func(int) string { return grow(20) })
	p.waitForMetric(address, fmt.Sprintf(result, "unreachable"), above(0))
	until(t, "large files are rewritten here", func() (bool, string) { return heavyHere(p.text()), p.text() })
	before := p.commits()
	until(t, "ingest commits", func() (bool, string) { return p.commits() > before+3, p.text() })
	proxy.Heal(t)
	p.waitForMetric(address, fmt.Sprintf(result, "done"), above(0))
	stop()

	stop = writing(t, s, func(int) string { return "UPDATE app.big SET n = n + 1 WHERE id % 100 = 0; " + grow(20) })
	p.waitForMetric(address, fmt.Sprintf(result, "overtaken"), above(0))
	stop()
	p.stop()
	if strings.Contains(p.text(), "starting again") {
		t.Errorf("ingest had to start again:\n%s", p.text())
	}
	catchUp(t, lake, testenv.URL(s), "--strict")
	equalTables(t, s, lake.byDuckDB(t), bigTables)
	equalTables(t, s, lake.byTrino(t), bigTables)

	proxy.Cut(t)
	p = startIngest(t, lake, testenv.URL(s), append(engine, "--compaction-fallback", "nobody")...)
	address = p.served()
	stop = writing(t, s, func(int) string { return grow(20) })
	p.waitForMetric(address, fmt.Sprintf(result, "unreachable"), above(0))
	before = p.commits()
	until(t, "ingest commits", func() (bool, string) { return p.commits() > before+12, p.text() })
	stop()
	p.stop()
	if heavyHere(p.text()) {
		t.Errorf("large files were rewritten here:\n%s", p.text())
	}
	equalTables(t, s, lake.byDuckDB(t), bigTables)
}

var bytesIn = regexp.MustCompile(`msg=compacted table=app.big .*"bytes in"=(\d+)`)

// heavyHere reports whether the log tells of a rewrite that was an engine's.
func heavyHere(log string) bool {
	for _, m := range bytesIn.FindAllStringSubmatch(log, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 512<<10 {
			return true
		}
	}
	return false
}

// TestSparkRewrites: the call that tidemark prints, pasted into Spark, rewrites a table's large files; a command that is set up
// to run it gets the same call. Ingest goes on from there.
func TestSparkRewrites(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, bigSchema)
	lake := minioLake(t)
	for range 10 {
		s.Exec(t, grow(200), "UPDATE app.big SET n = n + 1 WHERE id % 3 = 0", "DELETE FROM app.big WHERE id % 40 = 0")
		catchUp(t, lake, testenv.URL(s), "--compact", "off")
	}
	compact := append(append([]string{"compact", "--compaction-engine", "spark"}, largeHere...), lake.args...)
	dir := t.TempDir()
	script := filepath.Join(dir, "submit")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf %s \"$3\" >"+dir+"/$1; exit $2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var printed string
	for name, c := range map[string]struct{ submit, says string }{
		"by hand": {"", "run: CALL lake.system.rewrite_data_files("},
		"fails":   {script + " fails 7", "exit status 7"},
		"runs":    {script + " runs 0", "an engine ran 1 statements"},
	} {
		code, out, log := run(t, lake.env, append(compact, "--compaction-fallback", "nobody", "--compaction-spark-submit", c.submit)...)
		if code != 0 || !strings.Contains(out, c.says) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, log)
		}
		if name == "by hand" {
			_, printed, _ = strings.Cut(out, "run: ")
		}
	}
	call, err := os.ReadFile(filepath.Join(dir, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	if string(call) != strings.TrimSpace(printed) {
		t.Errorf("the command got %q, printed was %q", call, printed)
	}
	before := lake.filesOf(t, "big")
	answer := testenv.Spark(t, documented(t, "Spark", lake.serve(t), lake.bucket), string(call))
	if len(answer[0]) != 1 || answer[0][0][0] == "0" {
		t.Errorf("%s\nSpark answered %v", call, answer)
	}
	if after := lake.filesOf(t, "big"); after >= before {
		t.Errorf("%d data files before, %d after", before, after)
	}
	equalTables(t, s, lake.byDuckDB(t), bigTables)
	s.Exec(t, "UPDATE app.big SET n = -1 WHERE id % 5 = 0", grow(10))
	catchUp(t, lake, testenv.URL(s), "--strict")
	equalTables(t, s, lake.byDuckDB(t), bigTables)
}

// filesOf counts the data files of a table.
func (p *place) filesOf(t testing.TB, table string) int {
	t.Helper()
	code, out, log := run(t, p.env, append([]string{"status", "--json"}, p.args...)...)
	var list []struct {
		Table     string `json:"table"`
		DataFiles int    `json:"data_files"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
		t.Fatalf("status: exit code %d, %v\n%s%s", code, err, out, log)
	}
	for _, r := range list {
		if r.Table == "app."+table {
			return r.DataFiles
		}
	}
	t.Fatalf("status does not know %s:\n%s", table, out)
	return 0
}
