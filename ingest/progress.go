package ingest

import (
	"sync"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// progress is what the watch has to know about the loop: it is put together from the events that both go by.
type progress struct {
	mu      sync.Mutex
	tables  map[string]checkpoint.Record // as committed
	after   checkpoint.Set               // where the pipeline began, while no table has a record
	begun   bool
	changed chan struct{} // the pipeline has begun: the servers can be judged
}

func newProgress() *progress {
	return &progress{tables: map[string]checkpoint.Record{}, changed: make(chan struct{}, 1)}
}

func (p *progress) note(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := e.(type) {
	case Open:
		p.tables[e.Table] = e.Record
	case Commit:
		p.tables[e.Table] = e.Record
	case Mark:
		p.tables[e.Table] = e.Record
	case Begin:
		p.after, p.begun = e.After.Clone(), true
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
}

// position returns what all tables of the lake have, and the source commit time that nothing lacking is older than. known
// is false before the tables are open.
func (p *progress) position() (set checkpoint.Set, since time.Time, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		return set, since, false
	}
	set = p.after.Clone()
	first := true
	for _, r := range p.tables {
		has, err := checkpoint.ParseSet(r.GTIDSet)
		if err != nil {
			return checkpoint.Set{}, time.Time{}, false // no record that we wrote or read is like that
		}
		if first {
			set, since, first = has, r.Time, false
			continue
		}
		set = set.Intersect(has)
		if r.Time.Before(since) {
			since = r.Time
		}
	}
	return set, since, true
}
