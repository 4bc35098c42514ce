package pages

import "encoding/binary"

// packSlack is how many bytes behind the packed ones packing may write to.
const packSlack = 16

// pack8 packs eight values of width bits each, at most 32, into as many bytes as a value has bits: the least significant bit
// first (Encodings.md, "RLE / Bit-Packing Hybrid"). Values have no higher bits. dst has packSlack more.
func pack8[T uint32 | uint64](dst []byte, v *[8]T, width uint) {
	switch {
	case width <= 8:
		x := uint64(v[0]) | uint64(v[1])<<width | uint64(v[2])<<(2*width) | uint64(v[3])<<(3*width) |
			uint64(v[4])<<(4*width) | uint64(v[5])<<(5*width) | uint64(v[6])<<(6*width) | uint64(v[7])<<(7*width)
		binary.LittleEndian.PutUint64(dst, x)
	case width <= 16:
		low := uint64(v[0]) | uint64(v[1])<<width | uint64(v[2])<<(2*width) | uint64(v[3])<<(3*width)
		high := uint64(v[4]) | uint64(v[5])<<width | uint64(v[6])<<(2*width) | uint64(v[7])<<(3*width)
		binary.LittleEndian.PutUint64(dst, low|high<<(4*width))
		binary.LittleEndian.PutUint64(dst[8:], high>>(64-4*width))
	default:
		packPairs(dst, v[:], width)
	}
}

// pack32 packs 32 values of width bits each, at most 64, into four times as many bytes as a value has bits. dst has packSlack more.
func pack32(dst []byte, v *[32]uint64, width uint) {
	switch {
	case width == 0:
	case width <= 16:
		pack8(dst, (*[8]uint64)(v[0:8]), width)
		pack8(dst[width:], (*[8]uint64)(v[8:16]), width)
		pack8(dst[2*width:], (*[8]uint64)(v[16:24]), width)
		pack8(dst[3*width:], (*[8]uint64)(v[24:32]), width)
	case width <= 32:
		packPairs(dst, v[:], width)
	default:
		acc, fill := uint64(0), uint(0)
		for _, x := range v {
			acc |= x << fill
			if fill += width; fill >= 64 {
				binary.LittleEndian.PutUint64(dst, acc)
				dst = dst[8:]
				fill -= 64
				acc = x >> (width - fill)
			}
		}
		binary.LittleEndian.PutUint64(dst, acc)
	}
}

// packPairs packs an even number of values of 1 to 32 bits each.
func packPairs[T uint32 | uint64](dst []byte, v []T, width uint) {
	acc, fill, pair := uint64(0), uint(0), 2*width
	for ; len(v) >= 2; v = v[2:] {
		x := uint64(v[0]) | uint64(v[1])<<width
		acc |= x << fill
		if fill += pair; fill >= 64 {
			binary.LittleEndian.PutUint64(dst, acc)
			dst = dst[8:]
			fill -= 64
			acc = x >> (pair - fill)
		}
	}
	binary.LittleEndian.PutUint64(dst, acc)
}
