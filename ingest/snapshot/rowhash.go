package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/zeebo/xxh3"
)

// Hasher hashes the rows of batches. A value has one form whichever Arrow layout holds it, so that rows read from the
// source and from the lake can be compared: the columns may come in another order, among others, or in another Arrow type for
// the same values. It is not safe for concurrent use.
type Hasher struct {
	columns []string // what is hashed, in this order
	key     []int    // places of the key's columns among them

	schema *arrow.Schema
	at     []int // of the columns, in the schema
	row    []byte
	ends   []int // of the columns' values, in row
	keyRow []byte
}

// NewHasher hashes these columns. The key's columns must be among them. Order matters: hashes can be compared when both
// hashers were given the same.
func NewHasher(columns, key []string) (*Hasher, error) {
	h := &Hasher{columns: columns, ends: make([]int, len(columns)+1)}
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

// Each calls yield with the hashes of each row's key and of the whole row (xxh3, 128 bits). It fails when a column is
// missing, or of a type that has no source type.
func (h *Hasher) Each(batch arrow.RecordBatch, yield func(row int, key, all xxh3.Uint128) error) error {
	writers, err := h.writers(batch)
	if err != nil {
		return err
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

// writers returns for each column the function that appends a value of the batch.
func (h *Hasher) writers(batch arrow.RecordBatch) ([]func(dst []byte, row int) []byte, error) {
	if err := h.use(batch.Schema()); err != nil {
		return nil, err
	}
	writers := make([]func(dst []byte, row int) []byte, len(h.at))
	for i, c := range h.at {
		w, err := writerOf(batch.Column(c))
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", h.columns[i], err)
		}
		writers[i] = w
	}
	return writers, nil
}

// use finds the columns by name.
func (h *Hasher) use(schema *arrow.Schema) error {
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

// Row is one row, taken out of its batch.
type Row struct {
	Key    []string // the values of the key's columns, as text
	values [][]byte // of all columns, in the form that is hashed
}

// Size is about the memory it takes, in bytes.
func (r Row) Size() int {
	n := 24 * (len(r.Key) + len(r.values))
	for _, k := range r.Key {
		n += len(k)
	}
	for _, v := range r.values {
		n += len(v)
	}
	return n
}

// Row takes a row out of a batch that Each was given.
func (h *Hasher) Row(batch arrow.RecordBatch, row int) (Row, error) {
	writers, err := h.writers(batch)
	if err != nil {
		return Row{}, err
	}
	r := Row{Key: make([]string, len(h.key)), values: make([][]byte, len(writers))}
	for i, k := range h.key {
		r.Key[i] = strings.Clone(batch.Column(h.at[k]).ValueStr(row)) // of memory that is used again
	}
	for i, w := range writers {
		r.values[i] = w(nil, row)
	}
	return r, nil
}

// SameKey reports whether two rows that this hasher, or one like it, took out have the same key.
func (h *Hasher) SameKey(a, b Row) bool {
	for _, k := range h.key {
		if !bytes.Equal(a.values[k], b.values[k]) {
			return false
		}
	}
	return true
}

// Differing returns the names of the columns in which two rows differ.
func (h *Hasher) Differing(a, b Row) []string {
	var names []string
	for i, name := range h.columns {
		if !bytes.Equal(a.values[i], b.values[i]) {
			names = append(names, name)
		}
	}
	return names
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
