package pages

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/zeebo/xxh3"
)

// indexList are the values of a page as indices into the chunk's dictionary.
type indexList struct {
	out  outBuffer
	list []uint32
}

func (x *indexList) size() int { return 4 * len(x.list) }

// finish returns the page of indices into a dictionary of so many values, with room bytes before it, and begins another: a
// byte that tells how many bits an index has, then runs of equal indices, and bit-packed ones between them (Encodings.md,
// "Dictionary Encoding").
func (x *indexList) finish(values, room int) []byte {
	width := uint(0)
	if values > 0 {
		width = uint(max(1, bits.Len(uint(values-1))))
	}
	most := 1 + len(x.list)*4 + len(x.list)/8 + 2*binary.MaxVarintLen32 + 32 + packSlack
	x.out.keep(len(appendIndices(append(x.out.grow(most)[:0], byte(width)), x.list, width)))
	x.list = x.list[:0]
	return x.out.finish(room)
}

// runLength is from how many equal indices on a run is made of them.
const runLength = 16

// appendIndices adds v to dst, which has room enough, packSlack included.
func appendIndices(dst []byte, v []uint32, width uint) []byte {
	for len(v) > 0 {
		if n := equalOnes(v); n >= runLength {
			dst = binary.AppendUvarint(dst, uint64(n)<<1)
			for i := uint(0); i < width; i += 8 {
				dst = append(dst, byte(v[0]>>i))
			}
			v = v[n:]
			continue
		}
		header := len(dst)
		dst = append(dst, 0)
		groups := 0
		for len(v) > 0 && groups < literalGroups && (groups == 0 || equalOnes(v) < runLength) {
			end := len(dst)
			packed := dst[end : end+int(width)+packSlack]
			if len(v) >= 8 {
				pack8(packed, (*[8]uint32)(v), width)
				v = v[8:]
			} else {
				var last [8]uint32 // padded with zeros
				copy(last[:], v)
				pack8(packed, &last, width)
				v = nil
			}
			dst = dst[:end+int(width)]
			groups++
		}
		dst[header] = byte(groups<<1 | 1)
	}
	return dst
}

// equalOnes returns how many values at the beginning are equal, or less if they are fewer than runLength.
func equalOnes(v []uint32) int {
	if len(v) < runLength || v[0] != v[1] || v[0] != v[runLength-1] {
		return 1
	}
	n := 2
	for n < len(v) && v[n] == v[0] {
		n++
	}
	return n
}

// slots are a hash table of indices. A slot has the upper half of a hash, and the index plus one; 0 is a free slot.
type slots struct {
	table []uint64
	used  int
}

// reset empties the table.
func (s *slots) reset() {
	clear(s.table)
	s.used = 0
}

// crowded reports whether the table has to be made larger before one more index.
func (s *slots) crowded() bool { return s.used*2 >= len(s.table) }

// enlarge doubles the table. hash returns the hash of an index.
func (s *slots) enlarge(hash func(index uint32) uint64) {
	old := s.table
	s.table = make([]uint64, max(1<<10, 2*len(old)))
	mask := uint64(len(s.table) - 1)
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		at := hash(uint32(slot)-1) & mask
		for s.table[at] != 0 {
			at = (at + 1) & mask
		}
		s.table[at] = slot
	}
}

// numberDictionary is the dictionary of a column chunk of numbers, by their bits.
type numberDictionary[U uint32 | uint64] struct {
	indexList
	slots
	values []U
}

func newNumberDictionary[U uint32 | uint64](mem memory.Allocator) *numberDictionary[U] {
	return &numberDictionary[U]{indexList: indexList{out: outBuffer{mem: mem}}}
}

func hashNumber[U uint32 | uint64](v U) uint64 {
	h := (uint64(v) ^ 0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return h ^ h>>32
}

func (d *numberDictionary[U]) add(v []U) {
	for _, x := range v {
		if d.crowded() {
			d.enlarge(func(i uint32) uint64 { return hashNumber(d.values[i]) })
		}
		mask := uint64(len(d.table) - 1)
		at := hashNumber(x) & mask
		for d.table[at] != 0 && d.values[uint32(d.table[at])-1] != x {
			at = (at + 1) & mask
		}
		if d.table[at] == 0 {
			d.values = append(d.values, x)
			d.table[at] = uint64(len(d.values))
			d.used++
		}
		d.list = append(d.list, uint32(d.table[at])-1)
	}
}

func (d *numberDictionary[U]) finish(room int) []byte { return d.indexList.finish(len(d.values), room) }

func (d *numberDictionary[U]) contents() ([]byte, int) { return castBytes(d.values), len(d.values) }

// reset begins another chunk.
func (d *numberDictionary[U]) reset() {
	d.slots.reset()
	d.values = d.values[:0]
}

func (d *numberDictionary[U]) release() { d.out.release() }

// bytesDictionary is the dictionary of a column chunk of strings of bytes.
type bytesDictionary struct {
	indexList
	slots
	prefix int    // bytes of a length before each value: 4, or 0 where all are as long
	page   []byte // the values as PLAIN
	ends   []int  // in page, of each value
}

func newBytesDictionary(mem memory.Allocator, prefix int) *bytesDictionary {
	return &bytesDictionary{indexList: indexList{out: outBuffer{mem: mem}}, prefix: prefix}
}

// value returns the value of an index.
func (d *bytesDictionary) value(i uint32) []byte {
	start := d.prefix
	if i > 0 {
		start += d.ends[i-1]
	}
	return d.page[start:d.ends[i]]
}

func (d *bytesDictionary) add(v []byte) { d.list = append(d.list, d.index(v)) }

// index returns the index of a value, which it adds if it is new.
func (d *bytesDictionary) index(v []byte) uint32 {
	if d.crowded() {
		d.enlarge(func(i uint32) uint64 { return xxh3.Hash(d.value(i)) })
	}
	hash := xxh3.Hash(v)
	mask := uint64(len(d.table) - 1)
	at := hash & mask
	for slot := d.table[at]; slot != 0; slot = d.table[at] {
		if slot>>32 == hash>>32 && bytes.Equal(d.value(uint32(slot)-1), v) {
			return uint32(slot) - 1
		}
		at = (at + 1) & mask
	}
	if d.prefix > 0 {
		d.page = binary.LittleEndian.AppendUint32(d.page, uint32(len(v)))
	}
	d.page = append(d.page, v...)
	d.ends = append(d.ends, len(d.page))
	d.table[at] = hash>>32<<32 | uint64(len(d.ends))
	d.used++
	return uint32(len(d.ends)) - 1
}

func (d *bytesDictionary) finish(room int) []byte { return d.indexList.finish(len(d.ends), room) }

func (d *bytesDictionary) contents() ([]byte, int) { return d.page, len(d.ends) }

// reset begins another chunk.
func (d *bytesDictionary) reset() {
	d.slots.reset()
	d.page, d.ends = d.page[:0], d.ends[:0]
}

func (d *bytesDictionary) release() { d.out.release() }
