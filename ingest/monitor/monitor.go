// Package monitor turns what a pipeline tells its observer into Prometheus metrics and a health check.
//
// In come the events of package ingest (Observe); out go the pages /metrics and /healthz (Handler). Nothing is asked of the
// source or the lake for a page: it shows what the pipeline saw last, ages counted up to now.
//
// What must hold: no password and no key ever enters: labels are server addresses, table names and kinds of errors.
//
// monitor.go  what is remembered of the events
// metrics.go  the metrics
// health.go   the health check
package monitor

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// DefaultBound is how long no server may serve, or commits may fail, before the pipeline counts as unhealthy.
const DefaultBound = 5 * time.Minute

// Monitor remembers what a pipeline told. All methods may be called by any goroutine.
type Monitor struct {
	bound time.Duration
	now   func() time.Time

	mu       sync.Mutex
	tables   map[string]*table
	errors   map[string]uint64 // by kind
	verdicts []source.Verdict  // of the last probe
	known    bool              // they are about the lake's position
	probed   time.Time
	health
}

// table is what is known of a table.
type table struct {
	load    *ingest.Load // the newest; nil: it was not loaded
	state   checkpoint.State
	stopped bool
	seen    time.Time // when its checkpoint was committed, or found to be true still; before: time of its last transaction
	last    time.Time // source commit time of the last transaction
	size    lake.Size

	changes        merge.Changes
	contradictions uint64
	rewrites       uint64 // commits of other programs that left the number of rows as it was
	writes         uint64 // ... and that did not
	commits        uint64
	seconds        float64           // all commits took
	written        float64           // bytes of data files
	compactions    uint64            // rewrites of ours
	compacting     float64           // seconds that these took
	compacted      float64           // bytes of data files that they wrote
	sent           map[string]uint64 // to an engine, by ingest.Sent.Result; nil: never
}

// New returns a monitor. bound is how long no server may serve, or commits may fail, before the pipeline counts as
// unhealthy; 0: DefaultBound.
func New(bound time.Duration) *Monitor {
	if bound == 0 {
		bound = DefaultBound
	}
	m := &Monitor{bound: bound, now: time.Now, tables: map[string]*table{}, errors: map[string]uint64{}}
	for _, kind := range kinds {
		m.errors[kind] = 0 // a rate needs something to rise from
	}
	return m
}

// kinds are those that ingest.KindOf gives.
var kinds = [...]string{
	ingest.KindNoServer, ingest.KindTable, ingest.KindFenced, ingest.KindForeignCommit, ingest.KindDiffers, ingest.KindAgain, ingest.KindLake,
	string(source.KindNetwork), string(source.KindStall), string(source.KindShutdown), string(source.KindBusy), string(source.KindAuth), string(source.KindTLS),
	string(source.KindPrivilege), string(source.KindPurged), string(source.KindDiverged), string(source.KindCollision), string(source.KindSettings),
	string(source.KindCorruption), string(source.KindFatal),
}

// results are those that ingest.Sent.Result gives.
var results = [...]string{ingest.SentDone, ingest.SentByHand, string(compaction.Unreachable), string(compaction.Refused), string(compaction.Overtaken)}

// Observe is for ingest.Options.Observer.
func (m *Monitor) Observe(e ingest.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.observe(e, m.now())
	switch e := e.(type) {
	case ingest.Open:
		t := m.table(e.Table)
		t.record(e.Record, e.Record.Time)
		t.size, t.stopped = e.Size, false
	case ingest.Commit:
		t := m.table(e.Table)
		t.record(e.Record, m.now())
		t.size = e.Size
		t.changes.Add(e.Changes)
		t.contradictions += uint64(e.Contradictions)
		t.commits++
		t.seconds += e.Duration.Seconds()
		t.written += float64(e.Bytes)
	case ingest.Mark:
		t := m.table(e.Table)
		t.record(e.Record, m.now())
		t.size = e.Size
	case ingest.Rewritten:
		t := m.table(e.Table)
		t.size = e.Size
		t.compactions++
		t.compacting += e.Duration.Seconds()
		t.compacted += float64(e.Bytes)
	case ingest.Foreign:
		t := m.table(e.Table)
		t.size = e.Size
		if e.Rows == 0 {
			t.rewrites++
		} else {
			t.writes++
		}
	case ingest.Sent:
		t := m.table(e.Table)
		if t.sent == nil {
			t.sent = map[string]uint64{}
			for _, result := range results {
				t.sent[result] = 0
			}
		}
		t.sent[e.Result()]++
	case ingest.Stop:
		m.table(e.Table).stopped = true
		m.errors[ingest.KindTable]++
	case ingest.Gone:
		delete(m.tables, e.Table)
	case ingest.Load:
		m.table(e.Table).load = &e
	case ingest.Lost:
		m.count(e.Err)
	case ingest.Wait:
		m.count(e.Err)
	case ingest.Fail:
		m.count(e.Err)
	case ingest.Probe:
		m.verdicts, m.known, m.probed = e.Verdicts, e.Known, m.now()
	}
}

func (m *Monitor) table(name string) *table {
	t := m.tables[name]
	if t == nil {
		t = &table{}
		m.tables[name] = t
	}
	return t
}

func (t *table) record(r checkpoint.Record, seen time.Time) {
	t.state, t.last, t.seen = r.State, r.Time, seen
}

func (m *Monitor) count(err error) {
	if kind := ingest.KindOf(err); kind != string(source.KindCanceled) {
		m.errors[kind]++
	}
}

// Handler serves /metrics and /healthz.
func (m *Monitor) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", m.serveHealth)
	return mux
}
