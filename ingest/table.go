package ingest

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/merge"
)

// table is one followed table as the loop sees it: what fills its batch.
type table struct {
	name string // db.table
	sink *sink  // nil until the lake has the table

	plan    *decode.Plan
	decoder *decode.Decoder
	batch   *merge.Batch

	// set is what the table holds already. While ahead, some of it lies before the pipeline, and the transactions in it
	// are skipped when they come.
	set   checkpoint.Set
	at    checkpoint.Position // as recorded; its place is what set is, for transactions without GTIDs
	ahead bool

	loading  bool           // it is loaded, and not the loop's yet
	reload   error          // why it is loaded again
	high     checkpoint.Set // in the loop of a load: what rows that were read may show
	complete bool           // everything that ever happened to it was followed
	stopped  error          // why the table is not followed any more
}

// takes reports whether a transaction concerns the table: it is followed, and does not hold the transaction already.
func (t *table) takes(tx *source.Transaction, stream *source.Stream) bool {
	switch {
	case t.stopped != nil || t.loading:
		return false
	case !t.ahead:
		return true
	case !tx.Anonymous:
		return !t.set.ContainsGTID(tx.GTID)
	}
	held := t.at.Place
	return held.IsZero() || held.Server != stream.UUID() || held.Compare(checkpoint.Place{File: tx.File, Offset: tx.Position}) < 0
}

// certain reports, as an error, that it cannot be told whether a table without a key has a transaction's changes already.
// With a key, that makes no difference.
func (t *table) certain(tx *source.Transaction, again *replay) error {
	switch {
	case t.sink == nil || !t.sink.table.Keyless():
		return nil
	case again != nil:
		return errors.New("transactions come again, and the table has no key by which to tell which rows it has already: load it again (tidemark load)")
	case !tx.Anonymous && t.high.ContainsGTID(tx.GTID):
		return errors.New("it was committed while the table was read, and the table has no key by which to tell whether the rows are there")
	}
	return nil
}

// isPast reports whether the table's record is further on in a server's log than place.
func (t *table) isPast(place checkpoint.Place) bool {
	return !t.at.Place.IsZero() && t.at.Place.Server == place.Server && t.at.Place.Compare(place) > 0
}

// apply decodes the rows of one event into the batch.
func (t *table) apply(rows *source.Rows) error {
	if !t.plan.Same(rows.Table) {
		return fmt.Errorf("its columns changed in the source (%s); tidemark does not follow schema changes of a table yet", difference(t.plan, rows.Table))
	}
	return t.decoder.Rows(rows.Kind, rows.Before, rows.After, rows.Body, t.batch)
}

// bytes is the memory the batch holds.
func (t *table) bytes() int {
	if t.decoder == nil {
		return 0
	}
	return t.decoder.Bytes() + t.batch.Bytes()
}

// changed reports whether the batch has anything to write.
func (t *table) changed() bool { return t.batch != nil && t.batch.Len() > 0 }

// cut takes the batch out: its net changes and the rows they refer to, which the caller releases.
func (t *table) cut() (*merge.Segment, arrow.RecordBatch) {
	return t.batch.Cut(), t.decoder.Flush()
}

// piece takes the batch out for the flusher.
func (t *table) piece() piece {
	segment, rows := t.cut()
	return piece{t.sink, segment, rows}
}

// use prepares the table for rows of a plan.
func (t *table) use(plan *decode.Plan, codec *merge.KeyCodec) {
	t.plan = plan
	t.decoder = decode.NewDecoder(memory.DefaultAllocator, plan)
	t.batch = merge.NewBatch(codec)
}

// difference names the first column in which a table map differs from the plan.
func difference(p *decode.Plan, tm *replication.TableMapEvent) string {
	for i, f := range p.Schema.Fields() {
		if i >= len(tm.ColumnName) {
			return fmt.Sprintf("column %q is gone", f.Name)
		}
		if string(tm.ColumnName[i]) != f.Name {
			return fmt.Sprintf("column %d is %q, was %q", i+1, tm.ColumnName[i], f.Name)
		}
	}
	if len(tm.ColumnName) > p.Schema.NumFields() {
		return fmt.Sprintf("column %q is new", tm.ColumnName[p.Schema.NumFields()])
	}
	return "a column's type, null-ability or key"
}
