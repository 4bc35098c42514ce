package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// Sources whose transactions have no GTIDs, or not all of them.

// withoutGTIDs is how such a server is started.
var withoutGTIDs = testenv.Args("--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")

// standby starts a replica that follows by file and offset. Its own files have other names.
func standby(t testing.TB, of *testenv.Server) *testenv.Server {
	t.Helper()
	s := testenv.MySQL(t, withoutGTIDs)
	for range 4 {
		s.Exec(t, "FLUSH BINARY LOGS")
	}
	s.FollowByFile(t, of)
	return s
}

// states demands a state of all tables.
func (p *place) states(t testing.TB, want string) {
	t.Helper()
	for table, r := range p.checkpoints(t) {
		if r.Checkpoint.State != want {
			t.Errorf("%s is %s, want %s", table, r.Checkpoint.State, want)
		}
	}
}

// TestWithoutGTIDs: on one server, file and offset are exact: over clean stops, kills, and restarts of the server.
func TestWithoutGTIDs(t *testing.T) {
	s := testenv.MySQL(t, withoutGTIDs)
	s.Exec(t, schema)
	lake := localLake(t)
	w := newWorkload(31)
	for round := range 3 {
		stop := background(t, w, s)
		p := startIngest(t, lake, testenv.URL(s))
		p.waitForLog("committed")
		if round == 1 {
			s.Exec(t, "FLUSH BINARY LOGS")
		}
		before := w.count.Load()
		until(t, "more transactions", func() (bool, string) { return w.count.Load() > before+20, p.text() })
		if round == 2 {
			stop()
			s.Stop(t)
			p.waitForLog("lost the server")
			s.Start(t)
			s.Exec(t, "UPDATE app.hot SET n = n + 1")
		} else {
			p.kill()
			stop()
		}
	}
	catchUp(t, lake, testenv.URL(s), "--strict")
	equal(t, s, lake.byDuckDB(t))
	lake.states(t, "live")
	at := lake.checkpoints(t)["hot"].Checkpoint
	if !at.Anonymous || at.GTIDSet != "" || at.ServerUUID != s.UUID() || at.File == "" || at.Position == 0 {
		t.Errorf("the record is %+v", at)
	}
	ends(t, start(t, lake.env, verifyArgs(lake, testenv.URL(s))...), 3, "gtid_mode is OFF, and verify compares at a GTID set")
	said, code := lake.verdicts(t, s)
	if v := said[s.Addr()]; code != 0 || v.Verdict != "can-serve" || !strings.Contains(v.Reason, "by file and offset, exactly from "+at.File) {
		t.Errorf("doctor: exit code %d, %+v", code, v)
	}

	_, out, _ := run(t, lake.env, append([]string{"status"}, lake.args...)...)
	if !strings.Contains(out, fmt.Sprintf("%s:%d of server %s", at.File, at.Position, s.UUID())) {
		t.Errorf("status does not tell the position:\n%s", out)
	}
	ends(t, start(t, lake.env, append([]string{"verify", "--source", testenv.URL(s), "--tables", "app.hot"}, lake.args...)...), 3, "gtid_mode is OFF")

	// An empty lake, and the place gone.
	if said, code := localLake(t).verdicts(t, s); code != 0 || said[s.Addr()].Verdict != "can-serve" {
		t.Errorf("doctor for an empty lake: exit code %d, %+v", code, said)
	}
	s.Exec(t, "UPDATE app.hot SET n = n + 1")
	s.Purge(t)
	said, code = lake.verdicts(t, s)
	if v := said[s.Addr()]; code != 3 || v.Verdict != "purged" {
		t.Errorf("doctor: exit code %d, %+v", code, v)
	}
	ends(t, startIngest(t, lake, testenv.URL(s)), 3, "purged", s.Addr(), at.File)
}

// TestWithoutGTIDsStartingPoints: latest, a time, a file and offset.
func TestWithoutGTIDsStartingPoints(t *testing.T) {
	s := testenv.MySQL(t, withoutGTIDs)
	s.Exec(t, schema, "INSERT INTO app.hot VALUES (10, 1)", "FLUSH BINARY LOGS", "INSERT INTO app.hot VALUES (11, 1)")
	at := strings.Replace(s.Query(t, "SELECT CAST(NOW(6) AS CHAR)")[0][0], " ", "T", 1) + "Z"
	file, offset := s.Coordinates(t)
	latest := localLake(t)
	catchUp(t, latest, testenv.URL(s), "--start", "latest")
	s.Exec(t, "INSERT INTO app.hot VALUES (12, 1)", "UPDATE app.hot SET n = 2 WHERE id = 12")
	for _, c := range []struct {
		lake  *place
		start string
	}{{latest, "latest"}, {localLake(t), "timestamp:" + at}, {localLake(t), fmt.Sprintf("file:%s:%d", file, offset)}} {
		catchUp(t, c.lake, testenv.URL(s), "--start", c.start)
		rows := c.lake.byDuckDB(t)(t, "hot", "SELECT id, n FROM %s ORDER BY id")
		if fmt.Sprint(rows) != "[[12 2]]" {
			t.Errorf("%s: hot has %v, want the row of after the starting point alone", c.start, rows)
		}
	}
	ends(t, startIngest(t, localLake(t), testenv.URL(s), "--start", "gtid:"+s.UUID()+":1-5"), 3, "gtid_mode is OFF")
}

// TestStory4StandbyByTime: no GTIDs, and the master is lost. The standby has other files; the place in them is found by
// time. What comes again changes nothing, nobody sees the tables fall back, and no table becomes suspect.
func TestStory4StandbyByTime(t *testing.T) {
	master := testenv.MySQL(t, withoutGTIDs)
	spare := standby(t, master)
	master.Exec(t, schema)
	lake := minioLake(t)
	list := testenv.URL(master, spare)
	w := newWorkload(32)
	stop := background(t, w, master)
	p := startIngest(t, lake, testenv.URL(master), "--fallback-interval", "3s")
	p.waitForLog("committed")
	until(t, "more transactions", func() (bool, string) { return w.count.Load() > 300, p.text() })
	stop()
	spare.CatchUp(t, master)
	p.stop()
	if used := lake.checkpoints(t)["hot"].Checkpoint.ServerUUID; used != master.UUID() {
		t.Fatalf("it read %s", used)
	}

	// Lost for good. The standby takes writes.
	master.Kill(t)
	spare.Exec(t, "STOP REPLICA", "RESET REPLICA ALL")
	said, code := lake.verdicts(t, master, spare)
	if v := said[spare.Addr()]; code != 0 || v.Verdict != "can-serve" || !strings.Contains(v.Reason, "by time, from bin.0000") {
		t.Errorf("doctor: exit code %d, %+v", code, said)
	}
	stop = background(t, w, spare)
	p = startIngest(t, lake, list, "--fallback-interval", "3s", "--strict")
	p.waitForLog("some transactions come again")
	p.waitForLog("what came again has passed")
	until(t, "the lake goes on from the standby", func() (bool, string) {
		return lake.checkpoints(t)["hot"].Checkpoint.ServerUUID == spare.UUID(), p.text()
	})
	before := w.count.Load()
	until(t, "more transactions", func() (bool, string) { return w.count.Load() > before+50, p.text() })
	p.kill()
	stop()
	catchUp(t, lake, list, "--strict")
	equal(t, spare, lake.byDuckDB(t))
	equal(t, spare, lake.byTrino(t))
	lake.states(t, "live")
}

// TestWithoutGTIDsFailover: the standby that is read dies under load, and the same process goes on from the master by time;
// then, with nothing written any more, the other way round, over a restart.
func TestWithoutGTIDsFailover(t *testing.T) {
	master := testenv.MySQL(t, withoutGTIDs)
	spare := standby(t, master)
	master.Exec(t, schema)
	spare.CatchUp(t, master)
	lake := localLake(t)
	list := testenv.URL(master, spare)
	w := newWorkload(36)
	stop := background(t, w, master)
	p := startIngest(t, lake, list, "--strict", "--fallback-interval", "2s")
	p.waitForLog("reading server=" + spare.Addr()) // replicas are preferred
	p.waitForLog("committed")
	until(t, "more transactions", func() (bool, string) { return w.count.Load() > 100, p.text() })
	spare.Kill(t)
	p.waitForLog("reading server=" + master.Addr())
	p.waitForLog("what came again has passed")
	stop()
	p.stop()
	catchUp(t, lake, list, "--strict")
	equal(t, master, lake.byDuckDB(t))
	lake.states(t, "live")

	spare.Start(t)
	spare.CatchUp(t, master)
	master.Kill(t)
	p = startIngest(t, lake, list, "--strict", "--until", "caught-up")
	p.waitForLog("what came again has passed")
	ends(t, p, 0)
	if used := lake.checkpoints(t)["hot"].Checkpoint.ServerUUID; used != spare.UUID() {
		t.Errorf("the position is on %s, want %s", used, spare.UUID())
	}
	equal(t, spare, lake.byDuckDB(t))
	lake.states(t, "live")
}

// TestWithoutGTIDsXA: a prepared transaction has its rows before, and its end after, a restart. File and offset have no gaps:
// the position waits before it, and what lies between comes again.
func TestWithoutGTIDsXA(t *testing.T) {
	s := testenv.MySQL(t, withoutGTIDs)
	s.Exec(t, schema)
	lake := localLake(t)
	p := startIngest(t, lake, testenv.URL(s), "--strict")
	s.Exec(t, "XA START 'q'; INSERT INTO app.pair (a, b) VALUES (7, 'prepared'); XA END 'q'; XA PREPARE 'q'")
	_, before := s.Coordinates(t)
	s.Exec(t, "INSERT INTO app.hot VALUES (50, 1)", "UPDATE app.hot SET n = 2 WHERE id = 50", "DELETE FROM app.hot WHERE id = 1")
	p.waitForLog("msg=committed table=app.hot")
	until(t, "what came after it is committed", func() (bool, string) {
		return fmt.Sprint(lake.byDuckDB(t)(t, "hot", "SELECT n FROM %s WHERE id = 50")) == "[[2]]", p.text()
	})
	p.kill()
	if at := lake.checkpoints(t)["hot"].Checkpoint; at.Position >= before {
		t.Errorf("the position is %d, after the prepared transaction, which ends at %d", at.Position, before)
	}
	p = startIngest(t, lake, testenv.URL(s), "--strict")
	p.waitForLog("what came again has passed")
	s.Exec(t, "XA COMMIT 'q'", "UPDATE app.hot SET n = 3 WHERE id = 50")
	p.stop()
	catchUp(t, lake, testenv.URL(s), "--strict")
	equal(t, s, lake.byDuckDB(t))
	lake.states(t, "live")
}

// TestStory2AnnouncedCoordinates: blue/green without GTIDs. The operator is told the file and offset on green that
// correspond to the switch, and moves the lake there: nothing is lost, nothing comes twice.
func TestStory2AnnouncedCoordinates(t *testing.T) {
	blue := testenv.MySQL(t, withoutGTIDs)
	green := standby(t, blue)
	blue.Exec(t, schema)
	lake := minioLake(t)
	w := newWorkload(34)
	stop := background(t, w, blue)
	p := startIngest(t, lake, testenv.URL(blue))
	p.waitForLog("committed")
	until(t, "some transactions", func() (bool, string) { return w.count.Load() > 100, p.text() })
	stop()
	green.CatchUp(t, blue)
	green.Exec(t, "STOP REPLICA", "RESET REPLICA ALL")
	file, offset := green.Coordinates(t)
	announced := fmt.Sprintf("%s:%d", file, offset)
	set := func(place string, more ...string) *tidemark {
		args := append([]string{"checkpoint", "set", "--source", testenv.URL(green), "--tables", "app.*", "--file", place, "--server", green.Addr()}, lake.args...)
		return start(t, lake.env, append(args, more...)...)
	}

	// Blue was read to its end. A place further on would lose what green got since.
	p.stop()
	catchUp(t, lake, testenv.URL(blue), "--strict")
	blue.Kill(t)
	before := w.count.Load()
	stop = background(t, w, green)
	until(t, "green takes writes", func() (bool, string) { return w.count.Load() > before+100, "" })
	stop()
	laterFile, laterOffset := green.Coordinates(t)
	ends(t, set(fmt.Sprintf("%s:%d", laterFile, laterOffset), "--reason", "too far"), 1, "nothing was moved", "app.hot has what was committed up to", "--allow-skip")
	ends(t, set(fmt.Sprintf("%s:%d", file, offset+1), "--reason", "mistyped"), 2, "the boundary before it is "+announced)
	ends(t, set(announced), 2, "--reason is missing")
	for table, r := range lake.checkpoints(t) {
		if r.Checkpoint.ServerUUID != blue.UUID() || r.Checkpoint.Note != "" {
			t.Errorf("a refused move changed %s: %+v", table, r.Checkpoint)
		}
	}

	ends(t, set(announced, "--reason", "blue/green upgrade, event 4711"), 0, "app.hot: moved from", announced)
	if r := lake.checkpoints(t)["hot"].Checkpoint; r.File != file || r.Position != offset || r.ServerUUID != green.UUID() || !strings.Contains(r.Note, "blue/green upgrade, event 4711") || !strings.Contains(r.Note, "@") {
		t.Errorf("the record is %+v", r)
	}
	_, out, _ := run(t, lake.env, append([]string{"checkpoint", "show"}, lake.args...)...)
	if !strings.Contains(out, "blue/green upgrade, event 4711") {
		t.Errorf("checkpoint show does not tell why:\n%s", out)
	}
	catchUp(t, lake, testenv.URL(green), "--strict")
	equal(t, green, lake.byDuckDB(t))
	equal(t, green, lake.byTrino(t))
	lake.states(t, "live")

	// A new lake begins at the same place.
	fresh := localLake(t)
	catchUp(t, fresh, testenv.URL(green), "--start", "file:"+announced)
	fresh.states(t, "partial")
}

// TestStory4StandbyBehind: the standby never got the last transactions of the master. Nobody can bring them back, and the
// lake has them: its tables are not right any more, and say so.
func TestStory4StandbyBehind(t *testing.T) {
	master := testenv.MySQL(t, withoutGTIDs)
	spare := standby(t, master)
	master.Exec(t, schema)
	spare.CatchUp(t, master)
	lake := localLake(t)
	spare.Exec(t, "STOP REPLICA")
	master.Exec(t, "UPDATE app.hot SET n = 7 WHERE id = 1")
	catchUp(t, lake, testenv.URL(master))
	lake.states(t, "live")
	master.Kill(t)

	// As long as it is a replica, it may still get them. Nothing that came again is committed before.
	list := testenv.URL(master, spare)
	p := startIngest(t, lake, list)
	p.waitForLog("some transactions come again")
	p.stop()
	if rows := lake.byDuckDB(t)(t, "hot", "SELECT n FROM %s WHERE id = 1"); fmt.Sprint(rows) != "[[7]]" {
		t.Errorf("the table has fallen back to %v", rows)
	}
	if used := lake.checkpoints(t)["hot"].Checkpoint.ServerUUID; used != master.UUID() {
		t.Errorf("the position is on %s, want it where it was", used)
	}
	lake.states(t, "live")
	p = startIngest(t, lake, list)
	p.waitForLog("some transactions come again")
	spare.Exec(t, "RESET REPLICA ALL", "UPDATE app.hot SET n = 9 WHERE id = 2")
	p.waitForLog("table is suspect until it is loaded again")
	p.stop()
	lake.states(t, "suspect")
}

// TestGTIDModesTooEarly: gtid_mode was set to ON before ingest had read what has no GTID. The server does not send it any
// more, and nothing is passed over; one mode back it does.
func TestGTIDModesTooEarly(t *testing.T) {
	s := testenv.MySQL(t, withoutGTIDs)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	s.Exec(t, "UPDATE app.hot SET n = 5", "SET GLOBAL enforce_gtid_consistency = ON")
	for _, mode := range []string{"OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"} {
		s.Exec(t, "SET GLOBAL gtid_mode = "+mode)
	}
	s.Exec(t, "UPDATE app.hot SET n = n + 1 WHERE id = 1")
	said, code := lake.verdicts(t, s)
	if v := said[s.Addr()]; code != 3 || v.Verdict != "wrong-settings" || !strings.Contains(v.Advice, "ON_PERMISSIVE") {
		t.Errorf("doctor: exit code %d, %+v", code, v)
	}
	ends(t, startIngest(t, lake, testenv.URL(s)), 3, "wrong-settings", "Cannot replicate anonymous transaction")
	s.Exec(t, "SET GLOBAL gtid_mode = ON_PERMISSIVE")
	catchUp(t, lake, testenv.URL(s), "--strict")
	s.Exec(t, "SET GLOBAL gtid_mode = ON", "UPDATE app.hot SET n = n + 1 WHERE id = 2")
	catchUp(t, lake, testenv.URL(s), "--strict")
	equal(t, s, lake.byDuckDB(t))
	lake.states(t, "live")
	if at := lake.checkpoints(t)["hot"].Checkpoint; at.Anonymous || at.GTIDSet != s.Executed(t) {
		t.Errorf("with gtid_mode ON the record is %+v", at)
	}
}

// TestEarliestAfterGTIDs: with gtid_mode ON a server does not send what has no GTID, and begins after it in silence. A table
// that begins there lacks rows, and says so.
func TestEarliestAfterGTIDs(t *testing.T) {
	s := testenv.MySQL(t, withoutGTIDs)
	s.Exec(t, schema, "FLUSH BINARY LOGS", "SET GLOBAL enforce_gtid_consistency = ON")
	for _, mode := range []string{"OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"} {
		s.Exec(t, "SET GLOBAL gtid_mode = "+mode)
	}
	s.Exec(t, "INSERT INTO app.hot VALUES (12, 1)")
	lake := localLake(t)
	p := startIngest(t, lake, testenv.URL(s), "--until", "caught-up")
	ends(t, p, 0, "begin with transactions that have no GTID")
	lake.states(t, "partial")
	rows := lake.byDuckDB(t)(t, "hot", "SELECT id, n FROM %s ORDER BY id")
	if fmt.Sprint(rows) != "[[12 1]]" {
		t.Errorf("hot has %v", rows)
	}
}

// TestGTIDModes: GTIDs are enabled on a running topology, by the statements of docs/runbooks.md, and one ingest after the
// other, killed in every mode, follows it without a gap. Then the position is a GTID set, and another server goes on
// from it. On the way back, too, nothing is lost.
func TestGTIDModes(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	steps := regexp.MustCompile(`(?m)^    (SET PERSIST (?:gtid_mode|enforce_gtid_consistency) = .*|SHOW STATUS LIKE .*);`).FindAllStringSubmatch(string(page), -1)
	if len(steps) != 6 {
		t.Fatalf("docs/runbooks.md has the statements %q", steps)
	}
	primary := testenv.MySQL(t, withoutGTIDs)
	replica := standby(t, primary)
	primary.Exec(t, schema)
	replica.CatchUp(t, primary)
	servers := []*testenv.Server{primary, replica}
	lake := localLake(t)
	w := newWorkload(33)
	stop := background(t, w, primary)
	begin := func() *tidemark { return startIngest(t, lake, testenv.URL(replica, primary), "--strict") }
	moves := func(p *tidemark) { // what is written now arrives
		t.Helper()
		primary.Exec(t, "INSERT INTO app.pair (a, b) VALUES (1000, 'mark') ON DUPLICATE KEY UPDATE n = n + 1")
		want := w.count.Load() + 30
		until(t, "more transactions", func() (bool, string) { return w.count.Load() > want, p.text() })
		replica.CatchUp(t, primary)
		before := lake.checkpoints(t)["hot"].Checkpoint
		until(t, "the lake moves on", func() (bool, string) {
			now := lake.checkpoints(t)["hot"].Checkpoint
			return now.Time > before.Time, p.text()
		})
	}
	p := begin()
	p.waitForLog("committed")
	for _, step := range steps {
		if strings.HasPrefix(step[1], "SHOW") {
			for _, s := range servers {
				until(t, "no anonymous transaction is under way", func() (bool, string) {
					rows := s.Query(t, step[1])
					return len(rows) == 1 && rows[0][1] == "0", fmt.Sprint(rows)
				})
			}
			replica.CatchUp(t, primary)
			until(t, "the lake has transactions with GTIDs", func() (bool, string) {
				return strings.Contains(lake.position(t), primary.UUID()), p.text()
			})
			continue
		}
		for _, s := range servers {
			s.Exec(t, step[1])
		}
		moves(p)
		mode := replica.Query(t, "SELECT @@global.gtid_mode")[0][0]
		said, code := lake.verdicts(t, replica, primary)
		if v := said[replica.Addr()]; code != 0 || v.Verdict != "can-serve" {
			t.Errorf("%s: doctor: exit code %d, %+v", mode, code, v)
		}
		if mode == "ON" {
			p.waitForLog("every transaction has a GTID from here on")
		}
		p.kill()
		p = begin()
		p.waitForLog("committed")
		moves(p)
	}
	p.kill()
	stop()
	catchUp(t, lake, testenv.URL(replica, primary), "--strict")
	equal(t, primary, lake.byDuckDB(t))
	lake.states(t, "live")
	if at := lake.checkpoints(t)["hot"].Checkpoint; at.Anonymous || at.GTIDSet != primary.Executed(t) {
		t.Errorf("with gtid_mode ON the record is %+v", at)
	}
	replica.Kill(t)
	primary.Exec(t, "UPDATE app.hot SET n = n + 1")
	catchUp(t, lake, testenv.URL(replica, primary), "--strict")
	equal(t, primary, lake.byDuckDB(t))

	// The way back, while it is followed.
	p = startIngest(t, lake, testenv.URL(primary), "--strict")
	p.waitForLog("reading")
	primary.Exec(t, "SET GLOBAL gtid_mode = ON_PERMISSIVE", "UPDATE app.hot SET n = n + 1", "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "UPDATE app.hot SET n = 8")
	p.waitForLog("reading by file and offset")
	until(t, "the lake has the last change", func() (bool, string) {
		return lake.byDuckDB(t)(t, "hot", "SELECT MIN(n) FROM %s")[0][0] == "8", p.text()
	})
	p.stop()
	equal(t, primary, lake.byDuckDB(t))
	lake.states(t, "live")
}

// TestLoadWithoutGTIDs: tables are loaded from a server without GTIDs while they change, over kills and a restart of the server, and
// again by `tidemark load`; when the server is lost in the middle, the load begins anew on another.
func TestLoadWithoutGTIDs(t *testing.T) {
	s := testenv.MySQL(t, withoutGTIDs)
	s.Exec(t, schema)
	many(t, s, 6000)
	s.Exec(t, "CREATE TABLE app.no_key (n INT); INSERT INTO app.no_key VALUES (1)")
	other := standby(t, s)
	lake := localLake(t)
	list := testenv.URL(s, other)
	noKey := []string{"--tables", "app.*,!app.ignored,!app.no_key", "--wait-for-server", "1s"}
	stop, stopChanges := background(t, newWorkload(33), s), changing(t, s, 6000, 34)
	slow := append(noKey, "--load-rate", "3000")

	p := startLoading(t, lake, list, slow...)
	read := func(p *tidemark) string { // waits for a range, and returns the server it was read from
		until(t, "a range is read", func() (bool, string) {
			progress, loading := lake.progress(t, "big")
			return loading && progress.Ranges > 0, p.text()
		})
		return lake.checkpoints(t)["big"].Checkpoint.ServerUUID
	}
	first := read(p)
	p.kill()
	p = startLoading(t, lake, list, slow...)
	p.waitForLog("the load goes on\" table=app.big")
	p.kill()
	used, left := s, other
	if first == other.UUID() {
		used, left = other, s
	}
	if used == s { // the workload needs it
		t.Logf("the load reads the source of the other")
	} else {
		used.Kill(t)
		p = startLoading(t, lake, list, slow...)
		p.waitForLog("waiting for the server that tables were read from before")
		p.waitForLog("cannot go on with another")
		if second := read(p); second != left.UUID() {
			t.Errorf("the load goes on with the server %s, want %s", second, left.UUID())
		}
		p.kill()
		used.Start(t)
	}
	p = startLoading(t, lake, list, noKey...)
	p.waitForLog("loaded table joins the stream\" table=app.big")
	p.waitForLog("opening the tables again")
	p.waitForLog("msg=committed table=app.hot")

	again := loadAgain(t, lake, list, "app.big", "--wait-for-ingest", "5m")
	ends(t, again, 0, "table is loaded by the ingest that writes it")
	stop()
	stopChanges()
	p.stop()
	catchUp(t, lake, list, append(noKey, "--start", "initial", "--strict")...)
	equal(t, s, lake.byDuckDB(t))
	equalTables(t, s, lake.byDuckDB(t), bigTable)
	lake.states(t, "live")
	ends(t, startIngest(t, lake, list, "--start", "initial", "--until", "caught-up"), 1, "app.no_key is not loaded", "it has no key, and the source no GTIDs")
}
