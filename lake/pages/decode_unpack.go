package pages

import "encoding/binary"

// slack is how many bytes stand behind every page body and every buffer of values, so that values are moved by loads
// and stores as wide as is convenient wherever they end. Their contents do not matter.
const slack = 64

// unpack takes len(dst) values of width bits each, packed from the least significant bit on, beginning at a bit of src. All
// bits lie in src, and slack bytes follow it.
//
// The values are independent of each other, each a load, a shift and a mask: the processor has several under way at once.
func unpack[T uint32 | uint64](dst []T, src []byte, bit int, width uint) {
	src = src[:len(src)+slack]
	mask := uint64(1)<<width - 1
	if width > 57 { // with the bits before it, a value may take nine bytes
		for i := range dst {
			dst[i] = T(unpackWide(src, bit, mask))
			bit += int(width)
		}
		return
	}
	at, shift := bit>>3, bit&7
	if width <= 15 && shift == 0 { // four values a load
		for ; len(dst) >= 8; dst = dst[8:] {
			v := binary.LittleEndian.Uint64(src[at:])
			dst[0], dst[1], dst[2], dst[3] = T(v&mask), T(v>>width&mask), T(v>>(2*width)&mask), T(v>>(3*width)&mask)
			half := 4 * int(width)
			v = binary.LittleEndian.Uint64(src[at+half>>3:]) >> (half & 7)
			dst[4], dst[5], dst[6], dst[7] = T(v&mask), T(v>>width&mask), T(v>>(2*width)&mask), T(v>>(3*width)&mask)
			at += int(width)
		}
		bit = at << 3
	}
	for i := range dst {
		dst[i] = T(binary.LittleEndian.Uint64(src[bit>>3:]) >> (bit & 7) & mask)
		bit += int(width)
	}
}

// unpackWide takes one value of up to 64 bits.
func unpackWide(src []byte, bit int, mask uint64) uint64 {
	low := binary.LittleEndian.Uint64(src[bit>>3:]) >> (bit & 7)
	return (low | uint64(src[bit>>3+8])<<1<<(63-bit&7)) & mask
}

// copyBits copies n bits of src, from one on, to those of dst from at on. Behind the last of both, eight bytes are there; those of dst
// stay as they are.
func copyBits(dst []byte, at int, src []byte, from, n int) {
	src = src[:len(src)+8]
	for n > 0 {
		k := min(n, 56)
		bits, mask := binary.LittleEndian.Uint64(src[from>>3:])>>(from&7), uint64(1)<<k-1
		d := dst[at>>3:]
		old := binary.LittleEndian.Uint64(d)
		binary.LittleEndian.PutUint64(d, old&^(mask<<(at&7))|bits&mask<<(at&7))
		at, from, n = at+k, from+k, n-k
	}
}
