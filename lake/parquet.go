package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/tidemark/tidemark/lake/pages"
)

// parquetFile is a data file that is being read.
type parquetFile struct {
	section *io.SectionReader
	object  io.Closer
	props   *parquet.ReaderProperties
	pq      *file.Reader
}

// wholeChunks is up to which size in bytes a row group is read a whole column chunk at a time, in few requests. Row
// groups of other writers can be far larger: those are read in pieces of pieceSize, to bound memory.
const (
	wholeChunks = 32 << 20
	pieceSize   = 1 << 20
)

// openParquet opens a data file and reads its footer. Its rows are read with memory of mem.
func (t *Table) openParquet(ctx context.Context, path string, mem memory.Allocator) (*parquetFile, error) {
	section, object, err := t.section(ctx, path)
	if err != nil {
		return nil, err
	}
	p := &parquetFile{section: section, object: object, props: parquet.NewReaderProperties(mem)}
	if p.pq, err = file.NewParquetReader(section, file.WithReadProps(p.props)); err != nil {
		return nil, errors.Join(fmt.Errorf("open Parquet file: %w", err), object.Close())
	}
	return p, nil
}

// leaf returns the ordinal, among the file's leaves, of the column that has a field id; -1 if there is none.
func (p *parquetFile) leaf(id string) int {
	sc := p.pq.MetaData().Schema
	for i := range sc.NumColumns() {
		root := sc.ColumnRoot(i)
		if _, flat := root.(*schema.PrimitiveNode); flat && strconv.Itoa(int(root.FieldID())) == id {
			return i
		}
	}
	return -1
}

// columnReader reads columns of a file, batch by batch.
type columnReader interface {
	// Next returns the next rows: an array of each column, which the caller releases; io.EOF behind the last.
	Next() ([]arrow.Array, error)
	Close()
}

// read begins to read columns of some row groups, in batches of at most batch rows: by the project's own decoder, or by
// pqarrow what that cannot read.
func (p *parquetFile) read(ctx context.Context, leaves, groups []int, batch int) (columnReader, error) {
	if pages.Readable(p.pq.MetaData(), leaves) != nil {
		return p.readByArrow(ctx, leaves, groups, batch)
	}
	return pages.NewReader(p.section, p.pq.MetaData(), pages.Options{
		Columns: leaves, Groups: groups, Batch: batch, Memory: p.props.Allocator(), Whole: wholeChunks, Piece: pieceSize,
	}), nil
}

func (p *parquetFile) close() error {
	return errors.Join(p.pq.Close(), p.object.Close())
}

// arrowReader reads by pqarrow.
type arrowReader struct {
	records pqarrow.RecordReader
	columns []int // of the record batches
}

func (p *parquetFile) readByArrow(ctx context.Context, leaves, groups []int, batch int) (columnReader, error) {
	for i := range p.pq.NumRowGroups() {
		if p.pq.MetaData().RowGroup(i).TotalCompressedSize() > wholeChunks {
			p.props.BufferedStreamEnabled, p.props.BufferSize = true, pieceSize
		}
	}
	r, err := pqarrow.NewFileReader(p.pq, pqarrow.ArrowReadProperties{BatchSize: int64(batch)}, p.props.Allocator())
	if err != nil {
		return nil, err
	}
	a := &arrowReader{}
	if a.records, err = r.GetRecordReader(ctx, leaves, groups); err != nil {
		return nil, err
	}
	for _, leaf := range leaves {
		name := p.pq.MetaData().Schema.ColumnRoot(leaf).Name()
		a.columns = append(a.columns, a.records.Schema().FieldIndices(name)[0])
	}
	return a, nil
}

func (a *arrowReader) Next() ([]arrow.Array, error) {
	if !a.records.Next() {
		if err := a.records.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	rec := a.records.RecordBatch()
	out := make([]arrow.Array, len(a.columns))
	for i, at := range a.columns {
		out[i] = rec.Column(at)
		out[i].Retain()
	}
	return out, nil
}

func (a *arrowReader) Close() { a.records.Release() }

func releaseArrays(arrays []arrow.Array) {
	for _, a := range arrays {
		if a != nil {
			a.Release()
		}
	}
}
