package compaction

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/store"
	"github.com/tidemark/tidemark/merge"
)

// faulty makes a table with a rewrite that waits, and a delete that came after it.
func faulty(t *testing.T, format int) (*bench, *fault.Faulty, *Rewrite) {
	var f *fault.Faulty
	b := newBench(t, format, shapes[0], func(s store.Store) store.Store { f = fault.Store(s); return f })
	b.must(b.upsert(numbers(0, 200), nil))
	b.must(b.upsert(numbers(100, 300), nil))
	r := b.prepare()
	b.must(b.upsert(nil, numbers(150, 160)))
	f.Forget()
	return b, f, r
}

// TestPublishFaults lets every operation of Publish fail, before and after its effect. Whatever happened, the table
// holds the model's rows, and publishing again on a table opened anew brings the rewrite in exactly once.
func TestPublishFaults(t *testing.T) {
	for _, format := range []int{3, 2} {
		var operations []fault.Plan
		{
			b, f, r := faulty(t, format)
			_, err := r.Publish(t.Context(), b.table)
			b.must(err)
			operations = fault.Each(f.Events())
		}
		if len(operations) < 6 {
			t.Fatalf("only %d operations were seen", len(operations))
		}
		for _, mode := range []fault.Mode{fault.Before, fault.After} {
			for _, plan := range operations {
				plan.Mode = mode
				t.Run(fmt.Sprintf("v%d/%s", format, plan), func(t *testing.T) {
					b, f, r := faulty(t, format)
					f.Set(plan)
					_, err := r.Publish(t.Context(), b.table)
					f.Set()
					if f.Struck() == 0 {
						t.Fatal("the fault did not strike")
					}
					fresh, openErr := lake.Open(t.Context(), b.lake, id)
					b.must(openErr)
					if err == nil && fresh.SnapshotID() != b.table.SnapshotID() {
						t.Fatal("acknowledged, but not there")
					}
					if err != nil {
						b.table = fresh
						if _, err := r.Publish(t.Context(), fresh); err != nil && !errors.Is(err, lake.ErrOvertaken) {
							t.Fatalf("the second time: %v", err)
						}
					}
					b.index, err = merge.BuildIndex(t.Context(), b.table, b.codec)
					b.must(err)
					b.equal(nil)
					if n := len(b.table.Files()); n != r.Files {
						t.Errorf("%d data files, the rewrite has %d", n, r.Files)
					}
				})
			}
		}
	}
}

// TestPrepareFaults lets every operation of a rewrite fail: nothing is left behind, no file and no goroutine.
func TestPrepareFaults(t *testing.T) {
	b, f, r := faulty(t, 3)
	b.must(r.Discard(t.Context()))
	b.noStrays()
	v, err := OpenView(t.Context(), b.lake, id)
	b.must(err)
	f.Forget()
	again, err := v.Prepare(t.Context(), v.all(), small)
	b.must(err)
	b.must(again.Discard(t.Context()))
	before := runtime.NumGoroutine()
	for _, plan := range fault.Each(f.Events()) {
		if plan.Op == fault.Delete {
			continue // removing the outputs of the first try
		}
		for _, plan.Mode = range []fault.Mode{fault.Before, fault.After} {
			f.Set(plan)
			_, err := v.Prepare(t.Context(), v.all(), small)
			f.Set()
			if !errors.Is(err, fault.ErrInjected) && (err == nil || !strings.Contains(err.Error(), fault.ErrInjected.Error())) {
				t.Errorf("%s: %v", plan, err)
			}
			if plan.Op != fault.Close || plan.Mode != fault.After { // there the store says that it failed, and it did not
				b.noStrays()
			}
		}
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}
