package lake

import (
	"bytes"
	"encoding/binary"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/iceberg-go"
)

// FileInfo is a live data file as its manifest entry describes it. It does not change when the table does.
type FileInfo struct {
	DataFile
	DeleteFiles int    // delete files to be read with it, vectors included
	Low, High   []byte // bounds of the first key column, possibly cut short, in an encoding that sorts like the values; nil when unknown
	FirstRowID  *int64 // format 3: row id of position 0, unless the file has its own (table spec, "Row Lineage")
	Sequence    int64  // data sequence number
}

// Inventory describes the live data files, in no particular order. The bitmaps are shared with the table, which never
// changes one: it replaces them.
func (t *Table) Inventory() []FileInfo {
	wide := map[string]int{}
	for _, paths := range t.wide {
		for _, p := range paths {
			wide[p]++
		}
	}
	first := t.icebergSc.Fields()[t.Key()[0]]
	var out []FileInfo
	for _, m := range t.data {
		for _, e := range m.entries {
			f := t.files[e.file.FilePath()]
			out = append(out, FileInfo{
				DataFile: *f, DeleteFiles: len(f.deletes) + wide[f.Path], FirstRowID: e.file.FirstRowID(), Sequence: e.sequence,
				Low: sortable(first.Type, e.file.LowerBoundValues()[first.ID]), High: sortable(first.Type, e.file.UpperBoundValues()[first.ID]),
			})
		}
	}
	return out
}

// sortable turns a bound (table spec, appendix D, "Single-value serialization") of a column that now has type t into bytes that
// sort like the values. A bound from before a promotion of the type is widened.
func sortable(t iceberg.Type, bound []byte) []byte {
	if len(bound) == 0 {
		return nil
	}
	switch t.(type) {
	case iceberg.StringType, iceberg.BinaryType, iceberg.BooleanType:
		return bound
	case iceberg.DecimalType: // big-endian two's complement, as short as can be
		out := bytes.Repeat([]byte{byte(int8(bound[0]) >> 7)}, max(0, 16-len(bound)))
		out = append(out, bound...)
		out[0] ^= 0x80
		return out
	case iceberg.Int64Type:
		if len(bound) == 4 {
			return appendInt(nil, t, int64(int32(binary.LittleEndian.Uint32(bound))))
		}
	case iceberg.TimestampType, iceberg.TimestampTzType:
		if len(bound) != 8 { // it was a date
			return nil
		}
	}
	out := make([]byte, len(bound)) // little-endian
	for i, b := range bound {
		out[len(bound)-1-i] = b
	}
	out[0] ^= 0x80
	return out
}

func appendInt(dst []byte, t iceberg.Type, v int64) []byte {
	switch t.(type) {
	case iceberg.Int32Type, iceberg.DateType:
		return binary.BigEndian.AppendUint32(dst, uint32(v)^1<<31)
	}
	return binary.BigEndian.AppendUint64(dst, uint64(v)^1<<63)
}

func appendDecimal(dst []byte, v decimal128.Num) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, uint64(v.HighBits())^1<<63), v.LowBits())
}

// AppendSortableKey appends the value of the first key column in a row of the table, in the encoding of FileInfo.Low. Floating-point
// columns are in no key (table spec, "Identifier Field IDs").
func (t *Table) AppendSortableKey(dst []byte, rec arrow.RecordBatch, row int) []byte {
	column := t.Key()[0]
	kind := t.icebergSc.Fields()[column].Type
	switch c := rec.Column(column).(type) {
	case *array.Int64:
		return appendInt(dst, kind, c.Value(row))
	case *array.Int32:
		return appendInt(dst, kind, int64(c.Value(row)))
	case *array.Date32:
		return appendInt(dst, kind, int64(c.Value(row)))
	case *array.Timestamp:
		return appendInt(dst, kind, int64(c.Value(row)))
	case *array.Decimal128:
		return appendDecimal(dst, c.Value(row))
	case *array.Boolean:
		if c.Value(row) {
			return append(dst, 1)
		}
		return append(dst, 0)
	case *array.String:
		return append(dst, c.Value(row)...)
	case *array.Binary:
		return append(dst, c.Value(row)...)
	}
	return dst
}
