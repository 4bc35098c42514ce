package merge

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tidemark/tidemark/lake"
)

// BuildIndex reads the key columns of every live row of a table. Two live rows with the same key are an error, unless the
// key is the whole row: the table is not what the source has, and no upsert could mend it.
func BuildIndex(ctx context.Context, t *lake.Table, codec *KeyCodec) (*Index, error) {
	x := NewIndex(codec)
	rows := int64(0)
	for _, f := range t.Files() {
		rows += f.Live()
	}
	x.Reserve(int(rows))
	for _, f := range t.Files() {
		err := eachKey(ctx, t, f, codec, live(f), func(k Key, raw []byte, pos uint32) error {
			if codec.rows {
				x.Add(k, Place{f.ID, pos})
			} else if old, had := x.Put(k, Place{f.ID, pos}); had {
				return twice(codec, k, raw, pos, old)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return x, nil
}

// live picks the positions of a data file's live rows.
func live(f *lake.DataFile) func(pos uint32) bool {
	return func(pos uint32) bool { return f.Deleted == nil || !f.Deleted.Contains(pos) }
}

// ErrTwice says that a table has two live rows of one key.
var ErrTwice = errors.New("a key is there twice")

func twice(codec *KeyCodec, k Key, raw []byte, pos uint32, other Place) error {
	return fmt.Errorf("%w: %s, at row %d and at row %d of file %d: another program wrote to the table; load it again", ErrTwice,
		codec.Text(k, raw), pos, other.Pos, other.File)
}

// eachKey reads the keys of the rows of a data file at the positions that are wanted. raw is valid during fn only.
func eachKey(ctx context.Context, t *lake.Table, f *lake.DataFile, codec *KeyCodec, wanted func(pos uint32) bool, fn func(k Key, raw []byte, pos uint32) error) error {
	err := t.ReadColumns(ctx, f, t.Key(), func(rec arrow.RecordBatch, first uint64) error {
		columns := make([]func(row int), rec.NumCols())
		for i, c := range rec.Columns() {
			append, err := codec.appender(c)
			if err != nil {
				return err
			}
			columns[i] = append
		}
		for row := range int(rec.NumRows()) {
			pos := uint32(first) + uint32(row)
			if !wanted(pos) {
				continue
			}
			codec.Reset()
			for _, append := range columns {
				append(row)
			}
			k, raw := codec.Key()
			if err := fn(k, raw, pos); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	return nil
}

// appender returns what appends the value of a row of a key column to the key under construction.
func (c *KeyCodec) appender(column arrow.Array) (func(row int), error) {
	if column.NullN() > 0 {
		if !c.rows {
			return nil, fmt.Errorf("a key column holds NULL")
		}
		value, err := c.valueAppender(column)
		return func(row int) {
			if column.IsNull(row) {
				c.AppendNull()
			} else {
				value(row)
			}
		}, err
	}
	return c.valueAppender(column)
}

func (c *KeyCodec) valueAppender(column arrow.Array) (func(row int), error) {
	switch a := column.(type) {
	case *array.Int64:
		return func(row int) { c.AppendInt(a.Value(row)) }, nil
	case *array.Int32:
		return func(row int) { c.AppendInt(int64(a.Value(row))) }, nil
	case *array.Date32:
		return func(row int) { c.AppendInt(int64(a.Value(row))) }, nil
	case *array.Timestamp:
		return func(row int) { c.AppendInt(int64(a.Value(row))) }, nil
	case *array.Float32:
		return func(row int) { c.AppendFloat(float64(a.Value(row))) }, nil
	case *array.Float64:
		return func(row int) { c.AppendFloat(a.Value(row)) }, nil
	case *array.Boolean:
		return func(row int) { c.AppendBool(a.Value(row)) }, nil
	case *array.Decimal128:
		return func(row int) { c.AppendDecimal128(a.Value(row)) }, nil
	case *array.String:
		return func(row int) { c.AppendBytes([]byte(a.Value(row))) }, nil
	case *array.Binary:
		return func(row int) { c.AppendBytes(a.Value(row)) }, nil
	}
	return nil, fmt.Errorf("a key column has type %s", column.DataType())
}
