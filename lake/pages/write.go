// Package pages encodes Arrow columns as the pages of Parquet files, and pages as Arrow columns, for the flat types that
// tables here have. It does what is proportional to the rows; schema and footer are arrow-go's.
package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// magic begins and ends a Parquet file (README.md, "File format").
const magic = "PAR1"

// Column says how a column is written.
type Column struct {
	Dictionary bool                 // with a dictionary in each row group, until one is too large
	Encoding   parquet.Encoding     // of values outside a dictionary: PLAIN, or DELTA_BINARY_PACKED for whole numbers
	Codec      compress.Compression // of pages
}

// Writer writes one Parquet file. The pages of a row group are in memory until it is complete.
type Writer struct {
	out     io.Writer
	offset  int64
	schema  *arrow.Schema
	file    *metadata.FileMetaDataBuilder
	columns []*columnWriter
	shared  shared
	rows    int // of the row group
	groups  int
}

// NewWriter begins a file of columns as the schema has them, one Column each, with memory of mem. Parquet field ids are those
// of the fields' metadata (PARQUET:field_id). Decimals are whole numbers up to 18 digits.
func NewWriter(out io.Writer, schema *arrow.Schema, columns []Column, mem memory.Allocator) (*Writer, error) {
	if len(columns) != schema.NumFields() {
		return nil, fmt.Errorf("pages: %d columns, and encodings for %d", schema.NumFields(), len(columns))
	}
	options := []parquet.WriterProperty{parquet.WithStoreDecimalAsInteger(true), parquet.WithVersion(parquet.V2_LATEST)}
	for i, c := range columns {
		name := schema.Field(i).Name
		options = append(options, parquet.WithCompressionFor(name, c.Codec), parquet.WithEncodingFor(name, c.Encoding))
	}
	props := parquet.NewWriterProperties(options...)
	own, err := pqarrow.ToParquet(schema, props, pqarrow.NewArrowWriterProperties())
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	w := &Writer{out: out, schema: schema, file: metadata.NewFileMetadataBuilder(own, props, metadata.NewKeyValueMetadata()), shared: shared{mem: mem}}
	for i, c := range columns {
		column, err := newColumnWriter(schema.Field(i), c, own.Column(i), &w.shared)
		if err != nil {
			return nil, fmt.Errorf("pages: column %q: %w", schema.Field(i).Name, err)
		}
		w.columns = append(w.columns, column)
	}
	return w, w.write([]byte(magic))
}

func (w *Writer) write(b []byte) error {
	n, err := w.out.Write(b)
	w.offset += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// Write adds rows to the row group. The columns have the types of the schema's; names do not matter.
func (w *Writer) Write(rec arrow.RecordBatch) error {
	if n := int(rec.NumCols()); n != len(w.columns) {
		return fmt.Errorf("pages: %d columns, the file has %d", n, len(w.columns))
	}
	for i, c := range w.columns {
		field := w.schema.Field(i)
		a := rec.Column(i)
		switch {
		case !arrow.TypeEqual(a.DataType(), field.Type):
			return fmt.Errorf("pages: column %q is %s, not %s", field.Name, field.Type, a.DataType())
		case !field.Nullable && a.NullN() > 0:
			return fmt.Errorf("pages: column %q has NULL, and is not to have any", field.Name)
		}
		if err := c.write(a); err != nil {
			return fmt.Errorf("pages: column %q: %w", field.Name, err)
		}
	}
	w.rows += int(rec.NumRows())
	return nil
}

// GroupRows is how many rows the row group has.
func (w *Writer) GroupRows() int { return w.rows }

// GroupBytes is how many bytes the pages of the row group have that are complete, after their codec.
func (w *Writer) GroupBytes() int64 {
	n := int64(0)
	for _, c := range w.columns {
		n += c.stored
	}
	return n
}

// EndGroup writes the row group, if it has rows, and begins another.
func (w *Writer) EndGroup() error {
	if w.rows == 0 {
		return nil
	}
	group := w.file.AppendRowGroup()
	for i, c := range w.columns {
		if err := w.endChunk(c, group.NextColumnChunk()); err != nil {
			return fmt.Errorf("pages: column %q: %w", w.schema.Field(i).Name, err)
		}
	}
	group.SetNumRows(w.rows)
	if err := group.Finish(0, int16(w.groups)); err != nil {
		return err
	}
	w.groups++
	w.rows = 0
	return nil
}

// maxBound is the length up to which bounds are in the footer; a longer one is left out.
const maxBound = 4096

// endChunk writes a column chunk: the dictionary, if there is one, and the data pages.
func (w *Writer) endChunk(c *columnWriter, meta *metadata.ColumnChunkMetaDataBuilder) error {
	if err := c.endPage(); err != nil {
		return err
	}
	start := w.offset
	info := metadata.ChunkMetaInfo{NumValues: int64(w.rows), IndexPageOffset: -1}
	count := metadata.EncodingStats{DictEncodingStats: map[parquet.Encoding]int32{}, DataEncodingStats: map[parquet.Encoding]int32{}}
	body, values := c.encoder.dictionary()
	indexed := c.indexed
	if indexed {
		info.DictPageOffset = w.offset
		stored, err := w.shared.compress(c.column.Codec, body)
		if err != nil {
			return err
		}
		header := w.shared.header.dictionaryHeader(values, len(body), len(stored))
		info.UncompressedSize += int64(len(header) + len(body))
		count.DictEncodingStats[parquet.Encodings.Plain]++
		if err := errors.Join(w.write(header), w.write(stored)); err != nil {
			return err
		}
	}
	info.DataPageOffset = w.offset
	for _, p := range c.pages {
		info.UncompressedSize += int64(p.size)
		count.DataEncodingStats[p.encoding]++
		if err := w.write(p.stored); err != nil {
			return err
		}
	}
	info.CompressedSize = w.offset - start
	stats := metadata.EncodedStatistics{Signed: c.signed}
	stats.SetNullCount(int64(c.nulls))
	c.endChunk(&stats)
	stats.ApplyStatSizeLimits(maxBound)
	meta.SetStats(stats)
	return meta.Finish(info, indexed, indexed && count.DataEncodingStats[parquet.Encodings.Plain] > 0, count)
}

// Close writes the last row group and the footer, which it returns. It does not close the io.Writer.
func (w *Writer) Close() (*metadata.FileMetaData, error) {
	defer w.Release()
	if err := w.EndGroup(); err != nil {
		return nil, err
	}
	footer, err := w.file.Snapshot()
	if err != nil {
		return nil, err
	}
	n, err := footer.WriteTo(w.out, nil)
	if err != nil {
		return nil, err
	}
	tail := append(binary.LittleEndian.AppendUint32(nil, uint32(n)), magic...)
	return footer, w.write(tail)
}

// Release gives the memory back, of a writer that is not closed too. It may be called more than once.
func (w *Writer) Release() {
	for _, c := range w.columns {
		c.release()
	}
	w.columns = nil
	w.shared.release()
}
