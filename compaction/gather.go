package compaction

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// batchRows is how many rows are read and written at a time: enough to make a column's work long, little enough for the
// processor's cache and for a batch of each input to be in memory.
const batchRows = 8 << 10

// few rows in a run are copied one by one: a call for all of them takes longer.
const few = 8

// gatherer puts runs of rows from several record batches into one.
type gatherer struct {
	memory  memory.Allocator
	runs    []run
	sources []*source
	gen     int // output batches made
	rows    int
}

// run is a stretch of consecutive rows of one source.
type run struct{ source, start, rows int32 }

// add takes rows [start, end) of a source, which it keeps until the batch is made.
func (g *gatherer) add(s *source, start, end int) {
	if s.gen != g.gen {
		s.gen, s.slot = g.gen, len(g.sources)
		s.rec.Retain()
		g.sources = append(g.sources, s)
	}
	g.rows += end - start
	if n := len(g.runs); n > 0 && g.runs[n-1].source == int32(s.slot) && g.runs[n-1].start+g.runs[n-1].rows == int32(start) {
		g.runs[n-1].rows += int32(end - start)
		return
	}
	g.runs = append(g.runs, run{int32(s.slot), int32(start), int32(end - start)})
}

// take makes the record batch of the rows added since the last call. A single run is a slice, not a copy.
func (g *gatherer) take() (arrow.RecordBatch, error) {
	defer g.reset()
	first := g.sources[0].rec
	if len(g.runs) == 1 {
		return first.NewSlice(int64(g.runs[0].start), int64(g.runs[0].start+g.runs[0].rows)), nil
	}
	columns := make([]arrow.Array, first.NumCols())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	from := make([]arrow.ArrayData, len(g.sources))
	for i := range columns {
		for j, s := range g.sources {
			from[j] = s.rec.Column(i).Data()
		}
		data, err := g.column(first.Schema().Field(i).Type, from)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", first.ColumnName(i), err)
		}
		columns[i] = array.MakeFromData(data)
		data.Release()
	}
	return array.NewRecordBatch(first.Schema(), columns, int64(g.rows)), nil
}

// reset drops what was added.
func (g *gatherer) reset() {
	for _, s := range g.sources {
		s.rec.Release()
	}
	g.runs, g.sources, g.rows = g.runs[:0], g.sources[:0], 0
	g.gen++
}

func (g *gatherer) column(t arrow.DataType, from []arrow.ArrayData) (*array.Data, error) {
	valid, nulls := g.validity(from)
	buffers := []*memory.Buffer{valid}
	switch t.ID() {
	case arrow.INT32, arrow.DATE32, arrow.FLOAT32:
		buffers = append(buffers, fixed(g, from, arrow.Uint32Traits.CastFromBytes))
	case arrow.INT64, arrow.TIMESTAMP, arrow.FLOAT64:
		buffers = append(buffers, fixed(g, from, arrow.Uint64Traits.CastFromBytes))
	case arrow.DECIMAL128:
		buffers = append(buffers, fixed[decimal128.Num](g, from, arrow.Decimal128Traits.CastFromBytes))
	case arrow.BOOL:
		buffers = append(buffers, g.bits(from, 1))
	case arrow.STRING, arrow.BINARY:
		offsets, values := g.bytes(from)
		buffers = append(buffers, offsets, values)
	default:
		return nil, fmt.Errorf("cannot gather %s", t)
	}
	data := array.NewData(t, g.rows, buffers, nil, nulls, 0)
	for _, b := range buffers {
		if b != nil {
			b.Release()
		}
	}
	return data, nil
}

func (g *gatherer) validity(from []arrow.ArrayData) (*memory.Buffer, int) {
	nulls := 0
	for _, d := range from {
		nulls += d.NullN()
	}
	if nulls == 0 {
		return nil, 0
	}
	b := g.bits(from, 0)
	return b, g.rows - bitutil.CountSetBits(b.Bytes(), 0, g.rows)
}

// bits gathers a bitmap: buffer 0, where an absent one is all ones, or the values of booleans.
func (g *gatherer) bits(from []arrow.ArrayData, buffer int) *memory.Buffer {
	buf := g.buffer(int(bitutil.BytesForBits(int64(g.rows))))
	out := buf.Bytes()
	clear(out)
	n := 0
	for _, r := range g.runs {
		d := from[r.source]
		b := d.Buffers()[buffer]
		if b == nil || b.Len() == 0 {
			bitutil.SetBitsTo(out, int64(n), int64(r.rows), true)
		} else if r.rows < few {
			for i := range int(r.rows) {
				if bitutil.BitIsSet(b.Bytes(), d.Offset()+int(r.start)+i) {
					bitutil.SetBit(out, n+i)
				}
			}
		} else {
			bitutil.CopyBitmap(b.Bytes(), d.Offset()+int(r.start), int(r.rows), out, n)
		}
		n += int(r.rows)
	}
	return buf
}

func fixed[T any](g *gatherer, from []arrow.ArrayData, cast func([]byte) []T) *memory.Buffer {
	values := make([][]T, len(from))
	for i, d := range from {
		values[i] = cast(d.Buffers()[1].Bytes())[d.Offset():]
	}
	var zero T
	buf := g.buffer(g.rows * int(unsafe.Sizeof(zero)))
	out := cast(buf.Bytes())
	n := 0
	for _, r := range g.runs {
		from := values[r.source][r.start : r.start+r.rows]
		if r.rows < few {
			for i, v := range from {
				out[n+i] = v
			}
		} else {
			copy(out[n:], from)
		}
		n += int(r.rows)
	}
	return buf
}

func (g *gatherer) bytes(from []arrow.ArrayData) (offsets, values *memory.Buffer) {
	places := make([][]int32, len(from))
	bytes := make([][]byte, len(from))
	for i, d := range from {
		places[i] = arrow.Int32Traits.CastFromBytes(d.Buffers()[1].Bytes())[d.Offset():]
		if b := d.Buffers()[2]; b != nil {
			bytes[i] = b.Bytes()
		}
	}
	offsets = g.buffer((g.rows + 1) * 4)
	ends := arrow.Int32Traits.CastFromBytes(offsets.Bytes())
	ends[0] = 0
	n, total := 0, int32(0)
	for _, r := range g.runs {
		p := places[r.source][r.start:]
		if r.rows == 1 {
			total += p[1] - p[0]
			n++
			ends[n] = total
			continue
		}
		shift := total - p[0]
		for _, end := range p[1 : r.rows+1] {
			n++
			ends[n] = end + shift
		}
		total = ends[n]
	}
	values = g.buffer(int(total))
	out := values.Bytes()
	n = 0
	for _, r := range g.runs {
		from := places[r.source][r.start]
		size := ends[n+int(r.rows)] - ends[n]
		copy(out[ends[n]:], bytes[r.source][from:from+size])
		n += int(r.rows)
	}
	return offsets, values
}

// buffer returns n bytes, not cleared.
func (g *gatherer) buffer(n int) *memory.Buffer {
	b := memory.NewResizableBuffer(g.memory)
	b.Resize(n)
	return b
}
