package snapshot

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/zeebo/xxh3"
)

// rowHasher hashes the rows of batches. A value has one form whichever Arrow layout holds it, so that rows read from the
// source and from the lake can be compared.
type rowHasher struct {
	columns []string // what is hashed, in this order
	key     []int    // places of the key's columns among them

	schema *arrow.Schema
	at     []int // of the columns, in the schema
	row    []byte
	ends   []int // of the columns' values, in row
	keyRow []byte
}

func newRowHasher(columns, key []string) (*rowHasher, error) {
	h := &rowHasher{columns: columns, ends: make([]int, len(columns)+1)}
	places := map[string]int{}
	for i, name := range columns {
		places[name] = i
	}
	for _, name := range key {
		i, ok := places[name]
		if !ok {
			return nil, fmt.Errorf("the key column %q is not among those to compare", name)
		}
		h.key = append(h.key, i)
	}
	return h, nil
}

// each calls yield with the hashes of each row's key and of the whole row.
func (h *rowHasher) each(batch arrow.RecordBatch, yield func(row int, key, all xxh3.Uint128) error) error {
	if err := h.use(batch.Schema()); err != nil {
		return err
	}
	writers := make([]func(dst []byte, row int) []byte, len(h.at))
	for i, c := range h.at {
		w, err := writerOf(batch.Column(c))
		if err != nil {
			return fmt.Errorf("column %q: %w", h.columns[i], err)
		}
		writers[i] = w
	}
	for row := range int(batch.NumRows()) {
		out := h.row[:0]
		for i, w := range writers {
			out = w(out, row)
			h.ends[i+1] = len(out)
		}
		keyRow := h.keyRow[:0]
		for _, k := range h.key {
			keyRow = append(keyRow, out[h.ends[k]:h.ends[k+1]]...)
		}
		h.row, h.keyRow = out, keyRow
		if err := yield(row, xxh3.Hash128(keyRow), xxh3.Hash128(out)); err != nil {
			return err
		}
	}
	return nil
}

// use finds the columns by name.
func (h *rowHasher) use(schema *arrow.Schema) error {
	if schema == h.schema {
		return nil
	}
	at := make([]int, len(h.columns))
	for i, name := range h.columns {
		found := schema.FieldIndices(name)
		if len(found) != 1 {
			return fmt.Errorf("a batch has %d columns %q", len(found), name)
		}
		at[i] = found[0]
	}
	h.schema, h.at = schema, at
	return nil
}

// keyText renders the key of a row.
func (h *rowHasher) keyText(batch arrow.RecordBatch, row int) []string {
	out := make([]string, len(h.key))
	for i, k := range h.key {
		out[i] = batch.Column(h.at[k]).ValueStr(row)
	}
	return out
}

// A value is written as a byte that says what it is, and its bytes; strings after their length. So no two rows have the
// same bytes.
const (
	hashNull = iota
	hashInteger
	hashFloat
	hashDecimal
	hashBool
	hashBytes
)

// writerOf returns the function that appends a value of an array.
func writerOf(a arrow.Array) (func(dst []byte, row int) []byte, error) {
	var value func(dst []byte, row int) []byte
	switch a := a.(type) {
	case *array.Int8:
		value = integers(a)
	case *array.Int16:
		value = integers(a)
	case *array.Int32:
		value = integers(a)
	case *array.Int64:
		value = integers(a)
	case *array.Date32:
		value = integers(a)
	case *array.Timestamp:
		if t, ok := a.DataType().(*arrow.TimestampType); !ok || t.Unit != arrow.Microsecond {
			return nil, fmt.Errorf("%s cannot be compared: it does not count microseconds", a.DataType())
		}
		value = integers(a)
	case *array.Float32:
		value = floats(a, func(v float32) float64 { return float64(v) })
	case *array.Float64:
		value = floats(a, func(v float64) float64 { return v })
	case *array.Decimal128:
		value = decimals(a)
	case *array.Boolean:
		value = func(dst []byte, row int) []byte {
			if a.Value(row) {
				return append(dst, hashBool, 1)
			}
			return append(dst, hashBool, 0)
		}
	case *array.String:
		value = texts(a)
	case *array.LargeString:
		value = texts(a)
	case *array.StringView:
		value = texts(a)
	case *array.Binary:
		value = texts(a)
	case *array.LargeBinary:
		value = texts(a)
	case *array.BinaryView:
		value = texts(a)
	case *array.FixedSizeBinary:
		value = texts(a)
	default:
		return nil, fmt.Errorf("values of %s cannot be compared", a.DataType())
	}
	if a.NullN() == 0 {
		return value, nil
	}
	return func(dst []byte, row int) []byte {
		if a.IsNull(row) {
			return append(dst, hashNull)
		}
		return value(dst, row)
	}, nil
}

func integers[T ~int8 | ~int16 | ~int32 | ~int64](a interface{ Value(int) T }) func([]byte, int) []byte {
	return func(dst []byte, row int) []byte {
		return binary.LittleEndian.AppendUint64(append(dst, hashInteger), uint64(int64(a.Value(row))))
	}
}

func floats[T any](a interface{ Value(int) T }, widen func(T) float64) func([]byte, int) []byte {
	return func(dst []byte, row int) []byte {
		return binary.LittleEndian.AppendUint64(append(dst, hashFloat), math.Float64bits(widen(a.Value(row))))
	}
}

func decimals(a *array.Decimal128) func([]byte, int) []byte {
	scale := byte(0)
	if t, ok := a.DataType().(*arrow.Decimal128Type); ok {
		scale = byte(t.Scale)
	}
	return func(dst []byte, row int) []byte {
		v := a.Value(row)
		dst = binary.LittleEndian.AppendUint64(append(dst, hashDecimal, scale), v.LowBits())
		return binary.LittleEndian.AppendUint64(dst, uint64(v.HighBits()))
	}
}

func texts[T ~string | ~[]byte](a interface{ Value(int) T }) func([]byte, int) []byte {
	return func(dst []byte, row int) []byte {
		v := a.Value(row)
		dst = binary.AppendUvarint(append(dst, hashBytes), uint64(len(v)))
		return append(dst, v...)
	}
}
