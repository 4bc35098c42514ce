package pages

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// errShort says that a page holds fewer values than its header says.
var errShort = errors.New("the values end before the page does")

// hybrid reads the runs of the encoding RLE (Parquet, "Run Length Encoding / Bit-Packing Hybrid"): values of up to 32 bits, either
// one that repeats or groups of eight that are packed.
type hybrid struct {
	body  []byte // what follows the runs read so far
	width uint

	left   int    // values left of the run
	packed []byte // of the run; nil where a value repeats
	bit    int    // in packed
	value  uint32
}

// run moves to the next run, of at least one value.
func (h *hybrid) run() error {
	for h.left == 0 {
		header, n := binary.Uvarint(h.body)
		if n <= 0 || header > 1<<32-1 {
			return errShort
		}
		h.body = h.body[n:]
		if header&1 == 1 {
			groups := int(header >> 1)
			size := groups * int(h.width)
			if size > len(h.body) { // a writer may leave out what the last group has too many
				size = len(h.body)
			}
			h.packed, h.bit, h.left = h.body[:size:cap(h.body)], 0, groups*8
			h.body = h.body[size:]
			continue
		}
		h.left, h.packed, h.value = int(header>>1), nil, 0
		size := int(h.width+7) / 8
		if size > len(h.body) {
			return errShort
		}
		for i := range size {
			h.value |= uint32(h.body[i]) << (8 * i)
		}
		h.body = h.body[size:]
	}
	return nil
}

// next fills dst.
func (h *hybrid) next(dst []uint32) error {
	if h.width == 0 {
		clear(dst)
		return nil
	}
	for len(dst) > 0 {
		if err := h.run(); err != nil {
			return err
		}
		n := min(len(dst), h.left)
		if h.packed == nil {
			for i := range dst[:n] {
				dst[i] = h.value
			}
		} else {
			if h.bit+n*int(h.width) > 8*len(h.packed) {
				return errShort
			}
			unpack(dst[:n], h.packed, h.bit, h.width)
			h.bit += n * int(h.width)
		}
		h.left -= n
		dst = dst[n:]
	}
	return nil
}

// bits sets the bits [at, at+n) of a bitmap, behind which there are eight bytes, to the next n values, which are of one bit.
func (h *hybrid) bits(dst []byte, at, n int) error {
	for n > 0 {
		if err := h.run(); err != nil {
			return err
		}
		k := min(n, h.left)
		switch {
		case h.packed != nil:
			if h.bit+k > 8*len(h.packed) {
				return errShort
			}
			copyBits(dst, at, h.packed, h.bit, k)
			h.bit += k
		case h.value > 1:
			return fmt.Errorf("%d where a value has one bit", h.value)
		default:
			bitutil.SetBitsTo(dst, int64(at), int64(k), h.value == 1)
		}
		h.left -= k
		at, n = at+k, n-k
	}
	return nil
}
