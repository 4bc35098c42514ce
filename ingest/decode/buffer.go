package decode

import (
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// buffer holds the values of one column, in Arrow's layout.
//
// It is written by row: whatever was written at a row is replaced by writing the row again. arrow-go's builders append
// only, and cost a capacity check, a bitmap update and an atomic load a value.
type buffer struct {
	*column

	valid  *memory.Buffer
	values *memory.Buffer // or the offsets of storeBytes
	bytes  *memory.Buffer // storeBytes only

	// Views of the buffers, as long as the capacity.
	bits    []byte // validity: all ones but for NULLs
	flags   []byte // storeBool
	i32     []int32
	i64     []int64
	f32     []float32
	f64     []float64
	decimal []decimal128.Num
	data    []byte

	nulls int // NULLs written, dates that do not exist included

	// The civil day that was converted last: rows come with dates that are close to each other.
	day     int64 // packed year, month and day; 0 is none
	dayDays int32 // days since 1970-01-01

	hint int // bytes of data in the last batch
}

// resize makes room for n rows, keeping what is there.
func (b *buffer) resize(mem memory.Allocator, n int) {
	if b.valid == nil {
		b.valid, b.values = memory.NewResizableBuffer(mem), memory.NewResizableBuffer(mem)
		if b.store == storeBytes {
			b.bytes = memory.NewResizableBuffer(mem)
			if b.hint > 0 {
				b.bytes.Resize(b.hint + b.hint/8) // the next batch tends to have a little more
				b.data = b.bytes.Bytes()
			}
		}
	}
	old := len(b.bits)
	b.valid.Resize(int(bitutil.BytesForBits(int64(n))))
	b.bits = b.valid.Bytes()
	memory.Set(b.bits[old:], 0xff)
	switch b.store {
	case storeInt32:
		b.values.Resize(n * arrow.Int32SizeBytes)
		b.i32 = arrow.Int32Traits.CastFromBytes(b.values.Bytes())
	case storeInt64:
		b.values.Resize(n * arrow.Int64SizeBytes)
		b.i64 = arrow.Int64Traits.CastFromBytes(b.values.Bytes())
	case storeFloat32:
		b.values.Resize(n * arrow.Float32SizeBytes)
		b.f32 = arrow.Float32Traits.CastFromBytes(b.values.Bytes())
	case storeFloat64:
		b.values.Resize(n * arrow.Float64SizeBytes)
		b.f64 = arrow.Float64Traits.CastFromBytes(b.values.Bytes())
	case storeDecimal:
		b.values.Resize(n * arrow.Decimal128SizeBytes)
		b.decimal = arrow.Decimal128Traits.CastFromBytes(b.values.Bytes())
	case storeBool:
		b.values.Resize(int(bitutil.BytesForBits(int64(n))))
		b.flags = b.values.Bytes()
	case storeBytes:
		b.values.Resize((n + 1) * arrow.Int32SizeBytes)
		b.i32 = arrow.Int32Traits.CastFromBytes(b.values.Bytes())
		if old == 0 {
			b.i32[0] = 0
		}
	}
}

// setNull makes a row NULL.
func (b *buffer) setNull(row int) {
	bitutil.ClearBit(b.bits, row)
	b.nulls++
	switch b.store {
	case storeInt32:
		b.i32[row] = 0
	case storeInt64:
		b.i64[row] = 0
	case storeFloat32:
		b.f32[row] = 0
	case storeFloat64:
		b.f64[row] = 0
	case storeDecimal:
		b.decimal[row] = decimal128.Num{}
	case storeBool:
		bitutil.ClearBit(b.flags, row)
	case storeBytes:
		b.i32[row+1] = b.i32[row]
	}
}

// unsetNull makes a row that may be NULL one that a value can be written to.
func (b *buffer) unsetNull(row int) {
	if bitutil.BitIsNotSet(b.bits, row) {
		bitutil.SetBit(b.bits, row)
		b.nulls--
	}
}

// setBytes writes a string or binary value. It fails when the column's data would pass what 32-bit offsets can tell.
func (b *buffer) setBytes(row int, v []byte) bool {
	start := int(b.i32[row])
	end := start + len(v)
	if end > len(b.data) && !b.growData(end) {
		return false
	}
	copy(b.data[start:end], v)
	b.i32[row+1] = int32(end)
	return true
}

// growData makes room for n bytes.
func (b *buffer) growData(n int) bool {
	if n > math.MaxInt32 {
		return false
	}
	b.bytes.Resize(min(max(n, grown(len(b.data)), 1024), math.MaxInt32))
	b.data = b.bytes.Bytes()
	return true
}

// grown is the next capacity: doubling is cheap while small, and wasteful when large.
func grown(n int) int {
	if n < 1<<20 {
		return 2 * n
	}
	return n + n/2
}

// width is the memory of a row, but for the bytes of strings.
func (b *buffer) width() int {
	switch b.store {
	case storeInt64, storeFloat64:
		return 8
	case storeDecimal:
		return 16
	case storeBool:
		return 1
	default:
		return 4
	}
}

// used is the number of bytes of strings in the first n rows.
func (b *buffer) used(n int) int {
	if b.store != storeBytes || n == 0 {
		return 0
	}
	return int(b.i32[n])
}

// take returns the first n rows as an array and leaves the buffer empty.
func (b *buffer) take(n int) arrow.Array {
	buffers := []*memory.Buffer{nil, b.values}
	nulls := 0
	if b.nulls > 0 { // counted anew: a row that failed half-way may have left one
		nulls = n - bitutil.CountSetBits(b.bits, 0, n)
	}
	if nulls > 0 {
		b.valid.ResizeNoShrink(int(bitutil.BytesForBits(int64(n))))
		buffers[0] = b.valid
	}
	switch b.store {
	case storeBytes:
		used := b.used(n)
		b.hint = used
		b.values.ResizeNoShrink((n + 1) * arrow.Int32SizeBytes)
		b.bytes.ResizeNoShrink(used)
		buffers = append(buffers, b.bytes)
	case storeBool:
		b.values.ResizeNoShrink(int(bitutil.BytesForBits(int64(n))))
	default:
		b.values.ResizeNoShrink(n * b.width())
	}
	data := array.NewData(b.arrow, n, buffers, nil, nulls, 0)
	defer data.Release()
	a := array.MakeFromData(data)
	b.release()
	return a
}

func (b *buffer) release() {
	for _, m := range []*memory.Buffer{b.valid, b.values, b.bytes} {
		if m != nil {
			m.Release()
		}
	}
	*b = buffer{column: b.column, hint: b.hint}
}

// text renders a value for an error message.
func (b *buffer) text(row int) string {
	switch b.store {
	case storeInt32:
		if b.form == formDate {
			return arrow.Date32(b.i32[row]).FormattedString()
		}
		return strconv.Itoa(int(b.i32[row]))
	case storeInt64:
		if b.form == formDatetime || b.form == formTimestamp {
			return time.UnixMicro(b.i64[row]).UTC().Format("'2006-01-02 15:04:05.999999'")
		}
		return strconv.FormatInt(b.i64[row], 10)
	case storeFloat32:
		return strconv.FormatFloat(float64(b.f32[row]), 'g', -1, 32)
	case storeFloat64:
		return strconv.FormatFloat(b.f64[row], 'g', -1, 64)
	case storeDecimal:
		return b.decimal[row].ToString(int32(b.scale))
	case storeBool:
		return strconv.FormatBool(bitutil.BitIsSet(b.flags, row))
	}
	v := b.data[b.i32[row]:b.i32[row+1]]
	if b.arrow.ID() == arrow.BINARY {
		return "0x" + excerpt(v)
	}
	return "'" + string(v) + "'"
}
