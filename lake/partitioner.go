package lake

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/twmb/murmur3"
)

// Partitioner finds the partition of each row of record batches.
//
// Values of partitions are computed by iceberg-go's transforms, once for each that occurs. Which rows have the same one is
// found out by arithmetic on whole columns, without a Go value a row.
type Partitioner struct {
	spec   iceberg.PartitionSpec
	fields []partitionField

	joins []joiner // of each field with those before it
	known []Partition
}

// partitionField is a field with the values it has had.
type partitionField struct {
	id     int
	column int // ordinal; -1 for a field that is NULL in every row
	coder  *coder
}

// Partitioner returns nil where the table is not partitioned. It takes the partition spec as it is now.
func (t *Table) Partitioner() (*Partitioner, error) {
	if t.spec.IsUnpartitioned() {
		return nil, nil
	}
	p := &Partitioner{spec: t.spec}
	ordinals := map[int]int{}
	for i, f := range t.icebergSc.Fields() {
		ordinals[f.ID] = i
	}
	for _, f := range t.spec.Fields() {
		if _, void := f.Transform.(iceberg.VoidTransform); void {
			p.fields = append(p.fields, partitionField{id: f.FieldID, column: -1})
			continue
		}
		at, ok := ordinals[f.SourceID()]
		if !ok {
			return nil, fmt.Errorf("%s: the partition field %q is of column %d, which the table does not have", t.id, f.Name, f.SourceID())
		}
		source := t.icebergSc.Fields()[at]
		if _, unknown := f.Transform.(iceberg.UnknownTransform); unknown || len(f.SourceIDs) != 1 || !f.Transform.CanTransform(source.Type) {
			return nil, fmt.Errorf("%s: the partition field %q is %s of %q (%s): tidemark does not know this transform", t.id, f.Name, f.Transform, source.Name, source.Type)
		}
		p.fields = append(p.fields, partitionField{f.FieldID, at, newCoder(source.Type, f.Transform)})
	}
	for range p.fields {
		p.joins = append(p.joins, joiner{known: map[uint64]int32{}})
	}
	return p, nil
}

// Split returns the number of the partition of each row. rec has the table's columns in their order, and possibly others
// behind them.
func (p *Partitioner) Split(rec arrow.RecordBatch) ([]int32, error) {
	rows := int(rec.NumRows())
	numbers, codes := make([]int32, rows), make([]int32, rows)
	for i := range p.fields {
		f := &p.fields[i]
		if f.column < 0 {
			clear(codes)
		} else if err := f.coder.encode(rec.Column(f.column), codes); err != nil {
			return nil, fmt.Errorf("partition by column %q: %w", rec.ColumnName(f.column), err)
		}
		if i == 0 {
			p.joins[i].first(numbers, codes)
		} else {
			p.joins[i].join(numbers, codes)
		}
	}
	for n := len(p.known); n < len(p.joins[len(p.joins)-1].pairs); n++ {
		p.known = append(p.known, p.resolve(n))
	}
	return numbers, nil
}

// joiner numbers pairs: what the fields before have as their number, and the code of a field.
type joiner struct {
	known map[uint64]int32
	pairs []uint64 // by number
	codes []int32  // number + 1 by code, where there is no field before
}

// first numbers codes.
func (j *joiner) first(numbers, codes []int32) {
	for row, code := range codes {
		if int(code) >= len(j.codes) {
			j.codes = append(j.codes, make([]int32, int(code)+1)...)
		}
		if j.codes[code] == 0 {
			j.pairs = append(j.pairs, uint64(code))
			j.codes[code] = int32(len(j.pairs))
		}
		numbers[row] = j.codes[code] - 1
	}
}

func (j *joiner) join(numbers, codes []int32) {
	last, number := uint64(math.MaxUint64), int32(0)
	for row, code := range codes {
		pair := uint64(numbers[row])<<32 | uint64(code)
		if pair != last {
			var ok bool
			if number, ok = j.known[pair]; !ok {
				number = int32(len(j.pairs))
				j.known[pair], j.pairs = number, append(j.pairs, pair)
			}
			last = pair
		}
		numbers[row] = number
	}
}

// resolve finds the values of a partition by its number.
func (p *Partitioner) resolve(number int) Partition {
	values := map[int]any{}
	for i := len(p.fields) - 1; i >= 0; i-- {
		pair := p.joins[i].pairs[number]
		if c := p.fields[i].coder; c != nil {
			values[p.fields[i].id] = c.values[uint32(pair)]
		}
		number = int(pair >> 32)
	}
	return partition(p.spec, values)
}

// Partitions is how many partitions there were.
func (p *Partitioner) Partitions() int { return len(p.known) }

// Partition is a partition by its number.
func (p *Partitioner) Partition(number int32) Partition { return p.known[number] }

// coder gives equal values of a transformed column equal codes: 0 for NULL, then 1, 2, ... in the order in which they occur.
type coder struct {
	transform iceberg.Transform
	literal   func(c arrow.Array, row int) iceberg.Literal
	values    []any            // by code
	codes     map[string]int32 // by appendValue

	// Of a whole number, point in time or text, transforms depend on less than all of it: on its day, on its beginning.
	// What they depend on is cheap to get at, and has a code.
	reduce  func(int64) int64
	cut     func([]byte) []byte
	small   []int32         // of reduced numbers below smallNumbers, as days and buckets are; 0: none yet
	numbers map[int64]int32 // of the others
	texts   map[string]int32
}

const smallNumbers = 1 << 16

const (
	hourMicros = 3600 * 1_000_000
	dayMicros  = 24 * hourMicros
)

func newCoder(source iceberg.Type, transform iceberg.Transform) *coder {
	c := &coder{
		transform: transform, literal: literalOf(source), values: []any{nil}, codes: map[string]int32{},
		numbers: map[int64]int32{}, texts: map[string]int32{}, reduce: func(v int64) int64 { return v }, cut: func(b []byte) []byte { return b },
	}
	_, instant := source.(iceberg.TimestampType)
	if _, zoned := source.(iceberg.TimestampTzType); zoned {
		instant = true
	}
	switch t := transform.(type) {
	case iceberg.YearTransform, iceberg.MonthTransform, iceberg.DayTransform:
		if instant {
			c.reduce = func(v int64) int64 { return floorDiv(v, dayMicros) }
		}
	case iceberg.HourTransform:
		c.reduce = func(v int64) int64 { return floorDiv(v, hourMicros) }
	case iceberg.TruncateTransform:
		c.reduce = func(v int64) int64 { return floorDiv(v, int64(t.Width)) }
		c.cut = func(b []byte) []byte { return b[:min(len(b), t.Width)] }
		if _, text := source.(iceberg.StringType); text {
			c.cut = func(b []byte) []byte { return firstRunes(b, t.Width) }
		}
	case iceberg.BucketTransform:
		c.reduce = func(v int64) int64 { // table spec, appendix B: dates and ints are hashed as longs
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], uint64(v))
			return int64(bucket(murmur3.Sum32(b[:]), t.NumBuckets))
		}
	}
	return c
}

func bucket(hash uint32, buckets int) int32 { return int32(hash&math.MaxInt32) % int32(buckets) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// firstRunes returns the first n code points.
func firstRunes(b []byte, n int) []byte {
	end := 0
	for ; n > 0 && end < len(b); n-- {
		_, size := utf8.DecodeRune(b[end:])
		end += size
	}
	return b[:end]
}

// encode writes the code of each value of a column.
func (c *coder) encode(column arrow.Array, codes []int32) error {
	switch a := column.(type) {
	case *array.Int32:
		return encodeNumbers(c, a, a.Int32Values(), codes)
	case *array.Int64:
		return encodeNumbers(c, a, a.Int64Values(), codes)
	case *array.Date32:
		return encodeNumbers(c, a, a.Date32Values(), codes)
	case *array.Timestamp:
		return encodeNumbers(c, a, a.TimestampValues(), codes)
	case *array.String:
		return c.encodeTexts(a, a.ValueOffsets(), a.ValueBytes(), codes)
	case *array.Binary:
		return c.encodeTexts(a, a.ValueOffsets(), a.ValueBytes(), codes)
	}
	for row := range codes {
		var err error
		if codes[row], err = c.code(column, row); err != nil {
			return err
		}
	}
	return nil
}

func encodeNumbers[T ~int32 | ~int64](c *coder, column arrow.Array, values []T, codes []int32) error {
	nulls := column.NullN() > 0
	last, code, seen := int64(0), int32(0), false
	for row, v := range values {
		if nulls && column.IsNull(row) {
			codes[row] = 0
			continue
		}
		n := c.reduce(int64(v))
		if !seen || n != last {
			if code = c.known(n); code == 0 {
				var err error
				if code, err = c.code(column, row); err != nil {
					return err
				}
				c.learn(n, code)
			}
			last, seen = n, true
		}
		codes[row] = code
	}
	return nil
}

func (c *coder) encodeTexts(column arrow.Array, offsets []int32, values []byte, codes []int32) error {
	nulls := column.NullN() > 0
	buckets := 0
	if t, ok := c.transform.(iceberg.BucketTransform); ok {
		buckets = t.NumBuckets
	}
	var last []byte
	code, seen := int32(0), false
	for row := range codes {
		if nulls && column.IsNull(row) {
			codes[row] = 0
			continue
		}
		text := c.cut(values[offsets[row]-offsets[0] : offsets[row+1]-offsets[0]])
		if seen && bytes.Equal(text, last) {
			codes[row] = code
			continue
		}
		n := int64(0)
		if buckets > 0 {
			n = int64(bucket(murmur3.Sum32(text), buckets))
			code = c.known(n)
		} else {
			code = c.texts[string(text)]
		}
		if code == 0 {
			var err error
			if code, err = c.code(column, row); err != nil {
				return err
			}
			if buckets > 0 {
				c.learn(n, code)
			} else {
				c.texts[string(text)] = code
			}
		}
		codes[row], last, seen = code, text, true
	}
	return nil
}

// known is the code of a reduced number; 0 when it has none yet.
func (c *coder) known(n int64) int32 {
	if uint64(n) < uint64(len(c.small)) {
		return c.small[n]
	}
	return c.numbers[n]
}

func (c *coder) learn(n int64, code int32) {
	if uint64(n) >= smallNumbers {
		c.numbers[n] = code
		return
	}
	for int64(len(c.small)) <= n {
		c.small = append(c.small, make([]int32, n+1)...)
	}
	c.small[n] = code
}

// code transforms one value, and returns the code of the result.
func (c *coder) code(column arrow.Array, row int) (int32, error) {
	if column.IsNull(row) {
		return 0, nil
	}
	out := c.transform.Apply(iceberg.Optional[iceberg.Literal]{Valid: true, Val: c.literal(column, row)})
	if !out.Valid {
		return 0, fmt.Errorf("%s of %s has no result", c.transform, column.ValueStr(row))
	}
	value := out.Val.Any()
	if b, ok := value.([]byte); ok {
		value = bytes.Clone(b)
	}
	key := string(appendValue(nil, value))
	code, ok := c.codes[key]
	if !ok {
		code = int32(len(c.values))
		c.values, c.codes[key] = append(c.values, value), code
	}
	return code, nil
}

// literalOf says how a value of a column becomes a literal of an Iceberg type.
func literalOf(t iceberg.Type) func(arrow.Array, int) iceberg.Literal {
	switch t := t.(type) {
	case iceberg.BooleanType:
		return func(c arrow.Array, row int) iceberg.Literal {
			return iceberg.BoolLiteral(c.(*array.Boolean).Value(row))
		}
	case iceberg.Int32Type:
		return func(c arrow.Array, row int) iceberg.Literal { return iceberg.Int32Literal(c.(*array.Int32).Value(row)) }
	case iceberg.Int64Type:
		return func(c arrow.Array, row int) iceberg.Literal { return iceberg.Int64Literal(c.(*array.Int64).Value(row)) }
	case iceberg.Float32Type:
		return func(c arrow.Array, row int) iceberg.Literal {
			return iceberg.Float32Literal(c.(*array.Float32).Value(row))
		}
	case iceberg.Float64Type:
		return func(c arrow.Array, row int) iceberg.Literal {
			return iceberg.Float64Literal(c.(*array.Float64).Value(row))
		}
	case iceberg.DateType:
		return func(c arrow.Array, row int) iceberg.Literal { return iceberg.DateLiteral(c.(*array.Date32).Value(row)) }
	case iceberg.TimestampType, iceberg.TimestampTzType:
		return func(c arrow.Array, row int) iceberg.Literal {
			return iceberg.TimestampLiteral(c.(*array.Timestamp).Value(row))
		}
	case iceberg.DecimalType:
		return func(c arrow.Array, row int) iceberg.Literal {
			return iceberg.DecimalLiteral{Val: c.(*array.Decimal128).Value(row), Scale: t.Scale()}
		}
	case iceberg.StringType:
		return func(c arrow.Array, row int) iceberg.Literal {
			return iceberg.StringLiteral(strings.Clone(c.(*array.String).Value(row)))
		}
	}
	return func(c arrow.Array, row int) iceberg.Literal {
		return iceberg.BinaryLiteral(c.(*array.Binary).Value(row))
	}
}
