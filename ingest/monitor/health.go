package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
)

// health is what the health check rests on. Times are zero while what they stand for is not the case.
type health struct {
	server   string    // that is read from
	waiting  time.Time // since when no server is read from
	why      error     // why none is
	failing  time.Time // since when commits fail, or the tables cannot be opened
	failure  error
	flushing time.Time // since when a commit is under way
	ended    error     // the pipeline gave up
}

func (h *health) observe(e ingest.Event, now time.Time) {
	switch e := e.(type) {
	case ingest.Follow:
		h.server, h.waiting, h.why = e.Server, time.Time{}, nil
	case ingest.Lost:
		h.wait(e.Err, now)
	case ingest.Wait:
		h.wait(e.Err, now)
	case ingest.Flush:
		h.flushing = time.Time{}
		switch {
		case !e.Done:
			h.flushing = now
		case e.Err != nil:
			h.fail(e.Err, now)
		default:
			h.failing, h.failure = time.Time{}, nil
		}
	case ingest.Fail:
		switch {
		case e.Final:
			h.ended = e.Err
		case !errors.Is(e.Err, context.Canceled):
			h.fail(e.Err, now)
		}
		h.server = "" // the tables are opened again
	}
}

func (h *health) wait(err error, now time.Time) {
	if h.waiting.IsZero() {
		h.waiting = now
	}
	h.server, h.why = "", err
}

func (h *health) fail(err error, now time.Time) {
	if h.failing.IsZero() {
		h.failing = now
	}
	h.failure = err
}

// check says whether the pipeline does its work, and what it is at.
func (h *health) check(now time.Time, bound time.Duration) (ok bool, text string) {
	since := func(t time.Time) (time.Duration, bool) { return now.Sub(t), !t.IsZero() }
	if h.ended != nil {
		return false, fmt.Sprintf("ended: %v", h.ended)
	}
	if d, failing := since(h.failing); failing {
		return d < bound, fmt.Sprintf("commits have failed for %s: %v", source.Span(d), h.failure)
	}
	if d, waiting := since(h.waiting); waiting {
		return d < bound, fmt.Sprintf("no server can serve for %s: %v", source.Span(d), h.why)
	}
	if d, flushing := since(h.flushing); flushing && d >= bound {
		return false, fmt.Sprintf("a commit has been under way for %s", source.Span(d))
	}
	if h.server == "" {
		return true, "starting"
	}
	return true, "following " + h.server
}

// Health says whether the pipeline does its work, and what it is at: following, waiting or failing within the bound.
func (m *Monitor) Health() (ok bool, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.check(m.now(), m.bound)
}

// serveHealth answers 200 or 503, and a line for a person.
func (m *Monitor) serveHealth(w http.ResponseWriter, _ *http.Request) {
	ok, text := m.Health()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// A reader that has gone away needs no answer.
	_, _ = fmt.Fprintln(w, text)
}
