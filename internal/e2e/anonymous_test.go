package e2e

import (
	"fmt"
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
	said, code := lake.verdicts(t, s)
	if v := said[s.Addr()]; code != 0 || v.Verdict != "can-serve" || !strings.Contains(v.Reason, "by file and offset, exactly from "+at.File) {
		t.Errorf("doctor: exit code %d, %+v", code, v)
	}

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
