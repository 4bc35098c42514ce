package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
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
			p := startIngest(t, lake, testenv.URL(s), "--format-version", format, "--commit-interval", "50ms", "--serve", "127.0.0.1:0")
			until(t, "tables were compacted", func() (bool, string) {
				text := p.text()
				return strings.Count(text, "msg=compacted") >= 12, text
			})
			stop()
			address := p.served()
			until(t, "the metrics tell of the rewrites that the log tells of", func() (bool, string) {
				said := map[string]bool{}
				for _, m := range regexp.MustCompile(`msg=compacted table=(\S+)`).FindAllStringSubmatch(p.text(), -1) {
					said[m[1]] = true
				}
				for table := range said {
					for _, name := range []string{"bytes_sum", "seconds_sum", "bytes_count"} {
						if v, _ := metric(t, address, fmt.Sprintf("tidemark_table_rewrite_%s{table=%q}", name, table)); v <= 0 {
							return false, fmt.Sprintf("%s of %s: %g\n%s", name, table, v, p.text())
						}
					}
				}
				return len(said) > 0, p.text()
			})
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

// held is a store in which whoever opens one object waits.
type held struct {
	store.Store
	name    string
	opened  chan struct{} // gets a value when somebody does
	release chan struct{}
}

func (h *held) Open(ctx context.Context, name string) (store.Reader, error) {
	if name == h.name {
		select {
		case h.opened <- struct{}{}:
		default:
		}
		select {
		case <-h.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.Store.Open(ctx, name)
}

// TestSmallMergesBesideALongRewrite holds the rewrite of a large file up: what commits add meanwhile is merged all the same, and deletes
// that arrive in the large file are not lost when it gets through at last. Another table's large file comes after it, without another commit, and keeps
// no small ones from being merged while it waits.
func TestSmallMergesBesideALongRewrite(t *testing.T) {
	s := testenv.MySQL(t)
	const rows = 30_000
	s.Exec(t, "CREATE DATABASE app; CREATE TABLE app.hot (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL, v VARCHAR(64) NOT NULL)", fmt.Sprintf("SET cte_max_recursion_depth = %d", rows),
		fmt.Sprintf("INSERT INTO app.hot WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<%d) SELECT i, 0, SHA2(i, 256) FROM s", rows),
		"CREATE TABLE app.cold LIKE app.hot; INSERT INTO app.cold SELECT * FROM app.hot")
	dir := t.TempDir()
	local, err := store.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	filter, err := source.ParseFilter("app.*")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))
	run := func(ctx context.Context, files store.Store, until ingest.Until) error {
		return ingest.Run(ctx, ctx, ingest.Options{
			Source: source.Config{Hosts: []string{s.Addr()}, User: server.User, Password: server.Password},
			Lake:   &lake.Lake{Store: files, Catalog: catalog.NewBucket(files), Logger: logger},
			Tables: filter, Start: ingest.Start{Kind: ingest.StartEarliest}, Until: until, CommitInterval: 20 * time.Millisecond, IdleInterval: time.Hour, Logger: logger, Strict: true,
			Compact: &compaction.Options{TargetFileSize: 1 << 20, DeletedShare: 0.1, MaxSmallFiles: 1, MaxInputs: 1 << 20, MaxMergeMemory: 1 << 40}, // any number of small files could go with a large one
		})
	}
	caughtUp, err := ingest.ParseUntil("caught-up")
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), local, caughtUp); err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Glob(filepath.Join(dir, "app/hot/data/*.parquet"))
	if err != nil || len(base) != 1 {
		t.Fatalf("%v after the first commit: %v", base, err)
	}
	s.Exec(t, "DELETE FROM app.hot WHERE id % 7 = 0") // the file is worn
	gate := &held{Store: local, name: "app/hot/data/" + filepath.Base(base[0]), opened: make(chan struct{}, 1), release: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, gate, ingest.Until{}) }()
	count := func(what string) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(log.String(), what), log.String()
	}
	<-gate.opened // the index is built
	gate.release <- struct{}{}
	const merged, rewritten = `msg=compacted table=app.%s why="small files"`, `msg=compacted table=app.%s why="deleted rows"`
	changes := 0
	change := func(table string) {
		changes++
		s.Exec(t, fmt.Sprintf("UPDATE app.%s SET n = n + 1 WHERE id IN (%d, %d)", table, changes*7+1, rows-changes*7))
	}
	until(t, "the worn file is being rewritten", func() (bool, string) {
		change("hot")
		_, text := count("")
		return len(gate.opened) > 0, text
	})
	smallMerges := func(table string) {
		before, _ := count(fmt.Sprintf(merged, table))
		until(t, "small files of "+table+" were merged meanwhile", func() (bool, string) {
			change(table)
			n, text := count(fmt.Sprintf(merged, table))
			return n >= before+3, text
		})
	}
	smallMerges("hot")
	const committed = "msg=committed table=app.cold"
	before, _ := count(committed)
	s.Exec(t, "DELETE FROM app.cold WHERE id % 7 = 0")
	until(t, "that is committed", func() (bool, string) {
		n, text := count(committed)
		return n > before, text
	})
	smallMerges("cold") // whose worn file waits
	for _, table := range []string{"hot", "cold"} {
		if n, text := count(fmt.Sprintf(rewritten, table)); n > 0 {
			t.Fatalf("the rewrite was not held up:\n%s", text)
		}
	}
	close(gate.release)
	for _, table := range []string{"hot", "cold"} {
		until(t, "the rewrites are published", func() (bool, string) {
			n, text := count(fmt.Sprintf(rewritten, table))
			return n > 0, text
		})
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), local, caughtUp); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(s.Query(t, "SELECT id, n FROM app.hot ORDER BY id"))
	if got := rowsIn(t.Context(), testenv.DuckDB(t), dir); got != want {
		_, text := count("")
		t.Errorf("the lake differs from the source\n%s", text)
	}
}
