package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// TestTLS follows a server that refuses plain connections, and refuses one whose certificate is not the one asked for.
func TestTLS(t *testing.T) {
	s := testenv.MySQL(t, testenv.Args("--require-secure-transport=ON"))
	s.Exec(t, schema)
	ca := filepath.Join(s.DataDir(), "ca.pem") // the server makes its own authority at its first start
	url := func(query string) string { return testenv.URL(s) + "?" + query }
	for _, good := range []string{"tls=required", "tls=preferred", "tls=verify-ca&tls-ca=" + ca} {
		lake := localLake(t)
		catchUp(t, lake, url(good))
		equal(t, s, lake.byDuckDB(t))
	}
	for bad, says := range map[string]string{
		"tls=off":                        "require_secure_transport",
		"tls=verify-ca":                  "certificate",
		"tls=verify-full&tls-ca=" + ca:   "certificate",
		"tls=verify-ca&tls-ca=/nowhere/": "/nowhere/",
	} {
		t.Run(bad, func(t *testing.T) {
			ends(t, startIngest(t, localLake(t), url(bad), "--until", "caught-up"), 1, says)
		})
	}
}

// TestConfigurationFile runs ingest with nothing but a file and the password in the environment.
func TestConfigurationFile(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	file := filepath.Join(t.TempDir(), "tidemark.yaml")
	text := fmt.Sprintf(`source: mysql://%s@%s/
lake: %s
tables: [app.*, '!app.ignored']
start: earliest
until: caught-up
commit-interval: 200ms
checkpoint:
  idle-interval: 1m
`, server.User, s.Addr(), lake.uri)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ends(t, start(t, []string{"TIDEMARK_SOURCE_PASSWORD=" + server.Password}, "ingest", "-c", file), 0)
	equal(t, s, lake.byDuckDB(t))
}

// TestServeInsideIngest reads through the catalog that a running ingest serves.
func TestServeInsideIngest(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	p := startIngest(t, lake, testenv.URL(s), "--serve", "127.0.0.1:0", "--checkpoint-idle-interval", "200ms")
	p.waitForLog("committed")
	duck := testenv.DuckDB(t)
	duck.Attach(t, "lake", p.served())
	want := s.Executed(t)
	until(t, "everything is committed", func() (bool, string) {
		for table := range tables {
			if lake.checkpoints(t)[table].Checkpoint.GTIDSet != want {
				return false, p.text()
			}
		}
		return true, ""
	})
	equal(t, s, func(t testing.TB, table, sql string) [][]string {
		return duck.Query(t, fmt.Sprintf(sql, "lake.app."+table))
	})
	p.stop()
}

// TestStartingPoints: latest takes what comes, a GTID set takes what is not in it, earliest everything there is.
func TestStartingPoints(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	middle := s.Executed(t)
	s.Exec(t, "INSERT INTO app.hot VALUES (10, 1)")
	latest := localLake(t)
	args := func(lake *place, from string) []string {
		return append([]string{"ingest", "--source", testenv.URL(s), "--tables", "app.hot", "--start", from, "--until", "caught-up"}, lake.args...)
	}
	ends(t, start(t, nil, args(latest, "latest")...), 0)
	s.Exec(t, "INSERT INTO app.hot VALUES (11, 1)")
	ends(t, start(t, nil, args(latest, "latest")...), 0)
	given, all := localLake(t), localLake(t)
	ends(t, start(t, nil, args(given, "gtid:"+middle)...), 0)
	ends(t, start(t, nil, args(all, "earliest")...), 0)
	for _, c := range []struct {
		lake        *place
		rows, state string
	}{
		{latest, "[[11]]", "partial"},
		{given, "[[10] [11]]", "partial"},
		{all, "[[1] [2] [3] [10] [11]]", "live"},
	} {
		if got := fmt.Sprint(c.lake.byDuckDB(t)(t, "hot", "SELECT id FROM %s ORDER BY id")); got != c.rows {
			t.Errorf("the lake has %s, want %s", got, c.rows)
		}
		if got := c.lake.checkpoints(t)["hot"].Checkpoint.State; got != c.state {
			t.Errorf("the table is %s, want %s", got, c.state)
		}
	}
	ends(t, start(t, nil, args(localLake(t), "gtid:"+strings.Replace(middle, ":1-", ":1-1000", 1))...), 3, "diverged")
}

// TestSecondSignal: the first signal asks for a clean end, which a client that never finishes its request holds up; the
// second ends the process at once.
func TestSecondSignal(t *testing.T) {
	lake := localLake(t)
	p := start(t, lake.env, append([]string{"serve", "--listen", "127.0.0.1:0"}, lake.args...)...)
	address := p.served()
	client, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("GET /v1/config HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	// Connections are accepted in their order: once another's request is answered, the server has the client's. One
	// that still waits to be accepted does not hold a clean end up.
	other, err := http.Get(address + "/v1/config")
	if err != nil {
		t.Fatal(err)
	}
	other.Body.Close()
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != 1 || strings.Contains(p.text(), "tidemark: ") {
		t.Errorf("exit code %d:\n%s", code, p.text())
	}
}
