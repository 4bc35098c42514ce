package decode

import (
	"fmt"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/merge"
)

// Decoder reads the rows events of one table into Arrow buffers. It is not safe for concurrent use.
type Decoder struct {
	plan    *Plan
	mem     memory.Allocator
	buffers []buffer
	rows    int // whole rows
	room    int // rows that fit
	last    int // rows of the last batch

	identity      []int // ordinals of the columns that a row is known by: the key's, or all
	before, after *merge.KeyCodec
	text          []byte // a value under construction
	zeroDates     int64
	failed        error
}

// NewDecoder returns a decoder without rows. Memory is taken from mem with the first row.
func NewDecoder(mem memory.Allocator, p *Plan) *Decoder {
	d := &Decoder{plan: p, mem: mem, buffers: make([]buffer, len(p.columns))}
	for i := range p.columns {
		d.buffers[i].column = &p.columns[i]
	}
	d.before, d.after, d.identity = p.keyCodec(), p.keyCodec(), p.Key
	for i := range p.columns {
		if p.Keyless() {
			d.identity = append(d.identity, i)
		}
	}
	return d
}

// keyCodec returns a codec for the key. Every type a column can have can be a key, so it cannot fail.
func (p *Plan) keyCodec() *merge.KeyCodec {
	newCodec, fields := merge.NewRowCodec, p.Schema.Fields()
	if !p.Keyless() {
		newCodec, fields = merge.NewKeyCodec, make([]arrow.Field, len(p.Key))
		for i, k := range p.Key {
			fields[i] = p.Schema.Field(k)
		}
	}
	codec, err := newCodec(fields)
	if err != nil {
		panic(fmt.Sprintf("decode: key of %s.%s: %v", p.DB, p.Table, err))
	}
	return codec
}

// Rows decodes the body of one rows event (what follows the column bitmaps) and tells sink of its changes in order.
//
// before and after are the event's bitmaps of the columns that the images have: a delete has the first, an insert the
// second, an update both. The body is not kept. Of before images only the key is read, or all in a table without one.
//
// The errors are RowImageError, ValueError and CorruptError. Sink has then heard of the rows before the failing one,
// which stay; every later call fails with ErrPoisoned.
func (d *Decoder) Rows(kind replication.EnumRowsEventType, before, after, body []byte, sink merge.Sink) error {
	if d.failed != nil {
		return fmt.Errorf("%w: %w", ErrPoisoned, d.failed)
	}
	err := d.apply(kind, before, after, body, sink)
	d.failed = err
	return err
}

func (d *Decoder) apply(kind replication.EnumRowsEventType, before, after, body []byte, sink merge.Sink) error {
	switch kind {
	case replication.EnumRowsEventTypeInsert:
		if err := d.whole(after, "after"); err != nil {
			return err
		}
		return d.inserts(body, sink)
	case replication.EnumRowsEventTypeUpdate:
		if err := d.whole(before, "before"); err != nil {
			return err
		}
		if err := d.whole(after, "after"); err != nil {
			return err
		}
		return d.updates(body, sink)
	case replication.EnumRowsEventTypeDelete:
		if err := d.whole(before, "before"); err != nil {
			return err
		}
		return d.deletes(body, sink)
	default:
		return fmt.Errorf("table %s.%s: a rows event of a kind that is not understood (%s): if it holds partial updates of JSON, "+
			"the server must run with binlog_row_value_options='', in every session", d.plan.DB, d.plan.Table, kind)
	}
}

func (d *Decoder) inserts(body []byte, sink merge.Sink) error {
	for pos := 0; pos < len(body); {
		next, err := d.image(body, pos)
		if err != nil {
			return err
		}
		k, raw := d.key(d.after)
		sink.Insert(k, raw, d.rows)
		d.rows++
		pos = next
	}
	return nil
}

func (d *Decoder) updates(body []byte, sink merge.Sink) error {
	for pos := 0; pos < len(body); {
		k, raw, next, err := d.beforeImage(body, pos)
		if err != nil {
			return err
		}
		if next, err = d.image(body, next); err != nil {
			return err
		}
		now, nowRaw := d.key(d.after)
		sink.Update(k, raw, now, nowRaw, d.rows)
		d.rows++
		pos = next
	}
	return nil
}

func (d *Decoder) deletes(body []byte, sink merge.Sink) error {
	for pos := 0; pos < len(body); {
		k, raw, next, err := d.beforeImage(body, pos)
		if err != nil {
			return err
		}
		sink.Delete(k, raw)
		pos = next
	}
	return nil
}

// beforeImage reads the key of a before image, and returns where the image ends. Nothing of it stays in the next row.
func (d *Decoder) beforeImage(body []byte, pos int) (k merge.Key, raw []byte, next int, err error) {
	if !d.plan.Keyless() {
		if next, err = d.keyImage(body, pos); err == nil {
			k, raw = d.key(d.before)
		}
		return k, raw, next, err
	}
	zeroDates := d.zeroDates
	if next, err = d.image(body, pos); err != nil {
		return k, nil, 0, err
	}
	k, raw = d.key(d.before)
	d.zeroDates = zeroDates
	for i := range d.buffers {
		d.buffers[i].unsetNull(d.rows)
	}
	return k, raw, next, nil
}

// whole checks that an image has every column.
func (d *Decoder) whole(bitmap []byte, image string) error {
	n := len(d.buffers)
	set := 0
	if len(bitmap) == (n+7)/8 {
		for i, b := range bitmap {
			if i == len(bitmap)-1 && n%8 != 0 {
				b &= 1<<(n%8) - 1 // the server sets the bits past the end, or does not
			}
			set += bits.OnesCount8(b)
		}
		if set == n {
			return nil
		}
	} else {
		return &CorruptError{DB: d.plan.DB, Table: d.plan.Table, Why: fmt.Sprintf("a bitmap of %d bytes for %d columns in the %s image", len(bitmap), n, image)}
	}
	e := &RowImageError{DB: d.plan.DB, Table: d.plan.Table, Image: image}
	for i := range d.buffers {
		if bitmap[i>>3]&(1<<(i&7)) == 0 {
			e.Missing = append(e.Missing, d.buffers[i].name)
		}
	}
	return e
}

// Len is the number of rows, which are after images, since the last flush.
func (d *Decoder) Len() int { return d.rows }

// Bytes is about the memory that the rows since the last flush take. Buffers are larger than what is in them: by half
// while they grow, by nothing when the batch is like the one before it.
func (d *Decoder) Bytes() int {
	total := 0
	for i := range d.buffers {
		b := &d.buffers[i]
		total += d.rows*b.width() + d.rows/8 + b.used(d.rows)
	}
	return total
}

// ZeroDates is the number of DATE, DATETIME and TIMESTAMP values that became NULL because there is no such date, since
// the decoder was made.
func (d *Decoder) ZeroDates() int64 { return d.zeroDates }

// Reserve makes room for n more rows.
func (d *Decoder) Reserve(n int) {
	if d.rows+n > d.room {
		d.grow(d.rows + n)
	}
}

func (d *Decoder) grow(n int) {
	n = (n + 63) &^ 63
	for i := range d.buffers {
		d.buffers[i].resize(d.mem, n)
	}
	d.room = n
}

// more makes room for at least one more row: for as many as the last batch had, to begin with.
func (d *Decoder) more() { d.grow(max(d.room+1, grown(d.room), d.last+1, 256)) }

// Flush returns the rows since the last flush, to be released by the caller, and begins a new batch. It may be called
// after an error: the rows that the sink was told of are whole.
func (d *Decoder) Flush() arrow.RecordBatch {
	if d.room == 0 {
		d.grow(1)
	}
	columns := make([]arrow.Array, len(d.buffers))
	for i := range d.buffers {
		columns[i] = d.buffers[i].take(d.rows)
	}
	batch := array.NewRecordBatch(d.plan.Schema, columns, int64(d.rows))
	for _, c := range columns {
		c.Release()
	}
	d.last, d.rows, d.room = d.rows, 0, 0
	return batch
}

// Release gives the memory back without a flush. The decoder can go on to be used.
func (d *Decoder) Release() {
	for i := range d.buffers {
		d.buffers[i].release()
	}
	d.rows, d.room = 0, 0
}

// key reads the key of the row being written.
func (d *Decoder) key(codec *merge.KeyCodec) (merge.Key, []byte) {
	row := d.rows
	codec.Reset()
	for _, k := range d.identity {
		b := &d.buffers[k]
		if !b.key && bitutil.BitIsNotSet(b.bits, row) {
			codec.AppendNull()
			continue
		}
		switch b.store {
		case storeInt32:
			codec.AppendInt(int64(b.i32[row]))
		case storeInt64:
			codec.AppendInt(b.i64[row])
		case storeFloat32:
			codec.AppendFloat(float64(b.f32[row]))
		case storeFloat64:
			codec.AppendFloat(b.f64[row])
		case storeDecimal:
			codec.AppendDecimal128(b.decimal[row])
		case storeBool:
			codec.AppendBool(b.flags[row>>3]&(1<<(row&7)) != 0)
		case storeBytes:
			codec.AppendBytes(b.data[b.i32[row]:b.i32[row+1]])
		}
	}
	return codec.Key()
}
