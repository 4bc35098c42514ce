package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"testing"

	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/lake/store"
)

func local(t *testing.T) store.Store {
	t.Helper()
	s, err := store.OpenLocal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// story does each operation once, some twice, and stops at the first error.
func story(ctx context.Context, s store.Store) error {
	steps := []func() error{
		func() error { return s.Put(ctx, "a/x", []byte("1")) },
		func() error { return s.PutIfAbsent(ctx, "a/y", []byte("2")) },
		func() error {
			w, err := s.Create(ctx, "a/z")
			if err != nil {
				return err
			}
			if _, err := w.Write([]byte("3")); err != nil {
				return errors.Join(err, w.Abort())
			}
			return w.Close()
		},
		func() error { _, err := s.Get(ctx, "a/x"); return err },
		func() error {
			r, err := s.Open(ctx, "a/z")
			if err != nil {
				return err
			}
			_, err = r.ReadAt(make([]byte, 1), 0)
			return errors.Join(err, r.Close())
		},
		func() error {
			for _, err := range s.List(ctx, "a/") {
				if err != nil {
					return err
				}
			}
			return nil
		},
		func() error { _, err := s.ListDirs(ctx, ""); return err },
		func() error { return s.Delete(ctx, "a/x") },
		func() error { return s.Put(ctx, "a/last", nil) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func TestEachOperationInTurn(t *testing.T) {
	t.Parallel()
	plain := fault.Store(local(t))
	if err := story(t.Context(), plain); err != nil {
		t.Fatal(err)
	}
	log := plain.Events()
	if len(log) != 12 {
		t.Fatalf("saw %d operations, want 12: %v", len(log), log)
	}
	for _, mode := range fault.Modes() {
		for _, plan := range fault.Each(log) {
			plan.Mode = mode
			t.Run(plan.String(), func(t *testing.T) {
				t.Parallel()
				s := fault.Store(local(t), plan)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan error)
				go func() { done <- story(ctx, s) }()
				if mode == fault.HangBefore || mode == fault.HangAfter {
					for s.Struck() == 0 {
						runtime.Gosched()
					}
					cancel()
				}
				if err := <-done; !errors.Is(err, fault.ErrInjected) {
					t.Errorf("got %v, want the injected fault", err)
				}
				if s.Struck() != 1 {
					t.Errorf("struck %d times, want once", s.Struck())
				}
			})
		}
	}
}

func TestEffect(t *testing.T) {
	t.Parallel()
	for _, mode := range fault.Modes() {
		inner := local(t)
		ctx, cancel := context.WithCancel(t.Context())
		if mode == fault.HangBefore || mode == fault.HangAfter {
			cancel() // the inner store looks at the context too, so only what needs none is tried below
		}
		s := fault.Store(inner, fault.Plan{Op: fault.PutIfAbsent, Match: "v1*", Mode: mode})
		err := s.PutIfAbsent(ctx, "t/v1.json", []byte("x"))
		if err == nil {
			t.Errorf("%s: no error", mode)
		}
		_, err = inner.Get(t.Context(), "t/v1.json")
		if there, want := err == nil, mode == fault.After; there != want {
			t.Errorf("%s: the object is there: %v, want %v (%v)", mode, there, want, err)
		}
		if err := s.PutIfAbsent(t.Context(), "t/v2.json", nil); err != nil {
			t.Errorf("%s: a name that is not meant: %v", mode, err)
		}
		cancel()
	}
}

func TestSetLiftsWhatHangs(t *testing.T) {
	t.Parallel()
	s := fault.Store(local(t), fault.Plan{Op: fault.Get, Mode: fault.HangBefore})
	done := make(chan error)
	go func() { _, err := s.Get(context.Background(), "x"); done <- err }()
	for len(s.Events()) == 0 { // until it hangs
		runtime.Gosched()
		select {
		case err := <-done:
			t.Fatalf("it did not hang: %v", err)
		default:
		}
	}
	s.Set()
	if err := <-done; !errors.Is(err, fault.ErrInjected) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without plans: %v", err)
	}
}
