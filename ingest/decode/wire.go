package decode

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// WireError says that a row of a SELECT's answer cannot be read.
type WireError struct {
	DB, Table string
	Column    string // "" when no column is at fault
	Why       string
}

func (e *WireError) Error() string {
	column := ""
	if e.Column != "" {
		column = fmt.Sprintf(" column %q,", e.Column)
	}
	return fmt.Sprintf("table %s.%s:%s a row of the server's answer cannot be read: %s", e.DB, e.Table, column, e.Why)
}

// WireRow decodes a row of a prepared SELECT's answer, as the network has it
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html). The columns selected are
// Plan.SelectList, they were checked with Plan.CheckAnswer, and the session has time_zone='+00:00', character_set_results=NULL
// and no PAD_CHAR_TO_FULL_LENGTH in its sql_mode. The values are then what Rows makes of the same row in the binary log. The
// packet is not kept.
//
// The errors are ValueError and WireError; every later call fails with ErrPoisoned.
func (d *Decoder) WireRow(packet []byte) error {
	if d.failed != nil {
		return fmt.Errorf("%w: %w", ErrPoisoned, d.failed)
	}
	err := d.wireRow(packet)
	d.failed = err
	return err
}

func (d *Decoder) wireRow(packet []byte) error {
	if d.rows >= d.room {
		d.more()
	}
	// A byte 0, and a bitmap of NULLs whose first two bits are not used.
	width := (len(d.buffers) + 2 + 7) / 8
	if len(packet) < 1+width || packet[0] != 0 {
		return d.broken(nil, "it ends within its bitmap of NULLs")
	}
	nulls := packet[1 : 1+width]
	rest := packet[1+width:]
	row := d.rows
	var err error
	for i := range d.buffers {
		b := &d.buffers[i]
		if bit := i + 2; nulls[bit>>3]&(1<<(bit&7)) != 0 {
			if b.key || !b.nullable {
				return d.broken(b, "NULL in a column that is NOT NULL")
			}
			b.setNull(row)
			continue
		}
		if rest, err = d.wireValue(b, row, rest); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return d.broken(nil, fmt.Sprintf("%d bytes follow the last value", len(rest)))
	}
	d.rows++
	return nil
}

// wireSize is the bytes of a value; 0 when they begin with a length.
func (f form) wireSize() int {
	switch f {
	case formInt8, formUint8:
		return 1
	case formInt16, formUint16, formYear:
		return 2
	case formInt24, formUint24, formInt32, formUint32, formFloat:
		return 4
	case formInt64, formUint64, formDouble:
		return 8
	}
	return 0
}

// wireValue reads one value into a row and returns what follows it.
func (d *Decoder) wireValue(b *buffer, row int, in []byte) ([]byte, error) {
	if n := b.wire; n > 0 {
		if len(in) < n {
			return nil, d.broken(b, "it ends within a value")
		}
		v := in[:n]
		switch b.form {
		case formInt8:
			b.i32[row] = int32(int8(v[0]))
		case formUint8:
			b.i32[row] = int32(v[0])
		case formInt16:
			b.i32[row] = int32(int16(binary.LittleEndian.Uint16(v)))
		case formUint16, formYear:
			b.i32[row] = int32(binary.LittleEndian.Uint16(v))
		case formInt24, formUint24, formInt32:
			b.i32[row] = int32(binary.LittleEndian.Uint32(v))
		case formUint32:
			b.i64[row] = int64(binary.LittleEndian.Uint32(v))
		case formInt64:
			b.i64[row] = int64(binary.LittleEndian.Uint64(v))
		case formUint64:
			b.decimal[row] = decimal128.New(0, binary.LittleEndian.Uint64(v))
		case formFloat:
			b.f32[row] = math.Float32frombits(binary.LittleEndian.Uint32(v))
		case formDouble:
			b.f64[row] = math.Float64frombits(binary.LittleEndian.Uint64(v))
		case formEnum: // of a key, selected as its number
			return in[n:], d.enumNumber(b, row, binary.LittleEndian.Uint64(v))
		}
		return in[n:], nil
	}
	v, rest, ok := lengthEncoded(in)
	if !ok {
		return nil, d.broken(b, "it ends within a value")
	}
	switch b.form {
	case formText:
		if !utf8.Valid(v) {
			return rest, d.variable(b, row, v, 0)
		}
		return rest, d.bytes(b, row, v)
	case formBytes, formJSON, formBits:
		return rest, d.bytes(b, row, v)
	case formRecode, formPadded:
		return rest, d.variable(b, row, v, 0)
	case formDecimal64, formDecimal128:
		n, ok := parseDecimal(v, b.scale)
		if !ok {
			return nil, d.broken(b, fmt.Sprintf("%q is no DECIMAL(%d,%d)", excerpt(v), b.precision, b.scale))
		}
		b.decimal[row] = n
	case formDecimalText:
		return rest, d.bytes(b, row, withoutZeros(d.text[:0], v))
	case formDate, formDatetime, formTimestamp:
		return rest, d.wireMoment(b, row, v)
	case formTime:
		text, ok := appendWireTime(d.text[:0], v, b.fsp)
		d.text = text
		if !ok {
			return nil, d.broken(b, fmt.Sprintf("%x is no TIME", v))
		}
		return rest, d.bytes(b, row, text)
	case formBit1:
		if len(v) != 1 {
			return nil, d.broken(b, fmt.Sprintf("%x is no BIT(1)", v))
		}
		bitutil.SetBitTo(b.flags, row, v[0]&1 != 0)
	case formEnum, formSet:
		if b.charset != nil && b.charset.recode != nil {
			text, ok := b.charset.recode(d.text[:0], v)
			d.text = text
			if !ok {
				return nil, d.broken(b, fmt.Sprintf("the label %s is not %s text", excerpt(v), b.charset.name))
			}
			v = text
		}
		return rest, d.bytes(b, row, v)
	}
	return rest, nil
}

// lengthEncoded reads a string after its length of 1, 3, 4 or 9 bytes.
func lengthEncoded(in []byte) (v, rest []byte, ok bool) {
	if len(in) == 0 {
		return nil, nil, false
	}
	n, at := uint64(in[0]), 1
	switch in[0] {
	case 0xfc:
		if at = 3; len(in) >= at {
			n = uint64(in[1]) | uint64(in[2])<<8
		}
	case 0xfd:
		if at = 4; len(in) >= at {
			n = uint64(in[1]) | uint64(in[2])<<8 | uint64(in[3])<<16
		}
	case 0xfe:
		if at = 9; len(in) >= at {
			n = binary.LittleEndian.Uint64(in[1:])
		}
	case 0xfb, 0xff:
		return nil, nil, false
	}
	if len(in) < at || n > uint64(len(in)-at) {
		return nil, nil, false
	}
	return in[at : at+int(n)], in[at+int(n):], true
}

// enumNumber writes the label of an ENUM that was selected as its number.
func (d *Decoder) enumNumber(b *buffer, row int, n uint64) error {
	if n > uint64(len(b.labels)) {
		return d.broken(b, fmt.Sprintf("%d is no value of an ENUM with %d", n, len(b.labels)))
	}
	if n == 0 {
		return d.unfit(b, twoEmpty)
	}
	return d.bytes(b, row, b.labels[n-1])
}

func (d *Decoder) broken(b *buffer, why string) error {
	e := &WireError{DB: d.plan.DB, Table: d.plan.Table, Why: why}
	if b != nil {
		e.Column = b.name
	}
	return e
}

// parseDecimal reads a DECIMAL of at most 38 digits as the server prints it, with all digits of its scale and perhaps zeros
// before it, unscaled.
func parseDecimal(v []byte, scale int) (n decimal128.Num, ok bool) {
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		v = v[1:]
	}
	whole := v
	if scale > 0 {
		point := len(v) - 1 - scale
		if point < 0 || v[point] != '.' {
			return n, false
		}
		whole, v = v[:point], v[point+1:]
	} else {
		v = nil
	}
	var hi, lo uint64
	for _, part := range [2][]byte{whole, v} {
		for len(part) > 0 {
			some := part[:min(len(part), 18)]
			part = part[len(some):]
			u, power := uint64(0), uint64(1)
			for _, c := range some {
				if c -= '0'; c > 9 {
					return n, false
				}
				u = u*10 + uint64(c)
				power *= 10
			}
			hi, lo = mulAdd(hi, lo, power, u)
		}
	}
	n = decimal128.New(int64(hi), lo)
	if negative {
		n = n.Negate()
	}
	return n, true
}

// withoutZeros drops the zeros with which ZEROFILL begins a number.
func withoutZeros(dst, v []byte) []byte {
	if len(v) > 0 && v[0] == '-' {
		dst, v = append(dst, '-'), v[1:]
	}
	for len(v) > 1 && v[0] == '0' && v[1] != '.' {
		v = v[1:]
	}
	return append(dst, v...)
}
