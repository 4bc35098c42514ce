package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// Failures that cost others days, one test each; docs/runbooks.md has them as run-books.

// verdicts runs doctor over servers and returns what it says of each, by address, and its exit code.
func (p *place) verdicts(t testing.TB, servers ...*testenv.Server) (map[string]verdict, int) {
	t.Helper()
	args := append([]string{"doctor", "--json", "--source", testenv.URL(servers...), "--tables", "app.*,!app.ignored"}, p.args...)
	code, out, log := run(t, p.env, args...)
	var list []verdict
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("doctor: exit code %d: %v\n%s%s", code, err, out, log)
	}
	m := map[string]verdict{}
	for _, v := range list {
		m[v.Host] = v
	}
	return m, code
}

type verdict struct {
	Host    string  `json:"host"`
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason"`
	Advice  string  `json:"advice"`
	Missing string  `json:"missing"`
	Errant  string  `json:"errant"`
	Lag     float64 `json:"lag_seconds"`
}

// position is the GTID set that table hot is at.
func (p *place) position(t testing.TB) string {
	t.Helper()
	return p.checkpoints(t)["hot"].Checkpoint.GTIDSet
}

// reaches waits until every table has what the source has now.
func (p *place) reaches(t testing.TB, source *testenv.Server, ingest *tidemark) {
	t.Helper()
	want := source.Executed(t)
	until(t, "every table is at "+want, func() (bool, string) {
		for _, r := range p.checkpoints(t) {
			if r.Checkpoint.GTIDSet != want {
				return false, ingest.text()
			}
		}
		return true, ""
	})
}

// TestStory1ReplicaLost: the replica in use dies and comes back without its binary logs. The position exists on the
// others, under other file names.
func TestStory1ReplicaLost(t *testing.T) {
	cluster := testenv.Topology(t, 2)
	lost, other := cluster.Replicas[0], cluster.Replicas[1]
	for range 7 {
		other.Exec(t, "FLUSH BINARY LOGS") // the same transactions are in files of other names, and names mean other transactions
	}
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	lake := minioLake(t)
	stop := background(t, newWorkload(21), cluster.Primary)
	p := startIngest(t, lake, testenv.URL(lost))
	p.waitForLog("committed")
	lost.Kill(t)
	p.waitForLog("unreachable")
	p.stop()

	lost.Start(t)
	before := lake.position(t)
	stop()
	cluster.Sync(t)
	lost.Purge(t)
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = n + 1")
	cluster.Sync(t)
	list := []*testenv.Server{lost, other, cluster.Primary}
	said, code := lake.verdicts(t, list...)
	if code != 0 || said[lost.Addr()].Verdict != "purged" || said[other.Addr()].Verdict != "can-serve" || said[cluster.Primary.Addr()].Verdict != "can-serve" {
		t.Errorf("doctor: exit code %d, %+v", code, said)
	}
	if v := said[lost.Addr()]; !strings.Contains(v.Advice, other.Addr()) || !strings.Contains(v.Missing, cluster.Primary.UUID()) {
		t.Errorf("doctor names neither what is missing nor who has it: %+v", v)
	}
	ends(t, startIngest(t, lake, testenv.URL(lost)), 3, "purged", lost.Addr(), cluster.Primary.UUID())
	if at := lake.position(t); at != before {
		t.Errorf("a refused start moved the position from %s to %s", before, at)
	}
	catchUp(t, lake, testenv.URL(list...))
	if lake.checkpoints(t)["hot"].Checkpoint.ServerUUID != other.UUID() {
		t.Errorf("it did not go on from the replica that has the position")
	}
	equal(t, cluster.Primary, lake.byDuckDB(t))
	equal(t, cluster.Primary, lake.byTrino(t))

	// Purged everywhere: no server is left, and the tables stay what they are.
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = n + 1")
	cluster.Sync(t)
	for _, s := range list {
		s.Purge(t)
	}
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = n - 1")
	cluster.Sync(t)
	if _, code := lake.verdicts(t, list...); code != 3 {
		t.Errorf("doctor: exit code %d when every server has purged the position, want 3", code)
	}
	ends(t, startIngest(t, lake, testenv.URL(list...)), 3, "purged", lost.Addr(), other.Addr(), cluster.Primary.Addr(), "tidemark load")
}

// TestStory1PromotedWhileBehind: the primary is gone, and the replica that took its place had not got everything that the
// lake has. It goes on with transactions of its own; what the lake has is not its history.
func TestStory1PromotedWhileBehind(t *testing.T) {
	cluster := testenv.Topology(t, 1)
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	promoted := cluster.Replicas[0]
	promoted.Exec(t, "STOP REPLICA")
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 7")
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(cluster.Primary))
	lost := cluster.Primary.UUID()
	before := lake.byDuckDB(t)(t, "hot", "SELECT * FROM %s ORDER BY id")
	cluster.Primary.Kill(t)
	promoted.Exec(t, "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF", "UPDATE app.hot SET n = 8 WHERE id = 1")

	said, code := lake.verdicts(t, cluster.Primary, promoted)
	if v := said[promoted.Addr()]; code != 3 || v.Verdict != "diverged" || !strings.Contains(v.Missing, lost) {
		t.Errorf("doctor: exit code %d, %+v", code, v)
	}
	ends(t, startIngest(t, lake, testenv.URL(promoted)), 3, "diverged", promoted.Addr(), lost, "tidemark load")
	if after := lake.byDuckDB(t)(t, "hot", "SELECT * FROM %s ORDER BY id"); !slices.EqualFunc(before, after, slices.Equal[[]string]) {
		t.Errorf("the refused start changed the table from %v to %v", before, after)
	}
}

// TestStory1Zombie: our own connection of before hangs on at the server, and a stranger reads with whatever server id: both
// are in nobody's way.
func TestStory1Zombie(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	stop := background(t, newWorkload(22), s)
	zombie := startIngest(t, lake, testenv.URL(s), "--checkpoint-idle-interval", "200ms")
	zombie.waitForLog("committed")
	stop()
	lake.reaches(t, s, zombie) // so that its dump waits for changes: one that waits for a hung reader notices nothing before net_write_timeout
	zombie.signal(syscall.SIGSTOP)
	dumps := func() [][]string {
		return s.Query(t, "SELECT id FROM performance_schema.processlist WHERE command LIKE 'Binlog Dump%'")
	}
	old := dumps()
	p := startIngest(t, lake, testenv.URL(s))
	p.waitForLog("reading")
	stop = background(t, newWorkload(25), s)
	p.waitForLog("committed")
	until(t, "the new connection has taken the old one's place", func() (bool, string) {
		now := dumps()
		return len(old) == 1 && len(now) == 1 && now[0][0] != old[0][0], fmt.Sprintf("%v, then %v", old, now)
	})
	stop()
	p.stop()
	zombie.signal(syscall.SIGCONT)
	if code := zombie.wait(); code != 4 {
		t.Errorf("the ingest that woke up ended with code %d, want 4:\n%s", code, zombie.text())
	}
	catchUp(t, lake, testenv.URL(s))
	equal(t, s, lake.byDuckDB(t))
}

// TestStory2BlueGreen: writes move to a new cluster of other server UUIDs and file names. The host names in the list lead
// there from one moment to the next; for a while it refuses connections and is read-only. Nobody does anything.
func TestStory2BlueGreen(t *testing.T) {
	blue := testenv.Topology(t, 1)
	blue.Primary.Exec(t, schema)
	green := testenv.AddReplica(t, blue.Primary)
	standby := testenv.AddReplica(t, green)
	names := []*testenv.Proxy{blue.Replicas[0].Proxy(t), blue.Primary.Proxy(t)}
	list := fmt.Sprintf("mysql://%s:%s@%s,%s/", server.User, server.Password, names[0].Addr(), names[1].Addr())
	for range 3 {
		green.Exec(t, "FLUSH BINARY LOGS")
	}
	lake := minioLake(t)
	stop := background(t, newWorkload(23), blue.Primary)
	p := startIngest(t, lake, list, "--checkpoint-idle-interval", "200ms")
	p.waitForLog("committed")

	// Before the switch, doctor says of green that it will do: it has what the lake lacks, or will have it in a moment.
	said, _ := lake.verdicts(t, green, standby)
	for _, s := range []*testenv.Server{green, standby} {
		if v := said[s.Addr()]; v.Verdict != "can-serve" && v.Verdict != "behind" {
			t.Errorf("doctor says of a server of the new cluster: %+v", v)
		}
	}

	// The switch: blue stops taking writes, green gets the rest, and the names move.
	stop()
	blue.Primary.Exec(t, "SET GLOBAL super_read_only = ON")
	final := blue.Primary.Executed(t)
	for _, n := range names {
		n.Cut(t)
	}
	p.waitForLog("lost the server")
	green.WaitFor(t, final)
	standby.WaitFor(t, final)
	names[0].Retarget(t, standby)
	names[1].Retarget(t, green)
	blue.Primary.Kill(t)
	blue.Replicas[0].Kill(t)
	p.waitForLog("reading server=" + names[0].Addr())
	green.Exec(t, "STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")

	stop = background(t, newWorkload(24), green)
	until(t, "changes of the new cluster are committed", func() (bool, string) {
		return strings.Contains(lake.position(t), green.UUID()), p.text()
	})
	stop()
	standby.WaitFor(t, green.Executed(t))
	lake.reaches(t, green, p)
	p.stop()
	equal(t, green, lake.byDuckDB(t))
	equal(t, green, lake.byTrino(t))
	for table, r := range lake.checkpoints(t) {
		if r.Checkpoint.State != "live" || !strings.Contains(r.Checkpoint.GTIDSet, blue.Primary.UUID()) {
			t.Errorf("%s is %s at %s", table, r.Checkpoint.State, r.Checkpoint.GTIDSet)
		}
	}
}

// TestStory3Hole: a start from what a replica had seen since it was set up, and not from what it had before. The answer names
// what is missing, who has purged it, and the set that was probably meant; started from that, the table has no hole.
func TestStory3Hole(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	s.Purge(t)
	had := s.Executed(t)
	s.Exec(t, "UPDATE app.hot SET n = 1", "UPDATE app.hot SET n = 2", "UPDATE app.hot SET n = 3")
	var n int
	if _, err := fmt.Sscan(strings.TrimPrefix(had, s.UUID()+":1-"), &n); err != nil {
		t.Fatal(err)
	}
	lake := localLake(t)
	given, meant := fmt.Sprintf("%s:%d-%d", s.UUID(), n+1, n+2), fmt.Sprintf("%s:1-%d", s.UUID(), n+2)
	ends(t, startIngest(t, lake, testenv.URL(s), "--start", "gtid:"+given), 3, "purged", s.Addr(), had, "everything before it", meant)
	if got := lake.checkpoints(t); len(got) != 0 {
		t.Errorf("a refused start left %v", got)
	}
	catchUp(t, lake, testenv.URL(s), "--start", "gtid:"+meant)
	if c := lake.checkpoints(t)["hot"].Checkpoint; c.GTIDSet != s.Executed(t) || c.State != "partial" {
		t.Errorf("the lake is %s at %s, want partial at %s", c.State, c.GTIDSet, s.Executed(t))
	}
}

// TestStory5RightServer: of replicas that lag, that have purged, that have more than their source and that are well, the one
// that is well is read, and doctor has the right word for each.
func TestStory5RightServer(t *testing.T) {
	cluster := testenv.Topology(t, 4)
	behind, purged, errant, well := cluster.Replicas[0], cluster.Replicas[1], cluster.Replicas[2], cluster.Replicas[3]
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	behind.Exec(t, "STOP REPLICA")
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 1")
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(cluster.Primary))
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 2")
	for _, s := range []*testenv.Server{purged, errant, well} {
		s.WaitFor(t, cluster.Primary.Executed(t))
	}
	purged.Purge(t)
	errant.Exec(t, "SET GLOBAL super_read_only = OFF", "INSERT INTO app.hot VALUES (99, 99)")
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 3")
	for _, s := range []*testenv.Server{purged, errant, well} {
		s.WaitFor(t, cluster.Primary.Executed(t))
	}
	list := []*testenv.Server{behind, purged, errant, cluster.Primary, well}
	said, code := lake.verdicts(t, list...)
	if code != 0 {
		t.Errorf("doctor: exit code %d", code)
	}
	for _, want := range []struct {
		s       *testenv.Server
		verdict string
		named   string
	}{
		{behind, "behind", cluster.Primary.UUID()},
		{purged, "purged", cluster.Primary.UUID()},
		{errant, "diverged", errant.UUID()},
		{cluster.Primary, "can-serve", ""},
		{well, "can-serve", ""},
	} {
		if v := said[want.s.Addr()]; v.Verdict != want.verdict || !strings.Contains(v.Missing+v.Errant, want.named) {
			t.Errorf("%s: %+v; want %s, with %q named", want.s.Addr(), v, want.verdict, want.named)
		}
	}
	catchUp(t, lake, testenv.URL(list...))
	if used := lake.checkpoints(t)["hot"].Checkpoint.ServerUUID; used != well.UUID() {
		t.Errorf("it read %s, want %s, the replica that is well", used, well.UUID())
	}
	equal(t, cluster.Primary, lake.byDuckDB(t))
}
