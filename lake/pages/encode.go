package pages

import (
	"fmt"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// encoder makes the bytes of pages of one column's values, and knows the bounds of the values of a column chunk. Pages
// have no NULLs in them.
type encoder interface {
	// fit returns the end of the rows from from on, at most to, that fill the page up to about limit bytes. It is at least from+1.
	fit(a arrow.ArrayData, from, to, limit int) int
	// add encodes rows.
	add(s stretch) error
	// size is how many bytes the page has.
	size() int
	// finish returns the page with room bytes before it, and begins another. The bytes are valid until the next add.
	finish(room int) ([]byte, parquet.Encoding)
	// indexing reports whether values go to the dictionary.
	indexing() bool
	// dictionary returns the dictionary's bytes and how many values it has: none if the chunk has no dictionary.
	dictionary() ([]byte, int)
	// giveUp makes the next page the first of the chunk without dictionary. Later chunks do without, too.
	giveUp()
	// chunk ends the column chunk: it sets the bounds, if there are any, and begins another.
	chunk(*metadata.EncodedStatistics)
	// release gives memory back.
	release()
}

// stretch is consecutive rows of an Arrow array.
type stretch struct {
	data  arrow.ArrayData
	from  int    // first row, of data
	rows  int    //
	valid []byte // a bit a row, the first of them the least: set where the row has a value; nil: everywhere
	live  int    // rows that have a value
}

// pageHead is how many bytes an outBuffer has before its data: for the definition levels of pageRows rows, and a header.
const pageHead = 4 + pageRows/8 + pageRows/8/literalGroups + 64

// outBuffer is memory of an allocator that a page's values grow in, with pageHead bytes before them.
type outBuffer struct {
	mem  memory.Allocator
	all  []byte
	data []byte // in all
}

// grow makes place for n more bytes, and returns them. What is written to their beginning is added by keep.
func (b *outBuffer) grow(n int) []byte {
	have := len(b.data)
	if end := pageHead + have + n; end > len(b.all) {
		size := max(end, pageHead+2*have, pageHead+1<<10)
		if b.all == nil {
			b.all = b.mem.Allocate(size)
		} else {
			b.all = b.mem.Reallocate(size, b.all)
		}
		b.data = b.all[pageHead : pageHead+have]
	}
	return b.data[have : have+n]
}

// keep adds the first n bytes of what grow returned.
func (b *outBuffer) keep(n int) { b.data = b.data[:len(b.data)+n] }

// finish returns the data with room bytes before it, which the next grow overwrites, and empties the buffer.
func (b *outBuffer) finish(room int) []byte {
	b.grow(0)
	page := b.all[pageHead-room : pageHead+len(b.data)]
	b.data = b.data[:0]
	return page
}

func (b *outBuffer) release() {
	if b.all != nil {
		b.mem.Free(b.all)
		b.all, b.data = nil, nil
	}
}

// paged is what all encoders have in common: a page that grows as PLAIN or differences in out, or as indices in dict.
type paged struct {
	out  outBuffer
	dict dictionary // nil: none
	full bool       // dict is given up: the chunk's pages since are without
}

// dictionary is that of a column chunk.
type dictionary interface {
	size() int               // bytes of the page of indices
	finish(room int) []byte  // ends the page
	contents() ([]byte, int) // as a page, and how many values it has
	reset()                  // begins another chunk
	release()
}

// indexing reports whether the page's values go to the dictionary.
func (p *paged) indexing() bool { return p.dict != nil && !p.full }

func (p *paged) size() int {
	if p.indexing() {
		return p.dict.size()
	}
	return len(p.out.data)
}

func (p *paged) finish(room int) ([]byte, parquet.Encoding) {
	if p.indexing() {
		return p.dict.finish(room), parquet.Encodings.RLEDict
	}
	return p.out.finish(room), parquet.Encodings.Plain
}

func (p *paged) dictionary() ([]byte, int) {
	if p.dict == nil {
		return nil, 0
	}
	return p.dict.contents()
}

func (p *paged) giveUp() { p.full = p.dict != nil }

// next begins another chunk.
func (p *paged) next() {
	if p.dict == nil {
		return
	}
	if p.dict.reset(); p.full {
		p.dict.release()
		p.dict, p.full = nil, false
	}
}

func (p *paged) release() {
	p.out.release()
	if p.dict != nil {
		p.dict.release()
	}
}

// newEncoder returns the encoder of a column. It fails for a type that our tables do not have.
func newEncoder(f arrow.Field, c Column, descr *schema.Column, mem memory.Allocator) (encoder, error) {
	delta := c.Encoding == parquet.Encodings.DeltaBinaryPacked
	if c.Encoding != parquet.Encodings.Plain && !delta {
		return nil, fmt.Errorf("cannot write the encoding %s", c.Encoding)
	}
	whole := true
	var e encoder
	switch t := f.Type.(type) {
	case *arrow.Int32Type, *arrow.Date32Type:
		e = newIntEncoder[int32, uint32](c, mem, nil)
	case *arrow.Int64Type, *arrow.TimestampType:
		e = newIntEncoder[int64, uint64](c, mem, nil)
	case *arrow.Decimal128Type:
		switch descr.PhysicalType() {
		case parquet.Types.Int32:
			e = newIntEncoder[int32, uint32](c, mem, decimalReader(t))
		case parquet.Types.Int64:
			e = newIntEncoder[int64, uint64](c, mem, decimalReader(t))
		default:
			e, whole = newDecimalEncoder(c, t, descr.TypeLength(), mem), false
		}
	case *arrow.Float32Type:
		e, whole = newFloatEncoder[float32, uint32](c, mem), false
	case *arrow.Float64Type:
		e, whole = newFloatEncoder[float64, uint64](c, mem), false
	case *arrow.BooleanType:
		e, whole = &boolEncoder{paged: paged{out: outBuffer{mem: mem}}}, false
		if c.Dictionary {
			return nil, fmt.Errorf("a dictionary of booleans")
		}
	case *arrow.StringType, *arrow.BinaryType:
		e, whole = newBytesEncoder(c, mem), false
	default:
		return nil, fmt.Errorf("the type %s has no place in our tables", t)
	}
	if delta && !whole {
		return nil, fmt.Errorf("%s is for whole numbers, not for %s", c.Encoding, f.Type)
	}
	return e, nil
}

// compactValid writes the values of src that are valid to dst, and returns how many they are. dst is as long as src.
func compactValid[T any](dst, src []T, valid []byte) int {
	n := 0
	for ; len(src) >= 8; src, valid = src[8:], valid[1:] {
		switch m := valid[0]; m {
		case 0:
		case 0xff:
			copy(dst[n:n+8], src[:8])
			n += 8
		default:
			for ; m != 0; m &= m - 1 {
				dst[n] = src[bits.TrailingZeros8(m)&7]
				n++
			}
		}
	}
	for i, v := range src {
		if valid[0]>>i&1 != 0 {
			dst[n] = v
			n++
		}
	}
	return n
}
