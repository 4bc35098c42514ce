package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestPrivileges: the GRANTs of docs/operating.md are all that ingest and doctor take, and with less the former goes on as
// the page says.
func TestPrivileges(t *testing.T) {
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	grants := regexp.MustCompile(`(?m)^    (CREATE USER|GRANT) .*;$`).FindAllString(string(page), -1)
	if len(grants) != 3 {
		t.Fatalf("docs/operating.md has the statements %q, want a user and two GRANTs", grants)
	}
	cluster := testenv.Topology(t, 1, testenv.ReadOnly())
	primary, replica := cluster.Primary, cluster.Replicas[0]
	primary.Exec(t, schema)
	for _, statement := range grants {
		primary.Exec(t, strings.NewReplacer("tide", "least", "shop", "app", "'...'", "'least-pw'").Replace(statement))
	}
	cluster.Sync(t)
	as := func(s *testenv.Server) string { return "mysql://least:least-pw@" + s.Addr() + "/" }
	for _, s := range cluster.Servers() {
		lake, loaded := localLake(t), localLake(t)
		catchUp(t, lake, as(s))
		equal(t, primary, lake.byDuckDB(t))
		catchUp(t, loaded, as(s), "--start", "initial")
		equal(t, primary, loaded.byDuckDB(t))
		said := lake.doctor(t, as(s), 0)[s.Addr()]
		says(t, said, `  privileges  REPLICATION SLAVE, REPLICATION CLIENT, sees 5 followed tables`, `  filters     none`)
		if strings.Contains(said, "could not look at") || strings.Contains(said, "  note ") {
			t.Errorf("doctor has something to note:\n%s", said)
		}
	}
	for _, c := range []struct{ revoke, says string }{
		{"REVOKE REPLICATION CLIENT ON *.* FROM least", `  note        could not look at .*\(takes REPLICATION CLIENT\)`},
		{"REVOKE SELECT ON app.* FROM least", `  note        the user sees no followed table on it: .*`},
	} {
		primary.Exec(t, c.revoke, "UPDATE app.hot SET n = n + 1")
		cluster.Sync(t)
		for _, s := range cluster.Servers() {
			lake := localLake(t)
			catchUp(t, lake, as(s))
			equal(t, primary, lake.byDuckDB(t))
			says(t, lake.doctor(t, as(s), 0)[s.Addr()], c.says)
		}
	}
	primary.Exec(t, "REVOKE REPLICATION SLAVE ON *.* FROM least")
	cluster.Sync(t)
	ends(t, startIngest(t, localLake(t), as(replica)), 1, "REPLICATION SLAVE")
}
