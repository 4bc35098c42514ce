package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

const hintObject = "Shop/orders/metadata/version-hint.text"

func TestDropAndCreateAgain(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Store{"local": local(t), "MinIO": minio(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b, other := catalog.NewBucket(s), catalog.NewBucket(s)
			v, err := b.Create(ctx, id, []byte("1"))
			check(t, err)
			slow, err := other.Load(ctx, id)
			check(t, err)
			check(t, b.Drop(ctx, v, "test"))
			if err := b.Drop(ctx, v, "test"); !errors.Is(err, catalog.ErrConflict) {
				t.Errorf("dropped twice: %v", err)
			}
			for _, b := range []*catalog.Bucket{b, other, catalog.NewBucket(s)} {
				if _, err := b.Load(ctx, id); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Load of a dropped table: %v", err)
				}
				if ids, err := b.Tables(ctx); err != nil || len(ids) != 0 {
					t.Errorf("Tables: %v, %v", ids, err)
				}
				if dbs, err := b.Databases(ctx); err != nil || len(dbs) != 0 {
					t.Errorf("Databases: %v, %v", dbs, err)
				}
			}
			if _, err := s.Get(ctx, hintObject); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the hint of a dropped table: %v", err)
			}
			if _, err := other.Swap(ctx, slow, []byte("x")); !errors.Is(err, catalog.ErrConflict) {
				t.Errorf("a commit to a dropped table: %v", err)
			}
			v, err = other.Create(ctx, id, []byte("3"))
			check(t, err)
			if v.N != 3 || hint(t, s) != "3" {
				t.Errorf("made anew: version %d, hint %s", v.N, hint(t, s))
			}
			if err := b.Erase(ctx, id); !errors.Is(err, fs.ErrExist) {
				t.Errorf("Erase of a table that is there: %v", err)
			}
			check(t, b.Drop(ctx, v, "test"))
			check(t, b.Erase(ctx, id))
			for n := 1; n <= 4; n++ {
				if body, err := s.Get(ctx, id.MetadataName(n)); err != nil || !strings.HasPrefix(string(body), `{"tidemark-dropped":`) {
					t.Errorf("version %d after Erase: %s, %v", n, body, err)
				}
			}
		})
	}
}

func TestDropRacesWithCommits(t *testing.T) {
	t.Parallel()
	s := local(t)
	v, err := catalog.NewBucket(s).Create(t.Context(), id, []byte("1"))
	check(t, err)
	errs := make(chan error, 2)
	go func() { errs <- catalog.NewBucket(s).Drop(context.WithoutCancel(t.Context()), v, "test") }()
	go func() {
		_, err := catalog.NewBucket(s).Swap(context.WithoutCancel(t.Context()), v, []byte("2"))
		errs <- err
	}()
	one, two := <-errs, <-errs
	if (one == nil) == (two == nil) {
		t.Errorf("exactly one must win: %v, %v", one, two)
	}
	got, err := catalog.NewBucket(s).Load(t.Context(), id)
	_, hintErr := s.Get(t.Context(), hintObject)
	if (err == nil) != (hintErr == nil) || err == nil && (got.N != 2 || hint(t, s) != "2") {
		t.Errorf("the table: %v, its hint: %v", err, hintErr)
	}
}

// TestDropCrashPoints lets every operation of a drop fail, and asks a fresh process.
func TestDropCrashPoints(t *testing.T) {
	t.Parallel()
	story := func(s store.Store) error {
		b := catalog.NewBucket(s)
		v, err := b.Load(t.Context(), id)
		if err != nil {
			return err
		}
		return b.Drop(t.Context(), v, "test")
	}
	begin := func(t *testing.T) *fault.Faulty {
		f := fault.Store(local(t))
		v, err := catalog.NewBucket(f).Create(t.Context(), id, []byte("1"))
		check(t, err)
		_, err = catalog.NewBucket(f).Swap(t.Context(), v, []byte("2"))
		check(t, err)
		f.Forget()
		return f
	}
	plain := begin(t)
	check(t, story(plain))
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for _, plan := range fault.Each(plain.Events()) {
			plan.Mode = mode
			t.Run(plan.String(), func(t *testing.T) {
				t.Parallel()
				f := begin(t)
				f.Set(plan)
				err := story(f)
				f.Set()
				fresh := catalog.NewBucket(f)
				v, loadErr := fresh.Load(t.Context(), id)
				if err == nil && loadErr == nil {
					t.Error("a drop was acknowledged, and the table is there")
				}
				if loadErr != nil {
					check(t, ignoreAbsent(loadErr))
					if _, err := f.Get(t.Context(), hintObject); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("the table is gone, its hint is not: %v", err)
					}
				} else if v, err = fresh.Swap(t.Context(), v, []byte("3")); err != nil || hint(t, f) != "3" {
					t.Errorf("going on: %v, %v", v, err)
				}
			})
		}
	}
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func TestDamagedTable(t *testing.T) {
	t.Parallel()
	s := local(t)
	_, err := catalog.NewBucket(s).Create(t.Context(), id, []byte("1"))
	check(t, err)
	check(t, s.Delete(t.Context(), id.MetadataName(1)))
	_, err = catalog.NewBucket(s).Load(t.Context(), id)
	var missing *catalog.MissingError
	if !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) || missing.URI != s.URI(id.MetadataName(1)) {
		t.Errorf("Load: %v", err)
	}
}

func TestDatabaseProperties(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := local(t)
	b := catalog.NewBucket(s)
	set := func(k, v string) func(map[string]string) { return func(p map[string]string) { p[k] = v } }
	if err := b.ChangeDatabase(ctx, "Shop", set("a", "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	v, err := b.Create(ctx, id, []byte("1")) // a database by its table
	check(t, err)
	done := make(chan error)
	for i := range 4 {
		go func() {
			done <- catalog.NewBucket(s).ChangeDatabase(context.WithoutCancel(ctx), "Shop", set(fmt.Sprint(i), "x"))
		}()
	}
	for range 4 {
		check(t, <-done)
	}
	if p, err := b.Database(ctx, "Shop"); err != nil || len(p) != 4 {
		t.Errorf("properties: %v, %v", p, err)
	}
	if err := b.DropDatabase(ctx, "Shop"); !errors.Is(err, catalog.ErrNotEmpty) {
		t.Errorf("a database with a table: %v", err)
	}
	check(t, b.Drop(ctx, v, "test"))
	check(t, b.DropDatabase(ctx, "Shop"))
	if err := b.DropDatabase(ctx, "Shop"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dropped twice: %v", err)
	}
	check(t, b.CreateDatabase(ctx, "Shop", nil))
	if p, err := b.Database(ctx, "Shop"); err != nil || len(p) != 0 {
		t.Errorf("made anew: %v, %v", p, err)
	}
}

// TestSleeperFindsItsPlaceTaken erases a dropped table and lets a writer commit that had loaded it long ago.
func TestSleeperFindsItsPlaceTaken(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := local(t)
	now := time.Now()
	sleeper := catalog.NewBucketAt(s, func() time.Time { return now })
	b := catalog.NewBucket(s)
	v, err := b.Create(ctx, id, []byte("1"))
	check(t, err)
	old, err := sleeper.Load(ctx, id)
	check(t, err)
	for n := 2; n < 5; n++ {
		v, err = b.Swap(ctx, v, fmt.Append(nil, n))
		check(t, err)
	}
	check(t, b.Drop(ctx, v, "test"))
	check(t, b.Erase(ctx, id))
	now = now.Add(24 * time.Hour)
	if _, err := sleeper.Swap(ctx, old, []byte("x")); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("it woke up and committed: %v", err)
	}
}
