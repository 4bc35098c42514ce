package decode

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// A DECIMAL is written in groups of up to nine digits, big-endian in as few bytes as they need, whole part and fraction
// grouped from the point outward. The first bit is inverted, and all bits of a negative number (decimal2bin in
// strings/decimal.cc).

// groupBytes is the bytes of a group, by its digits; groupPower is ten to their number.
var (
	groupBytes = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}
	groupPower = [10]uint64{1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000}
)

func decimalSize(precision, scale int) int {
	whole := precision - scale
	return whole/9*4 + groupBytes[whole%9] + scale/9*4 + groupBytes[scale%9]
}

// digitGroups walks the groups of a DECIMAL.
type digitGroups struct {
	v        []byte
	invert   uint32 // all ones for a negative number
	first    byte   // bit to flip in the next byte
	negative bool
}

func groupsOf(v []byte) digitGroups {
	g := digitGroups{v: v, first: 0x80}
	if v[0]&0x80 == 0 {
		g.invert, g.negative = ^uint32(0), true
	}
	return g
}

// next reads a group of n digits, 1 to 9.
func (g *digitGroups) next(n int) uint64 {
	size := groupBytes[n]
	var u uint32
	switch size {
	case 4:
		u = binary.BigEndian.Uint32(g.v) ^ uint32(g.first)<<24 ^ g.invert
	case 3:
		u = (uint32(g.v[0]^g.first)<<16 | uint32(g.v[1])<<8 | uint32(g.v[2])) ^ g.invert&0xffffff
	case 2:
		u = (uint32(g.v[0]^g.first)<<8 | uint32(g.v[1])) ^ g.invert&0xffff
	case 1:
		u = uint32(g.v[0]^g.first) ^ g.invert&0xff
	}
	g.first = 0
	g.v = g.v[size:]
	return uint64(u)
}

// decimal64 reads a DECIMAL of at most 18 digits, unscaled.
func decimal64(v []byte, precision, scale int) int64 {
	g := groupsOf(v)
	var n uint64
	whole := precision - scale
	if r := whole % 9; r > 0 {
		n = g.next(r)
	}
	for k := whole / 9; k > 0; k-- {
		n = n*1e9 + g.next(9)
	}
	for k := scale / 9; k > 0; k-- {
		n = n*1e9 + g.next(9)
	}
	if r := scale % 9; r > 0 {
		n = n*groupPower[r] + g.next(r)
	}
	if g.negative {
		return -int64(n)
	}
	return int64(n)
}

// decimal128OfGroups reads a DECIMAL of at most 38 digits, unscaled.
func decimal128OfGroups(v []byte, precision, scale int) decimal128.Num {
	g := groupsOf(v)
	var hi, lo uint64
	add := func(digits int) {
		hi, lo = mulAdd(hi, lo, groupPower[digits], g.next(digits))
	}
	whole := precision - scale
	if r := whole % 9; r > 0 {
		add(r)
	}
	for k := whole / 9; k > 0; k-- {
		add(9)
	}
	for k := scale / 9; k > 0; k-- {
		add(9)
	}
	if r := scale % 9; r > 0 {
		add(r)
	}
	n := decimal128.New(int64(hi), lo)
	if g.negative {
		return n.Negate()
	}
	return n
}

// mulAdd returns a number of 128 bits times power, plus u.
func mulAdd(hi, lo, power, u uint64) (uint64, uint64) {
	carry, low := bits.Mul64(lo, power)
	low, c := bits.Add64(low, u, 0)
	return hi*power + carry + c, low
}

// appendDecimal writes a DECIMAL as MySQL prints it, with all digits of its scale.
func appendDecimal(dst, v []byte, precision, scale int) []byte {
	g := groupsOf(v)
	if g.negative {
		dst = append(dst, '-')
	}
	start := len(dst)
	group := func(n int) {
		u := int64(g.next(n))
		if len(dst) > start {
			dst = appendPadded(dst, u, n)
		} else if u != 0 {
			dst = appendPadded(dst, u, 1)
		}
	}
	whole := precision - scale
	if r := whole % 9; r > 0 {
		group(r)
	}
	for k := whole / 9; k > 0; k-- {
		group(9)
	}
	if len(dst) == start {
		dst = append(dst, '0')
	}
	if scale == 0 {
		return dst
	}
	dst = append(dst, '.')
	for k := scale / 9; k > 0; k-- {
		group(9)
	}
	if r := scale % 9; r > 0 {
		group(r)
	}
	return dst
}
