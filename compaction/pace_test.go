package compaction

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/lake"
)

// TestPace lets rewrites work for a minute of a clock that goes on only while all wait.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		processors float64
		batches    []time.Duration // of each rewrite
		worked     []float64       // minutes
	}{
		{1, []time.Duration{10 * ms}, []float64{1}},
		{1, []time.Duration{10 * ms, 30 * ms}, []float64{0.4, 0.6}},
		{0.25, []time.Duration{10 * ms}, []float64{0.25}},
		{0.25, []time.Duration{10 * ms, 30 * ms}, []float64{0.06, 0.19}},
		{2, []time.Duration{10 * ms, 30 * ms}, []float64{1, 1}},
		{1, []time.Duration{10 * ms, time.Hour}, []float64{1, 60}}, // the store does not answer
	} {
		synctest.Test(t, func(t *testing.T) {
			pace := NewPace(c.processors)
			worked := make([]time.Duration, len(c.batches))
			var wait sync.WaitGroup
			end := time.Now().Add(time.Minute)
			for i, batch := range c.batches {
				wait.Go(func() {
					for w := pace.work(t.Context()); time.Now().Before(end); {
						<-time.After(batch)
						worked[i] += batch
						if err := w.pay(); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wait.Wait()
			sum, expected := 0.0, 0.0
			for i := range worked {
				sum, expected = sum+worked[i].Minutes(), expected+c.worked[i]
				if got := worked[i].Minutes(); math.Abs(got-c.worked[i]) > 0.05 {
					t.Errorf("%g processors, batches of %s: rewrite %d worked for %g minutes of one, expected %g", c.processors, c.batches, i, got, c.worked[i])
				}
			}
			if math.Abs(sum-expected) > 0.01 {
				t.Errorf("%g processors, batches of %s: %g minutes of work in one, expected %g", c.processors, c.batches, sum, expected)
			}
		})
	}
}

// TestRewritesPay rewrites files, sorted or to be sorted first, at a pace that never lets them wait: they pay, and no more than the time they took.
// At a pace that is used up they wait with the first batch, until they are canceled, and leave no file behind.
func TestRewritesPay(t *testing.T) {
	const rows = 60_000
	for name, order := range map[string][]int{"sorted": numbers(0, rows), "unsorted": rand.New(rand.NewPCG(1, 2)).Perm(rows)} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 3, shapes[0], nil)
			files, err := b.write(order)
			b.must(err)
			b.must(b.commit(files, nil))
			inputs := [][]*lake.FileInfo{dataFiles(b.table)}

			const plenty = 1 << 40
			pace := &Pace{rate.NewLimiter(1e-9, plenty), paceSlack}
			began := time.Now()
			got, err := rewrite(t.Context(), b.table, pace, inputs, 1<<30, minHeld)
			took := time.Since(began)
			b.must(err)
			if paid := time.Duration(plenty-pace.limiter.Tokens()) * time.Microsecond; paid <= 0 || paid > took {
				t.Errorf("paid for %s of %s", paid, took)
			}
			b.compare(inputs[0], got)
			b.must(b.table.Discard(t.Context(), got.outputs))

			pace = NewPace(1e-9)
			pace.limiter.AllowN(time.Now(), pace.limiter.Burst())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := rewrite(ctx, b.table, pace, inputs, 1<<30, minHeld)
				ended <- err
			}()
			select {
			case err := <-ended:
				t.Errorf("ended: %v", err)
			case <-time.After(2 * took):
			}
			b.noStrays() // it has not come far
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("canceled: %v", err)
			}
			b.noStrays()
		})
	}
}

// TestRewritesPayForEachBatch counts payments, at a pace where each costs a microsecond. However many rows a rewrite sorts or divides at once, it pays
// for all batches that it reads and for all that it writes.
func TestRewritesPayForEachBatch(t *testing.T) {
	const batches, parts = 12, 5
	for _, c := range []struct {
		name              string
		unsorted, divided bool
		payments          int // at least
	}{
		{"sorted", false, false, batches},
		{"unsorted", true, false, 7 * batches}, // it looks at the keys, reads to sort, writes runs in smaller batches, merges them
		{"divided", false, true, 2 * batches},
		{"unsorted and divided", true, true, 8 * batches},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 3, shapes[0], nil)
			order := numbers(0, batches*batchRows)
			if c.unsorted {
				slices.Reverse(order)
			}
			files, err := b.write(order)
			b.must(err)
			b.must(b.commit(files, nil))
			if c.divided {
				b.partitionBy(fmt.Sprintf("bucket(%d, n)", parts))
			}
			const plenty = 1 << 40
			pace := &Pace{rate.NewLimiter(1e-9, plenty), time.Microsecond}
			got, err := rewrite(t.Context(), b.table, pace, [][]*lake.FileInfo{dataFiles(b.table)}, 1<<30, 1<<30)
			b.must(err)
			if c.divided && len(got.outputs) != parts {
				t.Errorf("%d outputs, expected one for each of %d partitions", len(got.outputs), parts)
			}
			if n := int(plenty - pace.limiter.Tokens()); n < c.payments {
				t.Errorf("%d payments for %d batches, expected at least %d", n, batches, c.payments)
			}
			b.must(b.table.Discard(t.Context(), got.outputs))
		})
	}
}
