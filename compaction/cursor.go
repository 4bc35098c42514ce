package compaction

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// UnsortedError says that a data file's rows do not come in key order, so that it cannot be merged by streaming: another
// program wrote it, and it has to be sorted first.
type UnsortedError struct{ Path string }

func (e *UnsortedError) Error() string {
	return fmt.Sprintf("%s is not sorted by the table's key: another program wrote it", e.Path)
}

// cursor stands at a live row of one sorted input.
type cursor struct {
	file *lake.FileInfo
	rank int       // among the cursors of a merge: of equal keys that of the lowest rank comes first
	rows rowReader // nil before open and after close
	keys *keys

	batch *source // rows being read
	base  int64   // position in the file of the batch's first row
	at    int     // current row of the batch
	head  uint64  // of its key
	stop  int     // rows before it, from at on, are live
	dead  roaring.IntPeekable

	places []uint32 // ordinals in the output of this input's live rows, where they are divided among partitions

	moved []uint32        // ordinals in the output that are not in to yet
	to    *roaring.Bitmap // ordinals in the output of this input's live rows
}

// rowReader reads a sorted data file, or sorted rows of one that is not. Next returns rows that the caller releases, and io.EOF
// behind the last.
type rowReader interface {
	Next() (arrow.RecordBatch, error)
	Close() error
}

// source is a record batch that rows of an output are taken from.
type source struct {
	rec  arrow.RecordBatch
	slot int // in the gatherer, of the output batch gen
	gen  int

	clear int // while so many inputs are to be opened yet, none of these rows comes after one of theirs; 0: not known
}

func newCursor(t *lake.Table, f *lake.FileInfo) (*cursor, error) {
	k, err := newKeys(t)
	if err != nil {
		return nil, err
	}
	c := &cursor{file: f, keys: k, to: roaring.New()}
	if f.Deleted != nil {
		c.dead = f.Deleted.Iterator()
	}
	return c, nil
}

// open begins to read the input, unless its rows are at hand already.
func (c *cursor) open(ctx context.Context, t *lake.Table, mem memory.Allocator) error {
	if c.rows != nil {
		return nil
	}
	rows, err := t.OpenRows(ctx, c.file, batchRows, mem)
	if err != nil {
		return err
	}
	c.rows = rows
	return nil
}

// low is a bound of the first key column of the rows, in the form of lake.FileInfo.Low; nil when unknown, and where rows have
// no order.
func (c *cursor) low() []byte {
	if c.keys.codec == nil || c.rows != nil {
		return nil
	}
	return c.file.Low
}

// next moves to the next live row at or after at. It returns false behind the last.
func (c *cursor) next() (bool, error) {
	for {
		for c.batch != nil && c.at < c.keys.n {
			c.stop = c.keys.n
			if c.dead != nil {
				c.dead.AdvanceIfNeeded(uint32(c.base + int64(c.at)))
				if c.dead.HasNext() {
					gap := int64(c.dead.PeekNext()) - c.base - int64(c.at)
					if gap == 0 {
						c.at++
						continue
					}
					c.stop = int(min(int64(c.stop), int64(c.at)+gap))
				}
			}
			c.head = c.keys.first(c.at)
			return true, nil
		}
		if c.batch != nil {
			c.base += int64(c.keys.n)
			c.batch.rec.Release()
			c.batch = nil
		}
		rec, err := c.rows.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if c.base+rec.NumRows() > math.MaxUint32 {
			rec.Release()
			return false, fmt.Errorf("%s has more than %d rows", c.file.Path, uint32(math.MaxUint32))
		}
		c.batch, c.at = &source{rec: rec, gen: -1}, 0
		if err := c.keys.load(rec); err != nil {
			return false, fmt.Errorf("%s: %w", c.file.Path, err)
		}
		if !c.keys.sorted {
			return false, &UnsortedError{c.file.Path}
		}
	}
}

// until returns the end of the run of live rows, from the current one on, that come before the current row of b; rows
// with b's key come before it if first. Runs are found by doubling steps: they are mostly very short or very long.
func (c *cursor) until(b *cursor, first bool) int {
	goes := func(row int) bool { // the row comes before b's
		cmp := c.keys.compare(row, b.keys, b.at)
		return cmp < 0 || cmp == 0 && first
	}
	low, step := c.at, 1 // the row low goes
	for low+step < c.stop && goes(low+step) {
		low += step
		step *= 2
	}
	high := min(low+step, c.stop) // high does not go, or is the end
	for low+1 < high {
		if mid := (low + high) / 2; goes(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low + 1
}

// close releases what the cursor holds. It may be called again.
func (c *cursor) close() error {
	if c.batch != nil {
		c.batch.rec.Release()
		c.batch = nil
	}
	if c.rows == nil {
		return nil
	}
	err := c.rows.Close()
	c.rows = nil
	return err
}

// keys are the encoded keys of a batch, cheap to compare: 8 bytes at once mostly decide.
type keys struct {
	codec   *merge.KeyCodec // nil in a table without a key: no row comes before another
	columns []int

	n      int
	sorted bool // within the batch, and after the one before
	head   []uint64
	tail   []uint64 // lower half of fixed keys that do not fit head
	raw    []byte   // canonical bytes of keys that are not fixed
	ends   []int    // of each key in raw, from index 1 on
	last   []byte   // raw of the last key of the batch before
	seen   bool     // there was a batch before
	lastK  merge.Key
}

func newKeys(t *lake.Table) (*keys, error) {
	k := &keys{columns: slices.Clone(t.Key()), sorted: true}
	if t.Keyless() {
		return k, nil
	}
	var fields []arrow.Field
	for _, c := range k.columns {
		fields = append(fields, t.ArrowSchema().Field(c))
	}
	var err error
	k.codec, err = merge.NewKeyCodec(fields)
	return k, err
}

// load encodes the keys of a batch in the place of those before.
func (k *keys) load(rec arrow.RecordBatch) error {
	k.n = int(rec.NumRows())
	if k.codec == nil {
		return nil
	}
	columns := make([]arrow.Array, len(k.columns))
	for i, c := range k.columns {
		columns[i] = rec.Column(c)
	}
	k.head, k.tail, k.raw, k.ends = k.head[:0], k.tail[:0], k.raw[:0], append(k.ends[:0], 0)
	var add func(row int, key merge.Key, raw []byte)
	switch {
	case k.codec.Narrow():
		add = func(_ int, key merge.Key, _ []byte) { k.head = append(k.head, key.Lo) }
	case k.codec.Fixed():
		add = func(_ int, key merge.Key, _ []byte) { k.head, k.tail = append(k.head, key.Hi), append(k.tail, key.Lo) }
	default:
		add = func(_ int, _ merge.Key, raw []byte) {
			var first [8]byte
			copy(first[:], raw)
			k.head = append(k.head, binary.BigEndian.Uint64(first[:]))
			k.raw = append(k.raw, raw...)
			k.ends = append(k.ends, len(k.raw))
		}
	}
	if err := k.codec.Columns(columns, add); err != nil {
		return err
	}
	k.check()
	return nil
}

// check finds out whether the keys ascend.
func (k *keys) check() {
	if k.n == 0 {
		return
	}
	if k.seen {
		end := keys{head: []uint64{k.lastK.Hi}, tail: []uint64{k.lastK.Lo}, raw: k.last, ends: []int{0, len(k.last)}, codec: k.codec}
		k.sorted = k.sorted && end.compare(0, k, 0) <= 0
	}
	for row := 1; row < k.n && k.sorted; row++ {
		k.sorted = k.compare(row-1, k, row) <= 0
	}
	k.seen = true
	k.lastK.Hi = k.head[k.n-1]
	switch {
	case len(k.tail) > 0:
		k.lastK.Lo = k.tail[k.n-1]
	case len(k.ends) > 1:
		k.last = append(k.last[:0], k.raw[k.ends[k.n-1]:k.ends[k.n]]...)
	}
}

// first returns the beginning of a key as a number: keys are in the order of these, and where they are equal in that of compare.
func (k *keys) first(row int) uint64 {
	if k.codec == nil {
		return 0
	}
	return k.head[row]
}

// compare compares a key with one of another batch.
func (k *keys) compare(row int, o *keys, other int) int {
	if k.codec == nil {
		return 0
	}
	a, b := k.head[row], o.head[other]
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case k.codec.Fixed():
		if k.codec.Narrow() || k.tail[row] == o.tail[other] {
			return 0
		}
		if k.tail[row] < o.tail[other] {
			return -1
		}
		return 1
	}
	return bytes.Compare(k.raw[k.ends[row]:k.ends[row+1]], o.raw[o.ends[other]:o.ends[other+1]])
}
