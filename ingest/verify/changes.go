package verify

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/zeebo/xxh3"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/merge"
)

// changes reads what was done to a part since the lake's position, and compares the row that each key had there with the
// lake's. Only the goroutine that follows the stream uses it until that has ended, but for reached.
type changes struct {
	*comparison
	hasher  *snapshot.Hasher
	touched map[uint64]bool // hashes of keys

	table   *replication.TableMapEvent // that decoder is for
	decoder *decode.Decoder
	images  []image // rows in the decoder
	done    []checkpoint.GTID
	flushed time.Time

	mu   sync.Mutex
	seen checkpoint.Set // the lake's position and what was compared since
	held checkpoint.Set // prepared XA transactions: nobody sees them

	expected checkpoint.Set // see past
	newer    bool
	beats    int
}

// image is what a row image in the log says about the key it has.
type image bool

const (
	before image = true  // the row was there
	after  image = false // the row is there from now on, and none was if the key was not mentioned before
)

// against says how the lake's row, as it was found, differs from what the first image of a key says of it.
func (i image) against(lake match) (Kind, bool) {
	switch {
	case i == before && lake == absent:
		return Missing, true
	case i == before && lake == other:
		return Changed, true
	case i == after && lake != absent:
		return Extra, true
	}
	return "", false
}

// ChangedError says that a table was changed, while it was compared or since the lake's position, in a way that hides what
// its rows were.
type ChangedError struct{ Table, Transaction, Why string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s: transaction %s, after the lake's position, changes it in a way that does not tell the rows it had: %s; let the ingest catch up, then verify again", e.Table, e.Transaction, e.Why)
}

const (
	flushRows  = 8 << 10
	flushAfter = 20 * time.Millisecond
)

// follow reads the log until ctx ends.
func (c *changes) follow(ctx context.Context, stream *source.Stream) error {
	c.flushed = time.Now()
	defer c.release()
	for {
		tx, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		if tx != nil {
			for i := range tx.Events {
				if err := c.event(tx, &tx.Events[i]); err != nil {
					return err
				}
			}
			if tx.Last {
				if !tx.Anonymous {
					c.done = append(c.done, tx.GTID)
				}
				c.done = append(c.done, tx.Also...)
			}
		}
		if tx == nil || len(c.images) >= flushRows || time.Since(c.flushed) >= flushAfter {
			if err := c.flush(); err != nil {
				return err
			}
			c.publish(stream.Pending(), tx == nil)
		}
	}
}

// publish says how far the log was compared.
func (c *changes) publish(pending checkpoint.Set, heartbeat bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.done {
		c.newer = c.newer || !c.expected.ContainsGTID(g)
		c.seen.Add(g)
	}
	if heartbeat {
		c.beats++
	}
	c.done, c.held, c.flushed = c.done[:0], pending, time.Now()
}

// expect is told which transactions a server has executed or begun.
func (c *changes) expect(set checkpoint.Set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected, c.newer, c.beats = set, false, 0
}

// enoughBeats is more heartbeats than can have been under way.
const enoughBeats = 5

// past reports whether the log was read past all that was in it at expect. A transaction is written to the log before
// it can be seen, and owned from before that on; so what was owned then and does not come, because it was rolled back, is applied for
// long, or somebody only reserved its GTID, was not seen. It does not come any more when a transaction has come
// that had not begun then, or when the server has nothing to send.
func (c *changes) past() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newer || c.beats >= enoughBeats
}

// lacks returns what of a set the log has not come to.
func (c *changes) lacks(set checkpoint.Set) checkpoint.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return set.Subtract(c.seen).Subtract(c.held)
}

func (c *changes) event(tx *source.Transaction, e *source.Event) error {
	unclear := func(why string) error { return &ChangedError{c.name, tx.GTID.String(), why} }
	if tx.Anonymous {
		return unclear("it has no GTID")
	}
	switch {
	case e.Rows != nil:
		return c.rows(tx, e.Rows, unclear)
	case e.Query != nil:
		// A new type or another list of labels changes what rows say without an image of them.
		st := decode.Classify(e.Query.Schema, e.Query.SQL)
		if st.Kind == decode.Harmless {
			return nil
		}
		hit := st.AnyTable() && (st.DB == "" || st.DB == c.id.DB)
		for _, ref := range st.Tables {
			hit = hit || ref.DB == c.id.DB && (ref.Table == c.id.Table || ref.Table == "")
		}
		if hit {
			return unclear(e.Query.SQL[:min(len(e.Query.SQL), 200)])
		}
	case e.Other != nil:
		if (e.Other.DB == "" || e.Other.DB == c.id.DB) && (e.Other.Table == "" || e.Other.Table == c.id.Table) {
			return unclear(e.Other.Name)
		}
	}
	return nil
}

// discard is told of rows that are looked at in the batch.
type discard struct{}

func (discard) Insert(merge.Key, []byte, int)                    {}
func (discard) Update(merge.Key, []byte, merge.Key, []byte, int) {}
func (discard) Delete(merge.Key, []byte)                         {}

// rows decodes the images of a rows event. Those from before a change are read like those from after an insert, since all
// of their columns are needed.
func (c *changes) rows(tx *source.Transaction, r *source.Rows, unclear func(string) error) error {
	if string(r.Table.Schema) != c.id.DB || string(r.Table.Table) != c.id.Table {
		return nil
	}
	if c.tally != nil {
		if counts, err := c.tally.counts(tx.GTID); err != nil || !counts {
			return err
		}
	}
	if c.table != r.Table {
		if err := c.use(r.Table, unclear); err != nil {
			return err
		}
	}
	bitmap := r.Before
	if r.Kind == replication.EnumRowsEventTypeInsert {
		bitmap = r.After
	} else if r.Kind == replication.EnumRowsEventTypeUpdate && !bytes.Equal(r.Before, r.After) {
		if err := c.decoder.Rows(replication.EnumRowsEventTypeInsert, nil, r.After, nil, discard{}); err != nil {
			return err // an image that is not full
		}
	}
	have := c.decoder.Len()
	if err := c.decoder.Rows(replication.EnumRowsEventTypeInsert, nil, bitmap, r.Body, discard{}); err != nil {
		return err
	}
	for i := range c.decoder.Len() - have {
		switch r.Kind {
		case replication.EnumRowsEventTypeInsert:
			c.images = append(c.images, after)
		case replication.EnumRowsEventTypeDelete:
			c.images = append(c.images, before)
		default:
			c.images = append(c.images, i%2 == 0)
		}
	}
	return nil
}

// use prepares for rows of a table map.
func (c *changes) use(tm *replication.TableMapEvent, unclear func(string) error) error {
	if err := c.flush(); err != nil {
		return err
	}
	plan, err := decode.NewPlan(tm)
	if err != nil {
		return err
	}
	if err := c.view.table.Fits(plan.Schema, plan.Key); err != nil {
		return unclear(err.Error())
	}
	c.release()
	c.table, c.decoder = tm, decode.NewDecoder(memory.DefaultAllocator, plan)
	return nil
}

func (c *changes) release() {
	if c.decoder != nil {
		c.decoder.Release()
	}
}

// flush compares the images read so far. The first that has a key tells what was there at the lake's position.
func (c *changes) flush() error {
	if len(c.images) == 0 {
		return nil
	}
	batch := c.decoder.Flush()
	defer batch.Release()
	in, err := c.part.holds(batch, c.key[0])
	if err != nil {
		return err
	}
	err = c.hasher.Each(batch, func(row int, key, all xxh3.Uint128) error {
		h := c.half.hashed(key, all)
		if c.tally != nil && c.part.takes(h.key) {
			return c.tallyImage(batch, row, all)
		}
		if in != nil && !in(row) || !c.part.takes(h.key) || c.touched[h.key] {
			return nil
		}
		c.touched[h.key] = true
		kind, differs := c.images[row].against(c.lake.settle(h))
		if !differs {
			return nil
		}
		taken, err := c.hasher.Row(batch, row)
		if err == nil {
			c.findings.add(finding{h.key, kind, &taken})
		}
		return err
	})
	c.images = c.images[:0]
	return err
}

// tallyImage counts an image of a table without a key.
func (c *changes) tallyImage(batch arrow.RecordBatch, row int, all xxh3.Uint128) error {
	c.touched[c.half.hashed(all, all).key] = true
	if c.images[row] == before {
		return c.tally.take(c.hasher, batch, row, all)
	}
	c.tally.add(all, 1)
	return nil
}
