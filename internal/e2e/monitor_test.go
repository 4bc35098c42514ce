package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// page reads a page of a running ingest.
func page(t testing.TB, address, path string) (code int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), server.Password) {
		t.Errorf("%s tells the password:\n%s", path, body)
	}
	return answer.StatusCode, string(body)
}

// metric returns the value of one metric, labels and all as they are written on the page.
func metric(t testing.TB, address, name string) (value float64, found bool) {
	t.Helper()
	code, text := page(t, address, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("/metrics: %d\n%s", code, text)
	}
	for line := range strings.Lines(text) {
		if after, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(after), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v, true
		}
	}
	return 0, false
}

// waitForMetric waits until a metric has a value.
func (p *tidemark) waitForMetric(address, name string, want func(float64) bool) {
	p.t.Helper()
	until(p.t, name+" is as it should be", func() (bool, string) {
		v, found := metric(p.t, address, name)
		return found && want(v), fmt.Sprintf("%s %v (%v)\n%s", name, v, found, p.text())
	})
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

func above(least float64) func(float64) bool { return func(v float64) bool { return v > least } }

// probedAgain waits until the servers were looked at twice more.
func (p *tidemark) probedAgain(address string) {
	p.t.Helper()
	for range 2 {
		before, _ := metric(p.t, address, "tidemark_last_probe_timestamp_seconds")
		p.waitForMetric(address, "tidemark_last_probe_timestamp_seconds", above(before))
	}
}

// TestMetrics: every server of the list is looked at beside a stream under load, which does not notice; the metrics show
// what the servers and tables really are.
func TestMetrics(t *testing.T) {
	cluster := testenv.Topology(t, 2)
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	lake := localLake(t)
	p := startIngest(t, lake, testenv.URL(cluster.Servers()...), "--serve", "127.0.0.1:0", "--probe-interval", "20ms", "--checkpoint-idle-interval", "200ms")
	address := p.served()
	w := newWorkload(11)
	stop := background(t, w, cluster.Primary)
	p.waitForMetric(address, `tidemark_table_rows_in_total{change="insert",table="app.wide"}`, above(100))
	p.probedAgain(address)
	stop()
	want := cluster.Sync(t)
	until(t, "everything is committed", func() (bool, string) {
		return lake.checkpoints(t)["hot"].Checkpoint.GTIDSet == want && lake.checkpoints(t)["wide"].Checkpoint.GTIDSet == want, p.text()
	})
	if strings.Contains(p.text(), "lost the server") || strings.Contains(p.text(), "starting again") {
		t.Errorf("looking at the servers disturbed the stream:\n%s", p.text())
	}
	equal(t, cluster.Primary, lake.byDuckDB(t))

	rows, err := strconv.ParseFloat(cluster.Primary.Query(t, "SELECT COUNT(*) FROM app.wide")[0][0], 64)
	if err != nil {
		t.Fatal(err)
	}
	sizesAreTrue(t, lake, address)
	for name, want := range map[string]func(float64) bool{
		`tidemark_healthy`:                                                   is(1),
		`tidemark_following`:                                                 is(1),
		`tidemark_retention_headroom_seconds`:                                is(30 * 24 * 3600),
		`tidemark_table_rows{table="app.wide"}`:                              is(rows),
		`tidemark_table_data_files{table="app.wide"}`:                        above(0),
		`tidemark_table_bytes{table="app.wide"}`:                             above(1000),
		`tidemark_table_commit_seconds_count{table="app.wide"}`:              above(0),
		`tidemark_table_commit_seconds_sum{table="app.wide"}`:                above(0),
		`tidemark_table_commit_bytes_sum{table="app.wide"}`:                  above(1000),
		`tidemark_table_checkpoint_age_seconds{table="app.hot"}`:             above(0),
		`tidemark_table_last_transaction_timestamp_seconds{table="app.hot"}`: above(1.7e9),
		`tidemark_table_rows_in_total{change="update",table="app.hot"}`:      above(0),
		`tidemark_table_rows_in_total{change="delete",table="app.hot"}`:      above(0),
		`tidemark_table_state{state="live",table="app.hot"}`:                 is(1),
		`tidemark_table_stopped{table="app.hot"}`:                            is(0),
	} {
		p.waitForMetric(address, name, want)
	}
	for _, s := range cluster.Servers() {
		label := fmt.Sprintf("{server=%q}", s.Addr())
		for name, want := range map[string]float64{
			"up": 1, "can_serve": 1, "retention_seconds": 30 * 24 * 3600, "retention_headroom_seconds": 30 * 24 * 3600, "lacking_transactions": 0,
			"unread_transactions": 0, "gtid_gap_transactions": 0, "errant_transactions": 0,
		} {
			p.waitForMetric(address, "tidemark_server_"+name+label, is(want))
		}
	}
	if code, text := page(t, address, "/v1/config"); code != http.StatusOK {
		t.Errorf("the catalog beside it: %d %s", code, text)
	}

	// The server in use goes; a replica gets a transaction of its own, and another with a number far ahead.
	errant := cluster.Replicas[1]
	errant.Exec(t, "INSERT INTO app.ignored VALUES (99, 99)", "SET gtid_next = '"+errant.UUID()+":11'; BEGIN; COMMIT; SET gtid_next = AUTOMATIC")
	p.waitForMetric(address, fmt.Sprintf("tidemark_server_errant_transactions{server=%q}", errant.Addr()), is(2))
	p.waitForMetric(address, fmt.Sprintf("tidemark_server_gtid_gap_transactions{server=%q}", errant.Addr()), is(9))
	p.waitForMetric(address, fmt.Sprintf("tidemark_server_in_use{server=%q}", cluster.Replicas[0].Addr()), is(1))
	cluster.Replicas[0].Kill(t)
	p.waitForMetric(address, fmt.Sprintf("tidemark_server_up{server=%q}", cluster.Replicas[0].Addr()), is(0))
	p.waitForMetric(address, fmt.Sprintf("tidemark_server_in_use{server=%q}", cluster.Primary.Addr()), is(1))
	p.waitForMetric(address, `tidemark_following`, is(1))
	p.waitForMetric(address, `tidemark_errors_total{kind="network"}`, above(0))
	p.stop()
}

// sizesAreTrue waits until the metrics of every table say what status says: a rewrite may be under way.
func sizesAreTrue(t testing.TB, lake *place, address string) {
	t.Helper()
	for table := range tables {
		until(t, "the metrics of "+table+" are what status says", func() (bool, string) {
			s := lake.status(t)[table]
			want := [...]float64{float64(s.Rows), float64(s.DataFiles), float64(s.DeleteFiles), float64(s.Bytes)}
			var now [len(want)]float64
			for i, name := range []string{"rows", "data_files", "delete_files", "bytes"} {
				now[i], _ = metric(t, address, fmt.Sprintf("tidemark_table_%s{table=%q}", name, "app."+table))
			}
			return now == want, fmt.Sprintf("%v, want %v (rows, data files, delete files, bytes)", now, want)
		})
	}
}

// TestMetricsAfterOthers: another process rewrites a table that has no changes any more.
func TestMetricsAfterOthers(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	p := startIngest(t, lake, testenv.URL(s), "--serve", "127.0.0.1:0", "--compact", "off", "--checkpoint-idle-interval", "200ms")
	address := p.served()
	for i := range 10 {
		s.Exec(t, fmt.Sprintf("INSERT INTO app.hot VALUES (%d, 0)", 100+i))
		p.waitForMetric(address, `tidemark_table_rows{table="app.hot"}`, is(float64(4+i)))
	}
	if code, out, log := run(t, nil, append([]string{"compact", "--tables", "app.*"}, lake.args...)...); code != 0 || !strings.Contains(out, "app.hot: rewrote") {
		t.Fatalf("compact: exit code %d\n%s%s", code, out, log)
	}
	s.Exec(t, "UPDATE app.pair SET n = 1") // so that the others have a new position to record
	p.waitForMetric(address, `tidemark_table_data_files{table="app.hot"}`, is(1))
	sizesAreTrue(t, lake, address)
	p.waitForMetric(address, `tidemark_table_foreign_commits_total{rows="same",table="app.hot"}`, above(0))
	p.waitForMetric(address, `tidemark_table_foreign_commits_total{rows="changed",table="app.hot"}`, is(0))
	p.stop()
}

// TestHealthz: 200 while a server is followed or waited for within bounds, 503 with the reason beyond.
func TestHealthz(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	proxy := s.Proxy(t)
	source := strings.Replace(testenv.URL(s), s.Addr(), proxy.Addr(), 1)
	lake, patient := localLake(t), localLake(t)
	strict := startIngest(t, lake, source, "--serve", "127.0.0.1:0", "--unhealthy-after", "1ms")
	calm := startIngest(t, patient, source, "--serve", "127.0.0.1:0", "--unhealthy-after", "24h", "--pipeline", "calm")
	addresses := map[*tidemark]string{strict: strict.served(), calm: calm.served()}
	shows := func(p *tidemark, code int, says ...string) {
		t.Helper()
		until(t, fmt.Sprintf("/healthz answers %d %q", code, says), func() (bool, string) {
			got, text := page(t, addresses[p], "/healthz")
			ok := got == code
			for _, want := range says {
				ok = ok && strings.Contains(text, want)
			}
			return ok, fmt.Sprint(got, " ", text, p.text())
		})
	}
	shows(strict, http.StatusOK, "following "+proxy.Addr())
	shows(calm, http.StatusOK, "following "+proxy.Addr())
	proxy.Cut(t)
	shows(strict, http.StatusServiceUnavailable, "no server can serve", proxy.Addr())
	shows(calm, http.StatusOK, "no server can serve", proxy.Addr())
	strict.waitForMetric(addresses[strict], "tidemark_healthy", is(0))
	calm.waitForMetric(addresses[calm], "tidemark_healthy", is(1))
	proxy.Heal(t)
	shows(strict, http.StatusOK, "following")
	shows(calm, http.StatusOK, "following")

	// A lake that cannot be written to.
	folder := strings.TrimPrefix(lake.uri, "file://")
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "UPDATE app.hot SET n = 7")
	shows(strict, http.StatusServiceUnavailable, "commits have failed", folder)
	strict.waitForMetric(addresses[strict], `tidemark_errors_total{kind="lake"}`, above(0))
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	shows(strict, http.StatusOK, "following")
	strict.stop()
	calm.stop()
	equal(t, s, lake.byDuckDB(t))
}

// TestAboutToBePurged: a table that had to be given up holds the position back. Before the server purges what it lacks, the
// log warns, once, with the time left, and the metric shows it; so it does when it is over, and when it is too late.
func TestAboutToBePurged(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	s.Exec(t, "SET SESSION binlog_row_image = 'MINIMAL'; UPDATE app.hot SET n = 9")
	s.Exec(t, "INSERT INTO app.text_key VALUES ('later', 2)")
	// The file ended 29 days and 20 hours and a half ago, as its successor's head says; the server keeps it for 30 days.
	s.Exec(t, fmt.Sprintf("SET timestamp = UNIX_TIMESTAMP() - %d; FLUSH BINARY LOGS", (29*24+20)*3600+1800))
	p := startIngest(t, lake, testenv.URL(s), "--serve", "127.0.0.1:0", "--probe-interval", "50ms")
	address := p.served()
	const soon, enough, gone = "about to purge what the lake lacks", "long enough again", "has purged what the lake lacks"
	count := func(text string, want int) {
		t.Helper()
		if got := strings.Count(p.text(), text); got != want {
			t.Errorf("%q stands %d times in the log, want %d:\n%s", text, got, want, p.text())
		}
	}
	p.waitForMetric(address, `tidemark_table_stopped{table="app.hot"}`, is(1))
	p.waitForLog(soon)
	p.probedAgain(address)
	count(soon, 1)
	for _, want := range []string{"server=" + s.Addr(), `left="3 h `, "limit=binlog_expire_logs_seconds", "bin.0"} {
		if !strings.Contains(p.text(), want) {
			t.Errorf("the warning does not say %q:\n%s", want, p.text())
		}
	}
	until(t, "doctor names the table and the time left", func() (bool, string) {
		code, out, log := run(t, nil, append([]string{"doctor", "--source", testenv.URL(s), "--tables", "app.*,!app.ignored"}, lake.args...)...)
		return code == 0 && strings.Contains(out, "furthest behind is app.hot.") && strings.Contains(out, "what the lake lacks is safe for 3 h "), out + log
	})
	left := func(v float64) bool { return v > 3*3600 && v <= 4*3600 }
	p.waitForMetric(address, "tidemark_retention_headroom_seconds", left)
	p.waitForMetric(address, fmt.Sprintf("tidemark_server_retention_headroom_seconds{server=%q}", s.Addr()), left)

	s.Exec(t, "SET GLOBAL binlog_expire_logs_seconds = 4000000")
	p.waitForLog(enough)
	s.Exec(t, "SET GLOBAL binlog_expire_logs_seconds = 2592000")
	until(t, "it warns again", func() (bool, string) { return strings.Count(p.text(), soon) == 2, p.text() })
	s.Purge(t)
	p.waitForLog(gone)
	p.waitForMetric(address, "tidemark_retention_headroom_seconds", is(0))
	p.probedAgain(address)
	count(soon, 2)
	count(enough, 1)
	count(gone, 1)
	p.signal(15)
	p.wait()
}
