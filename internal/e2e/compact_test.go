package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestCompactCommand makes a pass over a lake of many small commits, between two ingests and beside a running one: the
// rows stay what they are, and the files become few.
func TestCompactCommand(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := minioLake(t)
			w := newWorkload(11)
			session := s.Session(t, "app")
			for range 12 {
				for range 20 {
					if err := session.Exec(w.transaction()); err != nil {
						t.Fatal(err)
					}
				}
				catchUp(t, lake, testenv.URL(s), "--format-version", format)
			}
			before := lake.dataFiles(t)
			compact := append([]string{"compact", "--tables", "app.*"}, lake.args...)
			code, out, log := run(t, lake.env, append(compact, "--keep-snapshots", "1", "--expire-after", "1ms")...)
			if code != 0 || !strings.Contains(out, "app.wide: rewrote") {
				t.Fatalf("compact: exit code %d\n%s%s", code, out, log)
			}
			if after := lake.dataFiles(t); after >= before {
				t.Errorf("%d data files before, %d after:\n%s", before, after, out)
			}
			equal(t, s, lake.byDuckDB(t))
			equal(t, s, lake.byTrino(t))

			stop := background(t, w, s)
			p := startIngest(t, lake, testenv.URL(s), "--format-version", format)
			p.waitForLog("committed")
			for range 3 {
				if code, out, log := run(t, lake.env, compact...); code != 0 {
					t.Fatalf("compact beside ingest: exit code %d\n%s%s", code, out, log)
				}
			}
			stop()
			p.stop()
			if text := p.text(); strings.Contains(text, "starting again") || !strings.Contains(text, "another program committed") {
				t.Errorf("the index should follow another program's rewrite:\n%s", text)
			}
			catchUp(t, lake, testenv.URL(s), "--format-version", format)
			equal(t, s, lake.byDuckDB(t))
			for table, r := range lake.checkpoints(t) {
				if r.Checkpoint.State != "live" {
					t.Errorf("%s is %s", table, r.Checkpoint.State)
				}
			}
		})
	}
}

// dataFiles counts the data files of all tables.
func (p *place) dataFiles(t testing.TB) (n int) {
	t.Helper()
	d := p.duck(t)
	for table := range tables {
		rows := d.Query(t, fmt.Sprintf("SELECT count(DISTINCT filename) FROM (SELECT filename FROM iceberg_scan('%s'))", p.path(table)))
		var files int
		if _, err := fmt.Sscan(rows[0][0], &files); err != nil {
			t.Fatal(err)
		}
		n += files
	}
	return n
}

// TestCompactInsideIngest streams changes while the same process rewrites its files again and again: what the readers
// see at the end is what the source has, no table became suspect, and a restart builds the same index from what is there.
func TestCompactInsideIngest(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := localLake(t)
			stop := background(t, newWorkload(12), s)
			p := startIngest(t, lake, testenv.URL(s), "--format-version", format, "--commit-interval", "50ms")
			until(t, "tables were compacted", func() (bool, string) {
				text := p.text()
				return strings.Count(text, "msg=compacted") >= 12, text
			})
			stop()
			p.stop()
			if strings.Contains(p.text(), "starting again") {
				t.Errorf("compaction was in the way of a commit:\n%s", p.text())
			}
			for range 2 {
				catchUp(t, lake, testenv.URL(s), "--format-version", format, "--strict")
				equal(t, s, lake.byDuckDB(t))
				s.Exec(t, "UPDATE app.hot SET n = n + 1; UPDATE app.wide SET v = 'again'; DELETE FROM app.pair WHERE a % 2 = 0")
			}
			for table, r := range lake.checkpoints(t) {
				if r.Checkpoint.State != "live" {
					t.Errorf("%s is %s", table, r.Checkpoint.State)
				}
			}
		})
	}
}

// TestFewSmallFiles streams changes with --max-small-files 1: soon after the last commit every table is one file.
func TestFewSmallFiles(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	stop := background(t, newWorkload(13), s)
	p := startIngest(t, lake, testenv.URL(s), "--commit-interval", "50ms", "--max-small-files", "1")
	until(t, "tables were compacted", func() (bool, string) {
		text := p.text()
		return strings.Count(text, `why="small files"`) >= 12, text
	})
	stop()
	until(t, "every table is one file", func() (bool, string) { n := lake.dataFiles(t); return n <= len(tables), fmt.Sprint(n, " files") })
	p.stop()
	catchUp(t, lake, testenv.URL(s), "--strict")
	equal(t, s, lake.byDuckDB(t))
}
