package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// TestExactUnderFaults runs a random workload while tidemark and its servers are killed, stopped and cut off, and then
// demands that DuckDB and Trino read from the lake what SQL reads from the source, row by row.
func TestExactUnderFaults(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		for name, make := range map[string]func(testing.TB) *place{"local": localLake, "minio": minioLake} {
			t.Run("v"+format+"/"+name, func(t *testing.T) { exactUnderFaults(t, make(t), format) })
		}
	}
}

func exactUnderFaults(t *testing.T, lake *place, format string) {
	const kills = 20
	rng := rand.New(rand.NewPCG(42, uint64(len(lake.uri))))
	cluster := testenv.Topology(t, 2)
	servers := cluster.Servers()
	proxies := map[string]*testenv.Proxy{}
	for _, s := range servers {
		proxies[s.UUID()] = s.Proxy(t)
	}
	// shuffled is the replica list, through the proxies, in a random order.
	shuffled := func() string {
		var hosts []string
		for _, i := range rng.Perm(len(servers)) {
			hosts = append(hosts, proxies[servers[i].UUID()].Addr())
		}
		return fmt.Sprintf("mysql://%s:%s@%s/", server.User, server.Password, strings.Join(hosts, ","))
	}
	cluster.Primary.Exec(t, schema)
	stopWorkload := background(t, newWorkload(uint64(len(format))), cluster.Primary)

	for i := range kills {
		p := startIngest(t, lake, shuffled(), "--format-version", format)
		select {
		case <-time.After(time.Duration(rng.IntN(1200)) * time.Millisecond): // a random moment
		case <-p.exited:
			t.Fatalf("ingest %d ended by itself:\n%s", i, p.text())
		}
		p.kill()
	}

	p := startIngest(t, lake, shuffled(), "--format-version", format)
	user := func() string { return lake.checkpoints(t)["wide"].Checkpoint.ServerUUID }
	moves := func(from *testenv.Server, what string) { // waits until another server serves
		until(t, "another server serves after "+what, func() (bool, string) { return user() != from.UUID(), p.text() })
	}
	position := func() string { return lake.checkpoints(t)["wide"].Checkpoint.GTIDSet }
	first := position()
	until(t, "ingest commits", func() (bool, string) { return position() != first, p.text() })
	byUUID := func(uuid string) *testenv.Server {
		for _, s := range servers {
			if s.UUID() == uuid {
				return s
			}
		}
		t.Fatalf("no server %s", uuid)
		return nil
	}
	for _, fault := range []struct {
		name        string
		begin, mend func(s *testenv.Server)
	}{
		{"SIGKILL", func(s *testenv.Server) { s.Kill(t) }, func(s *testenv.Server) { s.Start(t) }},
		{"SIGSTOP", func(s *testenv.Server) { s.Pause(t) }, func(s *testenv.Server) { s.Resume(t) }},
		{"a cut network", func(s *testenv.Server) { proxies[s.UUID()].Cut(t) }, func(s *testenv.Server) { proxies[s.UUID()].Heal(t) }},
		{"a silent network", func(s *testenv.Server) { proxies[s.UUID()].Blackhole(t) }, func(s *testenv.Server) { proxies[s.UUID()].Heal(t) }},
	} {
		used := byUUID(user())
		if used == cluster.Primary && (fault.name == "SIGKILL" || fault.name == "SIGSTOP") {
			// The workload needs the primary: cut it off for tidemark, so that it takes a replica.
			proxies[used.UUID()].Cut(t)
			moves(used, "a cut network")
			proxies[used.UUID()].Heal(t)
			used = byUUID(user())
		}
		fault.begin(used)
		moves(used, fault.name)
		fault.mend(used)
	}
	stopWorkload()
	p.stop()

	cluster.Sync(t)
	catchUp(t, lake, shuffled(), "--format-version", format)
	want := cluster.Primary.Executed(t)
	for table, r := range lake.checkpoints(t) {
		if r.Checkpoint.GTIDSet != want {
			t.Errorf("%s is at %s, the source at %s", table, r.Checkpoint.GTIDSet, want)
		}
		if r.Checkpoint.State != "live" {
			t.Errorf("%s is %s", table, r.Checkpoint.State)
		}
	}
	equal(t, cluster.Primary, lake.byDuckDB(t))
	equal(t, cluster.Primary, lake.byTrino(t))
}

// TestFailoverIsQuick measures what a dead server costs: its successor's changes are committed within 5 s plus the
// commit interval. That it happens at all within the test's patience is asserted; the time is logged.
func TestFailoverIsQuick(t *testing.T) {
	cluster := testenv.Topology(t, 2)
	cluster.Primary.Exec(t, schema)
	lake := localLake(t)
	stop := background(t, newWorkload(9), cluster.Primary)
	defer stop()
	p := startIngest(t, lake, testenv.URL(cluster.Replicas[0], cluster.Replicas[1]))
	p.waitForLog("committed")
	used := lake.checkpoints(t)["hot"].Checkpoint.ServerUUID
	for _, s := range cluster.Replicas {
		if s.UUID() == used {
			s.Kill(t)
		}
	}
	killed := time.Now()
	until(t, "the other replica's changes are committed", func() (bool, string) {
		r := lake.checkpoints(t)["hot"].Checkpoint
		return r.ServerUUID != used, p.text()
	})
	t.Logf("committed from the other replica %s after the kill (200 ms commit interval)", time.Since(killed).Round(10*time.Millisecond))
}

// TestTwoIngestsAtOnce lets a second ingest take the tables over: the older one stops with exit code 4, and nothing is
// lost or doubled.
func TestTwoIngestsAtOnce(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *place{"local": localLake, "minio": minioLake} {
		t.Run(name, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := make(t)
			stop := background(t, newWorkload(5), s)
			older := startIngest(t, lake, testenv.URL(s))
			older.waitForLog("committed")
			newer := startIngest(t, lake, testenv.URL(s))
			if code := older.wait(); code != 4 {
				t.Fatalf("the older ingest ended with code %d, want 4:\n%s", code, older.text())
			}
			newer.waitForLog("committed")
			stop()
			newer.stop()
			catchUp(t, lake, testenv.URL(s))
			equal(t, s, lake.byDuckDB(t))
		})
	}
}
