package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// Compaction runs beside the stream and meets it in one place. The long part, reading and merging data files, is done by
// one goroutine with views of the tables of its own (compactor), and a second one for what takes longer than seconds, so that the small files
// that commits add meanwhile are merged all the same. The short part, publishing, is a job of the flusher
// between two commits, so the two never race for a table; the index follows by the moves that the rewrite recorded.

// compactEvery is after how many commits of a table a look at its files is worth while, unless readers want few small ones.
const compactEvery = 4

// Manifests are tidied up and old snapshots expired after so many commits of a table, or after fewer where snapshots are kept for
// less time than these take: what a rewrite replaced is as large as the table.
const upkeepEvery, upkeepLeast = 25, 5

// upkeepDue says so, of commits and of time since the last upkeep, and of time since a large rewrite, 0 for none: snapshots are kept for age, 0 for the
// default, which is long.
func upkeepDue(commits int, passed, replaced, age time.Duration) bool {
	return commits >= upkeepEvery || age > 0 && (replaced >= age || commits >= upkeepLeast && passed >= age)
}

// rewritten is a finished rewrite of a table that waits to be published.
type rewritten struct {
	table   string
	rewrite *compaction.Rewrite
	settled chan struct{} // closed when it was published or dropped
}

// compactor rewrites data files of one loop's tables, a group at a time, and at most one long one beside.
type compactor struct {
	*pipeline
	options compaction.Options
	wake    chan catalog.Identifier // tables that have had several commits
	done    chan rewritten
	beside  sync.WaitGroup // the long rewrite, and work of an engine
	ended   chan struct{}

	mu      sync.Mutex
	long    *compaction.Group    // that is rewritten beside; nil: none
	waiting []catalog.Identifier // tables that have another one
}

// startCompactor runs until ctx ends. It is nil when compaction is off.
func (p *pipeline) startCompactor(ctx context.Context) *compactor {
	if p.Compact == nil {
		return nil
	}
	c := &compactor{pipeline: p, options: *p.Compact, wake: make(chan catalog.Identifier, 64), done: make(chan rewritten), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		defer c.beside.Wait()
		for {
			select {
			case <-ctx.Done():
				return
			case id := <-c.wake:
				c.failed(ctx, id, c.table(ctx, id))
			}
		}
	}()
	return c
}

// look asks for a look at a table. It does not wait: while the compactor is busy, the next commits ask again.
func (c *compactor) look(id catalog.Identifier) {
	if c == nil {
		return
	}
	select {
	case c.wake <- id:
	default:
	}
}

// rewrites gives the finished rewrites; nil when compaction is off.
func (c *compactor) rewrites() <-chan rewritten {
	if c == nil {
		return nil
	}
	return c.done
}

// table rewrites what is worth rewriting now, or has an engine do it, and sees each rewrite settled before it begins the next.
func (c *compactor) table(ctx context.Context, id catalog.Identifier) error {
	c.mu.Lock()
	long := c.long // as it was before the view is opened: when it has ended since, the view may still have its inputs
	c.mu.Unlock()
	view, err := compaction.OpenView(ctx, c.Lake, id)
	if err != nil {
		return err
	}
	o := c.options
	o.Alone = long != nil || c.outside != nil
	here, there := c.outside.plan(view, outsideOf(long, view.Files()), id, o)
	if len(there.Groups) > 0 {
		c.send(ctx, id, there)
	}
	for _, group := range here.Groups {
		if !c.options.Quick(&group) {
			c.goBeside(ctx, id, group)
			continue
		}
		if err := c.rewrite(ctx, view, id, group); err != nil {
			return err
		}
	}
	return nil
}

// outsideOf returns the files that are not in a group, which may be nil.
func outsideOf(group *compaction.Group, files []compaction.File) []compaction.File {
	if group == nil {
		return files
	}
	return slices.DeleteFunc(files, func(f compaction.File) bool {
		return slices.ContainsFunc(group.Files, func(in compaction.File) bool { return in.Path == f.Path })
	})
}

// goBeside rewrites a group beside everything else. While another one is rewritten so, the table waits for a look after that.
func (c *compactor) goBeside(ctx context.Context, id catalog.Identifier, group compaction.Group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.long != nil {
		if !slices.Contains(c.waiting, id) {
			c.waiting = append(c.waiting, id)
		}
		return
	}
	c.long = &group
	c.beside.Go(func() {
		view, err := compaction.OpenView(ctx, c.Lake, id)
		if err == nil {
			err = c.rewrite(ctx, view, id, group)
		}
		c.failed(ctx, id, err)
		c.mu.Lock()
		next := c.waiting
		c.long, c.waiting = nil, nil
		c.mu.Unlock()
		if err == nil && !slices.Contains(next, id) {
			next = append(next, id)
		}
		for _, id := range next {
			c.look(id)
		}
	})
}

// rewrite rewrites a group of a view's plan and waits until it is published or dropped.
func (c *compactor) rewrite(ctx context.Context, view *compaction.View, id catalog.Identifier, group compaction.Group) error {
	r, err := view.Prepare(ctx, group, c.options)
	if err != nil {
		return err
	}
	settled := make(chan struct{})
	select {
	case c.done <- rewritten{id.String(), r, settled}:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), r.Discard(ctx))
	}
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failed says that a look at a table came to nothing. The next commits ask for another.
func (c *compactor) failed(ctx context.Context, id catalog.Identifier, err error) {
	if err != nil && ctx.Err() == nil {
		c.Logger.Warn("compaction gave up for now", "table", id.String(), "why", err)
	}
}

// publish puts a rewrite into the table, and makes the index follow.
func (s *sink) publish(ctx context.Context, finished rewritten) error {
	defer close(finished.settled)
	started, r := time.Now(), finished.rewrite
	var moves *compaction.Remap // nil when index and delta followed already
	err := s.persist(ctx, func() (err error) { moves, err = r.Publish(ctx, s.table); return err })
	if errors.Is(err, lake.ErrStale) {
		s.log.Info("a rewrite came too late and was dropped", "table", s.name, "why", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: publish a rewrite: %w", s.name, err)
	}
	if moves != nil && s.index != nil {
		if err := moves.Apply(s.index); err != nil {
			return fmt.Errorf("%s: after a rewrite: %w", s.name, err)
		}
		if s.delta != nil {
			if err := moves.Deletes(s.delta.Delete); err != nil {
				return fmt.Errorf("%s: after a rewrite: %w", s.name, err)
			}
		}
	}
	if !s.compactor.options.Quick(&r.Group) {
		s.replaced = time.Now()
	}
	s.log.Info("compacted", "table", s.name, "why", r.Group.Why, "files in", len(r.Group.Files), "files out", r.Files, "dropped rows", r.Dropped,
		"bytes in", r.Group.Bytes, "bytes out", r.Bytes, "took", r.Took.Round(time.Millisecond), "publishing took", time.Since(started).Round(time.Millisecond))
	return nil
}

// rewrite is a finished rewrite with the sink it belongs to.
type rewrite struct {
	sink *sink
	rewritten
}

// takeReady gives the finished rewrites to a job, which publishes them before anything else.
func (l *loop) takeReady() (list []rewrite) {
	for _, r := range l.ready {
		if t := l.tables[r.table]; t != nil && t.sink != nil {
			list = append(list, rewrite{t.sink, r})
		} else {
			close(r.settled) // its files are orphans
		}
	}
	l.ready = nil
	return list
}

// publishReady hands finished rewrites to the flusher when it has nothing else to do.
func (l *loop) publishReady(ctx context.Context) error {
	if len(l.ready) == 0 || l.flushing != nil {
		return nil
	}
	return l.hand(ctx, job{rewrites: l.takeReady()})
}

// endCompaction stops the compactor and drops what it did not get published.
func (l *loop) endCompaction(stop func()) {
	stop()
	if l.compactor == nil {
		return
	}
	<-l.compactor.ended
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, r := range l.ready {
		if err := r.rewrite.Discard(ctx); err != nil {
			l.Logger.Debug("files of a rewrite stay behind", "table", r.table, "error", err)
		}
	}
}

// keepUp does what is due after so many commits.
func (s *sink) keepUp(ctx context.Context) error {
	s.commits++
	if s.compactor == nil {
		return nil
	}
	if s.commits%compactEvery == 0 || s.compactor.options.MaxSmallFiles > 0 {
		s.compactor.look(s.table.ID())
	}
	age, replaced := s.compactor.Expire.Age, time.Duration(0)
	if !s.replaced.IsZero() {
		replaced = time.Since(s.replaced)
	}
	if !upkeepDue(s.commits-s.kept, time.Since(s.keptAt), replaced, age) {
		return nil
	}
	if s.kept, s.keptAt = s.commits, time.Now(); replaced >= age {
		s.replaced = time.Time{}
	}
	return s.upkeep(ctx)
}

// upkeep tidies the manifests up and expires old snapshots.
func (s *sink) upkeep(ctx context.Context) error {
	var tidied lake.Tidied
	err := s.persist(ctx, func() (err error) { tidied, err = s.table.Tidy(ctx); return err })
	if err != nil {
		return fmt.Errorf("%s: tidy up: %w", s.name, err)
	}
	var expired lake.Expired
	err = s.persist(ctx, func() (err error) { expired, err = s.table.Expire(ctx, s.compactor.Expire); return err })
	if err != nil {
		return fmt.Errorf("%s: expire snapshots: %w", s.name, err)
	}
	s.log.Debug("upkeep", "table", s.name, "dropped delete files", tidied.DeleteFiles, "expired snapshots", expired.Snapshots, "deleted files", expired.Files)
	return nil
}
