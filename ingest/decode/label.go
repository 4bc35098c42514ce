package decode

import "slices"

// appendEnum writes the label of an ENUM value: little-endian, from 1. 0 is the empty string that MySQL stores for a value
// it did not accept.
func appendEnum(dst, v []byte, labels [][]byte) ([]byte, bool) {
	n := int(v[0])
	if len(v) == 2 {
		n |= int(v[1]) << 8
	}
	if n == 0 {
		return dst, true
	}
	if n > len(labels) {
		return dst, false
	}
	return append(dst, labels[n-1]...), true
}

// appendSet writes the members of a SET value, a little-endian bitmap, separated by commas.
func appendSet(dst, v []byte, labels [][]byte) ([]byte, bool) {
	var set uint64
	for i, b := range v {
		set |= uint64(b) << (8 * i)
	}
	for i, l := range labels {
		if i == 64 {
			break
		}
		if set&(1<<i) != 0 {
			if set&(1<<i-1) != 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, l...)
		}
	}
	return dst, len(labels) >= 64 || set>>len(labels) == 0
}

func hasEmpty(labels [][]byte) bool {
	return slices.ContainsFunc(labels, func(l []byte) bool { return len(l) == 0 })
}
