package lake

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// ReadColumns reads the given columns of a data file, deleted rows included, in file order: fn gets record batches with the
// columns in the given order and the position of the batch's first row. A batch is fn's until it returns. Columns are found by field
// id, so files that other engines wrote are read too.
func (t *Table) ReadColumns(ctx context.Context, f *DataFile, columns []int, fn func(rec arrow.RecordBatch, first uint64) error) error {
	file, err := t.openParquet(ctx, f.Path, NewRecycler(columnsMemory))
	if err != nil {
		return err
	}
	return errors.Join(t.readColumns(ctx, file, f, columns, fn), file.close())
}

const (
	columnsBatch  = 64 << 10
	columnsMemory = 8 << 20 // bytes that are kept for the next batch
)

func (t *Table) readColumns(ctx context.Context, file *parquetFile, f *DataFile, columns []int, fn func(rec arrow.RecordBatch, first uint64) error) error {
	var leaves []int
	for _, c := range columns {
		id, _ := t.schema.Field(c).Metadata.GetValue(fieldIDKey)
		leaf := file.leaf(id)
		if leaf < 0 {
			return fmt.Errorf("the file has no column with field id %s (%q)", id, t.schema.Field(c).Name)
		}
		leaves = append(leaves, leaf)
	}
	groups := make([]int, file.pq.NumRowGroups())
	for i := range groups {
		groups[i] = i
	}
	r, err := file.read(ctx, leaves, groups, columnsBatch)
	if err != nil {
		return err
	}
	defer r.Close()
	first := uint64(0)
	for {
		arrays, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		fields := make([]arrow.Field, len(arrays))
		for i, c := range columns {
			fields[i] = t.schema.Field(c)
			fields[i].Type = arrays[i].DataType()
		}
		rows := arrays[0].Len()
		batch := array.NewRecordBatch(arrow.NewSchema(fields, nil), arrays, int64(rows))
		releaseArrays(arrays)
		err = fn(batch, first)
		batch.Release()
		if err != nil {
			return err
		}
		first += uint64(rows)
	}
	if int64(first) != f.Rows {
		return fmt.Errorf("the file has %d rows, its manifest says %d", first, f.Rows)
	}
	return nil
}
