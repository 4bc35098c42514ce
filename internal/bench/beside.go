package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// besideChurn is the share of rows that are updated without compaction first: more than makes a file worth rewriting.
const besideChurn = 0.3

// beside measures what one compaction of the whole table does to the ingest beside which it runs, while updates come in at a
// rate: first without compaction, until every file has lost so many rows that it is to be rewritten, then with it.
func (b *bench) beside(ctx context.Context, o fireOptions) (err error) {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	if o.rate == 0 {
		o.rate = 50_000
	}
	if err := b.fill(ctx, box, o.rows); err != nil {
		return err
	}
	const interval = "5s"
	f, err := b.follow(ctx, "--commit-interval", interval, "--compact", "off")
	if err != nil {
		return err
	}
	u := b.update(ctx, o.rows, o.rate)
	defer func() { err = errors.Join(err, u.end()) }()
	without, err := f.over(ctx, u, func(changes int64, _ int) bool { return float64(changes) >= besideChurn*float64(o.rows) })
	if err := errors.Join(err, f.stop()); err != nil {
		return err
	}
	_, before, err := b.openTable(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, file := range before.Files() {
		there[file.Path] = true
	}
	if f, err = b.follow(ctx, "--commit-interval", interval); err != nil {
		return err
	}
	var left int
	looked := time.Now()
	with, err := f.over(ctx, u, func(_ int64, rewrites int) bool {
		if time.Since(looked) < 2*time.Second || rewrites == 0 {
			return false
		}
		looked = time.Now()
		_, now, err := b.openTable(ctx)
		if err != nil {
			return false // asked again
		}
		left = 0
		for _, file := range now.Files() {
			if there[file.Path] {
				left++
			}
		}
		return left == 0
	})
	if err := errors.Join(err, u.end(), f.stop()); err != nil {
		return err
	}
	dropped := int64(0)
	for _, n := range f.rewrites {
		dropped += n
	}
	fmt.Printf("\nformat %d, %d rows, %d updates a second asked for:\n\n| | seconds | sent a second | committed a second | commits |\n|---|---|---|---|---|\n", b.format, o.rows, o.rate)
	without.print("without compaction")
	with.print("while all is compacted")
	fmt.Printf("| **ratio** | | %.2f | **%.2f** | |\n\n", with.sent()/without.sent(), with.committed()/without.committed())
	fmt.Printf("%d rewrites wrote %.0f MiB and dropped %d rows; %d files left of those before; %d lines of the log are warnings or errors\n",
		len(f.rewrites), float64(f.rewritten)/(1<<20), dropped, left, len(f.bad))
	for _, line := range f.bad {
		fmt.Println("the log says:", line)
	}
	return b.settle(ctx)
}

// stretch is what happened in a stretch of time.
type stretch struct {
	seconds    float64
	sentRows   int64
	changes    int64
	numCommits int
}

func (s stretch) sent() float64      { return float64(s.sentRows) / s.seconds }
func (s stretch) committed() float64 { return float64(s.changes) / s.seconds }

func (s stretch) print(what string) {
	fmt.Printf("| %s | %.0f | %.0f | %.0f | %d |\n", what, s.seconds, s.sent(), s.committed(), s.numCommits)
}

// over counts from the first commit on to the first one after it is enough.
func (f *follower) over(ctx context.Context, u *updates, enough func(changes int64, rewrites int) bool) (s stretch, err error) {
	wait := func(until func() bool) error {
		for !until() {
			select {
			case err := <-f.ended:
				return f.failed(errors.Join(err, errors.New("ingest ended")))
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		return nil
	}
	commits := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.commits
	}
	if err := wait(func() bool { return commits() > 0 }); err != nil {
		return s, err
	}
	began, first, sent := time.Now(), commits(), u.sent.Load()
	changes, _ := f.done()
	if err := wait(func() bool { return enough(f.done()) }); err != nil {
		return s, err
	}
	last := commits()
	if err := wait(func() bool { return commits() > last }); err != nil {
		return s, err
	}
	now, _ := f.done()
	return stretch{time.Since(began).Seconds(), u.sent.Load() - sent, now - changes, commits() - first}, nil
}
