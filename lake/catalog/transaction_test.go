package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// Of the transactions here: changed and dropped are there before, made is created by it.
var (
	changed = catalog.Identifier{DB: "a", Table: "changed"}
	made    = catalog.Identifier{DB: "b", Table: "made"}
	dropped = catalog.Identifier{DB: "a", Table: "dropped"}
)

func beginTransaction(t *testing.T, s store.Store) {
	t.Helper()
	b := catalog.NewBucket(s)
	for _, id := range []catalog.Identifier{changed, dropped} {
		_, err := b.Create(t.Context(), id, []byte(`{"n": 1 }`))
		check(t, err)
	}
}

func transaction(ctx context.Context, b *catalog.Bucket) error {
	one, err := b.Load(ctx, changed)
	if err != nil {
		return err
	}
	two, err := b.Vacant(ctx, made)
	if err != nil {
		return err
	}
	three, err := b.Load(ctx, dropped)
	if err != nil {
		return err
	}
	versions, err := b.SwapAll(ctx, []catalog.Change{{Base: one, Metadata: []byte(`{"n":2}`)}, {Base: two, Metadata: []byte(`{"n":"new"}`)}, {Base: three, Why: "test"}})
	if err == nil && (len(versions) != 3 || versions[0].ID != changed || versions[0].N < 3 || string(versions[1].Metadata) != `{"n":"new"}`) {
		err = fmt.Errorf("versions: %+v", versions)
	}
	return err
}

// state is what a reader with a catalog sees of the three tables.
func state(t *testing.T, s store.Store) string {
	t.Helper()
	b := catalog.NewBucket(s)
	var all []string
	for _, id := range []catalog.Identifier{changed, made, dropped} {
		v, err := b.Load(t.Context(), id)
		if errors.Is(err, fs.ErrNotExist) {
			all = append(all, "none")
			continue
		}
		check(t, err)
		all = append(all, string(v.Metadata))
	}
	return strings.Join(all, " ")
}

const (
	before = `{"n": 1 } none {"n": 1 }`
	after  = `{"n":2} {"n":"new"} none`
)

func TestTransaction(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Store{"local": local(t), "MinIO": minio(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beginTransaction(t, s)
			check(t, transaction(t.Context(), catalog.NewBucket(s)))
			if got := state(t, s); got != after {
				t.Errorf("after: %s", got)
			}
			ids, err := catalog.NewBucket(s).Tables(t.Context())
			if err != nil || fmt.Sprint(ids) != "[a.changed b.made]" {
				t.Errorf("Tables: %v, %v", ids, err)
			}
			for o, err := range s.List(t.Context(), ".tidemark/") {
				t.Errorf("left behind: %v, %v", o, err)
			}
			for table, want := range map[string]string{"a/changed": "3", "b/made": "2"} {
				if text, err := s.Get(t.Context(), table+"/metadata/version-hint.text"); err != nil || string(text) != want {
					t.Errorf("hint of %s: %s, %v", table, text, err)
				}
			}
		})
	}
}

// TestTransactionCrashPoints lets every operation of a transaction fail, in each way: the transaction is either done or
// not, whatever dies; what was acknowledged is done, what was reported as a conflict is not, and all go on from there.
func TestTransactionCrashPoints(t *testing.T) {
	t.Parallel()
	plain := fault.Store(local(t))
	beginTransaction(t, plain)
	plain.Forget()
	check(t, transaction(t.Context(), catalog.NewBucket(plain)))
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for _, plan := range fault.Each(plain.Events()) {
			for _, dies := range []bool{false, true} {
				plan.Mode = mode
				t.Run(fmt.Sprint(plan, " dies ", dies), func(t *testing.T) {
					t.Parallel()
					inner := local(t)
					beginTransaction(t, inner)
					f := fault.Store(inner, plan)
					err := transaction(t.Context(), catalog.NewBucket(&mortal{Store: f, faults: f, dies: dies}))
					got := state(t, inner)
					switch {
					case got != before && got != after:
						t.Errorf("half applied (%v): %s", err, got)
					case err == nil && got != after, errors.Is(err, catalog.ErrConflict) && got != before:
						t.Errorf("answered %v: %s", err, got)
					}
					b := catalog.NewBucket(inner)
					v, err := b.Load(t.Context(), changed)
					check(t, err)
					_, err = b.Swap(t.Context(), v, []byte(`{"n":3}`))
					check(t, err)
					if again := state(t, inner); strings.TrimPrefix(again, `{"n":3}`) != strings.TrimPrefix(strings.TrimPrefix(got, `{"n": 1 }`), `{"n":2}`) {
						t.Errorf("after going on: %s, before: %s", again, got)
					}
				})
			}
		}
	}
}

// mortal is a store that does nothing any more once a fault has struck, as for a process that was killed there.
type mortal struct {
	store.Store
	faults *fault.Faulty
	dies   bool
}

var errDead = errors.New("dead")

func (m *mortal) dead() bool { return m.dies && m.faults.Struck() > 0 }

func (m *mortal) Get(ctx context.Context, name string) ([]byte, error) {
	if m.dead() {
		return nil, errDead
	}
	return m.Store.Get(ctx, name)
}

func (m *mortal) Put(ctx context.Context, name string, body []byte) error {
	if m.dead() {
		return errDead
	}
	return m.Store.Put(ctx, name, body)
}

func (m *mortal) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	if m.dead() {
		return errDead
	}
	return m.Store.PutIfAbsent(ctx, name, body)
}

func (m *mortal) Delete(ctx context.Context, names ...string) error {
	if m.dead() {
		return errDead
	}
	return m.Store.Delete(ctx, names...)
}

// TestRacingTransactions lets writers move one unit between two tables, and others commit to one table alone: the sum
// must come out right for every reader at every moment at which no transaction is under way.
func TestRacingTransactions(t *testing.T) {
	t.Parallel()
	s := local(t)
	ids := []catalog.Identifier{{DB: "a", Table: "x"}, {DB: "b", Table: "y"}}
	for _, id := range ids {
		_, err := catalog.NewBucket(s).Create(t.Context(), id, []byte(`{"n":100,"own":0}`))
		check(t, err)
	}
	type account struct{ n, own int }
	parse := func(v *catalog.Version) (a account) {
		if _, err := fmt.Sscanf(string(v.Metadata), `{"n":%d,"own":%d}`, &a.n, &a.own); err != nil {
			t.Errorf("%s: %v", v.Metadata, err)
		}
		return a
	}
	text := func(a account) []byte { return fmt.Appendf(nil, `{"n":%d,"own":%d}`, a.n, a.own) }
	var g sync.WaitGroup
	until := func(f func(b *catalog.Bucket) error) {
		g.Go(func() {
			b := catalog.NewBucket(s)
			for done := 0; done < 8; {
				switch err := f(b); {
				case err == nil:
					done++
				case !errors.Is(err, catalog.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		until(func(b *catalog.Bucket) error {
			x, err := b.Load(t.Context(), ids[0])
			if err != nil {
				return err
			}
			y, err := b.Load(t.Context(), ids[1])
			if err != nil {
				return err
			}
			from, to := parse(x), parse(y)
			from.n--
			to.n++
			_, err = b.SwapAll(t.Context(), []catalog.Change{{Base: x, Metadata: text(from)}, {Base: y, Metadata: text(to)}})
			return err
		})
	}
	until(func(b *catalog.Bucket) error {
		v, err := b.Load(t.Context(), ids[0])
		if err != nil {
			return err
		}
		a := parse(v)
		a.own++
		_, err = b.Swap(t.Context(), v, text(a))
		return err
	})
	g.Wait()
	b := catalog.NewBucket(s)
	x, err := b.Load(t.Context(), ids[0])
	check(t, err)
	y, err := b.Load(t.Context(), ids[1])
	check(t, err)
	if parse(x) != (account{76, 8}) || parse(y) != (account{124, 0}) {
		t.Errorf("%s %s", x.Metadata, y.Metadata)
	}
}
