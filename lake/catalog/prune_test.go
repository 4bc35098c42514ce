package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// TestPrune removes old versions, and a writer that slept meanwhile must not think that it committed.
func TestPrune(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := &aging{Store: local(t), offset: map[string]time.Duration{}}
	now := time.Now()
	clock := func() time.Time { return now }
	b := catalog.NewBucketAt(s, clock)
	v, err := b.Create(ctx, id, []byte("1"))
	check(t, err)
	sleeper := catalog.NewBucketAt(s, clock)
	old, err := sleeper.Load(ctx, id)
	check(t, err)

	if n, err := b.Prune(ctx, v, 0); n != 0 || err != nil {
		t.Errorf("Prune of a new table: %d, %v", n, err)
	}
	for n := 2; n <= 10; n++ {
		v, err = b.Swap(ctx, v, fmt.Append(nil, n))
		check(t, err)
	}
	if n, err := b.Prune(ctx, v, 2); n != 0 || err != nil {
		t.Errorf("Prune of young versions: %d, %v", n, err)
	}
	s.age(2 * time.Hour)
	now = now.Add(2 * time.Hour)
	if n, err := b.Prune(ctx, v, 2); n != 7 || err != nil {
		t.Errorf("Prune: %d, %v; want 7", n, err)
	}
	if got, err := catalog.NewBucket(s).Load(ctx, id); err != nil || got.N != 10 {
		t.Errorf("Load: %v, %v", got, err)
	}
	if _, err := b.Create(ctx, id, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a table whose first version is gone: %v", err)
	}

	if _, err := sleeper.Swap(ctx, old, []byte("zombie")); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("the sleeper's commit: %v, want a conflict", err)
	}
	if _, err := s.Get(ctx, id.MetadataName(2)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the sleeper's version is still there: %v", err)
	}
	if got, err := sleeper.Load(ctx, id); err != nil || got.N != 10 {
		t.Errorf("the sleeper's Load: %v, %v", got, err)
	}

	// A late but rightful commit stands, even when another already went on from it.
	now = now.Add(time.Hour)
	s.age(time.Hour)
	other := catalog.NewBucketAt(s, clock)
	racing := &overtakeCommit{aging: s, other: func() {
		w, err := other.Load(ctx, id)
		if err == nil && w.N == 11 {
			_, err = other.Swap(ctx, w, []byte("12"))
		}
		if err != nil {
			t.Error(err)
		}
	}}
	late, err := catalog.NewBucketAt(racing, clock).Swap(ctx, v, []byte("11"))
	if err != nil || late.N != 11 || hint(t, s) != "12" {
		t.Errorf("a late commit: %v, %v, hint %s", late, err, hint(t, s))
	}
}

// aging is a store whose objects get older at will.
type aging struct {
	store.Store
	mu     sync.Mutex
	offset map[string]time.Duration // by name, of what was there when age was called
}

func (a *aging) age(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for o, err := range a.Store.List(context.Background(), "") {
		if err == nil {
			a.offset[o.Name] += d
		}
	}
}

func (a *aging) Delete(ctx context.Context, names ...string) error {
	a.mu.Lock()
	for _, n := range names {
		delete(a.offset, n)
	}
	a.mu.Unlock()
	return a.Store.Delete(ctx, names...)
}

func (a *aging) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for o, err := range a.Store.List(ctx, prefix) {
			a.mu.Lock()
			o.ModTime = o.ModTime.Add(-a.offset[o.Name])
			a.mu.Unlock()
			if !yield(o, err) {
				return
			}
		}
	}
}

// overtakeCommit runs another writer right after a version was created, once.
type overtakeCommit struct {
	*aging
	other func()
	once  sync.Once
}

func (o *overtakeCommit) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	err := o.aging.PutIfAbsent(ctx, name, body)
	if err == nil {
		o.once.Do(o.other)
	}
	return err
}
