package decode

import "strconv"

// appendDouble writes a number as the server does in JSON: the shortest digits that read back the same, without an exponent
// as long as that needs no more than fifteen zeros of padding, and always with a point or an exponent (my_gcvt in
// strings/dtoa.cc, Json_wrapper::to_string).
func appendDouble(dst []byte, f float64) []byte {
	// d.ddde±xx, from which digits and the place of the point are taken.
	var scratch [32]byte
	s := strconv.AppendFloat(scratch[:0], f, 'e', -1, 64)
	if s[0] == '-' {
		dst = append(dst, '-')
		s = s[1:]
	}
	if s[0] < '0' || s[0] > '9' {
		return append(dst, s...) // no JSON number; the server stores none
	}
	mark := len(s) - 1
	for s[mark] != 'e' {
		mark--
	}
	exponent := 0
	for _, c := range s[mark+2:] {
		exponent = exponent*10 + int(c-'0')
	}
	if s[mark+1] == '-' {
		exponent = -exponent
	}
	digits := s[:1]
	if mark > 1 {
		digits = s[:1+copy(s[1:], s[2:mark])]
	}
	point := exponent + 1 // digits before the point
	const most = 15
	switch {
	case point < 1-most || point > most && len(digits) <= point:
		dst = append(dst, digits[0])
		if len(digits) > 1 {
			dst = append(dst, '.')
			dst = append(dst, digits[1:]...)
		}
		dst = append(dst, 'e')
		return strconv.AppendInt(dst, int64(exponent), 10)
	case point <= 0:
		dst = append(dst, '0', '.')
		for ; point < 0; point++ {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	case len(digits) <= point:
		dst = append(dst, digits...)
		for n := len(digits); n < point; n++ {
			dst = append(dst, '0')
		}
		return append(dst, '.', '0')
	default:
		dst = append(dst, digits[:point]...)
		dst = append(dst, '.')
		return append(dst, digits[point:]...)
	}
}
