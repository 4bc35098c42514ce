package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// delta reads DELTA_BINARY_PACKED (Parquet, "Delta Encoding"): the first value, then blocks of differences, each with
// its least difference and several miniblocks, whose differences beyond it are packed with as many bits as the largest needs.
// Numbers wrap around, in 32 or 64 bits.
type delta[T uint32 | uint64] struct {
	body   []byte // what follows the block or miniblock being read
	block  int    // values of a block
	minis  int    // miniblocks of a block
	left   int    // values to come, the first included
	first  bool   // the first value is still to come: it is last
	last   T
	least  T
	widths []byte // of the block's miniblocks to come

	mini   []byte // being read
	bit    int
	width  uint
	inMini int // values left of it
}

var errDelta = errors.New("DELTA_BINARY_PACKED: the header is cut off")

// start reads the header of n values.
func (d *delta[T]) start(body []byte, n int) error {
	var head [3]uint64
	for i := range head {
		v, size := binary.Uvarint(body)
		if size <= 0 || v > 1<<31-1 {
			return errDelta
		}
		head[i], body = v, body[size:]
	}
	first, size := binary.Varint(body)
	if size <= 0 {
		return errDelta
	}
	block, minis, total := int(head[0]), int(head[1]), int(head[2])
	if block == 0 || block%128 != 0 || minis == 0 || block%minis != 0 || block/minis%32 != 0 {
		return fmt.Errorf("DELTA_BINARY_PACKED: blocks of %d values in %d parts", block, minis)
	}
	if total < n {
		return fmt.Errorf("DELTA_BINARY_PACKED: %d values, the page has %d", total, n)
	}
	*d = delta[T]{body: body[size:], block: block, minis: minis, left: total, first: total > 0, last: T(first)}
	return nil
}

// nextMini moves to the next miniblock, and block where there is none left in this one.
func (d *delta[T]) nextMini() error {
	if len(d.widths) == 0 {
		least, size := binary.Varint(d.body)
		if size <= 0 || len(d.body)-size < d.minis {
			return errShort
		}
		d.least = T(least)
		d.widths, d.body = d.body[size:size+d.minis], d.body[size+d.minis:]
	}
	d.width, d.widths = uint(d.widths[0]), d.widths[1:]
	if d.width > 64 { // more than 32 in a column of 32 bits is what DuckDB writes: what is beyond them wraps away
		return fmt.Errorf("DELTA_BINARY_PACKED: differences of %d bits", d.width)
	}
	d.inMini = d.block / d.minis
	size := min(d.inMini/8*int(d.width), len(d.body)) // a writer may leave out what the last miniblock has too many
	d.mini, d.bit = d.body[:size:cap(d.body)], 0
	d.body = d.body[size:]
	return nil
}

// next fills dst.
func (d *delta[T]) next(dst []T) error {
	if len(dst) > d.left {
		return errShort
	}
	d.left -= len(dst)
	if d.first && len(dst) > 0 {
		dst[0], d.first = d.last, false
		dst = dst[1:]
	}
	for len(dst) > 0 {
		if d.inMini == 0 {
			if err := d.nextMini(); err != nil {
				return err
			}
		}
		n := min(len(dst), d.inMini)
		if d.bit+n*int(d.width) > 8*len(d.mini) {
			return errShort
		}
		d.last = d.sum(dst[:n])
		d.bit += n * int(d.width)
		d.inMini -= n
		dst = dst[n:]
	}
	return nil
}

// sum fills dst with the next values of a miniblock, and returns the last.
func (d *delta[T]) sum(dst []T) T {
	v, least := d.last, d.least
	if d.width == 0 {
		for i := range dst {
			v += least
			dst[i] = v
		}
		return v
	}
	unpack(dst, d.mini, d.bit, d.width)
	for i, x := range dst {
		v += x + least
		dst[i] = v
	}
	return v
}

// rest returns what follows the values, all of which were read: the encodings of byte arrays go on there.
func (d *delta[T]) rest() []byte { return d.body }
