package ingest

import (
	"sync"

	"github.com/tidemark/tidemark/checkpoint"
)

// progress is what the watch has to know about the loop: it is put together from the events that both go by.
type progress struct {
	mu      sync.Mutex
	tables  map[string]checkpoint.Record // as committed
	after   checkpoint.Position          // where the pipeline began, while no table has a record
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
	case Gone:
		delete(p.tables, e.Table)
	case Begin:
		p.after, p.begun = e.After, true
		p.after.Set = e.After.Set.Clone()
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
}

// position returns what all tables of the lake have; nothing lacking is older than its time. known is false before the
// tables are open.
func (p *progress) position() (at checkpoint.Position, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		return at, false
	}
	all := []checkpoint.Position{}
	for _, r := range p.tables {
		has, err := r.At()
		if err != nil {
			return at, false // no record that we wrote or read is like that
		}
		all = append(all, has)
	}
	if len(all) == 0 {
		return p.after, true
	}
	at = checkpoint.Common(all)
	return at, true
}

// names are the lake's tables that are followed, and not being loaded.
func (p *progress) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name, r := range p.tables {
		if r.State != checkpoint.StateLoading {
			names = append(names, name)
		}
	}
	return names
}
