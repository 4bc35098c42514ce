package ingest

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// rangeWriter turns the rows of one range into data files, each sorted by the key as the lake sorts it.
//
// The server sends rows in its own order of the key. As long as that is the lake's too, as for numbers and dates, they go
// into the file as they come. The order of a collation, or of a descending key, is another: then rows are held until there
// are many, and sorted here. So they are in a partitioned table, for each partition has its own files.
type rangeWriter struct {
	table    *lake.Table // a fork
	divided  bool        // it is partitioned
	codec    *merge.KeyCodec
	unsorted *atomic.Bool // of the whole table: the server's order is not the lake's
	hold     int64        // bytes of rows to be sorted at once
	rows     int64        // about how many come
	brief    int64        // bytes: a file below that will be rewritten before long

	file  *lake.FileWriter
	files []*lake.NewFile
	last  merge.Key
	raw   []byte // of last
	any   bool   // there is a last

	held      []arrow.RecordBatch
	heldBytes int64
}

// loadFileBytes is about how large data files of a load become.
const loadFileBytes = 128 << 20

// add takes the next rows, and what is left of rec's memory when the caller releases it.
func (w *rangeWriter) add(ctx context.Context, rec arrow.RecordBatch) error {
	if w.table.Keyless() && !w.divided {
		return w.write(ctx, rec)
	}
	if !w.divided && !w.unsorted.Load() {
		sorted, err := w.follows(rec)
		if err != nil {
			return err
		}
		if sorted {
			return w.write(ctx, rec)
		}
		w.unsorted.Store(true)
	}
	rec.Retain()
	w.held = append(w.held, rec)
	if w.heldBytes += sizeOf(rec); w.heldBytes < w.hold {
		return nil
	}
	return w.flush(ctx)
}

// follows reports whether the keys of rec ascend, from the last row written on.
func (w *rangeWriter) follows(rec arrow.RecordBatch) (bool, error) {
	sorted := true
	last, raw, known := w.last, w.raw, w.any
	err := w.keys(rec, func(_ int, k merge.Key, r []byte) {
		if known && sorted {
			if r == nil {
				sorted = last.Hi < k.Hi || last.Hi == k.Hi && last.Lo < k.Lo
			} else {
				sorted = bytes.Compare(raw, r) < 0
			}
		}
		last, known = k, true
		raw = append(raw[:0], r...)
	})
	w.last, w.raw, w.any = last, raw, known
	return sorted, err
}

func (w *rangeWriter) keys(rec arrow.RecordBatch, fn func(row int, k merge.Key, raw []byte)) error {
	var columns []arrow.Array
	for _, c := range w.table.Key() {
		columns = append(columns, rec.Column(c))
	}
	return w.codec.Columns(columns, fn)
}

// write appends sorted rows to the open file.
func (w *rangeWriter) write(ctx context.Context, rec arrow.RecordBatch) error {
	if w.file == nil {
		var err error
		if w.file, err = w.table.NewFileWriter(ctx); err != nil {
			return err
		}
		w.file.Expect(w.rows)
		w.file.Brief(w.brief)
	}
	if err := w.file.Write(rec); err != nil {
		return err
	}
	if w.file.Size() < loadFileBytes {
		return nil
	}
	return w.next()
}

// next ends the open file.
func (w *rangeWriter) next() error {
	if w.file == nil {
		return nil
	}
	f, err := w.file.Close()
	w.file = nil
	if err == nil {
		w.files = append(w.files, f)
	}
	return err
}

// flush sorts the held rows and makes a file of them, or one for each partition.
func (w *rangeWriter) flush(ctx context.Context) error {
	if err := w.next(); err != nil || len(w.held) == 0 {
		return err
	}
	all, err := together(w.held)
	w.drop()
	if err != nil {
		return err
	}
	defer all.Release()
	batch := merge.NewBatch(w.codec)
	if err := w.keys(all, func(row int, k merge.Key, raw []byte) { batch.Insert(k, raw, row) }); err != nil {
		return err
	}
	parts, err := writeRows(ctx, w.table, batch.Cut(), all, w.brief)
	for _, p := range parts {
		w.files = append(w.files, p.file)
	}
	return err
}

// sizeOf is the memory of a batch.
func sizeOf(rec arrow.RecordBatch) (n int64) {
	for _, c := range rec.Columns() {
		n += int64(c.Data().SizeInBytes())
	}
	return n
}

// together makes one batch of several.
func together(list []arrow.RecordBatch) (arrow.RecordBatch, error) {
	if len(list) == 1 {
		list[0].Retain()
		return list[0], nil
	}
	rows := int64(0)
	for _, rec := range list {
		rows += rec.NumRows()
	}
	columns := make([]arrow.Array, list[0].NumCols())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i := range columns {
		parts := make([]arrow.Array, len(list))
		for j, rec := range list {
			parts[j] = rec.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(list[0].Schema(), columns, rows), nil
}

func (w *rangeWriter) drop() {
	for _, rec := range w.held {
		rec.Release()
	}
	w.held, w.heldBytes = nil, 0
}

// close returns the range's files.
func (w *rangeWriter) close(ctx context.Context) ([]*lake.NewFile, error) {
	err := w.flush(ctx)
	return w.files, err
}

// abort drops everything.
func (w *rangeWriter) abort(ctx context.Context) error {
	w.drop()
	var err error
	if w.file != nil {
		err = w.file.Abort()
		w.file = nil
	}
	return errors.Join(err, w.table.Discard(ctx, w.files))
}
