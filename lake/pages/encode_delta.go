package pages

import (
	"encoding/binary"
	"math/bits"
)

// A block of DELTA_BINARY_PACKED has 128 differences in four miniblocks, as most writers have it.
const (
	deltaBlock = 128
	deltaMinis = 4
	deltaMini  = deltaBlock / deltaMinis

	// deltaBlockBytes is what a block takes at most.
	deltaBlockBytes = binary.MaxVarintLen64 + deltaMinis + deltaBlock*8
)

// deltaEncoder writes whole numbers as DELTA_BINARY_PACKED (Encodings.md, "Delta Encoding"): the differences between
// neighbours, less the least of their block, in as many bits as the largest of 32 takes. Differences wrap around in T, as
// the sums of readers do.
type deltaEncoder[T int32 | int64] struct {
	first, last T
	values      int // of the page
	waiting     [deltaBlock]T
	n           int // differences in waiting
	rest        [deltaBlock]uint64
}

// add takes values of the page.
func (d *deltaEncoder[T]) add(out *outBuffer, v []T) {
	if len(v) == 0 {
		return
	}
	if d.values == 0 {
		d.first, d.last = v[0], v[0]
		v, d.values = v[1:], 1
	}
	d.values += len(v)
	dst := out.grow((len(v)/deltaBlock+1)*deltaBlockBytes + packSlack)
	at, last := 0, d.last
	for len(v) > 0 {
		n := min(deltaBlock-d.n, len(v))
		w := d.waiting[d.n : d.n+n]
		for i, x := range v[:n] {
			w[i] = x - last
			last = x
		}
		v = v[n:]
		if d.n += n; d.n == deltaBlock {
			at += d.block(dst[at:])
		}
	}
	d.last = last
	out.keep(at)
}

// block writes the waiting differences to dst, and returns how many bytes they took.
func (d *deltaEncoder[T]) block(dst []byte) int {
	waiting := d.waiting[:d.n]
	least := leastOf(waiting)
	clear(d.rest[d.n:])
	if _, narrow := any(least).(int32); narrow {
		for i, x := range waiting {
			d.rest[i] = uint64(uint32(x - least))
		}
	} else {
		for i, x := range waiting {
			d.rest[i] = uint64(x - least)
		}
	}
	at := binary.PutVarint(dst, int64(least))
	widths := dst[at : at+deltaMinis]
	at += deltaMinis
	for i := range widths {
		mini := (*[deltaMini]uint64)(d.rest[i*deltaMini:])
		all := uint64(0)
		for j := 0; j < deltaMini; j += 4 {
			all |= mini[j] | mini[j+1] | mini[j+2] | mini[j+3]
		}
		width := bits.Len64(all)
		widths[i] = byte(width)
		if i*deltaMini >= d.n {
			continue // a miniblock without differences has no bytes
		}
		pack32(dst[at:], mini, uint(width))
		at += width * deltaMini / 8
	}
	d.n = 0
	return at
}

// finish returns the page with room bytes before it, and begins another.
func (d *deltaEncoder[T]) finish(out *outBuffer, room int) []byte {
	if d.n > 0 {
		out.keep(d.block(out.grow(deltaBlockBytes + packSlack)))
	}
	var header [4 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(header[:], deltaBlock)
	n += binary.PutUvarint(header[n:], deltaMinis)
	n += binary.PutUvarint(header[n:], uint64(d.values))
	n += binary.PutVarint(header[n:], int64(d.first))
	d.values, d.first, d.last = 0, 0, 0
	page := out.finish(room + n)
	copy(page[room:], header[:n])
	return page
}
