package pages

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// byteArrays are the values of a column of strings or bytes.
type byteArrays struct {
	mem   memory.Allocator
	limit int // bytes of values in a batch, unless a single one has more

	dict    joined
	page    byteValues
	plain   plainBytes
	indexed indexedBytes
	lengths lengthBytes
	deltas  deltaBytes

	out    joined // of the batch
	filled int    // rows
	most   int    // bytes of the largest batch so far
}

// byteValues reads the byte arrays of a page, in turn.
type byteValues interface {
	// next appends len(ends)-1 values to out, and notes the ends of them in ends from index 1 on; ends[0] is the end of what out
	// holds. It stops earlier where out would come to hold more than limit bytes, unless it held none, and returns how
	// many values it took.
	next(ends []int32, out *memory.Buffer, limit int) (int, error)
}

// joined are byte arrays as Arrow has them. Slack follows the last.
type joined struct {
	ends   *memory.Buffer // int32, from index 1 on
	values *memory.Buffer
}

func (j *joined) release() {
	for _, b := range []*memory.Buffer{j.ends, j.values} {
		if b != nil {
			b.Release()
		}
	}
	*j = joined{}
}

// begin begins n byte arrays with room for so many bytes.
func (j *joined) begin(mem memory.Allocator, n, bytes int) {
	j.ends, j.values = memory.NewResizableBuffer(mem), memory.NewResizableBuffer(mem)
	j.ends.Resize((n + 1) * 4)
	asValues[int32](j.ends.Bytes())[0] = 0
	j.values.Reserve(bytes + slack)
}

func (s *byteArrays) dictionary(body []byte, n int) error {
	if n > len(body)/4 { // each has a length before it
		return errShort
	}
	s.dict.release()
	s.dict.begin(s.mem, n, len(body)-4*n)
	p := plainBytes{body, n}
	_, err := p.next(asValues[int32](s.dict.ends.Bytes()), s.dict.values, math.MaxInt32)
	return err
}

func (s *byteArrays) begins(e parquet.Encoding, body []byte, n int) error {
	switch {
	case isDictionary(e):
		if s.indexed.ends, s.indexed.data = nil, nil; s.dict.ends != nil {
			s.indexed.ends, s.indexed.data = asValues[int32](s.dict.ends.Bytes()), s.dict.values.Buf()
		}
		s.page = &s.indexed
		return s.indexed.start(body)
	case e == parquet.Encodings.Plain:
		s.plain = plainBytes{body, n}
		s.page = &s.plain
		return nil
	case e == parquet.Encodings.DeltaLengthByteArray:
		s.page = &s.lengths
		return s.lengths.start(body, n)
	case e == parquet.Encodings.DeltaByteArray:
		s.page = &s.deltas
		return s.deltas.start(body, n)
	}
	return unknownEncoding(e)
}

func (s *byteArrays) start(rows int) {
	s.out.begin(s.mem, rows, s.most+s.most/16)
	s.filled = 0
}

func (s *byteArrays) read(rows, n int, valid []byte) (int, error) {
	ends := asValues[int32](s.out.ends.Bytes())[s.filled:][:rows+1]
	taken := 0
	if n > 0 {
		var err error
		if taken, err = s.page.next(ends[:n+1], s.out.values, s.limit); err != nil {
			return 0, err
		}
	}
	if taken < n { // the batch ends before the row whose value was too much
		if n < rows {
			rows = before(valid, s.filled, taken)
		} else {
			rows = taken
		}
	}
	if taken < rows {
		spreadEnds(ends[:rows+1], taken, valid, s.filled)
	}
	s.filled += rows
	return rows, nil
}

// before counts the bits from at on that come before the (n+1)th that is set.
func before(valid []byte, at, n int) int {
	rows := 0
	for ; n > 0 || !bitutil.BitIsSet(valid, at+rows); rows++ {
		if bitutil.BitIsSet(valid, at+rows) {
			n--
		}
	}
	return rows
}

// spreadEnds moves the ends of n values, at indices 1 to n, to the rows whose bits are set; a row without a value ends where the
// one before it does.
func spreadEnds(ends []int32, n int, valid []byte, at int) {
	for i := len(ends) - 1; n < i; {
		bits, k := bitsBefore(valid, at, i)
		for ; k > 0; k-- {
			ends[i] = ends[n]
			i--
			n -= int(bits >> 63)
			bits <<= 1
		}
	}
}

func (s *byteArrays) finish() []*memory.Buffer {
	s.most = max(s.most, s.out.values.Len())
	s.out.ends.ResizeNoShrink((s.filled + 1) * 4)
	out := []*memory.Buffer{s.out.ends, s.out.values}
	s.out = joined{}
	return out
}

func (s *byteArrays) abandon() { s.out.release() }

func (s *byteArrays) close() {
	s.out.release()
	s.dict.release()
}

// extend makes out n bytes longer, and returns all of it, with slack behind its end.
func extend(out *memory.Buffer, n int) []byte {
	size := out.Len() + n
	if size+slack > out.Cap() {
		out.Reserve(max(size+slack, 2*out.Cap()))
	}
	out.ResizeNoShrink(size)
	return out.Buf()[:size+slack]
}

// put copies the n bytes at from to out at to. Slack follows the end of both: what stands behind the n bytes in out is
// overwritten, so values are put in their order.
func put(out []byte, to int, in []byte, from, n int) {
	switch {
	case n <= slack/2:
		*(*[slack / 2]byte)(out[to:]) = *(*[slack / 2]byte)(in[from:])
	case n <= slack:
		*(*[slack]byte)(out[to:]) = *(*[slack]byte)(in[from:])
	default:
		copy(out[to:to+n], in[from:])
	}
}

// plainBytes reads PLAIN: before each value its length in four bytes.
type plainBytes struct {
	body []byte
	left int // values
}

func (p *plainBytes) next(ends []int32, out *memory.Buffer, limit int) (int, error) {
	taken, total := 0, int(ends[0])
	for taken < len(ends)-1 {
		if len(p.body) < 4 || p.left == 0 {
			return 0, errShort
		}
		first := int(binary.LittleEndian.Uint32(p.body))
		if first > len(p.body)-4 {
			return 0, errShort
		}
		if total > 0 && total+first > limit {
			break
		}
		// Room for as much as the values have if the page's others are of their like. What it is too small for comes in the next round.
		room := max(first, min(len(p.body), len(p.body)/p.left*(len(ends)-1-taken)))
		if total+room > limit {
			room = max(first, limit-total)
		}
		n, size := p.move(ends[taken+1:], extend(out, room), total, total+room)
		if n == 0 {
			return 0, errShort
		}
		taken, total = taken+n, size
		p.left -= n
		out.ResizeNoShrink(total)
	}
	return taken, nil
}

// move copies values to out at to and on, as long as they end at most at end, and returns how many, and where the last ends.
func (p *plainBytes) move(ends []int32, out []byte, to, end int) (int, int) {
	body, at := p.body, 0
	in := body[:len(body)+slack]
	n := 0
	for ; n < len(ends); n++ {
		size := int(binary.LittleEndian.Uint32(in[at:]))
		if size > end-to || size > len(body)-4-at {
			break
		}
		put(out, to, in, at+4, size)
		to, at = to+size, at+4+size
		ends[n] = int32(to)
	}
	p.body = body[at:]
	return n, to
}

// indexedBytes reads values by their indices into a dictionary.
type indexedBytes struct {
	indices
	ends []int32 // of the dictionary's values, as joined has them
	data []byte
}

func (x *indexedBytes) next(ends []int32, out *memory.Buffer, limit int) (int, error) {
	from, total, taken := x.ends, int(ends[0]), 0
	for taken < len(ends)-1 {
		block, err := x.peek(len(ends) - 1 - taken)
		if err != nil {
			return 0, err
		}
		n, first := 0, total
		for _, at := range block {
			if int(at) >= len(from)-1 {
				return 0, outside(at, max(0, len(from)-1))
			}
			size := int(from[at+1] - from[at])
			if total > 0 && total+size > limit {
				break
			}
			total += size
			n++
			ends[taken+n] = int32(total)
		}
		data, to := extend(out, total-first), first
		for i, end := range ends[taken+1:][:n] {
			at := from[block[i]]
			put(data, to, x.data, int(at), int(end)-to)
			to = int(end)
		}
		x.take(n)
		taken += n
		if n < len(block) {
			break
		}
	}
	return taken, nil
}

// lengthBytes reads DELTA_LENGTH_BYTE_ARRAY: the lengths of all values, then the values.
type lengthBytes struct {
	packed delta[uint32]
	sizes  []uint32 // of the values to come
	space  []uint32
	body   []byte
}

var errLength = errors.New("the length of a value is negative, or goes beyond the page")

func (l *lengthBytes) start(body []byte, n int) error {
	if err := l.packed.start(body, n); err != nil {
		return err
	}
	if l.packed.left != n {
		return errShort
	}
	l.space = slices.Grow(l.space[:0], n)[:n]
	l.sizes = l.space
	if err := l.packed.next(l.sizes); err != nil {
		return err
	}
	l.body = l.packed.rest()
	total := 0
	for _, size := range l.sizes {
		if total += int(size); total > len(l.body) {
			return errLength
		}
	}
	return nil
}

func (l *lengthBytes) next(ends []int32, out *memory.Buffer, limit int) (int, error) {
	if len(ends)-1 > len(l.sizes) {
		return 0, errShort
	}
	first := int(ends[0])
	total, taken := first, 0
	for ; taken < len(ends)-1; taken++ {
		size := int(l.sizes[taken])
		if total > 0 && total+size > limit {
			break
		}
		total += size
		ends[taken+1] = int32(total)
	}
	copy(extend(out, total-first)[first:total], l.body)
	l.sizes, l.body = l.sizes[taken:], l.body[total-first:]
	return taken, nil
}

// deltaBytes reads DELTA_BYTE_ARRAY: for all values how many bytes of the value before they begin with, then the rest
// of them as DELTA_LENGTH_BYTE_ARRAY.
type deltaBytes struct {
	packed   delta[uint32]
	prefixes []uint32 // of the values to come
	space    []uint32
	suffixes lengthBytes
	last     []byte
}

func (d *deltaBytes) start(body []byte, n int) error {
	d.last = d.last[:0]
	if err := d.packed.start(body, n); err != nil {
		return err
	}
	if d.packed.left != n {
		return errShort
	}
	d.space = slices.Grow(d.space[:0], n)[:n]
	d.prefixes = d.space
	if err := d.packed.next(d.prefixes); err != nil {
		return err
	}
	return d.suffixes.start(d.packed.rest(), n)
}

func (d *deltaBytes) next(ends []int32, out *memory.Buffer, limit int) (int, error) {
	if len(ends)-1 > len(d.prefixes) {
		return 0, errShort
	}
	total := int(ends[0])
	for i := range len(ends) - 1 {
		prefix, rest := int(d.prefixes[0]), int(d.suffixes.sizes[0])
		if prefix > len(d.last) {
			return 0, errLength
		}
		if total > 0 && total+prefix+rest > limit {
			return i, nil
		}
		d.last = append(d.last[:prefix], d.suffixes.body[:rest]...)
		d.prefixes, d.suffixes.sizes, d.suffixes.body = d.prefixes[1:], d.suffixes.sizes[1:], d.suffixes.body[rest:]
		copy(extend(out, len(d.last))[total:], d.last)
		total += len(d.last)
		ends[i+1] = int32(total)
	}
	return len(ends) - 1, nil
}
