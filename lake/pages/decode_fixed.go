package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// values reads the values of a page, in turn.
type values[T any] interface {
	// next fills dst.
	next(dst []T) error
}

// opener begins to read a page of n values that are not in the chunk's dictionary.
type opener[T any] func(e parquet.Encoding, body []byte, n int) (values[T], error)

func sizeOf[T any](v T) int { return int(unsafe.Sizeof(v)) }

// asValues is the opposite of castBytes. Memory of an allocator is aligned for every type, and none of the types has pointers.
func asValues[T any](b []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/sizeOf(zero))
}

// fixed are the values of a column of a fixed width.
type fixed[T any] struct {
	mem  memory.Allocator
	open opener[T]

	dict    []T
	indexed indexed[T]
	page    values[T]

	out    *memory.Buffer
	filled int
}

func (f *fixed[T]) dictionary(body []byte, n int) error {
	if n > len(body) { // before memory is taken for so many
		return errShort
	}
	page, err := f.open(parquet.Encodings.Plain, body, n)
	if err != nil {
		return err
	}
	f.dict = slices.Grow(f.dict[:0], n)[:n]
	return page.next(f.dict)
}

func (f *fixed[T]) begins(e parquet.Encoding, body []byte, n int) (err error) {
	if isDictionary(e) {
		f.indexed.dict = f.dict
		f.page = &f.indexed
		return f.indexed.start(body)
	}
	f.page, err = f.open(e, body, n)
	return err
}

func (f *fixed[T]) start(rows int) {
	var zero T
	f.out, f.filled = memory.NewResizableBuffer(f.mem), 0
	f.out.Resize(rows * sizeOf(zero))
}

func (f *fixed[T]) read(rows, n int, valid []byte) (int, error) {
	dst := asValues[T](f.out.Bytes())[f.filled:][:rows]
	if n > 0 {
		if err := f.page.next(dst[:n]); err != nil {
			return 0, err
		}
	}
	if n < rows {
		spread(dst, n, valid, f.filled)
	}
	f.filled += rows
	return rows, nil
}

// spread moves the first n values of dst, from the last on, to the places whose bits are set, from bit at on. What is elsewhere
// does not matter.
func spread[T any](dst []T, n int, valid []byte, at int) {
	for i := len(dst); n > 0 && n < i; {
		bits, k := bitsBefore(valid, at, i)
		if bits == ^uint64(0)<<(64-k) {
			copy(dst[i-k:i], dst[n-k:n])
			i, n = i-k, n-k
			continue
		}
		for ; k > 0 && n > 0; k-- {
			i--
			dst[i] = dst[n-1]
			n -= int(bits >> 63)
			bits <<= 1
		}
	}
	if n == 0 {
		var zero T
		for i := 0; i < len(dst) && valid[(at+i)>>3]>>((at+i)&7)&1 == 0; i++ {
			dst[i] = zero // the memory may hold anything
		}
	}
}

// bitsBefore returns the last k bits of the first i, from bit at on, the last of all on top and zeros below the first. Eight bytes
// may be read behind the last.
func bitsBefore(valid []byte, at, i int) (bits uint64, k int) {
	k = min(i, 56)
	first := at + i - k
	return binary.LittleEndian.Uint64(valid[first>>3:]) >> (first & 7) << (64 - k), k
}

func (f *fixed[T]) finish() []*memory.Buffer {
	var zero T
	f.out.ResizeNoShrink(f.filled * sizeOf(zero))
	out := f.out
	f.out = nil
	return []*memory.Buffer{out}
}

func (f *fixed[T]) close() { f.abandon() }

func (f *fixed[T]) abandon() {
	if f.out != nil {
		f.out.Release()
		f.out = nil
	}
}

// plain reads PLAIN.
type plain[T uint32 | uint64] struct{ body []byte }

func (p *plain[T]) next(dst []T) error {
	b := castBytes(dst)
	if len(b) > len(p.body) {
		return errShort
	}
	copy(b, p.body) // little-endian, as all machines that the project runs on
	p.body = p.body[len(b):]
	return nil
}

// streams reads BYTE_STREAM_SPLIT: first the first bytes of all values, then their second bytes, and so on.
type streams[T uint32 | uint64] struct {
	body []byte
	n    int // values of the page
	at   int
}

func (s *streams[T]) next(dst []T) error {
	var zero T
	if s.at+len(dst) > s.n || len(s.body) < s.n*sizeOf(zero) {
		return errShort
	}
	clear(dst)
	for i := range sizeOf(zero) {
		for j, b := range s.body[i*s.n+s.at:][:len(dst)] {
			dst[j] |= T(b) << (8 * i)
		}
	}
	s.at += len(dst)
	return nil
}

// numbers opens pages of whole or floating-point numbers.
func numbers[T uint32 | uint64](whole bool) opener[T] {
	p, d, s := &plain[T]{}, &delta[T]{}, &streams[T]{}
	return func(e parquet.Encoding, body []byte, n int) (values[T], error) {
		switch {
		case e == parquet.Encodings.Plain:
			p.body = body
			return p, nil
		case e == parquet.Encodings.DeltaBinaryPacked && whole:
			return d, d.start(body, n)
		case e == parquet.Encodings.ByteStreamSplit:
			*s = streams[T]{body: body, n: n}
			return s, nil
		}
		return nil, unknownEncoding(e)
	}
}

// isDictionary reports whether values are indices into a dictionary. PLAIN_DICTIONARY is the older name.
func isDictionary(e parquet.Encoding) bool {
	return e == parquet.Encodings.RLEDict || e == parquet.Encodings.PlainDict
}

func unknownEncoding(e parquet.Encoding) error { return fmt.Errorf("values of encoding %s", e) }

// widened are decimals that are stored as whole numbers.
type widened[T uint32 | uint64] struct {
	in      values[T]
	scratch []T
}

func (w *widened[T]) next(dst []decimal128.Num) error {
	var zero T
	up := 64 - 8*sizeOf(zero)
	for len(dst) > 0 {
		in := w.scratch[:min(len(w.scratch), len(dst))]
		if err := w.in.next(in); err != nil {
			return err
		}
		for i, v := range in {
			dst[i] = decimal128.FromI64(int64(uint64(v)<<up) >> up)
		}
		dst = dst[len(in):]
	}
	return nil
}

// decimals opens pages of decimals that are stored as whole numbers.
func decimals[T uint32 | uint64]() opener[decimal128.Num] {
	open, w := numbers[T](true), &widened[T]{scratch: make([]T, 1024)}
	return func(e parquet.Encoding, body []byte, n int) (_ values[decimal128.Num], err error) {
		w.in, err = open(e, body, n)
		return w, err
	}
}

// bigEndian are decimals stored as so many bytes, in two's complement.
type bigEndian struct {
	body  []byte
	width int // at most 16
}

func (b *bigEndian) next(dst []decimal128.Num) error {
	if len(dst)*b.width > len(b.body) {
		return errShort
	}
	for i := range dst {
		v := b.body[i*b.width:][:b.width]
		var wide [16]byte
		if v[0] >= 0x80 {
			for j := range wide {
				wide[j] = 0xff
			}
		}
		copy(wide[16-b.width:], v)
		dst[i] = decimal128.New(int64(binary.BigEndian.Uint64(wide[:8])), binary.BigEndian.Uint64(wide[8:]))
	}
	b.body = b.body[len(dst)*b.width:]
	return nil
}

func bigEndians(width int) opener[decimal128.Num] {
	b := &bigEndian{width: width}
	return func(e parquet.Encoding, body []byte, _ int) (values[decimal128.Num], error) {
		if e != parquet.Encodings.Plain {
			return nil, unknownEncoding(e)
		}
		b.body = body
		return b, nil
	}
}

// indices reads the indices of a page into a dictionary: a byte that says how many bits they have, then runs.
type indices struct {
	runs  hybrid
	block []uint32 // read and not yet taken
	space [1024]uint32
}

var errNoWidth = errors.New("the width of the indices into the dictionary is missing or larger than 32")

func (x *indices) start(body []byte) error {
	x.block = nil
	if len(body) == 0 { // a page without values
		x.runs = hybrid{width: 1}
		return nil
	}
	if body[0] > 32 {
		return errNoWidth
	}
	x.runs = hybrid{body: body[1:], width: uint(body[0])}
	return nil
}

// peek returns at least one and at most n indices, which take then takes.
func (x *indices) peek(n int) ([]uint32, error) {
	if len(x.block) == 0 {
		block := x.space[:min(n, len(x.space))]
		if err := x.runs.next(block); err != nil {
			return nil, err
		}
		x.block = block
	}
	return x.block[:min(n, len(x.block))], nil
}

func (x *indices) take(n int) { x.block = x.block[n:] }

// indexed reads values by their indices into a dictionary.
type indexed[T any] struct {
	indices
	dict []T
}

func (x *indexed[T]) next(dst []T) error {
	dict := x.dict
	for len(dst) > 0 {
		block, err := x.peek(len(dst))
		if err != nil {
			return err
		}
		for i, at := range block {
			if int(at) >= len(dict) {
				return outside(at, len(dict))
			}
			dst[i] = dict[at]
		}
		x.take(len(block))
		dst = dst[len(block):]
	}
	return nil
}

func outside(at uint32, n int) error {
	return fmt.Errorf("value %d of a dictionary of %d", at, n)
}
