package e2e

import (
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
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
