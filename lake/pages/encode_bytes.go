package pages

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// bytesEncoder writes texts and strings of bytes as they are, each behind its length (Encodings.md, "Plain"), or with a
// dictionary. Their order is that of their bytes.
type bytesEncoder struct {
	paged
	texts    *bytesDictionary // dict
	any      bool
	min, max []byte // of the chunk, own memory
}

func newBytesEncoder(c Column, mem memory.Allocator) *bytesEncoder {
	e := &bytesEncoder{paged: paged{out: outBuffer{mem: mem}}}
	if c.Dictionary {
		e.texts = newBytesDictionary(mem, 4)
		e.dict = e.texts
	}
	return e
}

// textBody returns where the values of n rows from row from on end, that of the row before first, and what they are in.
func textBody(a arrow.ArrayData, from, n int) (ends []int32, body []byte) {
	ends = arrow.Int32Traits.CastFromBytes(a.Buffers()[1].Bytes())[a.Offset()+from:][:n+1]
	if b := a.Buffers()[2]; b != nil {
		body = b.Bytes()
	}
	return ends, body
}

func (e *bytesEncoder) fit(a arrow.ArrayData, from, to, limit int) int {
	left := limit - e.size()
	if e.indexing() {
		to = min(to, from+max(1, left/4)) // indices
		left = limit                      // that the dictionary may grow by
	}
	ends, _ := textBody(a, from, to-from)
	n := to - from
	if take := func(n int) int { return int(ends[n]-ends[0]) + 4*n }; take(n) > left {
		low := 1 // the least that is taken; n does not fit
		for low < n {
			if mid := (low + n) / 2; take(mid) >= left {
				n = mid
			} else {
				low = mid + 1
			}
		}
	}
	return from + n
}

func (e *bytesEncoder) add(s stretch) error {
	ends, body := textBody(s.data, s.from, s.rows)
	if e.indexing() {
		for i := range s.rows {
			if s.valid == nil || bitutil.BitIsSet(s.valid, i) {
				e.texts.add(body[ends[i]:ends[i+1]])
			}
		}
		return nil
	}
	dst := e.out.grow(int(ends[s.rows]-ends[0]) + 4*s.rows)
	at, start := 0, ends[0]
	bounds := e.bounds()
	for i, end := range ends[1:] {
		v := body[start:end]
		start = end
		if s.valid != nil && !bitutil.BitIsSet(s.valid, i) {
			continue
		}
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(v)))
		at += 4 + copy(dst[at+4:], v)
		if !bounds.inside(v) {
			bounds.widen(v)
		}
	}
	e.keep(&bounds)
	e.out.keep(at)
	return nil
}

// textBounds are the least and the greatest of some values, which have to stay as they are meanwhile.
type textBounds struct {
	any             bool
	least, greatest []byte
	low, high       [2]uint64 // their first 16 bytes, filled up with zeros, as numbers
}

// inside reports whether v is known to be within the bounds, without being one, by its first 16 bytes.
func (b *textBounds) inside(v []byte) bool {
	if len(v) < 16 {
		return false
	}
	x, y := binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:])
	return (x > b.low[0] || x == b.low[0] && y > b.low[1]) && (x < b.high[0] || x == b.high[0] && y < b.high[1])
}

// widen has v within the bounds.
func (b *textBounds) widen(v []byte) {
	if !b.any || bytes.Compare(v, b.least) < 0 {
		b.least, b.low = v, leading(v)
	}
	if !b.any || bytes.Compare(v, b.greatest) > 0 {
		b.greatest, b.high = v, leading(v)
	}
	b.any = true
}

// leading returns the first 16 bytes of v, filled up with zeros, as numbers.
func leading(v []byte) [2]uint64 {
	var b [16]byte
	copy(b[:], v)
	return [2]uint64{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

// bounds returns those of the chunk so far.
func (e *bytesEncoder) bounds() textBounds {
	if !e.any {
		return textBounds{}
	}
	return textBounds{any: true, least: e.min, greatest: e.max, low: leading(e.min), high: leading(e.max)}
}

// keep makes them those of the chunk.
func (e *bytesEncoder) keep(b *textBounds) {
	if b.any {
		e.min, e.max, e.any = append(e.min[:0], b.least...), append(e.max[:0], b.greatest...), true
	}
}

func (e *bytesEncoder) chunk(s *metadata.EncodedStatistics) {
	if e.dict != nil {
		bounds := e.bounds()
		for i := range uint32(len(e.texts.ends)) {
			bounds.widen(e.texts.value(i))
		}
		e.keep(&bounds)
	}
	e.next()
	if e.any {
		s.SetMin(append([]byte{}, e.min...)) // an empty one is a bound, too
		s.SetMax(append([]byte{}, e.max...))
	}
	e.any = false
}

// decimalEncoder writes decimals of more than 18 digits as two's complement in big-endian order, all as long
// (LogicalTypes.md, "DECIMAL"), or with a dictionary.
type decimalEncoder struct {
	kind  *arrow.Decimal128Type
	width int
	paged
	scratch  []decimal128.Num
	texts    *bytesDictionary // dict
	any      bool
	min, max decimal128.Num
}

func newDecimalEncoder(c Column, t *arrow.Decimal128Type, width int, mem memory.Allocator) *decimalEncoder {
	e := &decimalEncoder{kind: t, width: width, paged: paged{out: outBuffer{mem: mem}}}
	if c.Dictionary {
		e.texts = newBytesDictionary(mem, 0)
		e.dict = e.texts
	}
	return e
}

func (e *decimalEncoder) fit(_ arrow.ArrayData, from, to, limit int) int {
	return fixedFit(from, to, e.size(), limit, e.width)
}

func (e *decimalEncoder) add(s stretch) error {
	var v []decimal128.Num
	v, e.scratch = denseValues(s, e.scratch)
	if len(v) == 0 {
		return nil
	}
	least, greatest := v[0], v[0]
	if e.any {
		least, greatest = e.min, e.max
	}
	for _, x := range v {
		if x.Less(least) {
			least = x
		}
		if greatest.Less(x) {
			greatest = x
		}
	}
	if !least.FitsInPrecision(e.kind.Precision) || !greatest.FitsInPrecision(e.kind.Precision) {
		return fmt.Errorf("a value of %s has more than %d digits", e.kind, e.kind.Precision)
	}
	e.min, e.max, e.any = least, greatest, true
	if e.indexing() {
		var b [16]byte
		for _, x := range v {
			e.texts.add(bigEndianOf(&b, x, e.width))
		}
		return nil
	}
	dst := e.out.grow(len(v) * e.width)
	at := 0
	for _, x := range v {
		var b [16]byte
		at += copy(dst[at:], bigEndianOf(&b, x, e.width))
	}
	e.out.keep(at)
	return nil
}

// bigEndianOf returns the last width bytes of a decimal's 16.
func bigEndianOf(b *[16]byte, x decimal128.Num, width int) []byte {
	binary.BigEndian.PutUint64(b[:], uint64(x.HighBits()))
	binary.BigEndian.PutUint64(b[8:], x.LowBits())
	return b[16-width:]
}

func (e *decimalEncoder) chunk(s *metadata.EncodedStatistics) {
	e.next()
	if e.any {
		var least, greatest [16]byte
		s.SetMin(bigEndianOf(&least, e.min, e.width))
		s.SetMax(bigEndianOf(&greatest, e.max, e.width))
	}
	e.any = false
}
