package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// startLoading starts `tidemark ingest` that loads what the lake does not have, in small ranges.
func startLoading(t testing.TB, lake *place, source string, args ...string) *tidemark {
	t.Helper()
	return startIngest(t, lake, source, append([]string{"--start", "initial", "--load-range", "500", "--strict"}, args...)...)
}

// loaded demands that the load ends, and that the lake equals the source afterwards.
func loaded(t testing.TB, lake *place, source string, s *testenv.Server, stopWrites func(), p *tidemark) {
	t.Helper()
	for table := range tables {
		p.waitForLog("loaded table joins the stream\" table=app." + table)
	}
	stopWrites()
	p.stop()
	catchUp(t, lake, source, "--start", "initial", "--strict")
	for table, r := range lake.checkpoints(t) {
		if r.Checkpoint.State != "live" {
			t.Errorf("%s is %s", table, r.Checkpoint.State)
		}
	}
	equal(t, s, lake.byDuckDB(t))
}

// TestLoadUnderWrites: tables are loaded from a replica while several sessions change the rows that are read, key
// changes among them, and equal the source afterwards.
func TestLoadUnderWrites(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			cluster := testenv.Topology(t, 1)
			cluster.Primary.Exec(t, schema)
			prepare := newWorkload(11)
			stop := background(t, prepare, cluster.Primary)
			until(t, "there are rows", func() (bool, string) { return prepare.count.Load() > 3000, "" })
			stop()
			cluster.Primary.Purge(t)
			stop = background(t, newWorkload(12), cluster.Primary)
			lake := localLake(t)
			url := testenv.URL(cluster.Servers()...)
			p := startLoading(t, lake, url, "--format-version", format)
			loaded(t, lake, url, cluster.Primary, stop, p)
			cluster.Sync(t)
			if format == "3" {
				equal(t, cluster.Primary, lake.byTrino(t))
			}
		})
	}
}

// many makes app.big with rows of growing ids, with gaps.
func many(t testing.TB, s *testenv.Server, rows int) {
	t.Helper()
	s.Exec(t, `CREATE DATABASE IF NOT EXISTS app; CREATE TABLE app.big (id INT UNSIGNED NOT NULL PRIMARY KEY, n BIGINT NOT NULL, note VARCHAR(100)) DEFAULT CHARSET=utf8mb4`)
	s.Exec(t, fmt.Sprintf(`SET SESSION cte_max_recursion_depth = %d; INSERT INTO app.big WITH RECURSIVE x (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < %d) SELECT i * 7 + (i > %d) * 100000000, i, CONCAT('row ', i) FROM x`, rows, rows, rows/2))
}

var bigTable = map[string]string{"big": "id"}

// changing changes rows of app.big all over the table, their keys too, until the returned function is called.
func changing(t testing.TB, s *testenv.Server, rows int, seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	rng := rand.New(rand.NewPCG(seed, 1))
	session := s.Session(t, "app")
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			id := rng.IntN(rows) * 7
			if rng.IntN(2) == 0 {
				id += 100000000
			}
			sql := []string{
				fmt.Sprintf("UPDATE big SET n = n + 1, note = NULL WHERE id BETWEEN %d AND %d", id, id+rng.IntN(200)),
				fmt.Sprintf("DELETE FROM big WHERE id BETWEEN %d AND %d", id, id+rng.IntN(30)),
				fmt.Sprintf("INSERT IGNORE INTO big VALUES (%d, 1, 'new'), (%d, 2, 'new')", id, rng.IntN(1<<31)),
				fmt.Sprintf("UPDATE IGNORE big SET id = id + %d WHERE id BETWEEN %d AND %d ORDER BY id DESC", []int{1, 7, 50000000}[rng.IntN(3)], id, id+70),
			}[rng.IntN(4)]
			if err := session.Exec(sql); err != nil {
				t.Errorf("%s: %v", sql, err)
				return
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

// progress is the recorded progress of a load; ok is false when none is under way.
func (p *place) progress(t testing.TB, table string) (progress ingest.LoadProgress, ok bool) {
	t.Helper()
	c := p.checkpoints(t)[table].Checkpoint
	if c.State != "loading" {
		return progress, false
	}
	if err := json.Unmarshal(c.Load, &progress); err != nil {
		t.Fatalf("progress of %s: %v", table, err)
	}
	return progress, true
}

var begun = regexp.MustCompile(`msg="reading a range" table=app\.big range="?(\S+?)"? server=(\S+)`)

// begins are the keys at which ranges of app.big that a program read began, 0 for the first range.
func (p *tidemark) begins() (keys []int) {
	for _, m := range begun.FindAllStringSubmatch(p.text(), -1) {
		from, _, _ := strings.Cut(m[1], "..")
		key, _ := strconv.Atoi(strings.Trim(from, "()"))
		keys = append(keys, key)
	}
	return keys
}

func firstKey(b snapshot.Bound) int {
	if len(b) == 0 {
		return 0
	}
	key, _ := strconv.Atoi(b[0])
	return key
}

// TestLoadResumes kills the program at random moments of a load, asks it to end once, and starts it again with the servers in another order:
// what is finished is not read again, and in the end the lake equals the source. In the last run the server of a range dies.
func TestLoadResumes(t *testing.T) {
	const rows, kills = 30_000, 9
	rng := rand.New(rand.NewPCG(3, 3))
	cluster := testenv.Topology(t, 2)
	many(t, cluster.Primary, rows)
	cluster.Sync(t)
	servers := cluster.Servers()
	var proxies []*testenv.Proxy
	for _, s := range servers {
		proxies = append(proxies, s.Proxy(t))
	}
	shuffled := func() string {
		var hosts []string
		for _, i := range rng.Perm(len(proxies)) {
			hosts = append(hosts, proxies[i].Addr())
		}
		return fmt.Sprintf("mysql://%s:%s@%s/", server.User, server.Password, strings.Join(hosts, ","))
	}
	stop := changing(t, cluster.Primary, rows, 5)
	lake := localLake(t)
	run := func() *tidemark {
		return startLoading(t, lake, shuffled(), "--load-rate", "4000", "--log-level", "debug")
	}
	read := lake.byDuckDB(t)
	var before ingest.LoadProgress
	resumed := 0
	check := func(p *tidemark) {
		t.Helper()
		for _, key := range p.begins() {
			next, open := -1, slices.ContainsFunc(before.Open, func(r snapshot.Range) bool { return firstKey(r.From) == key })
			if before.Next != nil {
				next = firstKey(before.Next)
			}
			if !open && (before.Split || key < next) {
				t.Fatalf("the range from %d was read again; recorded were %+v\n%s", key, before, p.text())
			}
		}
	}
	for i := range kills {
		p := run()
		if i >= kills/3 { // while rows are read, not before
			p.waitForLog("msg=loaded")
		}
		select {
		case <-time.After(time.Duration(rng.IntN(400)) * time.Millisecond): // a random moment
		case <-p.exited:
			t.Fatalf("it ended by itself:\n%s", p.text())
		}
		if i == kills-1 {
			p.stop() // asked to end, it ends with exit code 0 in the middle too
		} else {
			p.kill()
		}
		check(p)
		progress, loading := lake.progress(t, "big")
		if !loading {
			continue // not even created yet
		}
		if progress.Rows < before.Rows || progress.Ranges < before.Ranges {
			t.Fatalf("the load went from %+v back to %+v", before, progress)
		}
		if progress.Ranges > before.Ranges {
			resumed++
		}
		before = progress
		if got := fmt.Sprint(read(t, "big", "SELECT count(*) FROM %s")); got != "[[0]]" {
			t.Fatalf("readers see %s rows of a table that is not loaded", got)
		}
	}
	if resumed < 3 {
		t.Errorf("only %d of %d kills came between ranges", resumed, kills)
	}
	if before.Split {
		t.Fatal("the load was through before the last run")
	}
	p := run()
	var used *testenv.Proxy
	until(t, "a range is read", func() (bool, string) {
		m := begun.FindStringSubmatch(p.text())
		if m == nil {
			return false, p.text()
		}
		used = proxies[slices.IndexFunc(proxies, func(x *testenv.Proxy) bool { return x.Addr() == m[2] })]
		return true, ""
	})
	used.Cut(t)
	p.waitForLog("reading a table: ")
	p.waitForLog("loaded table joins the stream")
	check(p)
	used.Heal(t)
	stop()
	p.stop()
	cluster.Sync(t)
	catchUp(t, lake, shuffled(), "--start", "initial", "--strict")
	equalTables(t, cluster.Primary, read, bigTable)
}

// TestLoadKeys loads tables of all shapes of keys in ranges of a few rows while their rows change, with them an empty table
// and one of a row, tables without a primary key, and one with a float for a key; one with a column that is not understood is refused, and
// the others are loaded all the same.
func TestLoadKeys(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, "CREATE DATABASE app")
	keyed := map[string]string{}
	var changes []string
	for name, c := range map[string]struct{ columns, key, value string }{ // value: of the i-th row
		"composite":  {"a INT NOT NULL, b VARCHAR(20) NOT NULL", "a, b", "i DIV 40, CONCAT('k', i)"},
		"accents":    {"a VARCHAR(40) COLLATE utf8mb4_0900_ai_ci NOT NULL", "a", "CONCAT(ELT(1 + i % 7, 'Abc', 'äbd', 'abe', 'ÁBF', '日本', 'x''y', 'back\\\\'), i)"},
		"uuid_text":  {"a CHAR(36) CHARACTER SET ascii NOT NULL", "a", "LEFT(SHA2(i, 256), 36)"},
		"uuid_bytes": {"a BINARY(16) NOT NULL", "a", "UNHEX(LEFT(SHA2(i, 256), 32))"},
		"bytes":      {"a VARBINARY(20) NOT NULL", "a", "CONCAT(UNHEX(LPAD(HEX(i % 256), 2, '0')), UNHEX('00'), i)"},
		"positive":   {"a BIGINT UNSIGNED NOT NULL", "a", "18446744073709551615 - i * i"},
		"negative":   {"a BIGINT NOT NULL", "a", "(i - 150) * 40000000000000000"},
		"decimals":   {"a DECIMAL(30,6) NOT NULL", "a", "(i - 150) * 1234567890123456.789"},
		"dates":      {"a DATE NOT NULL, b DATETIME(6) NOT NULL", "a, b", "DATE_ADD('1990-01-01', INTERVAL i DIV 10 DAY), DATE_ADD('2020-01-01 00:00:00.5', INTERVAL i MINUTE)"},
		"skewed":     {"a BIGINT NOT NULL", "a", "IF(i < 280, i, i * 1000000000000)"},
		"descending": {"a INT NOT NULL, b INT NOT NULL", "a DESC, b", "i DIV 10, i"},
		"last":       {"a INT NOT NULL", "a", "2147483347 + i"},
		"one_row":    {"a INT NOT NULL", "a", ""},
		"none":       {"a INT NOT NULL", "a", ""},
		"by_unique":  {"a INT NOT NULL", "a", "i"},
		"by_float":   {"a DOUBLE NOT NULL", "a", "i / 7"},
		"no_key":     {"a VARCHAR(40) NOT NULL", "a", "CONCAT('k', i)"},
		"no_key_one": {"a INT NOT NULL", "a", ""},
	} {
		s.Exec(t, fmt.Sprintf("CREATE TABLE app.%s (%s, n INT NOT NULL, PRIMARY KEY (%s)) DEFAULT CHARSET=utf8mb4", name, c.columns, c.key))
		keyed[name] = strings.ReplaceAll(c.key, " DESC", "")
		if strings.HasPrefix(name, "no_key") {
			s.Exec(t, "ALTER TABLE app."+name+" DROP PRIMARY KEY")
		}
		if name == "by_unique" {
			s.Exec(t, "ALTER TABLE app.by_unique DROP PRIMARY KEY, ADD UNIQUE KEY (a)")
		}
		if c.value != "" {
			s.Exec(t, fmt.Sprintf("USE app; INSERT INTO %s SELECT %s, i FROM (WITH RECURSIVE x (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 300) SELECT i FROM x) AS x", name, c.value))
			changes = append(changes, "UPDATE "+name+" SET n = n + 1 WHERE n %% 3 = %[1]d", "DELETE FROM "+name+" WHERE n = %[2]d",
				fmt.Sprintf("REPLACE INTO %s SELECT %s, i FROM (SELECT %%[2]d AS i) AS x", name, strings.ReplaceAll(c.value, "%", "%%")))
		}
	}
	s.Exec(t, "INSERT INTO app.one_row VALUES (5, 5)", "CREATE TABLE app.places (id INT PRIMARY KEY, at POINT NOT NULL)")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	session := s.Session(t, "app")
	go func() {
		defer close(done)
		rng := rand.New(rand.NewPCG(8, 8))
		for ctx.Err() == nil {
			sql := fmt.Sprintf(changes[rng.IntN(len(changes))]+" /* %[1]d %[2]d */", rng.IntN(3), 1+rng.IntN(300))
			if err := session.Exec(sql); err != nil {
				t.Errorf("%s: %v", sql, err)
				return
			}
		}
	}()
	lake := localLake(t)
	p := startLoading(t, lake, testenv.URL(s), "--load-range", "37", "--load-rate", "3000")
	for table := range keyed {
		p.waitForLog(`loaded table joins the stream" table=app.` + table)
	}
	cancel()
	<-done
	p.waitForLog("table not loaded; the others go on\" table=app.places")
	p.signal(syscall.SIGTERM)
	ends(t, p, 1, "table app.places is not loaded", "GEOMETRY")
	catchUp(t, lake, testenv.URL(s), "--start", "initial", "--tables", "app.*,!app.places", "--strict")
	equalTables(t, s, lake.byDuckDB(t), keyed)
}

// TestLoadUnderPressure: a table is loaded with little memory while four sessions change its rows as fast as they can, their keys
// too, and is exact afterwards. How many changes a second there were is logged: the machine decides.
func TestLoadUnderPressure(t *testing.T) {
	const rows, sessions = 400_000, 4
	s := testenv.MySQL(t, testenv.BufferPool(512))
	many(t, s, rows)
	lake := localLake(t)
	var made atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for n := range sessions {
		session, rng := s.Session(t, "app"), rand.New(rand.NewPCG(uint64(n), 77))
		writers.Go(func() {
			for ctx.Err() == nil {
				id := rng.IntN(rows/2)*7 + rng.IntN(2)*(100000000+rows/2*7)
				sql := []string{
					fmt.Sprintf("UPDATE big SET n = n + 1, note = REPEAT('changed ', 4) WHERE id BETWEEN %d AND %d", id, id+3500),
					fmt.Sprintf("DELETE FROM big WHERE id BETWEEN %d AND %d", id, id+350),
					fmt.Sprintf("INSERT IGNORE INTO big WITH RECURSIVE x (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 200) SELECT %d + i, i, 'new' FROM x", id),
					fmt.Sprintf("UPDATE IGNORE big SET id = id + %d WHERE id BETWEEN %d AND %d ORDER BY id DESC", []int{1, 7, 50000000}[rng.IntN(3)], id, id+700),
				}[rng.IntN(4)]
				var answer *mysql.MyError
				if err := session.Exec(sql); err != nil && (!errors.As(err, &answer) || answer.Code != mysql.ER_LOCK_DEADLOCK) {
					t.Errorf("%s: %v", sql, err)
					return
				}
				made.Add(1)
			}
		})
	}
	p := startIngest(t, lake, testenv.URL(s), "--start", "initial", "--load-range", "20000", "--memory", "128MiB", "--strict")
	began, before := time.Now(), changedRows(t, s)
	p.waitForLog(`loaded table joins the stream" table=app.big`)
	took, changed := time.Since(began), changedRows(t, s)-before
	cancel()
	writers.Wait()
	p.stop()
	peak := p.peak() >> 20
	t.Logf("loaded in %s under %.0f row changes a second; peak memory %d MiB", took.Round(time.Millisecond), float64(changed)/took.Seconds(), peak)
	if peak > 320 {
		t.Errorf("peak memory %d MiB with --memory 128MiB", peak)
	}
	catchUp(t, lake, testenv.URL(s), "--start", "initial", "--strict")
	equalTables(t, s, lake.byDuckDB(t), bigTable)
}

// changedRows is how many rows the server has changed so far.
func changedRows(t testing.TB, s *testenv.Server) (n int64) {
	t.Helper()
	for _, row := range s.Query(t, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Innodb_rows_inserted', 'Innodb_rows_updated', 'Innodb_rows_deleted')") {
		count, err := strconv.ParseInt(row[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		n += count
	}
	return n
}

// TestLoadNewTable: a table that appears while others are streamed is loaded, and joins them; so is one that was left out at
// the last start. The others do not wait for it.
func TestLoadNewTable(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	stop := background(t, newWorkload(21), s)
	p := startLoading(t, lake, testenv.URL(s), "--tables", "app.*,!app.ignored,!app.text_key", "--load-rate", "2000")
	for table := range tables {
		if table != "text_key" {
			p.waitForLog(`loaded table joins the stream" table=app.` + table)
		}
	}
	many(t, s, 8000)
	stopChanges := changing(t, s, 8000, 9)
	until(t, "the new table is being loaded", func() (bool, string) {
		progress, _ := lake.progress(t, "big")
		return progress.Ranges > 0, p.text()
	})
	before := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet
	until(t, "the others go on", func() (bool, string) {
		return lake.checkpoints(t)["hot"].Checkpoint.GTIDSet != before, p.text()
	})
	if _, loading := lake.progress(t, "big"); !loading {
		t.Error("the new table was loaded before the others went on")
	}
	p.waitForLog(`loaded table joins the stream" table=app.big`)
	stopChanges()
	p.stop()
	p = startLoading(t, lake, testenv.URL(s)) // text_key too
	p.waitForLog(`loaded table joins the stream" table=app.text_key`)
	stop()
	p.stop()
	catchUp(t, lake, testenv.URL(s), "--start", "initial", "--strict")
	equal(t, s, lake.byDuckDB(t))
	equalTables(t, s, lake.byDuckDB(t), bigTable)
}

// loadAgain runs `tidemark load` for tables.
func loadAgain(t testing.TB, lake *place, source, tables string, args ...string) *tidemark {
	t.Helper()
	all := append([]string{"load", "--source", source, "--tables", tables, "--load-range", "500"}, lake.args...)
	return start(t, lake.env, append(all, args...)...)
}

// drift makes the lake's app.big differ from the source's, by changes that its server does not log.
func drift(t testing.TB, s *testenv.Server) {
	t.Helper()
	s.Exec(t, "SET sql_log_bin = 0; UPDATE app.big SET note = 'not logged' WHERE id < 7000; DELETE FROM app.big WHERE id BETWEEN 7000 AND 9000; REPLACE INTO app.big VALUES (5, 5, 'not logged'); SET sql_log_bin = 1")
}

// TestLoadCommand: `tidemark load` loads a table that the lake does not have; loads it again, without an ingest and beside
// one, which goes on with the other tables; readers see the old rows until the new ones are complete.
func TestLoadCommand(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	many(t, s, 6000)
	lake := localLake(t)
	read := lake.byDuckDB(t)
	ends(t, loadAgain(t, lake, testenv.URL(s), "app.big"), 0, "table is loaded")
	equalTables(t, s, read, bigTable)

	drift(t, s)
	ends(t, loadAgain(t, lake, testenv.URL(s), "app.big", "--wait-for-ingest", "1s"), 0, "table is loaded", "somebody asked for it")
	equalTables(t, s, read, bigTable)

	p := startLoading(t, lake, testenv.URL(s), "--load-rate", "2000")
	for table := range tables {
		p.waitForLog(`loaded table joins the stream" table=app.` + table)
	}
	stop := background(t, newWorkload(31), s)
	drift(t, s)
	old := read(t, "big", "SELECT count(*) FROM %s WHERE note = 'not logged'")
	again := loadAgain(t, lake, testenv.URL(s), "app.big")
	until(t, "the ingest loads it again", func() (bool, string) {
		progress, _ := lake.progress(t, "big")
		return progress.Ranges > 0, p.text() + again.text()
	})
	stopChanges := changing(t, s, 6000, 32)
	if now := read(t, "big", "SELECT count(*) FROM %s WHERE note = 'not logged'"); fmt.Sprint(now) != fmt.Sprint(old) {
		t.Errorf("readers see %s before the load is complete, saw %s before it began", now, old)
	}
	before := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet
	until(t, "the others go on", func() (bool, string) {
		return lake.checkpoints(t)["hot"].Checkpoint.GTIDSet != before, p.text()
	})
	ends(t, again, 0, "table is loaded by the ingest that writes it")
	p.waitForLog(`loaded table joins the stream" table=app.big`)
	stop()
	stopChanges()
	p.stop()
	catchUp(t, lake, testenv.URL(s), "--start", "initial")
	equal(t, s, read)
	equalTables(t, s, read, bigTable)
	ends(t, loadAgain(t, lake, testenv.URL(s), "app.nothing"), 1, "app.nothing")

	// The ingest dies in the middle.
	p = startLoading(t, lake, testenv.URL(s), "--load-rate", "1000")
	p.waitForLog("going on")
	again = loadAgain(t, lake, testenv.URL(s), "app.big", "--wait-for-ingest", "5s")
	until(t, "the ingest loads it again", func() (bool, string) {
		progress, _ := lake.progress(t, "big")
		return progress.Ranges > 0 && !progress.Read(), p.text() + again.text()
	})
	p.kill()
	again.waitForLog("the load does not go on: is the ingest running?")
	p = startLoading(t, lake, testenv.URL(s))
	ends(t, again, 0, "table is loaded by the ingest that writes it")
	p.stop()
	equalTables(t, s, read, bigTable)
}

// TestReloadPurged: when no server has what the tables lack, ingest ends with exit code 3; with --on-purged reload it
// loads them again, and their old state is read until then. So with --on-diverged reload, when the source has another history.
func TestReloadPurged(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	many(t, s, 4000)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s), "--start", "initial", "--load-range", "500")
	s.Exec(t, "UPDATE app.big SET n = n + 1; UPDATE app.hot SET n = n + 1")
	s.Purge(t)
	s.Exec(t, "DELETE FROM app.big WHERE id < 700")
	ends(t, startIngest(t, lake, testenv.URL(s), "--start", "initial"), 3, "purged")
	stop := changing(t, s, 4000, 41)
	p := startLoading(t, lake, testenv.URL(s), "--on-purged", "reload")
	for _, table := range []string{"big", "hot", "wide"} {
		p.waitForLog(`loaded table joins the stream" table=app.` + table)
	}
	stop()
	p.stop()
	catchUp(t, lake, testenv.URL(s), "--start", "initial", "--strict")
	read := lake.byDuckDB(t)
	equal(t, s, read)
	equalTables(t, s, read, bigTable)

	other := testenv.MySQL(t)
	other.Exec(t, schema)
	many(t, other, 3000)
	ends(t, startIngest(t, lake, testenv.URL(other), "--start", "initial"), 3, "diverged")
	catchUp(t, lake, testenv.URL(other), "--on-diverged", "reload", "--strict")
	equal(t, other, read)
	equalTables(t, other, read, bigTable)
}

// TestLoadXA: an XA transaction that was prepared before the load began, and whose rows are therefore neither in what is read nor
// in the binary log after it, is committed while rows are read: the load begins anew, and has them.
func TestLoadXA(t *testing.T) {
	s := testenv.MySQL(t)
	many(t, s, 4000)
	if err := s.Session(t, "app").Exec("XA START 'load'; INSERT INTO big VALUES (3, 3, 'by XA'), (150000001, 3, 'by XA'); XA END 'load'; XA PREPARE 'load'"); err != nil {
		t.Fatal(err)
	}
	lake := localLake(t)
	p := startLoading(t, lake, testenv.URL(s), "--load-rate", "2000")
	until(t, "the first range is read", func() (bool, string) {
		progress, _ := lake.progress(t, "big")
		return progress.Ranges > 0, p.text()
	})
	var answer *mysql.MyError
	until(t, "the transaction is committed", func() (bool, string) {
		err := s.Session(t, "app").Exec("XA COMMIT 'load'")
		return err == nil || errors.As(err, &answer) && answer.Code == mysql.ER_XAER_NOTA, fmt.Sprint(err)
	})
	p.waitForLog("the load of a table has to begin anew")
	p.waitForLog("loaded table joins the stream")
	p.stop()
	equalTables(t, s, lake.byDuckDB(t), bigTable)
	if got := fmt.Sprint(lake.byDuckDB(t)(t, "big", "SELECT count(*) FROM %s WHERE note = 'by XA'")); got != "[[2]]" {
		t.Errorf("the lake has %s rows of the transaction, want 2", got)
	}
}

// TestLoadRate: --load-rate is kept over all connections together.
func TestLoadRate(t *testing.T) {
	const rows, perSecond = 6000, 3000
	s := testenv.MySQL(t)
	many(t, s, rows)
	lake, began := localLake(t), time.Now()
	p := startLoading(t, lake, testenv.URL(s), "--load-rate", fmt.Sprint(perSecond), "--until", "caught-up")
	ends(t, p, 0, "loaded table joins the stream")
	if took := time.Since(began); took < rows*time.Second/perSecond {
		t.Errorf("%d rows were loaded in %s at %d a second", rows, took, perSecond)
	}
	equalTables(t, s, lake.byDuckDB(t), bigTable)
}

// TestLoadTroubles: binary logs that the replay would need are purged while rows are read, and the load begins anew; a table
// that is dropped, or emptied, while it is loaded is left out, or loaded anew; the others are loaded all the same.
func TestLoadTroubles(t *testing.T) {
	const rows = 8000
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	many(t, s, rows)
	s.Exec(t, "CREATE TABLE app.dropped LIKE app.big; INSERT INTO app.dropped SELECT * FROM app.big", "CREATE TABLE app.emptied LIKE app.big; INSERT INTO app.emptied SELECT * FROM app.big")
	lake := localLake(t)
	p := startLoading(t, lake, testenv.URL(s), "--load-rate", "4000")
	until(t, "big is read", func() (bool, string) {
		progress, _ := lake.progress(t, "big")
		return progress.Ranges > 0, p.text()
	})
	s.Exec(t, "UPDATE app.big SET n = n + 1")
	s.Purge(t)
	s.Exec(t, "DROP TABLE app.dropped", "TRUNCATE app.emptied", "INSERT INTO app.emptied VALUES (1, 1, 'again')")
	p.waitForLog("the load of a table has to begin anew")
	for table := range tables {
		p.waitForLog(`loaded table joins the stream" table=app.` + table)
	}
	p.waitForLog(`loaded table joins the stream" table=app.big`)
	p.waitForLog(`loaded table joins the stream" table=app.emptied`)
	p.waitForLog(`a table to be loaded is not in the source any more" table=app.dropped`)
	p.stop()
	catchUp(t, lake, testenv.URL(s), "--start", "initial", "--tables", "app.*,!app.ignored,!app.dropped", "--strict")
	equal(t, s, lake.byDuckDB(t))
	equalTables(t, s, lake.byDuckDB(t), map[string]string{"big": "id", "emptied": "id"})
}
