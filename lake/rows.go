package lake

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// RowReader reads the rows of one data file in file order, deleted ones included: the columns of the table as it is now,
// and, where rows are to be moved (OpenRows), in format 3 the lineage of each row.
type RowReader struct {
	t        *Table
	f        *FileInfo
	schema   *arrow.Schema
	lineaged bool // schema ends in the lineage columns
	mem      memory.Allocator
	file     *parquetFile
	records  columnReader // nil: no row group is to be read
	columns  []int        // of schema, among those that are read; -1 where the file has none
	next     int64        // position of the next row
	end      int64        // position behind the last row to be read
}

// OpenRows begins to read a data file as NewMovedWriter takes it, in batches of at most batch rows, with memory of mem.
func (t *Table) OpenRows(ctx context.Context, f *FileInfo, batch int, mem memory.Allocator) (*RowReader, error) {
	schema, _ := t.movedSchema()
	return t.openRows(ctx, &RowReader{t: t, f: f, schema: schema, lineaged: t.format >= 3}, Interval{}, batch, mem)
}

// OpenValues begins to read the columns of the table alone. Of the file's row groups, those that cannot have rows of a
// part are left out at both ends; the others may have further rows too. It may be called by several goroutines at once, as
// long as nobody changes the table.
func (t *Table) OpenValues(ctx context.Context, f *FileInfo, part Interval, batch int, mem memory.Allocator) (*RowReader, error) {
	return t.openRows(ctx, &RowReader{t: t, f: f, schema: t.schema}, part, batch, mem)
}

func (t *Table) openRows(ctx context.Context, r *RowReader, part Interval, batch int, mem memory.Allocator) (_ *RowReader, err error) {
	f := r.f
	r.mem = mem
	if r.file, err = t.openParquet(ctx, f.Path, mem); err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open %s: %w", f.Path, err), r.Close())
		}
	}()
	if rows := r.file.pq.NumRows(); rows != f.Rows {
		return nil, fmt.Errorf("the file has %d rows, its manifest says %d", rows, f.Rows)
	}
	var leaves []int
	key := -1
	for i, field := range r.schema.Fields() {
		id, _ := field.Metadata.GetValue(fieldIDKey)
		leaf := r.file.leaf(id)
		if leaf < 0 {
			if !field.Nullable {
				return nil, fmt.Errorf("the file lacks column %q, which cannot be NULL", field.Name)
			}
			r.columns = append(r.columns, -1)
			continue
		}
		if i == t.Key()[0] {
			key = leaf
		}
		r.columns = append(r.columns, len(leaves))
		leaves = append(leaves, leaf)
	}
	if len(leaves) == 0 {
		return nil, errors.New("the file has none of the table's columns")
	}
	groups, err := r.choose(part, key)
	if err != nil || len(groups) == 0 {
		return r, err
	}
	r.records, err = r.file.read(ctx, leaves, groups, batch)
	return r, err
}

// choose returns the row groups to be read, one after the other, and notes where they begin and end in the file.
func (r *RowReader) choose(part Interval, key int) (groups []int, err error) {
	position := int64(0)
	for i := range r.file.pq.NumRowGroups() {
		group := r.file.pq.MetaData().RowGroup(i)
		chunk, err := group.ColumnChunk(key)
		if err != nil {
			return nil, err
		}
		after := position + group.NumRows()
		if part.whole() || chunkMeets(chunk, part) {
			for len(groups) > 0 && groups[len(groups)-1] < i-1 { // between two that are
				groups = append(groups, groups[len(groups)-1]+1)
			}
			if len(groups) == 0 {
				r.next = position
			}
			groups, r.end = append(groups, i), after
		}
		position = after
	}
	return groups, nil
}

// At is the position in the file of the row that Next returns first.
func (r *RowReader) At() int64 { return r.next }

// Next returns the next rows, which the caller releases, and io.EOF behind the last.
func (r *RowReader) Next() (arrow.RecordBatch, error) {
	if r.records == nil {
		return nil, io.EOF
	}
	own, err := r.records.Next()
	if errors.Is(err, io.EOF) {
		if r.next != r.end {
			return nil, fmt.Errorf("read %s: its rows end at %d, its footer says at %d", r.f.Path, r.next, r.end)
		}
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.f.Path, err)
	}
	defer releaseArrays(own)
	n := own[0].Len()
	columns := make([]arrow.Array, len(r.columns))
	defer releaseArrays(columns)
	for i, at := range r.columns {
		want := r.schema.Field(i)
		if at < 0 {
			if r.lineaged && i >= len(columns)-2 && r.f.FirstRowID != nil {
				continue // all of it comes from the manifest
			}
			columns[i] = array.MakeArrayOfNull(memory.DefaultAllocator, want.Type, n)
			continue
		}
		c, err := promote(own[at], want.Type)
		if err != nil {
			return nil, fmt.Errorf("read %s: column %q: %w", r.f.Path, want.Name, err)
		}
		columns[i] = c
	}
	if r.lineaged {
		r.lineage(columns[len(columns)-2:], n)
	}
	r.next += int64(n)
	return array.NewRecordBatch(r.schema, columns, int64(n)), nil
}

// lineage fills in the row ids and sequence numbers that come from the manifest, in columns that are nil if the file lacks them.
func (r *RowReader) lineage(columns []arrow.Array, n int) {
	if r.f.FirstRowID == nil {
		return // from before the table had format 3: its rows have none
	}
	id := *r.f.FirstRowID + r.next
	for i, inherited := range []struct{ first, step int64 }{{id, 1}, {r.f.Sequence, 0}} {
		old, _ := columns[i].(*array.Int64)
		if old != nil && old.NullN() == 0 {
			continue
		}
		buf := memory.NewResizableBuffer(r.mem)
		buf.Resize(n * arrow.Int64SizeBytes)
		values := arrow.Int64Traits.CastFromBytes(buf.Bytes())
		v := inherited.first
		for row := range values {
			values[row] = v
			v += inherited.step
		}
		if old != nil {
			for row, v := range old.Int64Values() {
				if old.IsValid(row) {
					values[row] = v
				}
			}
			old.Release()
		}
		data := array.NewData(arrow.PrimitiveTypes.Int64, n, []*memory.Buffer{nil, buf}, nil, 0, 0)
		buf.Release()
		columns[i] = array.NewInt64Data(data)
		data.Release()
	}
}

// promote returns c as a column of type want, for the promotions that the table spec allows ("Schema Evolution").
func promote(c arrow.Array, want arrow.DataType) (arrow.Array, error) {
	have := c.DataType()
	switch {
	case arrow.TypeEqual(have, want):
		c.Retain()
		return c, nil
	case have.ID() == arrow.INT32 && want.ID() == arrow.INT64:
		b := array.NewInt64Builder(memory.DefaultAllocator)
		defer b.Release()
		for i, v := range c.(*array.Int32).Int32Values() {
			appendOrNull(b, c, i, int64(v))
		}
		return b.NewArray(), nil
	case have.ID() == arrow.FLOAT32 && want.ID() == arrow.FLOAT64:
		b := array.NewFloat64Builder(memory.DefaultAllocator)
		defer b.Release()
		for i, v := range c.(*array.Float32).Float32Values() {
			appendOrNull(b, c, i, float64(v))
		}
		return b.NewArray(), nil
	case have.ID() == want.ID() && sameScale(have, want):
		d := c.Data()
		data := array.NewData(want, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
		defer data.Release()
		return array.MakeFromData(data), nil
	}
	return nil, fmt.Errorf("the file has %s, the table %s", have, want)
}

func appendOrNull[T any](b interface {
	Append(T)
	AppendNull()
}, c arrow.Array, i int, v T,
) {
	if c.IsNull(i) {
		b.AppendNull()
	} else {
		b.Append(v)
	}
}

// sameScale reports whether the values of two types of one id mean the same, however many digits or which zone's name
// they carry.
func sameScale(a, b arrow.DataType) bool {
	switch a := a.(type) {
	case *arrow.Decimal128Type:
		return a.Scale == b.(*arrow.Decimal128Type).Scale
	case *arrow.TimestampType:
		b := b.(*arrow.TimestampType)
		return a.Unit == b.Unit && (a.TimeZone == "") == (b.TimeZone == "")
	}
	return true
}

// Close ends reading.
func (r *RowReader) Close() error {
	if r.records != nil {
		r.records.Close()
	}
	return r.file.close()
}
