package compaction

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/lake"
)

// sortMemory is how many bytes of rows, as Arrow has them, are sorted at a time.
const sortMemory = 32 << 20

// spillBatch is about how many bytes of rows are read back at once from each run.
const spillBatch = 256 << 10

// sortedRuns are the live rows of a data file whose rows do not come in key order, as runs that do. The runs are on
// local disk, in a file without a name, which is gone with the process at the latest.
type sortedRuns struct {
	spill *os.File
	runs  []*sortedRun
}

// sortedRun is one of them: rows that stood next to each other in the data file, by key.
type sortedRun struct {
	from []uint32 // position in the data file of each row
	in   *cursor  // has the ordinals in the output, of each row in turn
	rows *io.SectionReader
}

// unsorted names the inputs whose live rows do not come in key order. It reads the key columns alone.
func unsorted(ctx context.Context, t *lake.Table, w *worker, inputs []*lake.FileInfo) (map[string]bool, error) {
	found := map[string]bool{}
	for _, f := range inputs {
		k, err := newKeys(t)
		if err != nil {
			return nil, err
		}
		columns := slices.Clone(k.columns)
		for i := range k.columns { // what is read has the key columns alone
			k.columns[i] = i
		}
		err = t.ReadColumns(ctx, &f.DataFile, columns, func(rec arrow.RecordBatch, _ uint64) error {
			return errors.Join(k.load(rec), w.pay())
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		if !k.sorted {
			found[f.Path] = true
		}
	}
	return found, nil
}

// sortRuns reads a data file and writes its live rows as sorted runs of about so many bytes.
func sortRuns(ctx context.Context, t *lake.Table, w *worker, f *lake.FileInfo, bytes int64, mem memory.Allocator) (_ *sortedRuns, err error) {
	if f.Rows > math.MaxUint32 {
		return nil, fmt.Errorf("%s has more than %d rows", f.Path, uint32(math.MaxUint32))
	}
	s := &sortedRuns{}
	if s.spill, err = os.CreateTemp("", "tidemark-sort-"); err != nil {
		return nil, fmt.Errorf("sort %s, which another program wrote: %w", f.Path, err)
	}
	rows, err := t.OpenRows(ctx, f, batchRows, mem)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	defer func() {
		if err = errors.Join(err, rows.Close()); err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.Remove(s.spill.Name()); err != nil {
		return nil, err
	}
	p := sorter{table: t, file: f, spill: s.spill, gather: gatherer{memory: mem}, worker: w}
	defer p.reset()
	for {
		if err := w.pay(); err != nil {
			return nil, err
		}
		rec, err := rows.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err == nil {
			if err := p.add(rec); err != nil {
				return nil, err
			}
		}
		if p.bytes >= bytes || err != nil && len(p.order) > 0 {
			run, err := p.write()
			if err != nil {
				return nil, fmt.Errorf("sort %s: %w", f.Path, err)
			}
			s.runs = append(s.runs, run)
		}
		if err != nil {
			return s, nil
		}
	}
}

// cursors opens the runs for a merge.
func (s *sortedRuns) cursors(t *lake.Table, f *lake.FileInfo, mem memory.Allocator) ([]*cursor, error) {
	var list []*cursor
	for _, run := range s.runs {
		k, err := newKeys(t)
		if err != nil {
			return nil, err
		}
		r, err := ipc.NewReader(bufio.NewReaderSize(run.rows, spillBatch), ipc.WithAllocator(mem))
		if err != nil {
			return nil, fmt.Errorf("read sorted rows back: %w", err)
		}
		c := &cursor{file: f, keys: k, to: roaring.New(), rows: &runReader{r}}
		run.in = c
		list = append(list, c)
	}
	return list, nil
}

// moved says where the rows went, once they are merged.
func (s *sortedRuns) moved(f *lake.FileInfo) *moved {
	m := &moved{rows: f.Rows, dead: f.Deleted, to: roaring.New(), places: make([]uint32, f.Rows)}
	for i := range m.places {
		m.places[i] = gone
	}
	for _, run := range s.runs {
		for n, ordinal := range run.in.places { // rows that were divided
			m.places[run.from[n]] = ordinal
		}
		n := 0
		for it := run.in.to.Iterator(); it.HasNext(); n++ {
			m.places[run.from[n]] = it.Next()
		}
		m.to.Or(run.in.to)
	}
	return m
}

func (s *sortedRuns) close() error { return s.spill.Close() }

// runReader reads a run back.
type runReader struct{ r *ipc.Reader }

// Next returns the next rows, which the caller releases, and io.EOF behind the last.
func (r *runReader) Next() (arrow.RecordBatch, error) {
	if !r.r.Next() {
		if err := r.r.Err(); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read sorted rows back: %w", err)
		}
		return nil, io.EOF
	}
	rec := r.r.RecordBatch()
	rec.Retain()
	return rec, nil
}

// Close ends reading.
func (r *runReader) Close() error {
	r.r.Release()
	return nil
}

// sorter makes one run after the other of the rows that it is given.
type sorter struct {
	table *lake.Table
	file  *lake.FileInfo
	spill *os.File
	end   int64 // of what is in spill
	next  int64 // position of the next row

	batches []*source
	keys    []*keys // of each
	order   []place // live rows
	first   []int64 // position of each batch's first row
	bytes   int64
	gather  gatherer
	worker  *worker
}

// place is a row of one of the batches.
type place struct{ batch, row uint32 }

// add takes a batch over.
func (p *sorter) add(rec arrow.RecordBatch) error {
	k, err := newKeys(p.table)
	if err == nil {
		err = k.load(rec)
	}
	if err != nil {
		rec.Release()
		return fmt.Errorf("%s: %w", p.file.Path, err)
	}
	for row := range uint32(rec.NumRows()) {
		if p.file.Deleted == nil || !p.file.Deleted.Contains(uint32(p.next)+row) {
			p.order = append(p.order, place{uint32(len(p.batches)), row})
		}
	}
	p.batches = append(p.batches, &source{rec: rec, gen: -1})
	p.keys = append(p.keys, k)
	p.first = append(p.first, p.next)
	p.next += rec.NumRows()
	for _, c := range rec.Columns() {
		p.bytes += int64(c.Data().SizeInBytes())
	}
	return nil
}

// write sorts what was added since the last call, and appends it to the spill file.
func (p *sorter) write() (_ *sortedRun, err error) {
	defer p.reset()
	slices.SortFunc(p.order, func(a, b place) int {
		return cmp.Or(p.keys[a.batch].compare(int(a.row), p.keys[b.batch], int(b.row)), cmp.Compare(a.batch, b.batch), cmp.Compare(a.row, b.row))
	})
	run := &sortedRun{from: make([]uint32, len(p.order))}
	for i, at := range p.order {
		run.from[i] = uint32(p.first[at.batch]) + at.row
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(p.spill, p.end), spillBatch)
	counted := &countingWriter{w: out}
	w := ipc.NewWriter(counted, ipc.WithSchema(p.batches[0].rec.Schema()), ipc.WithAllocator(p.gather.memory), ipc.WithLZ4())
	rows := int(max(1, min(batchRows, int64(len(p.order))*spillBatch/max(1, p.bytes))))
	for list := range slices.Chunk(p.order, rows) {
		for _, at := range list {
			p.gather.add(p.batches[at.batch], int(at.row), int(at.row)+1)
		}
		rec, err := p.gather.take()
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		err = errors.Join(w.Write(rec), p.worker.pay())
		rec.Release()
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	if err := errors.Join(w.Close(), out.Flush()); err != nil {
		return nil, err
	}
	run.rows = io.NewSectionReader(p.spill, p.end, counted.n)
	p.end += counted.n
	return run, nil
}

// reset drops the rows.
func (p *sorter) reset() {
	p.gather.reset()
	for _, b := range p.batches {
		b.rec.Release()
	}
	p.batches, p.keys, p.first, p.order, p.bytes = nil, nil, nil, p.order[:0], 0
}

// countingWriter counts the bytes that it passes on.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
