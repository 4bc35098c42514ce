package pages

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
)

// literalGroups bounds a bit-packed run, in groups of eight values, so that its header is one byte, as other writers have it.
const literalGroups = 63

// levelBits are the definition levels of a page of a column that can be NULL: a bit a row, set where it has a value.
type levelBits struct {
	bits  []byte
	rows  int
	nulls int
}

// add takes n rows; valid as in stretch.
func (l *levelBits) add(valid []byte, n, nulls int) {
	for len(l.bits)*8 < l.rows+n {
		l.bits = append(l.bits, 0)
	}
	if valid == nil {
		bitutil.SetBitsTo(l.bits, int64(l.rows), int64(n), true)
	} else {
		bitutil.CopyBitmap(valid, 0, n, l.bits, l.rows)
	}
	l.rows += n
	l.nulls += nulls
}

func (l *levelBits) reset() { l.bits, l.rows, l.nulls = l.bits[:0], 0, 0 }

// append adds the levels to dst, as runs of equal ones and bit-packed between them (Encodings.md, "RLE / Bit-Packing Hybrid",
// of width 1), with their length in bytes before (README.md, "Data Pages").
func (l *levelBits) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	switch l.nulls {
	case 0:
		dst = append(binary.AppendUvarint(dst, uint64(l.rows)<<1), 1)
	case l.rows:
		dst = append(binary.AppendUvarint(dst, uint64(l.rows)<<1), 0)
	default:
		dst = l.runs(dst)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// runs appends the levels of a page that has NULLs and values. 64 equal levels make a run.
func (l *levelBits) runs(dst []byte) []byte {
	if used := l.rows & 7; used != 0 { // what is behind the last row is not cleared
		l.bits[len(l.bits)-1] &= 1<<used - 1
	}
	groups, whole := len(l.bits), l.rows/8
	equal := func(g int) bool {
		if g+8 > whole {
			return false
		}
		x := binary.LittleEndian.Uint64(l.bits[g:])
		return x == 0 || x == ^uint64(0)
	}
	for g := 0; g < groups; {
		first := g
		if equal(g) {
			level := l.bits[g]
			for g < whole && l.bits[g] == level {
				g++
			}
			dst = append(binary.AppendUvarint(dst, uint64(g-first)*8<<1), level&1)
			continue
		}
		for g < groups && g-first < literalGroups && !equal(g) {
			g++
		}
		dst = append(append(dst, byte((g-first)<<1|1)), l.bits[first:g]...)
	}
	return dst
}
