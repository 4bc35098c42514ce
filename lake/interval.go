package lake

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/iceberg-go"
)

// Interval is a part of a table whose key begins with a column of whole numbers: the rows that have From or more and less
// than To there. A nil end is open.
type Interval struct{ From, To *decimal128.Num }

// whole reports whether it leaves no row out.
func (i Interval) whole() bool { return i.From == nil && i.To == nil }

func (i Interval) holds(v decimal128.Num) bool {
	return (i.From == nil || !v.Less(*i.From)) && (i.To == nil || v.Less(*i.To))
}

// meets reports whether values from low to high may lie in it.
func (i Interval) meets(low, high decimal128.Num) bool {
	return (i.From == nil || !high.Less(*i.From)) && (i.To == nil || low.Less(*i.To))
}

// Holds returns the function that says which rows are in the interval, given the first key column; nil when all are.
func (i Interval) Holds(column arrow.Array) (func(row int) bool, error) {
	if i.whole() {
		return nil, nil
	}
	switch c := column.(type) {
	case *array.Int32:
		return func(row int) bool { return i.holds(decimal128.FromI64(int64(c.Value(row)))) }, nil
	case *array.Int64:
		return func(row int) bool { return i.holds(decimal128.FromI64(c.Value(row))) }, nil
	case *array.Decimal128:
		if t, ok := c.DataType().(*arrow.Decimal128Type); ok && t.Scale == 0 {
			return func(row int) bool { return i.holds(c.Value(row)) }, nil
		}
	}
	return nil, fmt.Errorf("values of %s are no whole numbers", column.DataType())
}

// Meets reports whether a data file may have rows of the interval, as far as its manifest entry tells.
func (t *Table) Meets(f *FileInfo, i Interval) bool {
	field := t.icebergSc.Fields()[t.Key()[0]]
	outside := func(bound []byte, end *decimal128.Num, below bool) bool {
		if bound == nil || end == nil {
			return false
		}
		v := sortableNumber(field.Type, *end)
		if v == nil {
			return false
		}
		c := bytes.Compare(bound, v)
		return below && c < 0 || !below && c >= 0
	}
	return !outside(f.High, i.From, true) && !outside(f.Low, i.To, false)
}

// sortableNumber is a number in the form of FileInfo.Low.
func sortableNumber(t iceberg.Type, v decimal128.Num) []byte {
	switch t.(type) {
	case iceberg.Int32Type, iceberg.Int64Type:
		return appendInt(nil, t, int64(v.LowBits()))
	case iceberg.DecimalType:
		return appendDecimal(nil, v)
	}
	return nil
}

// chunkMeets reports whether a column chunk may have values in the interval.
func chunkMeets(c *metadata.ColumnChunkMetaData, i Interval) bool {
	stats, err := c.Statistics()
	if err != nil || stats == nil || !stats.HasMinMax() {
		return true
	}
	switch s := stats.(type) {
	case *metadata.Int32Statistics:
		return i.meets(decimal128.FromI64(int64(s.Min())), decimal128.FromI64(int64(s.Max())))
	case *metadata.Int64Statistics:
		return i.meets(decimal128.FromI64(s.Min()), decimal128.FromI64(s.Max()))
	case *metadata.FixedLenByteArrayStatistics:
		return len(s.Min()) > 16 || i.meets(bigEndian(s.Min()), bigEndian(s.Max()))
	}
	return true
}

// bigEndian reads a number in two's complement of at most 16 bytes.
func bigEndian(b []byte) decimal128.Num {
	var wide [16]byte
	if len(b) > 0 && b[0] >= 0x80 {
		for i := range wide {
			wide[i] = 0xff
		}
	}
	copy(wide[16-len(b):], b)
	return decimal128.New(int64(binary.BigEndian.Uint64(wide[:8])), binary.BigEndian.Uint64(wide[8:]))
}
