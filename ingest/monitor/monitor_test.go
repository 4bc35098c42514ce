package monitor

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

const (
	a = "0aaaaaaa-71ca-11e1-9e33-c80aa9429562"
	b = "1bbbbbbb-71ca-11e1-9e33-c80aa9429562"
)

var set = checkpoint.MustParseSet

// clocked is a monitor whose clock the test turns.
func clocked(bound time.Duration) (m *Monitor, clock *time.Time) {
	m, now := New(bound), time.Unix(1_700_000_000, 0)
	m.now = func() time.Time { return now }
	return m, &now
}

func get(t *testing.T, m *Monitor, path string) (code int, text string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Code, string(body)
}

// busy has seen one event of every kind.
func busy() (*Monitor, *time.Time) {
	m, clock := clocked(0)
	lag := 3 * time.Second
	record := checkpoint.Record{State: checkpoint.StateLive, Time: clock.Add(-time.Minute), GTIDSet: a + ":1-5"}
	m.Observe(ingest.Open{Table: "shop.orders", Record: record, Size: lake.Size{Rows: 1}})
	m.Observe(ingest.Begin{After: checkpoint.At(set(a + ":1-5"))})
	m.Observe(ingest.Probe{Known: true, Position: set(a + ":1-5"), Verdicts: []source.Verdict{
		{
			Host: "one:3306", Kind: source.CanServe, Errant: set(b + ":7"),
			State:   source.State{GTIDMode: "ON", Executed: set(a + ":1-9," + b + ":7"), Retention: time.Hour, Replication: source.Replication{Lag: &lag}},
			Details: &source.Details{Extra: set(a + ":6-9"), Headroom: &source.Headroom{Left: 10 * time.Minute}},
		},
		{Host: "two:3306", Kind: source.CanServe, State: source.State{GTIDMode: "ON"}, Details: &source.Details{Headroom: &source.Headroom{Forever: true}}},
		{
			Host: "three:3306", Kind: source.Purged, State: source.State{GTIDMode: "ON", Retention: time.Hour},
			Details: &source.Details{Lacks: set(a + ":1-2"), Headroom: &source.Headroom{Gone: true}},
		},
		{Host: "four:3306", Kind: source.Unreachable, State: source.State{Err: errors.New("refused")}},
	}})
	m.Observe(ingest.Follow{Server: "one:3306"})
	m.Observe(ingest.Flush{})
	m.Observe(ingest.Commit{
		Table: "shop.orders", Record: record, Changes: merge.Changes{Inserts: 3, Updates: 2, Deletes: 1}, Contradictions: 4, Bytes: 1000, Duration: 500 * time.Millisecond,
		Size: lake.Size{Rows: 30, DataFiles: 2, DeleteFiles: 1, Bytes: 2000},
	})
	m.Observe(ingest.Commit{Table: "shop.orders", Record: record, Bytes: 500, Duration: time.Second, Size: lake.Size{Rows: 31, DataFiles: 3, DeleteFiles: 1, Bytes: 2500}})
	m.Observe(ingest.Foreign{Table: "shop.items", Rows: -1, Size: lake.Size{Rows: 7}})
	m.Observe(ingest.Foreign{Table: "shop.items", Size: lake.Size{Rows: 7, DataFiles: 1}})
	m.Observe(ingest.Flush{Done: true})
	m.Observe(ingest.Sent{Table: "shop.items", Engine: "trino"})
	m.Observe(ingest.Sent{Table: "shop.items", Engine: "trino", Err: &compaction.EngineError{Failure: compaction.Overtaken, Err: errors.New("late")}})
	m.Observe(ingest.Stop{Table: "shop.items", Err: errors.New("truncated")})
	return m, clock
}

func TestMetrics(t *testing.T) {
	m, clock := busy()
	*clock = clock.Add(30 * time.Second)
	_, text := get(t, m, "/metrics")
	for _, want := range []string{
		`tidemark_healthy 1`,
		`tidemark_following 1`,
		`tidemark_retention_headroom_seconds +Inf`,
		`tidemark_last_probe_timestamp_seconds 1.7e+09`,
		`tidemark_errors_total{kind="table"} 1`,
		`tidemark_errors_total{kind="network"} 0`,
		`tidemark_server_up{server="one:3306"} 1`,
		`tidemark_server_up{server="four:3306"} 0`,
		`tidemark_server_can_serve{server="one:3306"} 1`,
		`tidemark_server_can_serve{server="three:3306"} 0`,
		`tidemark_server_in_use{server="one:3306"} 1`,
		`tidemark_server_in_use{server="two:3306"} 0`,
		`tidemark_server_lag_seconds{server="one:3306"} 3`,
		`tidemark_server_retention_seconds{server="one:3306"} 3600`,
		`tidemark_server_retention_seconds{server="two:3306"} +Inf`,
		`tidemark_server_retention_headroom_seconds{server="one:3306"} 600`,
		`tidemark_server_retention_headroom_seconds{server="three:3306"} 0`,
		`tidemark_server_lacking_transactions{server="three:3306"} 2`,
		`tidemark_server_unread_transactions{server="one:3306"} 4`,
		`tidemark_server_gtid_gap_transactions{server="one:3306"} 6`,
		`tidemark_server_errant_transactions{server="one:3306"} 1`,
		`tidemark_table_checkpoint_age_seconds{table="shop.orders"} 30`,
		`tidemark_table_last_transaction_timestamp_seconds{table="shop.orders"} 1.69999994e+09`,
		`tidemark_table_commit_seconds_count{table="shop.orders"} 2`,
		`tidemark_table_commit_seconds_sum{table="shop.orders"} 1.5`,
		`tidemark_table_commit_bytes_sum{table="shop.orders"} 1500`,
		`tidemark_table_rows_in_total{change="insert",table="shop.orders"} 3`,
		`tidemark_table_rows_in_total{change="update",table="shop.orders"} 2`,
		`tidemark_table_rows_in_total{change="delete",table="shop.orders"} 1`,
		`tidemark_table_contradictions_total{table="shop.orders"} 4`,
		`tidemark_table_foreign_commits_total{rows="same",table="shop.items"} 1`,
		`tidemark_table_foreign_commits_total{rows="changed",table="shop.items"} 1`,
		`tidemark_table_foreign_commits_total{rows="changed",table="shop.orders"} 0`,
		`tidemark_table_engine_rewrites_total{result="done",table="shop.items"} 1`,
		`tidemark_table_engine_rewrites_total{result="overtaken",table="shop.items"} 1`,
		`tidemark_table_engine_rewrites_total{result="unreachable",table="shop.items"} 0`,
		`tidemark_table_rows{table="shop.items"} 7`,
		`tidemark_table_rows{table="shop.orders"} 31`,
		`tidemark_table_data_files{table="shop.orders"} 3`,
		`tidemark_table_delete_files{table="shop.orders"} 1`,
		`tidemark_table_bytes{table="shop.orders"} 2500`,
		`tidemark_table_stopped{table="shop.orders"} 0`,
		`tidemark_table_stopped{table="shop.items"} 1`,
		`tidemark_table_state{state="live",table="shop.orders"} 1`,
	} {
		assert.Contains(t, text, want+"\n")
	}
	assert.NotContains(t, text, `tidemark_server_lag_seconds{server="two:3306"}`, "unknown is not nought")
	assert.NotContains(t, text, `tidemark_server_gtid_gap_transactions{server="four:3306"}`)

	m.Observe(ingest.Rewritten{Table: "shop.orders", Files: 1, Bytes: 5000, Duration: 2 * time.Second, Size: lake.Size{DataFiles: 1}})
	m.Observe(ingest.Mark{Table: "shop.orders", Record: checkpoint.Record{State: checkpoint.StateSuspect}, Size: lake.Size{DataFiles: 1, Bytes: 77}})
	_, text = get(t, m, "/metrics")
	assert.Contains(t, text, `tidemark_table_data_files{table="shop.orders"} 1`+"\n")
	assert.Contains(t, text, `tidemark_table_rewrite_seconds_sum{table="shop.orders"} 2`+"\n")
	assert.Contains(t, text, `tidemark_table_rewrite_bytes_sum{table="shop.orders"} 5000`+"\n")
	assert.Contains(t, text, `tidemark_table_rewrite_bytes_count{table="shop.orders"} 1`+"\n")
	assert.Contains(t, text, `tidemark_table_checkpoint_age_seconds{table="shop.orders"} 0`+"\n")
	assert.Contains(t, text, `tidemark_table_bytes{table="shop.orders"} 77`+"\n")
	assert.Contains(t, text, `tidemark_table_state{state="suspect",table="shop.orders"} 1`+"\n")
}

// TestLongestHeadroom: a server that can never serve says nothing about how long the position is safe.
func TestLongestHeadroom(t *testing.T) {
	server := func(kind source.VerdictKind, h source.Headroom) source.Verdict {
		return source.Verdict{Host: "x", Kind: kind, Details: &source.Details{Headroom: &h}}
	}
	hour, gone, ever := source.Headroom{Left: time.Hour}, source.Headroom{Gone: true}, source.Headroom{Forever: true}
	for _, c := range []struct {
		servers []source.Verdict
		want    float64
		known   bool
	}{
		{nil, 0, false},
		{[]source.Verdict{{Kind: source.Unreachable}}, 0, false},
		{[]source.Verdict{server(source.Purged, gone)}, 0, true},
		{[]source.Verdict{server(source.CanServe, hour), server(source.Purged, gone)}, 3600, true},
		{[]source.Verdict{server(source.CanServe, hour), server(source.Diverged, ever)}, 3600, true},
		{[]source.Verdict{server(source.Behind, ever)}, math.Inf(1), true},
	} {
		m := New(0)
		m.Observe(ingest.Probe{Verdicts: c.servers, Known: true})
		got, known := m.longest()
		assert.Equal(t, c.known, known)
		assert.Equal(t, c.want, got)
	}
}

func TestHealth(t *testing.T) {
	m, clock := clocked(time.Minute)
	is := func(ok bool, says string) {
		t.Helper()
		code, text := get(t, m, "/healthz")
		assert.Equal(t, ok, code == http.StatusOK, text)
		assert.Contains(t, text, says)
		if !ok {
			assert.Equal(t, http.StatusServiceUnavailable, code)
		}
	}
	pass := func(d time.Duration) { *clock = clock.Add(d) }
	is(true, "starting")
	m.Observe(ingest.Wait{Err: errors.New("one:3306 refused")})
	is(true, "one:3306 refused")
	pass(59 * time.Second)
	m.Observe(ingest.Wait{Err: errors.New("one:3306 still refuses")})
	is(true, "still refuses")
	pass(time.Second)
	is(false, "no server can serve for 1 min: one:3306 still refuses")
	m.Observe(ingest.Follow{Server: "one:3306"})
	is(true, "following one:3306")
	m.Observe(ingest.Lost{Server: "one:3306", Err: errors.New("reset")})
	is(true, "reset")
	m.Observe(ingest.Follow{Server: "two:3306"})
	pass(time.Hour)
	is(true, "following two:3306")

	m.Observe(ingest.Flush{})
	pass(59 * time.Second)
	is(true, "following")
	pass(time.Second)
	is(false, "a commit has been under way for 1 min")
	m.Observe(ingest.Flush{Done: true, Err: errors.New("bucket is gone")})
	m.Observe(ingest.Fail{Err: errors.New("bucket is gone")})
	is(true, "bucket is gone")
	pass(time.Minute)
	m.Observe(ingest.Follow{Server: "one:3306"})
	m.Observe(ingest.Flush{})
	m.Observe(ingest.Flush{Done: true, Err: errors.New("bucket is gone again")})
	is(false, "commits have failed for 1 min: bucket is gone again")
	m.Observe(ingest.Flush{})
	m.Observe(ingest.Flush{Done: true})
	is(true, "following one:3306")

	m.Observe(ingest.Fail{Err: errors.New("fenced"), Final: true})
	is(false, "fenced")
}

// described are the names of all metrics.
func described() []string {
	var list []string
	for _, d := range all {
		list = append(list, regexp.MustCompile(`fqName: "([a-z_]+)"`).FindStringSubmatch(d.String())[1])
	}
	return list
}

// TestEveryMetricShows: nothing is described and never collected.
func TestEveryMetricShows(t *testing.T) {
	m, _ := busy()
	m.Observe(ingest.Open{Table: "shop.new", Record: checkpoint.Record{State: checkpoint.StateLoading}})
	m.Observe(ingest.Load{Table: "shop.new", Rows: 500, Bytes: 4000, Rate: 250, Left: 2 * time.Second, Progress: ingest.LoadProgress{Ranges: 3, Estimate: 1000}})
	_, text := get(t, m, "/metrics")
	for _, name := range described() {
		assert.Contains(t, text, "# TYPE "+name+" ")
	}
	assert.Contains(t, text, "go_goroutines")
	for _, line := range []string{"rows{", "rows_expected{", "bytes{", "ranges{", "open_ranges{", "rows_per_second{", "seconds_left{"} {
		assert.Contains(t, text, "tidemark_table_load_"+line)
	}
	m.Observe(ingest.Open{Table: "shop.new", Record: checkpoint.Record{State: checkpoint.StateLive}})
	_, text = get(t, m, "/metrics")
	assert.NotContains(t, text, "tidemark_table_load_", "a table that is live is not loaded any more")
	m.Observe(ingest.Gone{Table: "shop.new"})
	_, text = get(t, m, "/metrics")
	assert.NotContains(t, text, "shop.new")
}

// TestDocumented: the documentation has every metric and no other.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/monitoring.md")
	require.NoError(t, err)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(tidemark_[a-z_]+)").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, row[1])
	}
	want := described()
	slices.Sort(want)
	slices.Sort(listed)
	assert.Equal(t, want, listed)
	for _, kind := range kinds {
		assert.Contains(t, string(page), "`"+kind+"`", "the kinds of errors")
	}
	for _, path := range []string{"/metrics", "/healthz", "--unhealthy-after"} {
		assert.True(t, strings.Contains(string(page), path), fmt.Sprintf("docs/monitoring.md does not tell %s", path))
	}
}
