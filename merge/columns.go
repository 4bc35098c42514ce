package merge

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Columns calls fn with the key of every row of the given key columns, in key order. raw is as KeyCodec.Key gives it:
// good until fn returns.
func (c *KeyCodec) Columns(columns []arrow.Array, fn func(row int, k Key, raw []byte)) error {
	if ints, ok := columns[0].(*array.Int64); ok && len(columns) == 1 && c.fixed && ints.NullN() == 0 {
		for row, v := range ints.Int64Values() { // by far the most tables
			fn(row, Key{0, uint64(v) ^ 1<<63}, nil)
		}
		return nil
	}
	appends := make([]func(row int), len(columns))
	for i, column := range columns {
		var err error
		if appends[i], err = c.appender(column); err != nil {
			return err
		}
	}
	for row := range columns[0].Len() {
		c.Reset()
		for _, append := range appends {
			append(row)
		}
		k, raw := c.Key()
		fn(row, k, raw)
	}
	return nil
}

// Remap replaces every place by what to returns for it, in one pass over the index.
func (x *Index) Remap(to func(Place) Place) {
	if x.narrow != nil {
		x.narrow.remap(to)
	} else {
		x.wide.remap(to)
	}
	for _, list := range x.more {
		for i := range list {
			list[i] = to(list[i])
		}
	}
}

func (t *table[K]) remap(to func(Place) Place) {
	for i := range t.shards {
		slots := t.shards[i].slots
		for j := range slots {
			if slots[j].place.File != 0 {
				slots[j].place = to(slots[j].place)
			}
		}
	}
}
