package monitor

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tidemark_"+name, help, labels, nil)
}

// The metrics. docs/monitoring.md has the same list.
var (
	healthy   = desc("healthy", "1 while /healthz answers 200.")
	following = desc("following", "1 while a server is read from.")
	headroom  = desc("retention_headroom_seconds", "Time until no server has what the lake lacks any more, as things are; +Inf: for ever.")
	lastProbe = desc("last_probe_timestamp_seconds", "When the servers were looked at last.")
	failures  = desc("errors_total", "Errors by kind.", "kind")

	serverUp        = desc("server_up", "1 when the server answered the last probe, and lets the user read its binary log.", "server")
	serverServes    = desc("server_can_serve", "1 when the server can serve the lake's position exactly.", "server")
	serverInUse     = desc("server_in_use", "1 for the server that is read from.", "server")
	serverLag       = desc("server_lag_seconds", "How far a replica says it is behind its source.", "server")
	serverRetention = desc("server_retention_seconds", "How long the server keeps its binary log; +Inf: for ever.", "server")
	serverHeadroom  = desc("server_retention_headroom_seconds", "Time until the server purges what the lake lacks; 0: it has; +Inf: never by itself.", "server")
	serverLacks     = desc("server_lacking_transactions", "Transactions of the lake's position that the server has not executed.", "server")
	serverUnread    = desc("server_unread_transactions", "Transactions of the server that are not in the lake's position.", "server")
	serverGaps      = desc("server_gtid_gap_transactions", "Transactions that the server's executed set skips.", "server")
	serverErrant    = desc("server_errant_transactions", "Transactions that were committed on this replica, and that no other server has.", "server")

	tableAge            = desc("table_checkpoint_age_seconds", "Time since the table's checkpoint was committed, or found to be up to date.", "table")
	tableLast           = desc("table_last_transaction_timestamp_seconds", "When the last transaction of the checkpoint was committed at the source.", "table")
	tableCommit         = desc("table_commit_seconds", "What commits with changes took, writing included.", "table")
	tableWritten        = desc("table_commit_bytes", "Bytes of the data files that commits wrote.", "table")
	tableRewrite        = desc("table_rewrite_seconds", "What rewrites beside the stream took, from reading to written files.", "table")
	tableRewritten      = desc("table_rewrite_bytes", "Bytes of the data files that rewrites beside the stream wrote.", "table")
	tableRowsIn         = desc("table_rows_in_total", "Row changes as the source made them.", "table", "change")
	tableContradictions = desc("table_contradictions_total", "Changes that did not fit what the lake has.", "table")
	tableForeign        = desc("table_foreign_commits_total", "Commits of other programs, by what they did to the number of rows: same, changed.", "table", "rows")
	tableSent           = desc("table_engine_rewrites_total", "Rewrites that an engine was asked for, by result: done, overtaken, refused, unreachable, by-hand.", "table", "result")
	tableRows           = desc("table_rows", "Live rows.", "table")
	tableDataFiles      = desc("table_data_files", "Live data files.", "table")
	tableDeleteFiles    = desc("table_delete_files", "Live delete files; deletion vectors count one each.", "table")
	tableBytes          = desc("table_bytes", "Bytes of the live data files.", "table")
	tableStopped        = desc("table_stopped", "1 when the table had to be given up; the log says why.", "table")
	tableState          = desc("table_state", "1, with the checkpoint's state as a label: partial, loading, live, suspect.", "table", "state")

	loadRows     = desc("table_load_rows", "Rows read by the load under way.", "table")
	loadEstimate = desc("table_load_rows_expected", "Rows of the table being loaded, as the server guesses.", "table")
	loadBytes    = desc("table_load_bytes", "Bytes of data files that the load wrote since it was begun or gone on with.", "table")
	loadRanges   = desc("table_load_ranges", "Ranges of the key that are finished.", "table")
	loadOpen     = desc("table_load_open_ranges", "Ranges of the key that are being read.", "table")
	loadRate     = desc("table_load_rows_per_second", "Rows read a second, of late.", "table")
	loadLeft     = desc("table_load_seconds_left", "Time until all rows are read, about.", "table")

	all = []*prometheus.Desc{
		healthy, following, headroom, lastProbe, failures,
		serverUp, serverServes, serverInUse, serverLag, serverRetention, serverHeadroom, serverLacks, serverUnread, serverGaps, serverErrant,
		tableAge, tableLast, tableCommit, tableWritten, tableRewrite, tableRewritten, tableRowsIn, tableContradictions, tableForeign, tableSent, tableRows, tableDataFiles, tableDeleteFiles, tableBytes, tableStopped, tableState,
		loadRows, loadEstimate, loadBytes, loadRanges, loadOpen, loadRate, loadLeft,
	}
)

// Describe implements prometheus.Collector.
func (m *Monitor) Describe(out chan<- *prometheus.Desc) {
	for _, d := range all {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Monitor) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := scrape{out, m.now()}
	ok, _ := m.check(s.now, m.bound)
	s.gauge(healthy, truth(ok))
	s.gauge(following, truth(m.server != ""))
	for kind, n := range m.errors {
		s.counter(failures, float64(n), kind)
	}
	if !m.probed.IsZero() {
		s.gauge(lastProbe, unix(m.probed))
	}
	if left, known := m.longest(); known {
		s.gauge(headroom, left)
	}
	for i := range m.verdicts {
		s.server(&m.verdicts[i], m.known, m.server)
	}
	for name, t := range m.tables {
		s.table(name, t)
	}
}

// scrape is one collection.
type scrape struct {
	out chan<- prometheus.Metric
	now time.Time
}

func (s scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s scrape) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (s scrape) summary(d *prometheus.Desc, count uint64, sum float64, labels ...string) {
	s.out <- prometheus.MustNewConstSummary(d, count, sum, nil, labels...)
}

// server shows one server of the last probe. What is about the lake's position is left out while that is not known.
func (s scrape) server(v *source.Verdict, known bool, inUse string) {
	state := &v.State
	s.gauge(serverUp, truth(v.Kind != source.Unreachable), v.Host)
	s.gauge(serverInUse, truth(v.Host == inUse), v.Host)
	if known {
		s.gauge(serverServes, truth(v.Kind == source.CanServe), v.Host)
	}
	if state.Err != nil {
		return
	}
	if state.Lag != nil {
		s.gauge(serverLag, state.Lag.Seconds(), v.Host)
	}
	if keeps := state.Retention; keeps > 0 {
		s.gauge(serverRetention, keeps.Seconds(), v.Host)
	} else {
		s.gauge(serverRetention, math.Inf(1), v.Host)
	}
	s.gauge(serverGaps, float64(state.Executed.Holes().Count()), v.Host)
	s.gauge(serverErrant, float64(v.Errant.Count()), v.Host)
	if d := v.Details; known && d != nil {
		s.gauge(serverLacks, float64(d.Lacks.Count()), v.Host)
		s.gauge(serverUnread, float64(d.Extra.Count()), v.Host)
		if d.Headroom != nil {
			s.gauge(serverHeadroom, secondsLeft(d.Headroom), v.Host)
		}
	}
}

func secondsLeft(h *source.Headroom) float64 {
	switch {
	case h.Gone:
		return 0
	case h.Forever:
		return math.Inf(1)
	}
	return h.Left.Seconds()
}

// longest is the headroom of the server that keeps what the lake lacks longest, of those that have it or had it.
func (m *Monitor) longest() (seconds float64, known bool) {
	if !m.known {
		return 0, false
	}
	for i := range m.verdicts {
		v := &m.verdicts[i]
		switch v.Kind {
		case source.CanServe, source.Behind, source.Purged:
		default:
			continue
		}
		if v.Details != nil && v.Details.Headroom != nil {
			seconds, known = max(seconds, secondsLeft(v.Details.Headroom)), true
		}
	}
	return seconds, known
}

func (s scrape) table(name string, t *table) {
	if !t.seen.IsZero() {
		s.gauge(tableAge, max(s.now.Sub(t.seen).Seconds(), 0), name)
	}
	if !t.last.IsZero() {
		s.gauge(tableLast, unix(t.last), name)
	}
	s.summary(tableCommit, t.commits, t.seconds, name)
	s.summary(tableWritten, t.commits, t.written, name)
	s.summary(tableRewrite, t.compactions, t.compacting, name)
	s.summary(tableRewritten, t.compactions, t.compacted, name)
	s.counter(tableRowsIn, float64(t.changes.Inserts), name, "insert")
	s.counter(tableRowsIn, float64(t.changes.Updates), name, "update")
	s.counter(tableRowsIn, float64(t.changes.Deletes), name, "delete")
	s.counter(tableContradictions, float64(t.contradictions), name)
	s.counter(tableForeign, float64(t.rewrites), name, "same")
	s.counter(tableForeign, float64(t.writes), name, "changed")
	for result, n := range t.sent {
		s.counter(tableSent, float64(n), name, result)
	}
	s.gauge(tableRows, float64(t.size.Rows), name)
	s.gauge(tableDataFiles, float64(t.size.DataFiles), name)
	s.gauge(tableDeleteFiles, float64(t.size.DeleteFiles), name)
	s.gauge(tableBytes, float64(t.size.Bytes), name)
	s.gauge(tableStopped, truth(t.stopped), name)
	if t.state != "" {
		s.gauge(tableState, 1, name, string(t.state))
	}
	if e := t.load; e != nil && t.state == checkpoint.StateLoading {
		s.gauge(loadRows, float64(e.Rows), name)
		s.gauge(loadEstimate, float64(e.Progress.Estimate), name)
		s.gauge(loadBytes, float64(e.Bytes), name)
		s.gauge(loadRanges, float64(e.Progress.Ranges), name)
		s.gauge(loadOpen, float64(len(e.Progress.Open)), name)
		s.gauge(loadRate, e.Rate, name)
		s.gauge(loadLeft, e.Left.Seconds(), name)
	}
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
