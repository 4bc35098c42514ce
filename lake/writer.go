package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/tidemark/tidemark/lake/pages"
	"github.com/tidemark/tidemark/lake/store"
)

// NewFile is a data file that no snapshot has yet.
type NewFile struct {
	ID   uint32 // what DataFile.ID will be once it is committed
	Path string
	Rows int64
	Size int64 // bytes

	partition Partition
	file      iceberg.DataFile
}

// FileWriter writes one data file. Rows must come in key order.
type FileWriter struct {
	t      *Table
	name   string
	object store.Writer
	out    *counted
	pages  *pages.Writer // nil until the first rows tell how to encode the columns
	schema *arrow.Schema
	fields *iceberg.Schema // the same, for the statistics
	mem    memory.Allocator
	rows   int64
	expect int64 // rows to come, as far as it is known beforehand
	brief  int64 // bytes: a file below that is compressed for speed

	partition Partition // of every row
	placed    bool      // partition is set
}

// A row group is bounded because its encoded pages are in memory until it is complete. A lookup by key reads one, and what the footer
// says of all: DuckDB, which asks the deletion vector for each row of it, would like fewer rows, and Trino larger groups.
const (
	rowGroupRows  = 128 << 10
	rowGroupBytes = 32 << 20 // encoded
)

// NewFileWriter begins a data file.
func (t *Table) NewFileWriter(ctx context.Context) (*FileWriter, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	w := &FileWriter{t: t, name: t.name("data/" + id.String() + ".parquet"), schema: t.schema, fields: t.icebergSc, mem: memory.DefaultAllocator}
	if t.spec.IsUnpartitioned() {
		w.In(partition(t.spec, nil))
	}
	if w.object, err = t.lake.Store.Create(ctx, w.name); err != nil {
		return nil, err
	}
	w.out = &counted{w: w.object}
	return w, nil
}

// Expect says about how many rows will come, as far as it is known: encodings are chosen for so many. It counts before the first
// Write.
func (w *FileWriter) Expect(rows int64) { w.expect = rows }

// Brief says that the file will be rewritten before long if it has fewer bytes than that: then it is compressed with snappy,
// which takes half the time of zstd and twice the room. How large it becomes is estimated from the rows that are expected. Files
// of partitioned tables are not, for they may stay small for ever. It counts before the first Write.
func (w *FileWriter) Brief(below int64) {
	if w.t.spec.IsUnpartitioned() {
		w.brief = below
	}
}

// packed is about how many times smaller than in memory rows are in a file.
const packed = 4

// codecFor chooses the codec of a file by its first rows.
func (w *FileWriter) codecFor(rec arrow.RecordBatch) compress.Compression {
	bits := int64(0)
	for _, c := range rec.Columns() {
		switch c := c.(type) {
		case array.BinaryLike:
			bits += 8 * int64(len(c.ValueBytes()))
		default:
			bits += int64(c.DataType().(arrow.FixedWidthDataType).BitWidth()) * int64(c.Len())
		}
	}
	if w.expect > 0 && float64(bits/8)/float64(rec.NumRows())*float64(w.expect)/packed < float64(w.brief) {
		return compress.Codecs.Snappy
	}
	return compress.Codecs.Zstd
}

// In says which partition all rows are of. In a partitioned table it has to be called before Close.
func (w *FileWriter) In(p Partition) { w.partition, w.placed = p, true }

type counted struct {
	w store.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Write appends rows.
func (w *FileWriter) Write(rec arrow.RecordBatch) error {
	if w.pages == nil {
		codec := w.codecFor(rec)
		columns := make([]pages.Column, rec.NumCols())
		for i := range columns {
			columns[i] = encoding(rec.Column(i), min(w.expect, rowGroupRows), codec) // chosen from the first rows
		}
		var err error
		if w.pages, err = pages.NewWriter(w.out, w.schema, columns, w.mem); err != nil {
			return err
		}
	}
	if w.pages.GroupRows() >= rowGroupRows || w.pages.GroupBytes() >= rowGroupBytes {
		if err := w.pages.EndGroup(); err != nil {
			return err
		}
	}
	w.rows += rec.NumRows()
	return w.pages.Write(rec)
}

// Size is how many bytes are written: complete row groups.
func (w *FileWriter) Size() int64 { return w.out.n }

// Packed is how many rows the complete row groups have.
func (w *FileWriter) Packed() int64 {
	if w.pages == nil {
		return 0
	}
	return w.rows - int64(w.pages.GroupRows())
}

// Close publishes the file. Its rows are nobody's until a commit adds it.
func (w *FileWriter) Close() (*NewFile, error) {
	spec, known := w.t.specs[w.partition.spec]
	switch {
	case w.rows == 0:
		return nil, errors.Join(errors.New("lake: a data file has at least one row"), w.Abort())
	case !w.placed || !known:
		return nil, errors.Join(fmt.Errorf("lake: a data file of %s without its partition", w.t.id), w.Abort())
	}
	meta, err := w.pages.Close()
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	if err := w.object.Close(); err != nil {
		return nil, err
	}
	uri := w.t.lake.Store.URI(w.name)
	df, err := table.DataFileFromMetadata(table.DataFileArgs{
		Schema: w.fields, Spec: spec, PartitionValues: w.partition.values, Format: iceberg.ParquetFile, Metadata: meta,
		FilePath: uri, FileSize: w.out.n, FormatVersion: w.t.format, Content: iceberg.EntryContentData,
	})
	if err == nil {
		df, err = splitFarApart(df, spec, w.partition)
	}
	if err != nil {
		return nil, fmt.Errorf("statistics of %s: %w", uri, err)
	}
	w.t.lastID++
	return &NewFile{ID: w.t.lastID, Path: uri, Rows: w.rows, Size: w.out.n, partition: w.partition, file: df}, nil
}

// splitBytes is how far apart in bytes the offsets at which readers may divide a data file are at least. Trino makes a split of
// each, and reads the whole footer for each split: with an offset for each of our row groups, which are small, a lookup's time
// would grow with the square of the file's size.
const splitBytes = 32 << 20

// splitFarApart returns the entry of a data file with fewer split offsets (table spec, "Manifests", split_offsets).
func splitFarApart(f iceberg.DataFile, spec iceberg.PartitionSpec, p Partition) (iceberg.DataFile, error) {
	b, err := iceberg.NewDataFileBuilder(spec, f.ContentType(), f.FilePath(), f.FileFormat(), p.values, nil, nil, f.Count(), f.FileSizeBytes())
	if err != nil {
		return nil, err
	}
	b.ColumnSizes(f.ColumnSizes()).ValueCounts(f.ValueCounts()).NullValueCounts(f.NullValueCounts()).NaNValueCounts(f.NaNValueCounts())
	b.LowerBoundValues(f.LowerBoundValues()).UpperBoundValues(f.UpperBoundValues())
	if id := f.SortOrderID(); id != nil {
		b.SortOrderID(*id)
	}
	return b.SplitOffsets(farApart(f.SplitOffsets())).Build(), nil
}

// farApart returns those of the ascending offsets, the first one always, that are splitBytes or more from the one before.
func farApart(offsets []int64) []int64 {
	var kept []int64
	for _, at := range offsets {
		if len(kept) == 0 || at-kept[len(kept)-1] >= splitBytes {
			kept = append(kept, at)
		}
	}
	return kept
}

// Abort drops what was written.
func (w *FileWriter) Abort() error {
	if w.pages != nil {
		w.pages.Release()
	}
	return w.object.Abort()
}

// Discard deletes data files that will not be committed. What cannot be deleted stays an orphan, which harms no reader.
func (t *Table) Discard(ctx context.Context, files []*NewFile) error {
	var errs []error
	for _, f := range files {
		name, err := t.lake.Store.Name(f.Path)
		if err == nil {
			err = t.lake.Store.Delete(ctx, name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
