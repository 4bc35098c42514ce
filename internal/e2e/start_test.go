package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// coordinates are where a server's log stands now, as an operator reads them.
func coordinates(t testing.TB, s *testenv.Server) (file, offset string) {
	t.Helper()
	row := s.Query(t, "SHOW BINARY LOG STATUS")[0]
	return row[0], row[1]
}

// TestStartingPointsSearchedFor: from a GTID set, a time and a file with an offset, a table begins with the same transaction.
func TestStartingPointsSearchedFor(t *testing.T) {
	cluster := testenv.Topology(t, 1)
	p, r := cluster.Primary, cluster.Replicas[0]
	r.Exec(t, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS") // its files have other names
	p.Exec(t, schema, "INSERT INTO app.hot VALUES (10, 1)", "FLUSH BINARY LOGS", "INSERT INTO app.hot VALUES (11, 1)")
	before := cluster.Sync(t)
	at := strings.Replace(p.Query(t, "SELECT CAST(NOW(6) AS CHAR)")[0][0], " ", "T", 1) + "Z"
	file, offset := coordinates(t, p)
	replicaFile, replicaOffset := coordinates(t, r)
	p.Exec(t, "INSERT INTO app.hot VALUES (12, 1)", "UPDATE app.hot SET n = 2 WHERE id = 12")
	cluster.Sync(t)
	both := testenv.URL(r, p)
	for name, c := range map[string]struct{ source, start string }{
		"gtid":                  {both, "gtid:" + before},
		"timestamp":             {both, "timestamp:" + at},
		"file":                  {testenv.URL(p), fmt.Sprintf("file:%s:%s", file, offset)},
		"file of a server":      {both, fmt.Sprintf("file:%s:%s@%s", file, offset, p.Addr())},
		"file of another, read": {both, fmt.Sprintf("file:%s:%s@%s", replicaFile, replicaOffset, r.Addr())},
	} {
		t.Run(name, func(t *testing.T) {
			lake := localLake(t)
			catchUp(t, lake, c.source, "--start", c.start)
			rows := lake.byDuckDB(t)(t, "hot", "SELECT id, n FROM %s ORDER BY id")
			if fmt.Sprint(rows) != "[[12 2]]" {
				t.Errorf("hot has %v, want the row of after the starting point alone", rows)
			}
			got := lake.checkpoints(t)["hot"].Checkpoint
			if got.State != "partial" || got.GTIDSet != p.Executed(t) {
				t.Errorf("%+v, want everything before the starting point in the set, and the state partial", got)
			}
		})
	}
	lake := localLake(t)
	old := p.Query(t, "SELECT CAST(NOW(6) - INTERVAL 1 DAY AS CHAR)")[0][0]
	ends(t, startIngest(t, lake, both, "--start", "timestamp:"+strings.Replace(old, " ", "T", 1)+"Z"), 3, "back to", p.Addr()+" has events from", r.Addr()+" has events from")
	ends(t, startIngest(t, lake, both, "--start", fmt.Sprintf("file:%s:%s@%s", file, "300", p.Addr())), 2, "the boundary before it is "+file+":")
	ends(t, startIngest(t, lake, both, "--start", fmt.Sprintf("file:%s:%s", file, offset)), 2, "add @HOST:PORT", p.Addr())
	ends(t, startIngest(t, lake, both, "--start", fmt.Sprintf("file:%s:%s@127.0.0.1:1", file, offset)), 2, "not in the list")
	ends(t, startIngest(t, lake, both, "--start", "timestamp:yesterday"), 2, "2026-03-01T12:30:00Z")
	ends(t, startIngest(t, lake, both, "--start", "file:bin.000001"), 2, "mysql-bin.000123:4567")
	ends(t, startIngest(t, lake, both, "--start", "file:nothing.000001:4@"+p.Addr()), 2, "no binary log file of that name")
}

// TestStartPurgedSinceItBegan: a restart with the same command line does not look for the starting point again.
func TestStartPurgedSinceItBegan(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	file, offset := coordinates(t, s)
	start := fmt.Sprintf("file:%s:%s", file, offset)
	lake := localLake(t)
	s.Exec(t, "INSERT INTO app.hot VALUES (12, 1)")
	catchUp(t, lake, testenv.URL(s), "--start", start)
	s.Purge(t)
	s.Exec(t, "INSERT INTO app.hot VALUES (13, 1)")
	catchUp(t, lake, testenv.URL(s), "--start", start)
	rows := lake.byDuckDB(t)(t, "hot", "SELECT id, n FROM %s ORDER BY id")
	if fmt.Sprint(rows) != "[[12 1] [13 1]]" {
		t.Errorf("hot has %v", rows)
	}
}

// TestStory3GapBeforeTheSet: a position that holds only what was read since the start, given for one that means everything
// before it. What is missing is named, where, and the set that was meant, which works.
func TestStory3GapBeforeTheSet(t *testing.T) {
	s := testenv.MySQL(t)
	const origin = "bd144043-3a6d-11ee-9d4c-0242ac120002"
	s.Exec(t, "RESET BINARY LOGS AND GTIDS", "SET GLOBAL gtid_purged = '"+origin+":1-38823'", "SET SESSION sql_log_bin = 0; "+schema)
	var b strings.Builder
	for gno := 38824; gno <= 38961; gno++ {
		fmt.Fprintf(&b, "SET gtid_next = '%s:%d'; BEGIN; COMMIT;\n", origin, gno)
	}
	s.Exec(t, b.String()+"SET gtid_next = 'AUTOMATIC'", "INSERT INTO app.hot VALUES (12, 1)")
	lake := localLake(t)
	given, meant := origin+":38952-38961", origin+":1-38961"
	p := startIngest(t, lake, testenv.URL(s), "--start", "gtid:"+given)
	ends(t, p, 3, s.Addr()+"  purged", "38823 transactions that the position lacks: "+origin+":1-38823", "probably meant", "--start 'gtid:"+meant+"'")
	if len(lake.checkpoints(t)) != 0 {
		t.Error("a refused start made tables")
	}
	catchUp(t, lake, testenv.URL(s), "--start", "gtid:"+meant)
	rows := lake.byDuckDB(t)(t, "hot", "SELECT id, n FROM %s ORDER BY id")
	if fmt.Sprint(rows) != "[[12 1]]" {
		t.Errorf("hot has %v", rows)
	}
}

// TestCheckpointSet: a position is moved by hand: back, which changes nothing in the end; forward, which is refused where it
// would skip what the lake lacks; and never to where no server can go on.
func TestCheckpointSet(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	early := s.Executed(t)
	lake := localLake(t)
	stop := background(t, newWorkload(35), s)
	p := startIngest(t, lake, testenv.URL(s))
	p.waitForLog("committed")
	set := func(more ...string) *tidemark {
		args := append([]string{"checkpoint", "set", "--source", testenv.URL(s), "--tables", "app.*"}, lake.args...)
		return start(t, lake.env, append(args, more...)...)
	}
	until(t, "some transactions are in the lake", func() (bool, string) { return lake.position(t) != early, p.text() })

	// Back, under a running ingest: it ends, and the next one goes on from there.
	ends(t, set("--gtid", early, "--reason", "a drill"), 0, "app.hot: moved from", "comes again")
	ends(t, p, 4, "taken over")
	stop()
	record := lake.checkpoints(t)["hot"].Checkpoint
	if record.GTIDSet != early || !strings.Contains(record.Note, "a drill") {
		t.Errorf("the record is %+v", record)
	}
	catchUp(t, lake, testenv.URL(s), "--strict")
	equal(t, s, lake.byDuckDB(t))
	lake.states(t, "live")
	if record := lake.checkpoints(t)["hot"].Checkpoint; record.GTIDSet != s.Executed(t) || !strings.Contains(record.Note, "a drill") {
		t.Errorf("the record is %+v, want it at the end, and the note kept", record)
	}

	// Forward, over what the lake lacks.
	before := s.Executed(t)
	s.Exec(t, "UPDATE app.hot SET n = 5")
	last := s.UUID() + ":" + strings.TrimPrefix(s.Executed(t), s.UUID()+":1-")
	ends(t, set("--gtid", s.Executed(t), "--reason", "impatience"), 1, "nothing was moved", "app.hot lacks "+last, "--allow-skip")
	ends(t, set("--gtid", s.UUID()+":1-999999", "--reason", "a guess"), 3, "diverged", s.Addr())
	ends(t, set("--gtid", "nonsense", "--reason", "x"), 2, "nonsense")
	ends(t, set("--gtid", before), 2, "--reason is missing")
	if at := lake.position(t); at != before {
		t.Errorf("a refused move moved the position from %s to %s", before, at)
	}
	ends(t, set("--gtid", s.Executed(t), "--reason", "impatience", "--allow-skip"), 0, "app.hot: moved from")
	lake.states(t, "suspect")
	ends(t, startIngest(t, lake, testenv.URL(s), "--until", "caught-up"), 0)
}
