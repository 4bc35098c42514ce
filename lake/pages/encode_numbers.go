package pages

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// fixedBody returns the values of a stretch of fixed width, NULLs included.
func fixedBody[T any](s stretch) []T {
	var zero T
	width := int(unsafe.Sizeof(zero))
	body := s.data.Buffers()[1].Bytes()[(s.data.Offset()+s.from)*width:]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(body))), len(body)/width)[:s.rows]
}

// castBytes returns the bytes of values.
func castBytes[T any](v []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(zero)))
}

// castValues is the same values, of another type of the same size.
func castValues[To, From any](v []From) []To {
	return unsafe.Slice((*To)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

// fixedFit is encoder.fit for values that take so many bytes each.
func fixedFit(from, to, size, limit, width int) int {
	return min(to, from+max(1, (limit-size+width-1)/width))
}

// denseValues returns the values of a stretch without NULLs; in scratch where there are any.
func denseValues[T any](s stretch, scratch []T) ([]T, []T) {
	body := fixedBody[T](s)
	if s.valid == nil {
		return body, scratch
	}
	if len(scratch) < s.rows {
		scratch = make([]T, s.rows)
	}
	return scratch[:compactValid(scratch, body, s.valid)], scratch
}

// intEncoder writes whole numbers as DELTA_BINARY_PACKED or PLAIN, or with a dictionary. U is T without a sign.
type intEncoder[T int32 | int64, U uint32 | uint64] struct {
	paged
	read    func(s stretch, scratch []int64) ([]int64, error) // of decimals; nil: they are in the array as they are
	scratch []T
	wide    []int64
	delta   *deltaEncoder[T]     // nil: PLAIN
	numbers *numberDictionary[U] // dict

	any      bool
	min, max T
}

func newIntEncoder[T int32 | int64, U uint32 | uint64](c Column, mem memory.Allocator, read func(stretch, []int64) ([]int64, error)) *intEncoder[T, U] {
	e := &intEncoder[T, U]{paged: paged{out: outBuffer{mem: mem}}, read: read}
	if c.Encoding == parquet.Encodings.DeltaBinaryPacked {
		e.delta = &deltaEncoder[T]{}
	}
	if c.Dictionary {
		e.numbers = newNumberDictionary[U](mem)
		e.dict = e.numbers
	}
	return e
}

func (e *intEncoder[T, U]) fit(_ arrow.ArrayData, from, to, limit int) int {
	var zero T
	return fixedFit(from, to, e.size(), limit, int(unsafe.Sizeof(zero)))
}

func (e *intEncoder[T, U]) add(s stretch) error {
	v, err := e.values(s)
	if err != nil || len(v) == 0 {
		return err
	}
	if e.indexing() {
		e.numbers.add(castValues[U](v))
		return nil
	}
	e.bound(v)
	if e.delta != nil && e.dict == nil {
		e.delta.add(&e.out, v)
		return nil
	}
	b := castBytes(v)
	e.out.keep(copy(e.out.grow(len(b)), b))
	return nil
}

// values returns the stretch's values without NULLs.
func (e *intEncoder[T, U]) values(s stretch) (v []T, err error) {
	if e.read == nil {
		v, e.scratch = denseValues(s, e.scratch)
		return v, nil
	}
	if len(e.wide) < s.rows {
		e.wide = make([]int64, s.rows)
	}
	wide, err := e.read(s, e.wide)
	if err != nil {
		return nil, err
	}
	var zero T
	if unsafe.Sizeof(zero) == 8 {
		return castValues[T](wide), nil
	}
	if len(e.scratch) < len(wide) {
		e.scratch = make([]T, len(e.wide))
	}
	for i, x := range wide {
		e.scratch[i] = T(x)
	}
	return e.scratch[:len(wide)], nil
}

func (e *intEncoder[T, U]) bound(v []T) {
	if len(v) == 0 {
		return
	}
	if !e.any {
		e.any, e.min, e.max = true, v[0], v[0]
	}
	e.min, e.max = min(e.min, leastOf(v)), max(e.max, greatestOf(v))
}

func leastOf[T int32 | int64](v []T) T {
	a, b := v[0], v[0]
	for ; len(v) >= 4; v = v[4:] {
		a = min(a, v[0], v[2])
		b = min(b, v[1], v[3])
	}
	for _, x := range v {
		a = min(a, x)
	}
	return min(a, b)
}

func greatestOf[T int32 | int64](v []T) T {
	a, b := v[0], v[0]
	for ; len(v) >= 4; v = v[4:] {
		a = max(a, v[0], v[2])
		b = max(b, v[1], v[3])
	}
	for _, x := range v {
		a = max(a, x)
	}
	return max(a, b)
}

// finish returns differences, unless the chunk began with a dictionary, whose footer can tell of PLAIN alone beside it.
func (e *intEncoder[T, U]) finish(room int) ([]byte, parquet.Encoding) {
	if e.delta != nil && e.dict == nil {
		return e.delta.finish(&e.out, room), parquet.Encodings.DeltaBinaryPacked
	}
	return e.paged.finish(room)
}

func (e *intEncoder[T, U]) chunk(s *metadata.EncodedStatistics) {
	if e.dict != nil {
		e.bound(castValues[T](e.numbers.values))
	}
	e.next()
	if e.any {
		s.SetMin(numberBytes(U(e.min)))
		s.SetMax(numberBytes(U(e.max)))
	}
	e.any = false
}

// numberBytes is the number as PLAIN has it.
func numberBytes[U uint32 | uint64](v U) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(v))
	return b[:unsafe.Sizeof(v)]
}

// decimalReader returns a function that reads decimals of at most 18 digits.
func decimalReader(t *arrow.Decimal128Type) func(stretch, []int64) ([]int64, error) {
	limit := int64(math.Pow10(int(t.Precision)))
	return func(s stretch, scratch []int64) ([]int64, error) {
		n, least, greatest, wide := 0, int64(0), int64(0), int64(0)
		body := fixedBody[decimal128.Num](s)
		take := func(d decimal128.Num) {
			v := int64(d.LowBits())
			wide |= d.HighBits() ^ v>>63
			least, greatest = min(least, v), max(greatest, v)
			scratch[n] = v
			n++
		}
		if s.valid == nil {
			for i, d := range body {
				v := int64(d.LowBits())
				wide |= d.HighBits() ^ v>>63
				least, greatest = min(least, v), max(greatest, v)
				scratch[i] = v
			}
			n = len(body)
		} else {
			for i, d := range body {
				if bitutil.BitIsSet(s.valid, i) {
					take(d)
				}
			}
		}
		if wide != 0 || least <= -limit || greatest >= limit {
			return nil, fmt.Errorf("a value of %s has more than %d digits", t, t.Precision)
		}
		return scratch[:n], nil
	}
}

// floatEncoder writes floating-point numbers as they are, or with a dictionary. U has T's size.
type floatEncoder[T float32 | float64, U uint32 | uint64] struct {
	paged
	scratch  []T
	numbers  *numberDictionary[U] // dict
	min, max T                    // infinite the wrong way round as long as there is none
}

func newFloatEncoder[T float32 | float64, U uint32 | uint64](c Column, mem memory.Allocator) *floatEncoder[T, U] {
	e := &floatEncoder[T, U]{paged: paged{out: outBuffer{mem: mem}}, min: T(math.Inf(1)), max: T(math.Inf(-1))}
	if c.Dictionary {
		e.numbers = newNumberDictionary[U](mem)
		e.dict = e.numbers
	}
	return e
}

func (e *floatEncoder[T, U]) fit(_ arrow.ArrayData, from, to, limit int) int {
	var zero T
	return fixedFit(from, to, e.size(), limit, int(unsafe.Sizeof(zero)))
}

func (e *floatEncoder[T, U]) add(s stretch) error {
	var v []T
	v, e.scratch = denseValues(s, e.scratch)
	if e.indexing() {
		e.numbers.add(castValues[U](v))
		return nil
	}
	e.bound(v)
	b := castBytes(v)
	e.out.keep(copy(e.out.grow(len(b)), b))
	return nil
}

// bound leaves NaN out, which is neither more nor less than a number (parquet.thrift, ColumnOrder).
func (e *floatEncoder[T, U]) bound(v []T) {
	least, greatest := e.min, e.max
	for _, x := range v {
		if x < least {
			least = x
		}
		if x > greatest {
			greatest = x
		}
	}
	e.min, e.max = least, greatest
}

// chunk sets bounds unless all values are NaN; a bound of zero has the sign that leaves both zeros within.
func (e *floatEncoder[T, U]) chunk(s *metadata.EncodedStatistics) {
	if e.dict != nil {
		e.bound(castValues[T](e.numbers.values))
	}
	e.next()
	if e.min <= e.max {
		if e.min == 0 {
			e.min = T(math.Copysign(0, -1))
		}
		if e.max == 0 {
			e.max = 0
		}
		s.SetMin(numberBytes(castValues[U]([]T{e.min})[0]))
		s.SetMax(numberBytes(castValues[U]([]T{e.max})[0]))
	}
	e.min, e.max = T(math.Inf(1)), T(math.Inf(-1))
}

// boolEncoder writes booleans as bits (Encodings.md, "Plain").
type boolEncoder struct {
	paged
	values      int // of the page
	someF, some bool
}

func (e *boolEncoder) fit(_ arrow.ArrayData, from, to, limit int) int {
	return min(to, from+max(1, (limit-e.size())*8))
}

func (e *boolEncoder) add(s stretch) error {
	bits := s.data.Buffers()[1].Bytes()
	first := s.data.Offset() + s.from
	need := (e.values+s.live+7)/8 - len(e.out.data)
	e.out.grow(need)
	e.out.keep(need)
	before := e.values
	if s.valid == nil {
		bitutil.CopyBitmap(bits, first, s.rows, e.out.data, e.values)
		e.values += s.rows
	} else {
		for i := range s.rows {
			if bitutil.BitIsSet(s.valid, i) {
				bitutil.SetBitTo(e.out.data, e.values, bitutil.BitIsSet(bits, first+i))
				e.values++
			}
		}
	}
	set := bitutil.CountSetBits(e.out.data, before, s.live)
	e.some = e.some || set > 0
	e.someF = e.someF || set < s.live
	return nil
}

func (e *boolEncoder) finish(room int) ([]byte, parquet.Encoding) {
	if used := e.values & 7; used != 0 { // what is behind the last value is not cleared
		e.out.data[len(e.out.data)-1] &= 1<<used - 1
	}
	e.values = 0
	return e.out.finish(room), parquet.Encodings.Plain
}

func (e *boolEncoder) chunk(s *metadata.EncodedStatistics) {
	bit := map[bool][]byte{false: {0}, true: {1}}
	if e.some || e.someF {
		s.SetMin(bit[!e.someF])
		s.SetMax(bit[e.some])
	}
	e.some, e.someF = false, false
}
