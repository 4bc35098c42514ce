package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestLoadPauses: a load leaves a replica alone while it lags, and a server that is busy with other statements.
func TestLoadPauses(t *testing.T) {
	cluster := testenv.Topology(t, 1)
	replica := cluster.Replicas[0]
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	delay := func(seconds int) {
		replica.Exec(t, "STOP REPLICA SQL_THREAD", fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = %d", seconds), "START REPLICA SQL_THREAD")
	}
	paused := func(args ...string) (*tidemark, *place) {
		t.Helper()
		lake := localLake(t)
		p := startLoading(t, lake, testenv.URL(replica), args...)
		p.waitForLog("the load pauses")
		if strings.Contains(p.text(), "msg=loaded") {
			t.Errorf("it reads on:\n%s", p.text())
		}
		return p, lake
	}

	delay(3600)
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 5")
	until(t, "the replica lags", func() (bool, string) {
		said, _ := localLake(t).verdicts(t, replica)
		return said[replica.Addr()].Lag > 1, fmt.Sprint(said)
	})
	p, lake := paused("--load-max-lag", "1s")
	delay(0)
	p.waitForLog("the load goes on")
	loaded(t, lake, testenv.URL(replica), cluster.Primary, func() { cluster.Sync(t) }, p)

	busy := replica.Session(t, "")
	done := make(chan error, 1)
	go func() { done <- busy.Exec("DO SLEEP(3600)") }()
	running := func() [][]string {
		return replica.Query(t, "SELECT id FROM performance_schema.processlist WHERE info LIKE 'DO SLEEP%'")
	}
	until(t, "the server is busy", func() (bool, string) { return len(running()) == 1, "" })
	p, lake = paused("--load-max-running", "1")
	p.stop() // a load that pauses ends when it is told to
	p = startLoading(t, lake, testenv.URL(replica), "--load-max-running", "40")
	loaded(t, lake, testenv.URL(replica), cluster.Primary, func() {}, p)
	replica.Exec(t, "KILL QUERY "+running()[0][0])
	if err := <-done; err != nil {
		t.Error(err)
	}
}
