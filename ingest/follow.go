package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
)

// errAgain asks for the tables to be opened again and everything since their last commit to be read again.
var errAgain = errors.New("start again from the last commit")

// delivery is what the reader hands to the loop: a transaction, a heartbeat (nil transaction), or the end of the stream.
type delivery struct {
	tx      *source.Transaction
	at      checkpoint.Place // in the server's log, up to which all is delivered; not within a transaction
	holds   bool             // what was delivered since lies after it
	pending checkpoint.Set   // prepared XA transactions, which the source counts as executed
	err     error
}

// loop follows the source with one set of open tables. All its fields belong to the loop's goroutine.
type loop struct {
	*pipeline
	tables map[string]*table

	applied checkpoint.Set // transactions that are in the batches or committed; never part of one
	held    int            // bytes of the batches
	cutAt   time.Time      // when the next commit is due
	target  checkpoint.Set // where to stop, when there is such a place
	open    bool           // a transaction too large to be held has been begun, and its end not seen

	at       checkpoint.Position // where the stream is; its set is applied
	newest   time.Time           // source commit time of the last transaction that the tables or their batches have
	again    *replay             // what comes now came before; nil: nothing does
	byFile   bool                // the server is read by file and offset
	primary  bool                // it is known to replicate from nobody
	end      checkpoint.Place    // where its log ended when it was connected to, if known
	settled  checkpoint.Place    // from there on every transaction has a GTID, if known
	holds    bool                // the stream's place is before transactions that were delivered
	rested   bool                // it has had nothing more to send
	together bool                // every table is to record its position with the next commit

	flushing chan error          // result of the job under way, nil when none is
	finished bool                // every table's checkpoint holds the target
	pending  checkpoint.Set      // held back by the stream
	names    []source.TableName  // followed tables that the source had at the start
	start    checkpoint.Position // where tables without a checkpoint begin
	reached  checkpoint.Set      // what the source had at the start
	caughtUp bool                // all of it is applied
	ready    []rewritten         // to be published between two commits

	loader   *loader     // of tables that are not in the loop yet; nil in the loop of a session
	session  *session    // of the loader, when this is its loop
	boarders []*boarding // sessions that want to join
	parting  []wanted    // tables to be loaded again
}

// run follows until the stop context ends (nil), the target is committed (nil), or something fails. hard ends what a
// stop lets finish.
func (l *loop) run(stop, hard context.Context) error {
	defer l.abandon(hard)
	for {
		if err := l.park(stop); err != nil {
			return err
		}
		stream, err := l.connect(stop, l.position())
		if errors.Is(err, errParted) {
			if err := l.part(hard); err != nil {
				return err
			}
			if l.applied = l.common(); l.follows() {
				l.loader.pass(l.applied)
			} else {
				l.loader.pass(checkpoint.Set{}) // of a history that may be gone
			}
			continue
		}
		if err != nil {
			if stop.Err() != nil {
				return l.stop(hard)
			}
			return err
		}
		err = l.follow(stop, hard, stream)
		stream.Close()
		switch {
		case err == nil && l.finished:
			return nil
		case stop.Err() != nil && (err == nil || !isFatal(err)):
			return l.stop(hard)
		case source.IsStreamError(err):
			if l.open || l.again != nil {
				return fmt.Errorf("%w: the connection was lost within what is committed as one: %w", errAgain, err)
			}
			l.lost(err)
		default:
			return err
		}
	}
}

// follow consumes one stream until it ends.
func (l *loop) follow(stop, hard context.Context, stream *source.Stream) error {
	reading, cancel := context.WithCancel(stop)
	defer cancel()
	incoming := make(chan delivery, 16)
	go func() {
		for {
			tx, err := stream.Next(reading)
			d := delivery{tx: tx, err: err}
			d.at, d.holds = stream.Place()
			if err == nil {
				d.pending = stream.Pending()
			}
			select {
			case incoming <- d:
			case <-reading.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	due := time.NewTimer(time.Until(l.cutAt))
	defer due.Stop()
	for {
		requests, request := l.session.requests()
		select {
		case <-stop.Done():
			return nil
		case requests <- request:
			l.session.heard()
		case applied := <-l.session.answer():
			l.session.boards(applied)
		case n := <-l.loader.heard():
			if err := l.hear(n); err != nil {
				return err
			}
		case d := <-incoming:
			if d.err != nil {
				return d.err
			}
			l.pending, l.holds = d.pending, d.holds
			if d.tx == nil {
				err := l.rest(hard, d.at)
				if err != nil {
					return err
				}
			} else if err := l.take(hard, stream, d.tx, d.at); err != nil {
				return err
			}
		case err := <-l.flushing:
			l.flushing = nil
			if err != nil {
				return err
			}
		case r := <-l.compactor.rewrites():
			l.ready = append(l.ready, r)
		case <-due.C:
		}
		if !l.open && l.again == nil {
			if err := l.part(hard); err != nil {
				return err
			}
			l.board(stop, false)
			done, err := l.maybeCut(hard)
			if err != nil || done {
				return err
			}
			if err := l.publishReady(hard); err != nil {
				return err
			}
		}
		if (l.open || l.again != nil) && !time.Now().Before(l.cutAt) {
			l.cutAt = time.Now().Add(l.CommitInterval) // nothing can be cut now
		}
		due.Reset(time.Until(l.cutAt))
	}
}

// take merges a transaction, or a part of one, into the batches.
func (l *loop) take(ctx context.Context, stream *source.Stream, tx *source.Transaction, at checkpoint.Place) error {
	if l.again != nil && tx.First && l.again.endsBefore(tx, l.at.Place, l.applied) {
		if err := l.endReplay(ctx); err != nil {
			return err
		}
	}
	if tx.First && !tx.Last && l.again == nil {
		// What came before is committed on its own: were this transaction to break off, only it has to come again.
		if err := l.flush(ctx, l.job(false)); err != nil {
			return err
		}
	}
	l.open = l.open || tx.First && !tx.Last
	for i := range tx.Events {
		if err := l.event(ctx, stream, tx, &tx.Events[i]); err != nil {
			return err
		}
	}
	if !tx.Last {
		return l.spill(ctx, l.batchBytes())
	}
	l.open = false
	if !tx.Anonymous {
		l.applied.Add(tx.GTID)
	}
	for _, g := range tx.Also {
		l.applied.Add(g)
	}
	l.at.Time = tx.Time
	if tx.Time.After(l.newest) {
		l.newest = tx.Time
	}
	l.moveTo(ctx, at)
	if l.again != nil {
		l.again.saw(tx)
		return l.spill(ctx, l.batchBytes())
	}
	return nil
}

// event merges one event. A table that cannot take it is stopped; the others go on.
func (l *loop) event(ctx context.Context, stream *source.Stream, tx *source.Transaction, e *source.Event) error {
	switch {
	case e.Rows != nil:
		t := l.table(string(e.Rows.Table.Schema), string(e.Rows.Table.Table))
		if t == nil || !t.takes(tx, stream) {
			return nil
		}
		before := t.bytes()
		fault, err := t.certain(tx, l.again), error(nil)
		if fault == nil {
			fault, err = split(l.rows(ctx, t, e.Rows))
		}
		if err != nil {
			return err
		}
		if fault != nil {
			l.stopTable(t, stream, tx, fault)
		} else {
			l.held += t.bytes() - before
		}
	case e.Query != nil:
		l.statement(stream, tx, e.Query)
	case e.Other != nil:
		for _, t := range l.named(e.Other.DB, e.Other.Table) {
			if t.takes(tx, stream) {
				l.stopTable(t, stream, tx, fmt.Errorf("the binary log has a %s event, which may change its rows and is not understood", e.Other.Name))
			}
		}
	}
	return nil
}

func (l *loop) rows(ctx context.Context, t *table, rows *source.Rows) error {
	if t.plan == nil {
		plan, err := decode.NewPlan(rows.Table)
		if err != nil {
			return err
		}
		if err := l.prepare(ctx, t, plan); err != nil {
			return err
		}
	}
	return t.apply(rows)
}

// statement stops the tables whose rows a statement changes without row events.
func (l *loop) statement(stream *source.Stream, tx *source.Transaction, q *source.Query) {
	st := decode.Classify(q.Schema, q.SQL)
	if !st.ChangesRows() {
		return
	}
	stop := func(t *table) {
		if t.takes(tx, stream) {
			l.stopTable(t, stream, tx, fmt.Errorf("the statement %q changes its rows without row events, which is not followed yet", shorten(q.SQL)))
		}
	}
	if st.AnyTable() {
		for _, t := range l.tables {
			if db, _ := splitName(t.name); st.DB == "" || st.DB == db {
				stop(t)
			}
		}
	}
	for _, ref := range st.Tables {
		for _, t := range l.named(ref.DB, ref.Table) {
			stop(t)
		}
	}
}

// stopTable gives a table up: what its batch holds is dropped, and its checkpoint stays where it is.
func (l *loop) stopTable(t *table, stream *source.Stream, tx *source.Transaction, why error) {
	l.giveUp(t, fmt.Errorf("table %s stopped at transaction %s (%s, %s:%d): %w", t.name, tx.Name(), stream.Server(), tx.File, tx.Position, why))
	l.Logger.Error("table stopped; the others go on", "table", t.name, "transaction", tx.Name(), "server", stream.Server(), "file", tx.File, "position", tx.Position, "why", why)
}

// giveUp drops what a table's batch holds, and does not follow it any more.
func (l *loop) giveUp(t *table, why error) {
	t.stopped = why
	l.held -= t.bytes()
	t.decoder, t.batch, t.plan = nil, nil, nil
	l.observe(Stop{Table: t.name, Err: why})
}

// maybeCut commits when it is time to, and reports whether the pipeline has reached its end.
func (l *loop) maybeCut(ctx context.Context) (done bool, err error) {
	if l.session != nil {
		return l.session.cut(ctx, l)
	}
	if !l.caughtUp && l.atEnd() && l.applied.Contains(l.reached.Subtract(l.pending)) {
		if err := l.createQuiet(ctx); err != nil {
			return false, err
		}
		l.caughtUp = true
	}
	reached := l.Until.set() && !l.loads() && (!l.Until.CaughtUp || l.atEnd()) && l.applied.Contains(l.target.Subtract(l.pending))
	full := l.held >= l.batchBytes()
	if !reached && !full && time.Now().Before(l.cutAt) {
		return false, nil
	}
	if l.flushing != nil && !full && !reached {
		return false, nil // the last commit is still under way: let the batch grow
	}
	if reached {
		if err := l.flush(ctx, l.job(true)); err != nil {
			return false, err
		}
		l.finished = true
		return true, nil
	}
	return false, l.hand(ctx, l.job(false))
}

// job cuts every batch at the transactions applied so far.
func (l *loop) job(force bool) job {
	j := job{force: force || l.together, idle: l.IdleInterval, rewrites: l.takeReady(), point: &point{
		sets: map[*sink]checkpoint.Set{}, at: l.at, pending: l.pending, again: l.holds && l.at.Anonymous,
	}}
	l.together = false
	l.loader.pass(l.applied)
	for _, t := range l.tables {
		if t.stopped != nil || t.sink == nil {
			continue
		}
		if t.ahead {
			t.set = t.set.Union(l.applied)
			t.ahead = !l.applied.Contains(t.set) || l.byFile && t.isPast(l.at.Place)
		}
		if l.at.Anonymous && t.isPast(l.at.Place) {
			continue // its record says more than this one would
		}
		if t.ahead {
			j.point.sets[t.sink] = t.set.Clone()
		} else {
			j.point.sets[t.sink] = l.applied.Clone()
		}
		if t.changed() {
			j.pieces = append(j.pieces, t.piece())
		}
	}
	l.held = 0
	l.cutAt = time.Now().Add(l.CommitInterval)
	return j
}

// spill writes the batches of an open transaction to data files when they hold more than limit bytes. Only the
// transaction's end commits them.
func (l *loop) spill(ctx context.Context, limit int) error {
	if l.held < limit {
		return nil
	}
	var j job
	for _, t := range l.tables {
		if t.stopped == nil && t.changed() {
			j.pieces = append(j.pieces, t.piece())
		}
	}
	l.Logger.Debug("spilled a part of a transaction that is larger than memory", "bytes", l.held)
	l.held = 0
	return l.hand(ctx, j)
}

// hand gives a job to the flusher, after the one before it, and does not wait for its end.
func (l *loop) hand(ctx context.Context, j job) error {
	if err := l.wait(); err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, l.StoreTimeout)
		defer cancel()
		l.observe(Flush{})
		err := flush(ctx, j, l.observe)
		l.observe(Flush{Done: true, Err: err})
		result <- err
	}()
	l.flushing = result
	return nil
}

// flush gives a job to the flusher and waits for its end.
func (l *loop) flush(ctx context.Context, j job) error {
	if err := l.hand(ctx, j); err != nil {
		return err
	}
	return l.wait()
}

func (l *loop) wait() error {
	if l.flushing == nil {
		return nil
	}
	err := <-l.flushing
	l.flushing = nil
	return err
}

// stop commits the last complete transaction. An open one, and what comes again, is left for the next start.
func (l *loop) stop(ctx context.Context) error {
	if err := l.wait(); err != nil {
		return err
	}
	if l.open || l.again != nil {
		return nil
	}
	return l.flush(ctx, l.job(true))
}

// abandon waits for the flusher and drops what it wrote but did not commit.
func (l *loop) abandon(ctx context.Context) {
	if err := l.wait(); err != nil {
		l.Logger.Debug("job failed while stopping", "error", err)
	}
	ctx, cancel := context.WithTimeout(ctx, min(l.StoreTimeout, 10*time.Second))
	defer cancel()
	for _, t := range l.tables {
		if t.sink != nil {
			if err := t.sink.table.Discard(ctx, t.sink.files); err != nil {
				l.Logger.Debug("uncommitted files stay behind", "table", t.name, "error", err)
			}
		}
	}
}

func shorten(sql string) string {
	const most = 120
	if len(sql) > most {
		return sql[:most] + "..."
	}
	return sql
}
