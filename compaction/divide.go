package compaction

import (
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// divider writes rows that come in key order to the partitions of a table's spec: it holds many, puts them in the order of
// their partitions, and writes a file for each. So the memory it takes does not depend on how many partitions there are; a
// partition whose rows come far apart gets several files, which later merges bring together.
type divider struct {
	m           *merger
	partitioner *lake.Partitioner
	limit       int64 // bytes held

	held  []arrow.RecordBatch
	bytes int64
	rows  int
	runs  []origin // of the rows held and of those gathered, in order
}

// origin is a stretch of rows that came from one input.
type origin struct {
	cursor *cursor
	rows   int
}

// newDivider returns nil where the table's spec has but one partition.
func newDivider(t *lake.Table, m *merger, limit int64) (*divider, error) {
	p, err := t.Partitioner()
	if err != nil || p == nil {
		m.in = t.Unpartitioned()
		return nil, err
	}
	return &divider{m: m, partitioner: p, limit: limit}, nil
}

// from notes which input the next rows come from.
func (d *divider) from(c *cursor, rows int) {
	if n := len(d.runs); n > 0 && d.runs[n-1].cursor == c {
		d.runs[n-1].rows += rows
		return
	}
	d.runs = append(d.runs, origin{c, rows})
}

// add takes a batch over.
func (d *divider) add(rec arrow.RecordBatch) error {
	d.held = append(d.held, rec)
	d.rows += int(rec.NumRows())
	for _, c := range rec.Columns() {
		d.bytes += int64(c.Data().SizeInBytes())
	}
	if d.bytes < d.limit {
		return nil
	}
	return d.write()
}

// write makes data files of what is held.
func (d *divider) write() error {
	if d.rows == 0 {
		return nil
	}
	all, err := d.together()
	if err != nil {
		return err
	}
	defer all.Release()
	numbers, err := d.partitioner.Split(all)
	if err != nil {
		return err
	}
	// Sorted by partition, in key order within each.
	ends := make([]int32, d.partitioner.Partitions()+1)
	for _, n := range numbers {
		ends[n+1]++
	}
	for n := range d.partitioner.Partitions() {
		ends[n+1] += ends[n]
	}
	order := make([]int32, len(numbers))
	places := make([]uint32, len(numbers))
	next := append([]int32(nil), ends...)
	for row, n := range numbers {
		order[next[n]] = int32(row)
		places[row] = d.m.ordinal + uint32(next[n])
		next[n]++
	}
	if err := d.m.worker.pay(); err != nil {
		return err
	}
	for n := range d.partitioner.Partitions() {
		if own := order[ends[n]:ends[n+1]]; len(own) > 0 {
			if err := d.file(all, own, d.partitioner.Partition(int32(n))); err != nil {
				return err
			}
		}
	}
	for _, r := range d.runs {
		r.cursor.places = append(r.cursor.places, places[:r.rows]...)
		places = places[r.rows:]
	}
	d.m.ordinal += uint32(len(numbers))
	d.runs = d.runs[:0]
	return nil
}

func (d *divider) file(rows arrow.RecordBatch, order []int32, in lake.Partition) error {
	w, err := d.m.t.NewMovedWriter(d.m.ctx, lake.MovedFile{Rows: int64(len(order))}, d.m.memory)
	if err != nil {
		return err
	}
	w.In(in)
	err = merge.Gather(d.m.memory, rows, order, batchRows, func(rec arrow.RecordBatch) error {
		return errors.Join(w.Write(rec), d.m.worker.pay())
	})
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	f, err := w.Close()
	if err == nil {
		d.m.out.add(f)
	}
	return err
}

// together makes one batch of those held, which are held no longer.
func (d *divider) together() (arrow.RecordBatch, error) {
	defer d.release()
	first := d.held[0]
	columns := make([]arrow.Array, first.NumCols())
	defer func() {
		for _, c := range columns {
			if c != nil {
				c.Release()
			}
		}
	}()
	parts := make([]arrow.Array, len(d.held))
	for i := range columns {
		for j, rec := range d.held {
			parts[j] = rec.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(parts, d.m.memory); err != nil {
			return nil, err
		}
	}
	return array.NewRecordBatch(first.Schema(), columns, int64(d.rows)), nil
}

// release drops what is held.
func (d *divider) release() {
	for _, rec := range d.held {
		rec.Release()
	}
	d.held, d.rows, d.bytes = nil, 0, 0
}
