package pages

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// sink takes the values of a column in, page by page, and makes Arrow buffers of them, batch by batch.
type sink interface {
	// dictionary takes the n values of a column chunk's dictionary, in PLAIN.
	dictionary(body []byte, n int) error
	// begins says what the next values are read from: the body of a page of n > 0 values, which stays as it is until they are.
	begins(e parquet.Encoding, body []byte, n int) error

	// start begins a batch of at most so many rows.
	start(rows int)
	// read appends rows with the next n values to the batch; if they are less, valid has the rows that have one, from the
	// batch's first on. It returns how many rows it took: fewer, if the batch would become too large.
	read(rows, n int, valid []byte) (int, error)
	// finish ends the batch, and returns its buffers, which are the caller's, but for the validity.
	finish() []*memory.Buffer
	// abandon drops a batch that was not finished.
	abandon()
	// close gives back all memory.
	close()
}

// newSink returns the sink for a column and the type it makes of it; nil if it knows none. The types are those of pqarrow,
// without what Arrow's own writers note of the schema they wrote.
func newSink(c *schema.Column, mem memory.Allocator) (sink, arrow.DataType) {
	logical := c.LogicalType()
	plainInt := func(bits int8) bool {
		l, ok := logical.(schema.IntLogicalType)
		return logical.IsNone() || ok && l.BitWidth() == bits && l.IsSigned()
	}
	decimal := func(digits int32) *arrow.Decimal128Type {
		if l, ok := logical.(schema.DecimalLogicalType); ok && l.Precision() > 0 && l.Precision() <= digits {
			return &arrow.Decimal128Type{Precision: l.Precision(), Scale: l.Scale()}
		}
		return nil
	}
	switch c.PhysicalType() {
	case parquet.Types.Boolean:
		return &booleans{mem: mem}, arrow.FixedWidthTypes.Boolean
	case parquet.Types.Int32:
		switch {
		case plainInt(32):
			return &fixed[uint32]{mem: mem, open: numbers[uint32](true)}, arrow.PrimitiveTypes.Int32
		case isDate(logical):
			return &fixed[uint32]{mem: mem, open: numbers[uint32](true)}, arrow.FixedWidthTypes.Date32
		}
		if t := decimal(9); t != nil {
			return &fixed[decimal128.Num]{mem: mem, open: decimals[uint32]()}, t
		}
	case parquet.Types.Int64:
		if plainInt(64) {
			return &fixed[uint64]{mem: mem, open: numbers[uint64](true)}, arrow.PrimitiveTypes.Int64
		}
		if t := timestamp(logical); t != nil {
			return &fixed[uint64]{mem: mem, open: numbers[uint64](true)}, t
		}
		if t := decimal(18); t != nil {
			return &fixed[decimal128.Num]{mem: mem, open: decimals[uint64]()}, t
		}
	case parquet.Types.Float:
		return &fixed[uint32]{mem: mem, open: numbers[uint32](false)}, arrow.PrimitiveTypes.Float32
	case parquet.Types.Double:
		return &fixed[uint64]{mem: mem, open: numbers[uint64](false)}, arrow.PrimitiveTypes.Float64
	case parquet.Types.ByteArray:
		switch logical.(type) {
		case schema.StringLogicalType:
			return &byteArrays{mem: mem, limit: batchBytes}, arrow.BinaryTypes.String
		case schema.NoLogicalType, schema.EnumLogicalType, schema.JSONLogicalType, schema.BSONLogicalType:
			return &byteArrays{mem: mem, limit: batchBytes}, arrow.BinaryTypes.Binary
		}
	case parquet.Types.FixedLenByteArray:
		if t := decimal(38); t != nil && c.TypeLength() > 0 && c.TypeLength() <= 16 {
			return &fixed[decimal128.Num]{mem: mem, open: bigEndians(c.TypeLength())}, t
		}
	}
	return nil, nil
}

func isDate(l schema.LogicalType) bool {
	_, ok := l.(schema.DateLogicalType)
	return ok
}

// timestamp returns nil if values are no timestamps. Those of before logical types are taken for UTC (Parquet, LogicalTypes).
func timestamp(l schema.LogicalType) arrow.DataType {
	ts, ok := l.(schema.TimestampLogicalType)
	if !ok {
		return nil
	}
	t := &arrow.TimestampType{}
	switch ts.TimeUnit() {
	case schema.TimeUnitMillis:
		t.Unit = arrow.Millisecond
	case schema.TimeUnitMicros:
		t.Unit = arrow.Microsecond
	case schema.TimeUnitNanos:
		t.Unit = arrow.Nanosecond
	default:
		return nil
	}
	if ts.IsAdjustedToUTC() || ts.IsFromConvertedType() {
		t.TimeZone = "UTC"
	}
	return t
}

// Readable reports, as an error that says why not, whether a Reader can read the columns of a file, given their ordinals
// among its leaves. What it cannot read is none of what the project's tables have, or is written in a way that is rare:
// pqarrow reads it.
func Readable(meta *metadata.FileMetaData, columns []int) error {
	if meta.WriterVersion().LessThan(metadata.Parquet816FixedVersion) {
		return fmt.Errorf("its writer, %s, notes wrong lengths", meta.WriterVersion().App)
	}
	for _, i := range columns {
		c := meta.Schema.Column(i)
		if c.MaxRepetitionLevel() != 0 || c.MaxDefinitionLevel() > 1 {
			return fmt.Errorf("column %q is nested", c.Path())
		}
		if s, _ := newSink(c, nil); s == nil {
			return fmt.Errorf("column %q is %s, %s", c.Path(), c.PhysicalType(), c.LogicalType())
		}
		for g := range meta.NumRowGroups() {
			chunk, err := meta.RowGroup(g).ColumnChunk(i)
			if err != nil {
				return fmt.Errorf("column %q: %w", c.Path(), err)
			}
			switch {
			case chunk.CryptoMetadata() != nil:
				return fmt.Errorf("column %q is encrypted", c.Path())
			case chunk.FilePath() != "":
				return fmt.Errorf("column %q is in another file", c.Path())
			case !decompressible(chunk.Compression()):
				return fmt.Errorf("column %q is compressed by %s", c.Path(), chunk.Compression())
			}
			for _, e := range chunk.Encodings() {
				if !decodable(e, c.PhysicalType()) {
					return fmt.Errorf("column %q has values of encoding %s", c.Path(), e)
				}
			}
		}
	}
	return nil
}

// decodable reports whether a column chunk may have the encoding, which may be that of levels.
func decodable(e parquet.Encoding, t parquet.Type) bool {
	switch e {
	case parquet.Encodings.Plain, parquet.Encodings.RLE:
		return true
	case parquet.Encodings.BitPacked: // of the repetition levels that flat columns do not have
		return true
	case parquet.Encodings.PlainDict, parquet.Encodings.RLEDict:
		return t != parquet.Types.Boolean
	case parquet.Encodings.DeltaBinaryPacked:
		return t == parquet.Types.Int32 || t == parquet.Types.Int64
	case parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray:
		return t == parquet.Types.ByteArray
	case parquet.Encodings.ByteStreamSplit:
		return t != parquet.Types.Boolean && t != parquet.Types.ByteArray && t != parquet.Types.FixedLenByteArray
	}
	return false
}
