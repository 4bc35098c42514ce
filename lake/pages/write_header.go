package pages

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/parquet"
)

// Ids of struct fields in parquet.thrift, and the types of the Thrift compact protocol that they are written with.
const (
	writeFalse                  = 2
	writeI32, writeI64          = 5, 6
	writeStruct                 = 12
	pageTypeData, pageTypeDict  = 0, 2
	pageType, pageSize          = 1, 2
	pageStored, pageDataHeader  = 3, 5
	pageDictHeader              = 7
	dataValues, dataEncoding    = 1, 2
	dataDefinition, dataRepeats = 3, 4
	dataStatistics, statsNulls  = 5, 3
	dictValues, dictEncoding    = 1, 2
	dictSorted                  = 3
)

// headerWriter appends a struct in the Thrift compact protocol (thrift-compact-protocol.md, "Struct encoding"): fields come in
// the order of their ids, with the difference to the id before.
type headerWriter struct {
	out  []byte
	last []int // id of the last field, of each open struct
}

func (t *headerWriter) field(id, kind int) {
	top := len(t.last) - 1
	t.out = append(t.out, byte((id-t.last[top])<<4|kind))
	t.last[top] = id
}

func (t *headerWriter) i32(id int, v int32) {
	t.field(id, writeI32)
	t.out = binary.AppendVarint(t.out, int64(v)) // zigzag, as Go has it
}

func (t *headerWriter) i64(id int, v int64) {
	t.field(id, writeI64)
	t.out = binary.AppendVarint(t.out, v)
}

func (t *headerWriter) begin(id int) {
	t.field(id, writeStruct)
	t.last = append(t.last, 0)
}

func (t *headerWriter) end() {
	t.out = append(t.out, 0)
	t.last = t.last[:len(t.last)-1]
}

// dataHeader returns the header of a data page of so many rows, nulls among them, and of so many bytes before and after the
// codec. Bounds of pages are not in it: no reader of ours asks for them, and those of the chunk are in the footer.
func (t *headerWriter) dataHeader(rows, nulls int, encoding parquet.Encoding, size, stored int) []byte {
	t.out, t.last = t.out[:0], append(t.last[:0], 0)
	t.i32(pageType, pageTypeData)
	t.i32(pageSize, int32(size))
	t.i32(pageStored, int32(stored))
	t.begin(pageDataHeader)
	t.i32(dataValues, int32(rows))
	t.i32(dataEncoding, int32(encoding))
	t.i32(dataDefinition, int32(parquet.Encodings.RLE))
	t.i32(dataRepeats, int32(parquet.Encodings.RLE))
	t.begin(dataStatistics)
	t.i64(statsNulls, int64(nulls))
	t.end()
	t.end()
	t.end()
	return t.out
}

// dictionaryHeader returns the header of a dictionary page.
func (t *headerWriter) dictionaryHeader(values, size, stored int) []byte {
	t.out, t.last = t.out[:0], append(t.last[:0], 0)
	t.i32(pageType, pageTypeDict)
	t.i32(pageSize, int32(size))
	t.i32(pageStored, int32(stored))
	t.begin(pageDictHeader)
	t.i32(dictValues, int32(values))
	t.i32(dictEncoding, int32(parquet.Encodings.Plain))
	t.field(dictSorted, writeFalse)
	t.end()
	t.end()
	return t.out
}
