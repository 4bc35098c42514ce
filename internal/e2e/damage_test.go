package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestDamagedTable: a file that a table's metadata refers to is gone. Ingest says which and goes on trying, ends at once when it is asked
// to, and goes on when the file is back.
func TestDamagedTable(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	s.Exec(t, "UPDATE app.hot SET n = n + 1")
	lists, err := filepath.Glob(filepath.Join(strings.TrimPrefix(lake.path("hot"), "file://"), "metadata", "snap-*.avro"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("no manifest list in %s: %v", lake.path("hot"), err)
	}
	for _, list := range lists {
		if err := os.Rename(list, list+".away"); err != nil {
			t.Fatal(err)
		}
	}
	p := startIngest(t, lake, testenv.URL(s))
	p.waitForLog("starting again from the last commit")
	if !strings.Contains(p.text(), "app.hot: open") || !strings.Contains(p.text(), filepath.Base(lists[len(lists)-1])) {
		t.Errorf("the log should name table and file:\n%s", p.text())
	}
	asked := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	t.Logf("ended %s after SIGTERM", time.Since(asked).Round(time.Millisecond))

	p = startIngest(t, lake, testenv.URL(s))
	p.waitForLog("starting again from the last commit")
	for _, list := range lists {
		if err := os.Rename(list+".away", list); err != nil {
			t.Fatal(err)
		}
	}
	p.waitForLog("msg=committed table=app.hot")
	p.stop()
	equal(t, s, lake.byDuckDB(t))
}
