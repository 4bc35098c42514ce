package decode

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// image reads a whole row image into the next row and returns where it ends.
func (d *Decoder) image(body []byte, pos int) (int, error) {
	if d.rows >= d.room {
		d.more()
	}
	width := (len(d.buffers) + 7) / 8
	if len(body)-pos < width {
		return 0, d.corrupt(nil, pos, "the image ends within its bitmap of NULLs")
	}
	nulls := body[pos : pos+width]
	pos += width
	row := d.rows
	var err error
	for i := range d.buffers {
		b := &d.buffers[i]
		if nulls[i>>3]&(1<<(i&7)) != 0 {
			if !b.nullable {
				return 0, d.corrupt(b, pos, "NULL in a column that is NOT NULL")
			}
			b.setNull(row)
			continue
		}
		if pos, err = d.value(b, row, body, pos); err != nil {
			return 0, err
		}
	}
	return pos, nil
}

// keyImage reads the key columns of a row image into the next row, where the next image will overwrite them, and
// returns where the image ends.
func (d *Decoder) keyImage(body []byte, pos int) (int, error) {
	if d.rows >= d.room {
		d.more()
	}
	width := (len(d.buffers) + 7) / 8
	if len(body)-pos < width {
		return 0, d.corrupt(nil, pos, "the image ends within its bitmap of NULLs")
	}
	nulls := body[pos : pos+width]
	pos += width
	row := d.rows
	var err error
	for i := range d.buffers {
		b := &d.buffers[i]
		if nulls[i>>3]&(1<<(i&7)) != 0 {
			if b.key {
				return 0, d.corrupt(b, pos, "NULL in a key column")
			}
			continue
		}
		if b.key {
			if pos, err = d.value(b, row, body, pos); err != nil {
				return 0, err
			}
			continue
		}
		n := b.size
		if n == 0 {
			if n = length(body, pos, b.prefix); n < 0 {
				return 0, d.short(b, pos)
			}
			n += b.prefix
		}
		if len(body)-pos < n {
			return 0, d.short(b, pos)
		}
		pos += n
	}
	return pos, nil
}

// length reads the length that comes before a value; -1 when the body ends within it.
func length(body []byte, pos, prefix int) int {
	if len(body)-pos < prefix {
		return -1
	}
	switch prefix {
	case 1:
		return int(body[pos])
	case 2:
		return int(binary.LittleEndian.Uint16(body[pos:]))
	case 3:
		return int(body[pos]) | int(body[pos+1])<<8 | int(body[pos+2])<<16
	default:
		return int(binary.LittleEndian.Uint32(body[pos:]))
	}
}

// value reads one value into a row and returns where it ends.
func (d *Decoder) value(b *buffer, row int, body []byte, pos int) (int, error) {
	if b.size == 0 {
		n := length(body, pos, b.prefix)
		if n < 0 || n > len(body)-pos-b.prefix {
			return 0, d.short(b, pos)
		}
		end := pos + b.prefix + n
		v := body[pos+b.prefix : end]
		if b.form == formBytes || b.form == formText && utf8.Valid(v) {
			return end, d.bytes(b, row, v)
		}
		return end, d.variable(b, row, v, pos)
	}
	end := pos + b.size
	if end > len(body) {
		return 0, d.short(b, pos)
	}
	v := body[pos:end]
	switch b.form {
	case formInt8:
		b.i32[row] = int32(int8(v[0]))
	case formUint8:
		b.i32[row] = int32(v[0])
	case formInt16:
		b.i32[row] = int32(int16(binary.LittleEndian.Uint16(v)))
	case formUint16:
		b.i32[row] = int32(binary.LittleEndian.Uint16(v))
	case formInt24:
		b.i32[row] = int32(uint32(v[0])<<8|uint32(v[1])<<16|uint32(v[2])<<24) >> 8
	case formUint24:
		b.i32[row] = int32(v[0]) | int32(v[1])<<8 | int32(v[2])<<16
	case formInt32:
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
	case formDecimal64:
		b.decimal[row] = decimal128.FromI64(decimal64(v, b.precision, b.scale))
	case formYear:
		b.i32[row] = 0
		if v[0] != 0 {
			b.i32[row] = 1900 + int32(v[0])
		}
	case formBit1:
		bitutil.SetBitTo(b.flags, row, v[0]&1 != 0)
	case formDatetime:
		return end, d.datetime(b, row, v, pos)
	case formTimestamp:
		return end, d.timestamp(b, row, v, pos)
	case formDate:
		return end, d.date(b, row, v, pos)
	default:
		return end, d.rare(b, row, v, pos)
	}
	return end, nil
}

// rare reads the values of fixed size that few tables have.
func (d *Decoder) rare(b *buffer, row int, v []byte, pos int) error {
	var ok bool
	text := d.text[:0]
	switch b.form {
	case formDecimal128:
		b.decimal[row] = decimal128OfGroups(v, b.precision, b.scale)
		return nil
	case formBits:
		text = append(text, v...)
	case formDecimalText:
		text = appendDecimal(text, v, b.precision, b.scale)
	case formTime:
		if text, ok = appendTime(text, v, b.fsp); !ok {
			return d.corrupt(b, pos, fmt.Sprintf("%x is no TIME", v))
		}
	case formEnum:
		if text, ok = appendEnum(text, v, b.labels); !ok {
			return d.corrupt(b, pos, fmt.Sprintf("%x is no value of an ENUM with %d", v, len(b.labels)))
		}
		if b.key && len(text) == 0 && v[0] == 0 && v[len(v)-1] == 0 && hasEmpty(b.labels) {
			return d.unfit(b, twoEmpty)
		}
	case formSet:
		if text, ok = appendSet(text, v, b.labels); !ok {
			return d.corrupt(b, pos, fmt.Sprintf("%x is no value of a SET with %d members", v, len(b.labels)))
		}
	}
	d.text = text
	return d.bytes(b, row, text)
}

const twoEmpty = "the ENUM value 0 (for a value that was not accepted) and the label '' are two keys in the source and one in the lake: correct the row in the source"

// variable reads a value whose length came first and that is not taken as it is.
func (d *Decoder) variable(b *buffer, row int, v []byte, pos int) error {
	switch b.form {
	case formText:
		return d.unfit(b, fmt.Sprintf("the bytes %s are not %s text", excerpt(v), b.charset.name))
	case formRecode:
		text, ok := b.charset.recode(d.text[:0], v)
		d.text = text
		if !ok {
			return d.unfit(b, fmt.Sprintf("the bytes %s are not %s text, or of a character that has no Unicode", excerpt(v), b.charset.name))
		}
		v = text
	case formPadded:
		if len(v) < b.pad {
			d.text = append(d.text[:0], v...)
			for len(d.text) < b.pad {
				d.text = append(d.text, 0)
			}
			v = d.text
		}
	case formJSON:
		text, err := appendJSON(d.text[:0], v)
		d.text = text
		if err != nil {
			return d.corrupt(b, pos, err.Error())
		}
		v = text
	}
	return d.bytes(b, row, v)
}

func (d *Decoder) bytes(b *buffer, row int, v []byte) error {
	if !b.setBytes(row, v) {
		return d.unfit(b, "its values fill 2 GiB in one batch: lower --memory or --commit-interval")
	}
	return nil
}

func (d *Decoder) short(b *buffer, pos int) error {
	return d.corrupt(b, pos, "the image ends within a value")
}

func (d *Decoder) corrupt(b *buffer, pos int, why string) error {
	e := &CorruptError{DB: d.plan.DB, Table: d.plan.Table, Offset: pos, Why: why}
	if b != nil {
		e.Column = b.name
	}
	return e
}

// unfit is the error for a value of the row being written. The row is named by the key columns that stand before the
// value.
func (d *Decoder) unfit(b *buffer, why string) error {
	var known []string
	for _, k := range d.plan.Key {
		c := &d.buffers[k]
		if c.name == b.name {
			break
		}
		known = append(known, c.name+"="+c.text(d.rows))
	}
	return &ValueError{DB: d.plan.DB, Table: d.plan.Table, Column: b.name, Row: strings.Join(known, ", "), Why: why}
}

func excerpt(v []byte) string {
	if len(v) > 24 {
		return fmt.Sprintf("%x... (%d bytes)", v[:24], len(v))
	}
	return fmt.Sprintf("%x", v)
}
