package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
	"github.com/tidemark/tidemark/lake"
)

// besideChurn is the share of rows that are updated before each part: more than makes every file worth rewriting.
const besideChurn = 0.3

// compactionLimit is how long the compaction may go on after the updates are all read.
const compactionLimit = 5 * time.Minute

// beside measures what one compaction of the whole table does to the ingest beside which it runs. The updates wait in the binary
// log, so that the ingest, and not the source that makes them on the same processors, sets the pace: first without
// compaction, which leaves every file with so many deleted rows that it is to be rewritten, then with it. Or they come in at a
// rate, which the ingest follows as far as it can.
func (b *bench) beside(ctx context.Context, o fireOptions) error {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.fill(ctx, box, o.rows); err != nil {
		return err
	}
	enough, end, err := b.feed(ctx, o)
	if err != nil {
		return err
	}
	f, err := b.follow(ctx, "--commit-interval", "5s", "--compact", "off")
	if err != nil {
		return err
	}
	without, err := f.over(ctx, func(changes int64) bool { return changes >= enough })
	if err := errors.Join(err, end(), f.stop()); err != nil {
		return err
	}
	before := map[string]bool{}
	if _, err = b.left(ctx, func(f *lake.DataFile) bool {
		if f.Deleted == nil || float64(f.Deleted.GetCardinality()) <= 0.2*float64(f.Rows) {
			return false // not to be rewritten
		}
		before[f.Path] = true
		return true
	}); err != nil {
		return err
	}
	if enough, end, err = b.feed(ctx, o); err != nil {
		return err
	}
	if f, err = b.follow(ctx, "--commit-interval", "5s"); err != nil {
		return err
	}
	began, left, looked := time.Now(), len(before), time.Now()
	look := func() int {
		if time.Since(looked) > time.Second {
			if n, err := b.left(ctx, func(f *lake.DataFile) bool { return before[f.Path] }); err == nil {
				left = n
			}
			looked = time.Now()
		}
		return left
	}
	tooLong := func() bool { return time.Since(began) >= compactionLimit }
	with, err := f.over(ctx, func(changes int64) bool { return look() == 0 || tooLong() || o.coming == 0 && changes >= enough })
	for err == nil && look() > 0 && !tooLong() { // it ends beside a source that is quiet now
		select {
		case err = <-f.ended:
			return f.failed(errors.Join(err, errors.New("ingest ended")))
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(time.Second):
		}
	}
	compacting := time.Since(began)
	if err := errors.Join(err, end(), f.stop()); err != nil {
		return err
	}
	dropped := int64(0)
	for _, n := range f.rewrites {
		dropped += n
	}
	fmt.Printf("\nformat %d, %d rows:\n\n| ingest | seconds | changes | changes a second | commits |\n|---|---|---|---|---|\n", b.format, o.rows)
	without.print("without compaction")
	with.print("while all is compacted")
	fmt.Printf("| **ratio** | | | **%.2f** | |\n\n", with.perSecond()/without.perSecond())
	fmt.Printf("The compaction of %d files took %.0f s and left %d of them; %d rewrites wrote %.0f MiB and dropped %d rows. Failed commits, warnings and errors in the log: %d.\n",
		len(before), compacting.Seconds(), left, len(f.rewrites), float64(f.rewritten)/(1<<20), dropped, len(f.bad))
	for _, line := range f.bad {
		fmt.Println("the log says:", line)
	}
	return b.settle(ctx)
}

// feed has the source make updates, which wait or come in until end is called. So many are worth measuring.
func (b *bench) feed(ctx context.Context, o fireOptions) (enough int64, end func() error, err error) {
	if o.coming > 0 {
		return int64(besideChurn * float64(o.rows)), b.update(ctx, o.rows, o.coming).end, nil
	}
	enough, err = b.await(ctx, o.rows)
	return enough, func() error { return nil }, err
}

// await has the source make updates that nobody reads yet, and returns how many.
func (b *bench) await(ctx context.Context, rows int) (int64, error) {
	began := time.Now()
	n := int64(besideChurn * float64(rows))
	u := b.update(ctx, rows, 1<<30)
	for u.sent.Load() < n && u.failed.Load() == nil {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	err := u.end()
	fmt.Printf("%d updates in the binary log after %.0f s\n", u.sent.Load(), time.Since(began).Seconds())
	return u.sent.Load(), err
}

// left counts the table's data files that are of a kind.
func (b *bench) left(ctx context.Context, of func(*lake.DataFile) bool) (n int, err error) {
	t, err := b.openTable(ctx)
	if err != nil {
		return 0, err
	}
	for _, file := range t.Files() {
		if of(file) {
			n++
		}
	}
	return n, nil
}

// stretch is what happened in a stretch of time.
type stretch struct {
	seconds float64
	changes int64
	commits int
}

func (s stretch) perSecond() float64 { return float64(s.changes) / s.seconds }

func (s stretch) print(what string) {
	fmt.Printf("| %s | %.0f | %d | %.0f | %d |\n", what, s.seconds, s.changes, s.perSecond(), s.commits)
}

// over counts from the first commit on to the one with which it is enough.
func (f *follower) over(ctx context.Context, enough func(changes int64) bool) (s stretch, err error) {
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
	now := func() (commits int, changes int64, at time.Time) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.commits, f.changes, f.last
	}
	if err := wait(func() bool { commits, _, _ := now(); return commits > 0 }); err != nil {
		return s, err
	}
	commits, changes, began := now()
	if err := wait(func() bool { _, changes, _ := now(); return enough(changes) }); err != nil {
		return s, err
	}
	lastCommits, lastChanges, ended := now()
	if lastCommits == commits {
		return s, errors.New("there is too little to measure: a single commit held it all; give more -rows")
	}
	return stretch{ended.Sub(began).Seconds(), lastChanges - changes, lastCommits - commits}, nil
}
