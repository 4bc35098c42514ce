package merge

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/zeebo/xxh3"
)

// Key identifies one row of a table. When every key column has a fixed width and all of them together take at most 16
// bytes, it is their canonical encoding itself, right-aligned, so that comparing (Hi, Lo) compares the keys.
// Otherwise it is the XXH3-128 hash of the canonical bytes.
type Key struct{ Hi, Lo uint64 }

// KeyCodec encodes the values of a table's key columns canonically: the same bytes whether the value came from a
// binlog row image or from a Parquet file, and in the order of the values.
//
// Integers, dates and timestamps are big-endian with the sign bit flipped; floats likewise, negative ones inverted;
// decimals are 16 bytes big-endian with the sign bit flipped, unscaled; strings and binaries are escaped (00 becomes
// 00 FF) and ended by 00 00 unless they come last.
//
// A table without a key is keyed by its whole rows (NewRowCodec), of which there can be several that are the same.
//
// Usage: Reset, one Append call per key column in key order, then Key. A KeyCodec is not safe for concurrent use.
type KeyCodec struct {
	columns []keyColumn
	fixed   bool   // every key fits a Key verbatim
	rows    bool   // the key is the whole row
	next    int    // column the next Append call encodes
	key     Key    // the key so far, when fixed
	raw     []byte // the key so far, otherwise
}

type keyColumn struct {
	name string
	kind arrow.DataType
	bits int // width of a fixed column, 0 for strings and binaries
}

// NewKeyCodec returns the codec for key columns of the given Arrow fields, in key order. It fails for a type that
// cannot be a key.
func NewKeyCodec(fields []arrow.Field) (*KeyCodec, error) {
	if len(fields) == 0 {
		return nil, fmt.Errorf("merge: a key needs at least one column")
	}
	c := &KeyCodec{fixed: true}
	total := 0
	for _, f := range fields {
		col := keyColumn{name: f.Name, kind: f.Type}
		switch f.Type.ID() {
		case arrow.BOOL:
			col.bits = 8
		case arrow.INT32, arrow.DATE32, arrow.FLOAT32:
			col.bits = 32
		case arrow.INT64, arrow.TIMESTAMP, arrow.FLOAT64:
			col.bits = 64
		case arrow.DECIMAL128:
			col.bits = 128
		case arrow.STRING, arrow.BINARY:
			c.fixed = false
		default:
			return nil, fmt.Errorf("merge: key column %q has type %s, which cannot be a key", f.Name, f.Type)
		}
		total += col.bits
		c.columns = append(c.columns, col)
	}
	if total > 128 {
		c.fixed = false
	}
	return c, nil
}

// NewRowCodec returns the codec for a table that has no key: a row is known by the values of all its columns. They can be
// NULL, so each value comes after a byte that says whether there is one, and a float is its bits. The Key is always a hash, and
// says nothing of an order.
func NewRowCodec(fields []arrow.Field) (*KeyCodec, error) {
	c, err := NewKeyCodec(fields)
	if err != nil {
		return nil, err
	}
	c.fixed, c.rows = false, true
	return c, nil
}

// Rows reports whether the key is the whole row, so that there can be several rows of one key.
func (c *KeyCodec) Rows() bool { return c.rows }

// Fixed reports whether a Key holds the canonical bytes verbatim.
func (c *KeyCodec) Fixed() bool { return c.fixed }

// Narrow reports whether the canonical bytes fit in Key.Lo alone.
func (c *KeyCodec) Narrow() bool {
	total := 0
	for _, col := range c.columns {
		total += col.bits
	}
	return c.fixed && total <= 64
}

// Reset begins a new key.
func (c *KeyCodec) Reset() {
	c.next = 0
	c.key = Key{}
	c.raw = c.raw[:0]
}

// AppendInt appends an int32, int64, date or timestamp value.
func (c *KeyCodec) AppendInt(v int64) {
	bits := c.columns[c.next].bits
	u := uint64(v) ^ 1<<(bits-1)
	if bits == 32 {
		u &= math.MaxUint32
	}
	c.append(u, bits)
}

// AppendBool appends a boolean value.
func (c *KeyCodec) AppendBool(v bool) {
	var u uint64
	if v {
		u = 1
	}
	c.append(u, 8)
}

// AppendFloat appends a float or double value. Negative zero is the same key as zero, as in MySQL.
func (c *KeyCodec) AppendFloat(v float64) {
	if v == 0 && !c.rows {
		v = 0
	}
	if c.columns[c.next].bits == 32 {
		u := math.Float32bits(float32(v))
		if u>>31 != 0 {
			u = ^u
		} else {
			u |= 1 << 31
		}
		c.append(uint64(u), 32)
		return
	}
	u := math.Float64bits(v)
	if u>>63 != 0 {
		u = ^u
	} else {
		u |= 1 << 63
	}
	c.append(u, 64)
}

// AppendDecimal128 appends an unscaled decimal value.
func (c *KeyCodec) AppendDecimal128(v decimal128.Num) {
	hi, lo := uint64(v.HighBits())^1<<63, v.LowBits()
	if c.fixed {
		c.key = Key{hi, lo}
		c.next++
		return
	}
	c.mark()
	c.raw = binary.BigEndian.AppendUint64(c.raw, hi)
	c.raw = binary.BigEndian.AppendUint64(c.raw, lo)
	c.next++
}

// AppendBytes appends a string or binary value.
func (c *KeyCodec) AppendBytes(v []byte) {
	c.mark()
	c.next++
	if c.next == len(c.columns) {
		c.raw = append(c.raw, v...)
		return
	}
	for _, b := range v {
		if b == 0 {
			c.raw = append(c.raw, 0, 0xff)
		} else {
			c.raw = append(c.raw, b)
		}
	}
	c.raw = append(c.raw, 0, 0)
}

// AppendNull appends a NULL, which only a whole row can have.
func (c *KeyCodec) AppendNull() {
	c.next++
	c.raw = append(c.raw, nullMark)
}

// What stands before a value of a whole row.
const (
	nullMark = iota
	valueMark
)

// mark says that a value follows.
func (c *KeyCodec) mark() {
	if c.rows {
		c.raw = append(c.raw, valueMark)
	}
}

func (c *KeyCodec) append(u uint64, bits int) {
	c.next++
	if !c.fixed {
		c.mark()
		switch bits {
		case 8:
			c.raw = append(c.raw, byte(u))
		case 32:
			c.raw = binary.BigEndian.AppendUint32(c.raw, uint32(u))
		default:
			c.raw = binary.BigEndian.AppendUint64(c.raw, u)
		}
		return
	}
	if bits == 64 {
		c.key = Key{c.key.Lo, u}
		return
	}
	c.key = Key{c.key.Hi<<bits | c.key.Lo>>(64-bits), c.key.Lo<<bits | u}
}

// Key returns the key of the columns appended since Reset, and its canonical bytes, valid until the next Reset. The
// bytes are nil when the key holds them verbatim.
func (c *KeyCodec) Key() (Key, []byte) {
	if c.fixed {
		return c.key, nil
	}
	h := xxh3.Hash128(c.raw)
	return Key{h.Hi, h.Lo}, c.raw
}

// Text renders a key for a person: "id=7, name='x'". raw is needed unless the codec is Fixed.
func (c *KeyCodec) Text(k Key, raw []byte) string {
	if c.fixed {
		total := 0
		for _, col := range c.columns {
			total += col.bits
		}
		raw = binary.BigEndian.AppendUint64(nil, k.Hi)
		raw = binary.BigEndian.AppendUint64(raw, k.Lo)
		raw = raw[16-total/8:]
	}
	var parts []string
	for i, col := range c.columns {
		var text string
		if c.rows {
			if len(raw) == 0 {
				return strings.Join(append(parts, "..."), ", ")
			}
			mark := raw[0]
			if raw = raw[1:]; mark == nullMark {
				parts = append(parts, col.name+"=NULL")
				continue
			}
		}
		if col.bits == 0 {
			var v []byte
			v, raw = cutBytes(raw, i == len(c.columns)-1)
			text = "'" + string(v) + "'"
			if col.kind.ID() == arrow.BINARY {
				text = "0x" + hex.EncodeToString(v)
			}
		} else {
			if len(raw) < col.bits/8 {
				return strings.Join(append(parts, "?"), ", ")
			}
			text = fixedText(raw[:col.bits/8], col.kind)
			raw = raw[col.bits/8:]
		}
		parts = append(parts, col.name+"="+text)
	}
	return strings.Join(parts, ", ")
}

func cutBytes(raw []byte, last bool) (value, rest []byte) {
	if last {
		return raw, nil
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] != 0 {
			value = append(value, raw[i])
			continue
		}
		i++
		if i >= len(raw) || raw[i] == 0 {
			return value, raw[min(i+1, len(raw)):]
		}
		value = append(value, 0)
	}
	return value, nil
}

func fixedText(b []byte, t arrow.DataType) string {
	var v int64
	switch len(b) {
	case 1:
		return strconv.FormatBool(b[0] != 0)
	case 4:
		u := binary.BigEndian.Uint32(b)
		if t.ID() == arrow.FLOAT32 {
			return strconv.FormatFloat(float64(math.Float32frombits(unflip32(u))), 'g', -1, 32)
		}
		v = int64(int32(u ^ 1<<31))
	case 8:
		u := binary.BigEndian.Uint64(b)
		if t.ID() == arrow.FLOAT64 {
			return strconv.FormatFloat(math.Float64frombits(unflip64(u)), 'g', -1, 64)
		}
		v = int64(u ^ 1<<63)
	default:
		n := decimal128.New(int64(binary.BigEndian.Uint64(b)^1<<63), binary.BigEndian.Uint64(b[8:]))
		return n.ToString(t.(*arrow.Decimal128Type).Scale)
	}
	switch t.ID() {
	case arrow.DATE32:
		return time.Unix(v*86400, 0).UTC().Format(time.DateOnly)
	case arrow.TIMESTAMP:
		return "'" + time.UnixMicro(v).UTC().Format("2006-01-02 15:04:05.999999") + "'"
	}
	return strconv.FormatInt(v, 10)
}

func unflip32(u uint32) uint32 {
	if u>>31 != 0 {
		return u &^ (1 << 31)
	}
	return ^u
}

func unflip64(u uint64) uint64 {
	if u>>63 != 0 {
		return u &^ (1 << 63)
	}
	return ^u
}
