// Package fault wraps a store so that a test can make any of its operations fail or hang.
//
// In come a store and plans: which operation, on which names, at which occurrence, and what goes wrong. Out comes a
// store that does so, and the sequence of operations it saw, from which a test can enumerate "each operation in turn".
// What must hold: an operation that no plan names behaves as the inner store's.
package fault

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"
	"sync"

	"github.com/tidemark/tidemark/lake/store"
)

// Op is an operation of a store, of its readers or of its writers.
type Op string

// The operations. Close and Abort are those of a writer.
const (
	Get         Op = "get"
	Open        Op = "open"
	ReadAt      Op = "read-at"
	Put         Op = "put"
	PutIfAbsent Op = "put-if-absent"
	Create      Op = "create"
	Write       Op = "write"
	Close       Op = "close"
	List        Op = "list"
	ListDirs    Op = "list-dirs"
	Delete      Op = "delete"
)

// Mode is what goes wrong.
type Mode int

const (
	Before     Mode = iota // fails, without effect
	After                  // has its effect, whatever that is, then fails
	HangBefore             // hangs until its context ends or the plan is lifted, without effect
	HangAfter              // has its effect, then hangs like that
)

// String names the mode as in test names.
func (m Mode) String() string {
	return [...]string{"before", "after", "hang-before", "hang-after"}[m]
}

// Modes lists all of them.
func Modes() []Mode { return []Mode{Before, After, HangBefore, HangAfter} }

// ErrInjected is matched by every error made here.
var ErrInjected = errors.New("injected fault")

// Plan is one fault. Its zero fields match anything.
type Plan struct {
	Op    Op
	Match string // of the object's name: a pattern of path.Match, matched against the whole name and its last segment
	Nth   int    // 1 for the first matching operation, and so on; 0: every one
	Mode  Mode
	Err   error // returned together with ErrInjected; may be nil
}

// String describes the plan for test names and logs.
func (p Plan) String() string {
	return fmt.Sprintf("%s %s #%d %s", p.Op, p.Match, p.Nth, p.Mode)
}

// Event is one operation that was called.
type Event struct {
	Op    Op
	Name  string // the first one, of a Delete
	Fault bool   // a plan meant it
}

// Faulty is the wrapped store. It is safe for concurrent use.
type Faulty struct {
	inner store.Store

	mu     sync.Mutex
	plans  []*armed
	lifted chan struct{} // closed when the plans are replaced
	log    []Event
	struck int
}

type armed struct {
	Plan
	seen int
}

// Store wraps a store.
func Store(inner store.Store, plans ...Plan) *Faulty {
	f := &Faulty{inner: inner, lifted: make(chan struct{})}
	f.Set(plans...)
	return f
}

// Set replaces the plans and forgets what they counted. What hangs goes on with an error.
func (f *Faulty) Set(plans ...Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.lifted)
	f.lifted = make(chan struct{})
	f.plans = nil
	for _, p := range plans {
		f.plans = append(f.plans, &armed{Plan: p})
	}
}

// Events returns what was called so far, in order.
func (f *Faulty) Events() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Event(nil), f.log...)
}

// Struck returns how often a plan struck, counted when the operation fails or begins to hang: after its effect, where
// it has one.
func (f *Faulty) Struck() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

// Forget empties the log.
func (f *Faulty) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

// Each returns, for each operation in the log, the plan that strikes exactly it when the same sequence is run again:
// the way to let every operation fail in turn. The caller sets the mode.
func Each(log []Event) []Plan {
	counts := map[Op]int{}
	plans := make([]Plan, 0, len(log))
	for _, e := range log {
		counts[e.Op]++
		plans = append(plans, Plan{Op: e.Op, Nth: counts[e.Op]})
	}
	return plans
}

// Unwrap returns the inner store.
func (f *Faulty) Unwrap() store.Store { return f.inner }

// strike logs an operation and returns the plan that is to strike it, if any.
func (f *Faulty) strike(op Op, name string) (*Plan, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hit *Plan
	for _, p := range f.plans {
		if p.Op != "" && p.Op != op || !matches(p.Match, name) {
			continue
		}
		p.seen++
		if hit == nil && (p.Nth == 0 || p.Nth == p.seen) {
			hit = &p.Plan
		}
	}
	f.log = append(f.log, Event{op, name, hit != nil})
	return hit, f.lifted
}

func matches(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	for _, s := range []string{name, path.Base(name)} {
		if ok, err := path.Match(pattern, s); err != nil {
			panic(fmt.Sprintf("fault: pattern %q: %v", pattern, err)) // a mistake in the test
		} else if ok {
			return true
		}
	}
	return false
}

// do runs an operation under the plans.
func (f *Faulty) do(ctx context.Context, op Op, name string, effect func() error) error {
	p, lifted := f.strike(op, name)
	if p == nil {
		return effect()
	}
	outcome := ""
	if p.Mode == After || p.Mode == HangAfter {
		if err := effect(); err != nil { // the caller must not learn of it: it is the answer that gets lost
			outcome = fmt.Sprintf(", in truth: %v", err)
		}
	}
	f.mu.Lock()
	f.struck++
	f.mu.Unlock()
	err := fmt.Errorf("%s %s: %w (%s%s)", op, name, ErrInjected, p.Mode, outcome)
	if p.Mode == HangBefore || p.Mode == HangAfter {
		select {
		case <-ctx.Done():
			err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-lifted:
		}
	}
	if p.Err != nil {
		err = fmt.Errorf("%w: %w", err, p.Err)
	}
	return err
}

func (f *Faulty) Get(ctx context.Context, name string) (b []byte, err error) {
	err = f.do(ctx, Get, name, func() (err error) { b, err = f.inner.Get(ctx, name); return err })
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (f *Faulty) Open(ctx context.Context, name string) (store.Reader, error) {
	var r store.Reader
	err := f.do(ctx, Open, name, func() (err error) { r, err = f.inner.Open(ctx, name); return err })
	if err != nil {
		if r != nil {
			err = errors.Join(err, r.Close())
		}
		return nil, err
	}
	return &reader{r, f, ctx, name}, nil
}

type reader struct {
	store.Reader
	f    *Faulty
	ctx  context.Context
	name string
}

func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	err = r.f.do(r.ctx, ReadAt, r.name, func() (err error) { n, err = r.Reader.ReadAt(p, off); return err })
	return n, err
}

func (f *Faulty) Put(ctx context.Context, name string, body []byte) error {
	return f.do(ctx, Put, name, func() error { return f.inner.Put(ctx, name, body) })
}

func (f *Faulty) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	return f.do(ctx, PutIfAbsent, name, func() error { return f.inner.PutIfAbsent(ctx, name, body) })
}

func (f *Faulty) Create(ctx context.Context, name string) (store.Writer, error) {
	var w store.Writer
	err := f.do(ctx, Create, name, func() (err error) { w, err = f.inner.Create(ctx, name); return err })
	if err != nil {
		if w != nil {
			err = errors.Join(err, w.Abort())
		}
		return nil, err
	}
	return &writer{w, f, ctx, name}, nil
}

type writer struct {
	store.Writer
	f    *Faulty
	ctx  context.Context
	name string
}

func (w *writer) Write(p []byte) (n int, err error) {
	err = w.f.do(w.ctx, Write, w.name, func() (err error) { n, err = w.Writer.Write(p); return err })
	return n, err
}

func (w *writer) Close() error {
	return w.f.do(w.ctx, Close, w.name, w.Writer.Close)
}

// List fails or hangs at its start; After and HangAfter strike behind the last object.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		stopped := false
		err := f.do(ctx, List, strings.TrimSuffix(prefix, "/"), func() error {
			for o, err := range f.inner.List(ctx, prefix) {
				if !yield(o, err) {
					stopped = true
					break
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(store.Info{}, err)
		}
	}
}

func (f *Faulty) ListDirs(ctx context.Context, prefix string) (dirs []string, err error) {
	err = f.do(ctx, ListDirs, strings.TrimSuffix(prefix, "/"), func() (err error) { dirs, err = f.inner.ListDirs(ctx, prefix); return err })
	if err != nil {
		return nil, err
	}
	return dirs, nil
}

func (f *Faulty) Delete(ctx context.Context, names ...string) error {
	first := ""
	if len(names) > 0 {
		first = names[0]
	}
	return f.do(ctx, Delete, first, func() error { return f.inner.Delete(ctx, names...) })
}

func (f *Faulty) URI(name string) string          { return f.inner.URI(name) }
func (f *Faulty) Name(uri string) (string, error) { return f.inner.Name(uri) }
