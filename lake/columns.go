package lake

import (
	"context"
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// ReadColumns reads the given columns of a data file, deleted rows included, in file order: fn gets record batches with the
// columns in the given order and the position of the batch's first row. Columns are found by field id, so files that
// other engines wrote are read too.
func (t *Table) ReadColumns(ctx context.Context, f *DataFile, columns []int, fn func(rec arrow.RecordBatch, first uint64) error) error {
	section, closer, err := t.section(ctx, f.Path)
	if err != nil {
		return err
	}
	defer closer.Close()
	pf, err := file.NewParquetReader(section)
	if err != nil {
		return fmt.Errorf("open Parquet file: %w", err)
	}
	defer pf.Close()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 64 << 10}, memory.DefaultAllocator)
	if err != nil {
		return fmt.Errorf("open Parquet file: %w", err)
	}
	schema, err := r.Schema()
	if err != nil {
		return err
	}
	byID := map[string]int{}
	for i, field := range schema.Fields() {
		if id, ok := field.Metadata.GetValue(fieldIDKey); ok {
			byID[id] = i
		}
	}
	var indices []int
	for _, c := range columns {
		id, _ := t.schema.Field(c).Metadata.GetValue(fieldIDKey)
		i, ok := byID[id]
		if !ok {
			return fmt.Errorf("the file has no column with field id %s (%q)", id, t.schema.Field(c).Name)
		}
		indices = append(indices, i)
	}
	records, err := r.GetRecordReader(ctx, indices, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	first := uint64(0)
	for records.Next() {
		rec := records.RecordBatch()
		ordered := make([]arrow.Array, len(indices))
		for i, c := range columns {
			at, err := columnByID(rec.Schema(), t.fieldID(c))
			if err != nil {
				return err
			}
			ordered[i] = rec.Column(at)
		}
		fields := make([]arrow.Field, len(ordered))
		for i, c := range columns {
			fields[i] = t.schema.Field(c)
			fields[i].Type = ordered[i].DataType()
		}
		batch := array.NewRecordBatch(arrow.NewSchema(fields, nil), ordered, rec.NumRows())
		err := fn(batch, first)
		batch.Release()
		if err != nil {
			return err
		}
		first += uint64(rec.NumRows())
	}
	if err := records.Err(); err != nil {
		return err
	}
	if int64(first) != f.Rows {
		return fmt.Errorf("the file has %d rows, its manifest says %d", first, f.Rows)
	}
	return nil
}

func (t *Table) fieldID(column int) int { return t.icebergSc.Fields()[column].ID }

func columnByID(schema *arrow.Schema, id int) (int, error) {
	for i, f := range schema.Fields() {
		if v, ok := f.Metadata.GetValue(fieldIDKey); ok && v == strconv.Itoa(id) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no column with field id %d", id)
}
