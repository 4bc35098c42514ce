package decode

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// The types of MySQL's binary JSON (sql-common/json_binary.h).
const (
	jsonSmallObject = 0x00
	jsonLargeObject = 0x01
	jsonSmallArray  = 0x02
	jsonLargeArray  = 0x03
	jsonLiteral     = 0x04
	jsonInt16       = 0x05
	jsonUint16      = 0x06
	jsonInt32       = 0x07
	jsonUint32      = 0x08
	jsonInt64       = 0x09
	jsonUint64      = 0x0a
	jsonDouble      = 0x0b
	jsonString      = 0x0c
	jsonOpaque      = 0x0f
)

// maxJSONDepth is the depth at which the server itself refuses a document.
const maxJSONDepth = 100

// base64Line is the bytes in a line of 76 base64 characters.
const base64Line = 57

var (
	errJSONShort = errors.New("a JSON document ends within a value")
	errJSONSize  = errors.New("a JSON document refers to the same part of itself again and again")
	errJSONDepth = errors.New("a JSON document is nested deeper than 100 levels")
)

// appendJSON writes a binary JSON document as the server prints it, byte for byte: ", " and ": " between values, keys in
// the stored order, numbers with all their digits.
func appendJSON(dst, doc []byte) ([]byte, error) {
	if len(doc) == 0 {
		return append(dst, "null"...), nil // of a NOT NULL column that was added to existing rows
	}
	// No value takes more than about 16 characters a byte; damaged offsets could make a small document print for ever.
	w := jsonWriter{dst: dst, limit: len(dst) + 64 + 32*len(doc)}
	err := w.value(doc[0], doc[1:], 0)
	return w.dst, err
}

type jsonWriter struct {
	dst   []byte
	limit int
}

func (w *jsonWriter) value(t byte, d []byte, depth int) error {
	if len(w.dst) > w.limit {
		return errJSONSize
	}
	if need := jsonSize(t); len(d) < need {
		return errJSONShort
	}
	switch t {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return w.container(t, d, depth+1)
	case jsonLiteral:
		switch d[0] {
		case 0:
			w.dst = append(w.dst, "null"...)
		case 1:
			w.dst = append(w.dst, "true"...)
		case 2:
			w.dst = append(w.dst, "false"...)
		default:
			return fmt.Errorf("a JSON document has the literal %d", d[0])
		}
	case jsonInt16:
		w.dst = strconv.AppendInt(w.dst, int64(int16(binary.LittleEndian.Uint16(d))), 10)
	case jsonUint16:
		w.dst = strconv.AppendUint(w.dst, uint64(binary.LittleEndian.Uint16(d)), 10)
	case jsonInt32:
		w.dst = strconv.AppendInt(w.dst, int64(int32(binary.LittleEndian.Uint32(d))), 10)
	case jsonUint32:
		w.dst = strconv.AppendUint(w.dst, uint64(binary.LittleEndian.Uint32(d)), 10)
	case jsonInt64:
		w.dst = strconv.AppendInt(w.dst, int64(binary.LittleEndian.Uint64(d)), 10)
	case jsonUint64:
		w.dst = strconv.AppendUint(w.dst, binary.LittleEndian.Uint64(d), 10)
	case jsonDouble:
		w.dst = appendDouble(w.dst, math.Float64frombits(binary.LittleEndian.Uint64(d)))
	case jsonString:
		s, err := jsonBytes(d)
		if err != nil {
			return err
		}
		w.dst = appendQuoted(w.dst, s)
	case jsonOpaque:
		v, err := jsonBytes(d[1:])
		if err != nil {
			return err
		}
		return w.opaque(d[0], v)
	default:
		return fmt.Errorf("a JSON document has a value of type %d", t)
	}
	return nil
}

// jsonSize is the least size of a value.
func jsonSize(t byte) int {
	switch t {
	case jsonSmallObject, jsonSmallArray, jsonInt32, jsonUint32:
		return 4
	case jsonLargeObject, jsonLargeArray, jsonInt64, jsonUint64, jsonDouble:
		return 8
	case jsonInt16, jsonUint16:
		return 2
	default:
		return 1
	}
}

// jsonBytes reads a length in groups of seven bits, lowest first, and the bytes that follow.
func jsonBytes(d []byte) ([]byte, error) {
	n := 0
	for i := 0; i < len(d) && i < 5; i++ {
		n |= int(d[i]&0x7f) << (7 * i)
		if d[i] < 0x80 {
			if d = d[i+1:]; n > len(d) {
				return nil, errJSONShort
			}
			return d[:n], nil
		}
	}
	return nil, errJSONShort
}

// container writes an object or array. Its header has the number of members and its size in bytes; then come the places
// and lengths of the keys, then the types of the values with their places or, if small, themselves.
func (w *jsonWriter) container(t byte, d []byte, depth int) error {
	if depth > maxJSONDepth {
		return errJSONDepth
	}
	object, large := t <= jsonLargeObject, t&1 != 0
	width := 2
	if large {
		width = 4
	}
	number := func(at int) int {
		if large {
			return int(binary.LittleEndian.Uint32(d[at:]))
		}
		return int(binary.LittleEndian.Uint16(d[at:]))
	}
	n, size := number(0), number(width)
	if size > len(d) {
		return errJSONShort
	}
	d = d[:size]
	keys, values, step := 2*width, 2*width, width+1
	if object {
		values += n * (width + 2)
	}
	if values+n*step > size {
		return errJSONShort
	}
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	w.dst = append(w.dst, open)
	for i := range n {
		if i > 0 {
			w.dst = append(w.dst, ',', ' ')
		}
		if object {
			at := keys + i*(width+2)
			place, length := number(at), int(binary.LittleEndian.Uint16(d[at+width:]))
			if place+length > size {
				return errJSONShort
			}
			w.dst = appendQuoted(w.dst, d[place:place+length])
			w.dst = append(w.dst, ':', ' ')
		}
		at := values + i*step
		t, inline := d[at], d[at+1:at+1+width]
		var err error
		if t >= jsonLiteral && t <= jsonUint16 || large && (t == jsonInt32 || t == jsonUint32) {
			err = w.value(t, inline, depth)
		} else {
			place := number(at + 1)
			if place > size {
				return errJSONShort
			}
			err = w.value(t, d[place:], depth)
		}
		if err != nil {
			return err
		}
	}
	w.dst = append(w.dst, end)
	return nil
}

// opaque writes a value of a SQL type that JSON does not have.
func (w *jsonWriter) opaque(t byte, v []byte) error {
	switch t {
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		if len(v) < 2 || v[0] == 0 || v[0] > 65 || v[1] > v[0] || v[1] > 30 || len(v) < 2+decimalSize(int(v[0]), int(v[1])) {
			return fmt.Errorf("a JSON document has a damaged decimal: %s", excerpt(v))
		}
		w.dst = appendDecimal(w.dst, v[2:], int(v[0]), int(v[1]))
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIME:
		if len(v) != 8 {
			return fmt.Errorf("a JSON document has a damaged date or time: %s", excerpt(v))
		}
		w.dst = appendPackedTime(w.dst, t, int64(binary.LittleEndian.Uint64(v)))
	default:
		w.dst = append(w.dst, `"base64:type`...)
		w.dst = strconv.AppendInt(w.dst, int64(t), 10)
		w.dst = append(w.dst, ':')
		for len(v) > base64Line { // the server breaks lines, and then escapes the breaks
			w.dst = base64.StdEncoding.AppendEncode(w.dst, v[:base64Line])
			w.dst = append(w.dst, '\\', 'n')
			v = v[base64Line:]
		}
		w.dst = base64.StdEncoding.AppendEncode(w.dst, v)
		w.dst = append(w.dst, '"')
	}
	return nil
}

// appendPackedTime writes a date, time or both in MySQL's packed form: what the columns have, above 24 bits of microseconds.
func appendPackedTime(dst []byte, t byte, packed int64) []byte {
	dst = append(dst, '"')
	if packed < 0 {
		dst = append(dst, '-')
		packed = -packed
	}
	clock := packed >> 24
	hour := clock >> 12 & 0x3ff
	if t != mysql.MYSQL_TYPE_TIME {
		months := clock >> 22
		dst = appendPadded(dst, months/13, 4)
		dst = append(dst, '-')
		dst = appendPadded(dst, months%13, 2)
		dst = append(dst, '-')
		dst = appendPadded(dst, clock>>17&31, 2)
		if t == mysql.MYSQL_TYPE_DATE {
			return append(dst, '"')
		}
		dst = append(dst, ' ')
		hour &= 31
	}
	dst = appendPadded(dst, hour, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, clock>>6&63, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, clock&63, 2)
	dst = append(dst, '.')
	dst = appendPadded(dst, packed&(1<<24-1), 6)
	return append(dst, '"')
}

// appendQuoted writes a JSON string. The server escapes what it must and no more.
func appendQuoted(dst, s []byte) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
