package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

// task is a range of a table to be read.
type task struct {
	table *loading
	part  snapshot.Range
}

// chunk is a range that was read, with the files of its rows.
type chunk struct {
	task
	files []*lake.NewFile
	rows  int64
	owned checkpoint.Set // of the server, when it was read: what it may show and has not executed yet

	moment *snapshot.Moment // of a table without a key: what it shows
}

// loadWorker reads ranges over one connection at a time.
type loadWorker struct {
	*session
	n      int // which of the workers
	tries  int // servers tried since one worked
	conn   *snapshot.Conn
	reader *snapshot.Reader
	of     *loading // whose the reader is
	fork   *lake.Table

	redo    []task
	waiting []chunk // read, and not settled
}

// run reads tasks until there are no more.
func (w *loadWorker) run(ctx context.Context, tasks <-chan task) (err error) {
	defer func() {
		w.lose(context.WithoutCancel(ctx))
	}()
	retry := newBackOff()
	for {
		var next task
		switch {
		case len(w.redo) > 0:
			next, w.redo = w.redo[0], w.redo[1:]
		default:
			var more bool
			if next, more = w.wait(ctx, tasks); !more && len(w.redo) == 0 {
				return ctx.Err()
			} else if !more {
				continue
			}
		}
		if next.table.over() != nil {
			continue
		}
		err := w.connect(ctx)
		if err == nil {
			err = w.pauseWhileStrained(ctx)
		}
		if err == nil {
			err = w.read(ctx, next)
		}
		if err == nil {
			retry.Reset()
			w.tries = 0
			continue
		}
		if done, err := w.fault(ctx, next, err); done {
			return err
		}
		if !sleep(ctx, retry.NextBackOff()) {
			return ctx.Err()
		}
	}
}

// wait returns the next task. Meanwhile it settles what was read; behind the last task, all of it.
func (w *loadWorker) wait(ctx context.Context, tasks <-chan task) (task, bool) {
	for ended := false; len(w.waiting) > 0; {
		if ended {
			tasks = nil
		}
		select {
		case next, more := <-tasks:
			if more {
				return next, true
			}
			ended = true
		case <-time.After(20 * time.Millisecond):
			if err := w.settle(ctx); err != nil {
				w.Logger.Warn("reading a table: lost the server", "server", w.conn.Host(), "why", err)
				w.lose(ctx)
				return task{}, false
			}
		case <-ctx.Done():
			return task{}, false
		}
		if ended && len(w.waiting) == 0 {
			return task{}, false
		}
	}
	select {
	case next, more := <-tasks:
		return next, more
	case <-ctx.Done():
		return task{}, false
	}
}

// fault decides what an error of a task means: the end of the session (done), of the table's load, or another try.
func (w *loadWorker) fault(ctx context.Context, of task, err error) (done bool, _ error) {
	var changed *snapshot.ChangedError
	var bound *snapshot.BoundError
	var value *decode.ValueError
	switch {
	case ctx.Err() != nil:
		return true, ctx.Err()
	case errors.As(err, &changed), errors.As(err, &bound):
		of.table.giveUp(&startOverError{err})
	case errors.As(err, new(*startOverError)):
		of.table.giveUp(err)
	case errors.As(err, &value):
		of.table.giveUp(err)
	case source.IsStreamError(err), source.CanPass(err):
		w.Logger.Warn("reading a table: trying another server", "table", of.table.name, "range", of.part.String(), "why", err)
		w.redo = append(w.redo, of)
	default:
		return true, err
	}
	w.lose(ctx)
	return false, nil
}

// lose gives the connection up, and with it what was read over it and is not settled.
func (w *loadWorker) lose(ctx context.Context) {
	for _, c := range w.waiting {
		w.redo = append(w.redo, c.task)
		c.table.read.Add(-c.rows)
		w.discard(ctx, c.files)
	}
	w.waiting = nil
	w.hang(ctx)
	if w.conn != nil {
		w.conn.Close()
	}
	w.conn = nil
}

// hang gives the reader up.
func (w *loadWorker) hang(ctx context.Context) {
	if w.reader != nil {
		w.reader.Close(ctx)
	}
	w.reader, w.of, w.fork = nil, nil, nil
}

func (w *loadWorker) discard(ctx context.Context, files []*lake.NewFile) {
	if len(files) == 0 || w.fork == nil {
		return
	}
	if err := w.fork.Discard(context.WithoutCancel(ctx), files); err != nil {
		w.Logger.Debug("uncommitted files stay behind", "error", err)
	}
}

// connect opens a connection to a server that has the low set.
func (w *loadWorker) connect(ctx context.Context) (err error) {
	if w.conn != nil {
		return nil
	}
	hosts, err := w.hosts(ctx)
	if err != nil {
		return err
	}
	host := hosts[(w.n+w.tries)%len(hosts)]
	w.tries++
	conn, err := snapshot.Open(ctx, w.Source, host)
	if err != nil {
		return err
	}
	at, err := conn.Position(ctx)
	if err == nil && !at.Executed.Contains(w.low) {
		err = &source.Error{
			Kind: source.KindStall, Host: host, Op: "read tables",
			Err: fmt.Errorf("it has not got yet to where the load begins: it lacks %s", w.low.Subtract(at.Executed).Short()),
		}
	}
	if err != nil {
		conn.Close()
		return err
	}
	w.conn = conn
	return nil
}

// hosts are the servers to read from, those that serve a stream and the primary only where there is no other.
func (s *session) hosts(ctx context.Context) ([]string, error) {
	states := source.ProbeAll(ctx, s.Source)
	if s.pinned != nil {
		state, err := s.pinnedState(states)
		return []string{state.Host}, err
	}
	verdicts := source.Judge(states, s.low, s.Tables, source.KnownTables(ctx, s.Source, states, s.Tables))
	var all, good []string
	for _, v := range verdicts {
		if v.Kind != source.CanServe {
			continue
		}
		all = append(all, v.Host)
		if v.State.Role != checkpoint.RolePrimary && v.Host != s.loader.streaming() {
			good = append(good, v.Host)
		}
	}
	switch {
	case len(good) > 0:
		return good, nil
	case len(all) > 0:
		return all, nil
	}
	return nil, &source.NoServerError{Position: s.low, Verdicts: verdicts}
}

// read reads one range.
func (w *loadWorker) read(ctx context.Context, of task) error {
	t := of.table
	if w.of != t {
		w.hang(ctx)
		w.reader, w.of, w.fork = snapshot.NewReader(memory.DefaultAllocator, w.conn, t.source), t, t.table.Fork()
	}
	w.Logger.Debug("reading a range", "table", t.name, "range", of.part.String(), "server", w.conn.Host())
	c := chunk{task: of}
	var err error
	if t.source.Plan.Keyless() {
		err = w.copyFrozen(ctx, &c)
	} else {
		err = w.copy(ctx, &c)
	}
	if err != nil {
		t.read.Add(-c.rows)
		return err
	}
	after, err := w.conn.Position(ctx)
	if err != nil {
		t.read.Add(-c.rows)
		w.discard(ctx, c.files)
		return err
	}
	if c.owned = after.Owned; c.moment != nil {
		c.owned = c.moment.Open
	}
	w.waiting = append(w.waiting, c)
	w.finish(after)
	return nil
}

// copyFrozen reads a table without a key, whose rows the binary log cannot put right: what it would insert may be there
// already. So all of it is read at one moment, and replayed from there.
func (w *loadWorker) copyFrozen(ctx context.Context, c *chunk) error {
	moment, err := w.conn.Freeze(ctx)
	if err != nil {
		return err
	}
	c.moment = &moment
	if err := w.copy(ctx, c); err != nil {
		return err
	}
	if err := w.conn.Thaw(ctx); err != nil {
		w.discard(ctx, c.files)
		return err
	}
	return nil
}

// copy brings the rows of a range into data files.
func (w *loadWorker) copy(ctx context.Context, c *chunk) error {
	t := c.table
	out := &rangeWriter{table: w.fork, codec: t.codec(), unsorted: &t.unsorted, hold: w.Memory / 16 / int64(w.LoadWorkers), rows: int64(t.rows), brief: w.BriefLoad}
	if out.divided = len(w.fork.Partitioning()) > 0; out.divided {
		out.hold = w.Memory / 5 / int64(w.LoadWorkers) // no file grows meanwhile; the more rows, the larger the files of each partition
	}
	err := w.reader.Start(ctx, c.part)
	for err == nil {
		rec, rerr := w.reader.Next(ctx)
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			err = rerr
			break
		}
		n := rec.NumRows()
		if err = w.loader.rate.wait(ctx, n); err == nil {
			if werr := out.add(ctx, rec); werr != nil {
				err = &lakeError{fmt.Errorf("%s: write a data file: %w", t.name, werr)}
			}
		}
		rec.Release()
		c.rows += n
		t.read.Add(n)
	}
	if err == nil {
		var werr error
		if c.files, werr = out.close(ctx); werr != nil {
			err = &lakeError{fmt.Errorf("%s: write a data file: %w", t.name, werr)}
		}
	}
	if err != nil {
		if aerr := out.abort(context.WithoutCancel(ctx)); aerr != nil {
			w.Logger.Debug("uncommitted files stay behind", "table", t.name, "error", aerr)
		}
	}
	return err
}

// settle asks how far the server is now.
func (w *loadWorker) settle(ctx context.Context) error {
	now, err := w.conn.Position(ctx)
	if err == nil {
		w.finish(now)
	}
	return err
}

// finish hands over the ranges of which it is known what they can show: what the server had under way when they were read
// is over by now, and was executed or rolled back.
func (w *loadWorker) finish(now snapshot.Position) {
	w.waiting = slices.DeleteFunc(w.waiting, func(c chunk) bool {
		if !c.owned.Intersect(now.Owned).IsEmpty() {
			return false
		}
		t := c.table
		t.mu.Lock()
		if w.pinned == nil {
			t.high = t.high.Union(now.Executed)
		}
		if c.moment != nil {
			t.high = c.moment.Set.Union(c.moment.Open.Intersect(now.Executed))
			t.progress.Low = c.moment.Set.String()
		}
		t.progress.High = t.high.String()
		t.progress.Open = slices.DeleteFunc(t.progress.Open, func(r snapshot.Range) bool { return sameRange(r, c.part) })
		t.progress.Ranges++
		t.progress.Rows += c.rows
		t.files = append(t.files, c.files...)
		for _, f := range c.files {
			t.bytes += f.Size
		}
		t.dirty = true
		t.mu.Unlock()
		select {
		case w.finished <- struct{}{}:
		default:
		}
		return true
	})
}

func sameRange(a, b snapshot.Range) bool {
	return slices.Equal(a.From, b.From) && slices.Equal(a.To, b.To)
}

// split finds the ranges of all tables and hands them out.
func (s *session) split(ctx context.Context, tasks chan<- task) error {
	defer close(tasks)
	give := func(t task) error {
		select {
		case tasks <- t:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w := &loadWorker{session: s}
	defer w.lose(context.WithoutCancel(ctx))
	for _, t := range s.tables {
		t.mu.Lock()
		open, next, split := slices.Clone(t.progress.Open), t.progress.Next, t.progress.Split
		t.mu.Unlock()
		for _, part := range open {
			if err := give(task{t, part}); err != nil {
				return err
			}
		}
		if split {
			continue
		}
		if err := s.splitTable(ctx, w, t, snapshot.NewRanges(t.source, t.rows, next), give); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) splitTable(ctx context.Context, w *loadWorker, t *loading, ranges *snapshot.Ranges, give func(task) error) error {
	retry := newBackOff()
	for t.over() == nil {
		var part snapshot.Range
		var ok bool
		err := w.connect(ctx)
		if err == nil {
			part, ok, err = ranges.Next(ctx, w.conn)
		}
		if err != nil {
			if done, err := w.fault(ctx, task{table: t}, err); done {
				return err
			}
			w.redo = nil
			if t.over() == nil && !sleep(ctx, retry.NextBackOff()) {
				return ctx.Err()
			}
			continue
		}
		t.mu.Lock()
		if ok {
			t.progress.Open = append(t.progress.Open, part)
			t.progress.Next = part.To
		}
		t.progress.Split = !ok || part.To == nil
		t.dirty = true
		end := t.progress.Split
		t.mu.Unlock()
		if ok {
			if err := give(task{t, part}); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
	return nil
}
