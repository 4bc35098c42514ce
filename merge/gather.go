package merge

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Gather yields the rows of rec in the given order, in record batches of at most size rows. Where the order is rec's
// own, the batches are slices of it and nothing is copied. A batch is released when yield returns.
//
// It stands in for arrow/compute.Take: it knows only the types that a table of ours can have, and allocates once a
// column and batch.
func Gather(mem memory.Allocator, rec arrow.RecordBatch, order []int32, size int, yield func(arrow.RecordBatch) error) error {
	for len(order) > 0 {
		n := min(size, len(order))
		batch, err := take(mem, rec, order[:n])
		if err != nil {
			return err
		}
		err = yield(batch)
		batch.Release()
		if err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

func take(mem memory.Allocator, rec arrow.RecordBatch, order []int32) (arrow.RecordBatch, error) {
	if run(order) {
		return rec.NewSlice(int64(order[0]), int64(order[0])+int64(len(order))), nil
	}
	columns := make([]arrow.Array, rec.NumCols())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, c := range rec.Columns() {
		data, err := takeColumn(mem, c, order)
		if err != nil {
			return nil, fmt.Errorf("merge: column %q: %w", rec.ColumnName(i), err)
		}
		columns[i] = array.MakeFromData(data)
		data.Release()
	}
	return array.NewRecordBatch(rec.Schema(), columns, int64(len(order))), nil
}

func run(order []int32) bool {
	for i, o := range order {
		if o != order[0]+int32(i) {
			return false
		}
	}
	return true
}

func takeColumn(mem memory.Allocator, c arrow.Array, order []int32) (*array.Data, error) {
	valid, nulls := takeValidity(mem, c, order)
	buffers := []*memory.Buffer{valid}
	switch c := c.(type) {
	case *array.Int32:
		buffers = append(buffers, takeFixed(mem, c.Int32Values(), order))
	case *array.Date32:
		buffers = append(buffers, takeFixed(mem, c.Date32Values(), order))
	case *array.Int64:
		buffers = append(buffers, takeFixed(mem, c.Int64Values(), order))
	case *array.Timestamp:
		buffers = append(buffers, takeFixed(mem, c.TimestampValues(), order))
	case *array.Float32:
		buffers = append(buffers, takeFixed(mem, c.Float32Values(), order))
	case *array.Float64:
		buffers = append(buffers, takeFixed(mem, c.Float64Values(), order))
	case *array.Decimal128:
		buffers = append(buffers, takeFixed[decimal128.Num](mem, c.Values(), order))
	case *array.Boolean:
		buffers = append(buffers, takeBits(mem, c, order))
	case *array.String:
		buffers = append(buffers, takeBytes(mem, c.ValueOffsets(), c.ValueBytes(), order)...)
	case *array.Binary:
		buffers = append(buffers, takeBytes(mem, c.ValueOffsets(), c.ValueBytes(), order)...)
	default:
		return nil, fmt.Errorf("cannot gather %s", c.DataType())
	}
	data := array.NewData(c.DataType(), len(order), buffers, nil, nulls, 0)
	for _, b := range buffers {
		if b != nil {
			b.Release()
		}
	}
	return data, nil
}

func takeValidity(mem memory.Allocator, c arrow.Array, order []int32) (*memory.Buffer, int) {
	if c.NullN() == 0 {
		return nil, 0
	}
	from, offset := c.NullBitmapBytes(), c.Data().Offset()
	buf := newBuffer(mem, int(bitutil.BytesForBits(int64(len(order)))))
	to := buf.Bytes()
	nulls := len(order)
	for i, o := range order {
		if bitutil.BitIsSet(from, offset+int(o)) {
			bitutil.SetBit(to, i)
			nulls--
		}
	}
	return buf, nulls
}

func takeBits(mem memory.Allocator, c *array.Boolean, order []int32) *memory.Buffer {
	buf := newBuffer(mem, int(bitutil.BytesForBits(int64(len(order)))))
	for i, o := range order {
		if c.Value(int(o)) {
			bitutil.SetBit(buf.Bytes(), i)
		}
	}
	return buf
}

func takeFixed[T any](mem memory.Allocator, from []T, order []int32) *memory.Buffer {
	var zero T
	buf := newBuffer(mem, len(order)*int(unsafe.Sizeof(zero)))
	to := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(buf.Bytes()))), len(order))
	for i, o := range order {
		to[i] = from[o]
	}
	return buf
}

func takeBytes(mem memory.Allocator, offsets []int32, bytes []byte, order []int32) []*memory.Buffer {
	base := offsets[0]
	place := newBuffer(mem, (len(order)+1)*4)
	to := unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(place.Bytes()))), len(order)+1)
	total := int32(0)
	for i, o := range order {
		to[i] = total
		total += offsets[o+1] - offsets[o]
	}
	to[len(order)] = total
	values := newBuffer(mem, int(total))
	out := values.Bytes()
	for i, o := range order {
		copy(out[to[i]:to[i+1]], bytes[offsets[o]-base:offsets[o+1]-base])
	}
	return []*memory.Buffer{place, values}
}

// newBuffer returns a zeroed buffer of n bytes.
func newBuffer(mem memory.Allocator, n int) *memory.Buffer {
	buf := memory.NewResizableBuffer(mem)
	buf.Resize(n)
	clear(buf.Bytes())
	return buf
}
