package pages

import (
	"encoding/binary"

	"github.com/apache/arrow-go/v18/parquet"
)

// Types of the Thrift compact protocol.
const (
	writeFalse  = 2
	writeI32    = 5
	writeI64    = 6
	writeStruct = 12
)

// Ids of fields, and types of pages (parquet.thrift: PageHeader, DataPageHeader, DictionaryPageHeader, Statistics, PageType).
const (
	headerType       = 1
	headerSize       = 2
	headerStored     = 3
	headerData       = 5
	headerDictionary = 7

	dataValues      = 1
	dataEncoding    = 2
	dataDefinition  = 3
	dataRepetition  = 4
	dataStatistics  = 5
	statisticsNulls = 3

	dictionaryValues   = 1
	dictionaryEncoding = 2
	dictionarySorted   = 3

	typeData       = 0
	typeDictionary = 2
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
	t.i32(headerType, typeData)
	t.i32(headerSize, int32(size))
	t.i32(headerStored, int32(stored))
	t.begin(headerData)
	t.i32(dataValues, int32(rows))
	t.i32(dataEncoding, int32(encoding))
	t.i32(dataDefinition, int32(parquet.Encodings.RLE))
	t.i32(dataRepetition, int32(parquet.Encodings.RLE))
	t.begin(dataStatistics)
	t.i64(statisticsNulls, int64(nulls))
	t.end()
	t.end()
	t.end()
	return t.out
}

// dictionaryHeader returns the header of a dictionary page.
func (t *headerWriter) dictionaryHeader(values, size, stored int) []byte {
	t.out, t.last = t.out[:0], append(t.last[:0], 0)
	t.i32(headerType, typeDictionary)
	t.i32(headerSize, int32(size))
	t.i32(headerStored, int32(stored))
	t.begin(headerDictionary)
	t.i32(dictionaryValues, int32(values))
	t.i32(dictionaryEncoding, int32(parquet.Encodings.Plain))
	t.field(dictionarySorted, writeFalse)
	t.end()
	t.end()
	return t.out
}
