package compaction

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tidemark/tidemark/lake"
)

// rewritten is a finished rewrite: data files that no snapshot knows yet, and where the rows of the inputs went.
type rewritten struct {
	outputs []*lake.NewFile
	moves   *moves
	bytes   int64 // of the outputs
	dropped int64 // deleted rows that are not in the outputs
}

// merger merges sorted inputs into outputs, those of each partition by themselves.
type merger struct {
	ctx    context.Context
	t      *lake.Table
	worker *worker
	target int64     // bytes of an output
	heap   []*cursor // the least current key first
	later  []*cursor // not open yet, the least bound first
	bound  []byte    // scratch of due
	brief  bool      // the output is small and will be merged again
	memory *lake.Recycler
	gather gatherer

	in      lake.Partition // of the rows being merged, unless they are divided
	shares  []int64        // rows of each output to come
	sized   bool           // they follow from how well the outputs pack, and not the inputs
	w       *lake.FileWriter
	taken   int64    // rows that the current output was opened for
	room    int64    // rows that it still takes
	divided *divider // rows go to several partitions; nil: they do not
	ordinal uint32   // of the next row, over all outputs
	out     *rewritten
}

// recycled is how many bytes of freed memory a rewrite keeps for itself.
const recycled = 64 << 20

// rewrite merges the live rows of the given data files, each set of them by itself, into new ones of about the target size
// in bytes. A set is of one partition, or of files of other partition specs than the table's: their rows are divided among
// its partitions, holding up to hold bytes of them at once. Files that another program wrote in no order are sorted first.
// Equal keys of different inputs, which a sound table does not have, are kept all, as readers of the inputs see them. When it
// fails it leaves no file behind, as far as they can be deleted. t is used by this goroutine alone meanwhile.
func rewrite(ctx context.Context, t *lake.Table, pace *Pace, sets [][]*lake.FileInfo, target, hold int64) (*rewritten, error) {
	return rewriteIn(ctx, t, pace, sets, target, hold, sortMemory)
}

// rewriteIn is rewrite with so many bytes of rows sorted at a time.
func rewriteIn(ctx context.Context, t *lake.Table, pace *Pace, sets [][]*lake.FileInfo, target, hold, sortBytes int64) (*rewritten, error) {
	w := pace.work(ctx)
	out, err := mergeSets(ctx, t, w, sets, disorder{}, target, hold)
	var of *UnsortedError
	if !errors.As(err, &of) {
		return out, err
	}
	files, err := unsorted(ctx, t, w, slices.Concat(sets...))
	if err != nil {
		return nil, err
	}
	return mergeSets(ctx, t, w, sets, disorder{files, sortBytes}, target, hold)
}

// disorder is what is known of inputs that are not sorted.
type disorder struct {
	files map[string]bool // by path
	bytes int64           // of rows to sort at a time
}

// mergeSets is rewrite, with the unsorted inputs known; it fails with *UnsortedError when another one is not sorted.
func mergeSets(ctx context.Context, t *lake.Table, w *worker, sets [][]*lake.FileInfo, d disorder, target, hold int64) (_ *rewritten, err error) {
	m := &merger{ctx: ctx, t: t, worker: w, target: target, memory: lake.NewRecycler(recycled), out: &rewritten{moves: &moves{inputs: map[string]*moved{}, starts: []uint32{0}}}}
	m.gather.memory = m.memory
	defer func() {
		m.gather.reset()
		if err != nil {
			if m.w != nil {
				err = errors.Join(err, m.w.Abort())
			}
			err = errors.Join(err, t.Discard(context.WithoutCancel(ctx), m.out.outputs))
		}
	}()
	rows := int64(0)
	for _, f := range slices.Concat(sets...) {
		rows += f.Rows
	}
	if rows > math.MaxUint32-1 {
		return nil, fmt.Errorf("%d rows are too many for one rewrite", rows)
	}
	for _, inputs := range sets {
		m.in, m.divided = inputs[0].Partition(), nil
		if t.Outdated(m.in) {
			if m.divided, err = newDivider(t, m, hold); err != nil {
				return nil, err
			}
		}
		if err := errors.Join(m.set(inputs, d), w.pay()); err != nil {
			return nil, err
		}
	}
	return m.out, nil
}

// set merges inputs.
func (m *merger) set(inputs []*lake.FileInfo, d disorder) (err error) {
	live, size := int64(0), int64(0)
	var cursors []*cursor
	sorted := map[*lake.FileInfo]*sortedRuns{}
	m.heap, m.later = m.heap[:0], nil
	defer func() {
		for _, c := range cursors {
			err = errors.Join(err, c.close())
		}
		for _, runs := range sorted {
			err = errors.Join(err, runs.close())
		}
		if m.divided != nil {
			m.divided.release()
		}
	}()
	for _, f := range inputs {
		if !d.files[f.Path] {
			continue
		}
		runs, err := sortRuns(m.ctx, m.t, m.worker, f, d.bytes, m.memory)
		if err != nil {
			return err
		}
		sorted[f] = runs
	}
	for _, f := range inputs {
		rows := f.Live()
		m.out.dropped += f.Rows - rows
		live += rows
		size += int64(float64(f.Size) * float64(rows) / float64(f.Rows))
		var of []*cursor
		if runs := sorted[f]; runs != nil {
			of, err = runs.cursors(m.t, f, m.memory)
		} else {
			of, err = m.sorted(f)
		}
		cursors = append(cursors, of...)
		if err != nil {
			return err
		}
	}
	for i, c := range cursors {
		c.rank = i
	}
	m.later = slices.Clone(cursors)
	slices.SortStableFunc(m.later, func(a, b *cursor) int { return bytes.Compare(a.low(), b.low()) })
	m.shares, m.sized = shares(live, size, m.target), false
	m.brief = size < (&Options{TargetFileSize: m.target}).Brief() && !m.t.Partitioned()
	if err := m.merge(cursors); err != nil {
		return err
	}
	if m.divided != nil {
		if err := m.divided.write(); err != nil {
			return err
		}
	}
	for _, c := range cursors {
		c.to.RunOptimize()
		if in := m.out.moves.inputs[c.file.Path]; m.divided != nil && in != nil {
			in.divide(c.places)
		}
	}
	for f, runs := range sorted {
		m.out.moves.inputs[f.Path] = runs.moved(f)
	}
	return nil
}

// sorted returns the cursor of an input whose rows are sorted, and notes that its rows are moved.
func (m *merger) sorted(f *lake.FileInfo) ([]*cursor, error) {
	c, err := newCursor(m.t, f)
	if err != nil {
		return nil, err
	}
	m.out.moves.inputs[f.Path] = &moved{rows: f.Rows, dead: f.Deleted, to: c.to}
	return []*cursor{c}, nil
}

// shares divides the rows of a group among output files of about the target size, evenly, so that none is a small rest.
func shares(rows, live, target int64) []int64 {
	if rows == 0 {
		return nil
	}
	n := min(rows, max(1, (live+target/2)/target))
	out := make([]int64, n)
	for i := range out {
		out[i] = rows*int64(i+1)/n - rows*int64(i)/n
	}
	return out
}

func (m *merger) merge(cursors []*cursor) error {
	for len(m.heap)+len(m.later) > 0 {
		if len(m.heap) == 0 {
			if err := m.open(); err != nil {
				return err
			}
			continue
		}
		c := m.heap[0]
		end := c.stop
		if len(m.heap) > 1 {
			second := m.heap[1]
			if len(m.heap) > 2 && m.less(m.heap[2], second) {
				second = m.heap[2]
			}
			end = c.until(second, c.rank < second.rank)
		}
		if m.due(c, end-1) {
			if err := m.open(); err != nil {
				return err
			}
			continue
		}
		if err := m.emit(c, end, cursors); err != nil {
			return err
		}
		if c.at < c.stop { // the rows up to there are known to be live
			c.head = c.keys.first(c.at)
			m.down(0)
			continue
		}
		more, err := c.next()
		if err != nil {
			return err
		}
		if !more {
			if err := c.close(); err != nil {
				return err
			}
			last := len(m.heap) - 1
			m.heap[0] = m.heap[last]
			m.heap = m.heap[:last]
		}
		m.down(0)
	}
	return m.flush(cursors)
}

// due reports whether the next input to open may have rows that come before this one. So no more inputs are open at once than
// overlap, and files side by side are merged in the memory of one. Bounds that lie would let the output be out of order, and a
// later merge sort it.
func (m *merger) due(c *cursor, row int) bool {
	if len(m.later) == 0 || len(m.later) == c.batch.clear {
		return false
	}
	low := m.later[0].low()
	if low == nil {
		return true
	}
	before := func(row int) bool {
		m.bound = m.t.AppendSortableKey(m.bound[:0], c.batch.rec, row)
		return bytes.Compare(m.bound, low) < 0
	}
	if before(c.keys.n - 1) {
		c.batch.clear = len(m.later)
		return false
	}
	return !before(row)
}

// open begins to read the next input.
func (m *merger) open() error {
	c := m.later[0]
	m.later = m.later[1:]
	if err := c.open(m.ctx, m.t, m.memory); err != nil {
		return err
	}
	c.rows = pacedRows{c.rows, m.worker}
	more, err := c.next()
	if err != nil {
		return err
	}
	if !more {
		return c.close()
	}
	m.heap = append(m.heap, c)
	m.up(len(m.heap) - 1)
	return nil
}

func (m *merger) less(a, b *cursor) bool {
	if a.head != b.head {
		return a.head < b.head
	}
	c := a.keys.compare(a.at, b.keys, b.at)
	return c < 0 || c == 0 && a.rank < b.rank
}

// up restores the heap above i.
func (m *merger) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !m.less(m.heap[i], m.heap[parent]) {
			return
		}
		m.heap[i], m.heap[parent] = m.heap[parent], m.heap[i]
		i = parent
	}
}

// down restores the heap below i.
func (m *merger) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.heap); child++ {
			if m.less(m.heap[child], m.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}

// emit adds the rows of c from its current one up to end to the output, and moves it there.
func (m *merger) emit(c *cursor, end int, cursors []*cursor) error {
	for c.at < end {
		if m.w == nil && m.divided == nil {
			if err := m.create(); err != nil {
				return err
			}
		}
		n := min(end-c.at, batchRows-m.gather.rows)
		if m.divided == nil {
			n = int(min(int64(n), m.room-int64(m.gather.rows)))
		}
		m.gather.add(c.batch, c.at, c.at+n)
		if m.divided != nil {
			m.divided.from(c, n)
			c.at += n
			if m.gather.rows == batchRows {
				if err := m.flush(cursors); err != nil {
					return err
				}
			}
			continue
		}
		if n < 16 {
			for i := range uint32(n) {
				c.moved = append(c.moved, m.ordinal+i)
			}
		} else {
			c.to.AddRange(uint64(m.ordinal), uint64(m.ordinal)+uint64(n))
		}
		m.ordinal += uint32(n)
		c.at += n
		if m.gather.rows == batchRows || int64(m.gather.rows) == m.room {
			if err := m.flush(cursors); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *merger) create() error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	var err error
	m.taken, m.room, m.shares = m.shares[0], m.shares[0], m.shares[1:]
	if m.w, err = m.t.NewMovedWriter(m.ctx, lake.MovedFile{Rows: m.room, Brief: m.brief}, m.memory); err != nil {
		return err
	}
	m.w.In(m.in)
	return nil
}

// flush writes the gathered rows, and ends the output when it is full.
func (m *merger) flush(cursors []*cursor) error {
	for _, c := range cursors {
		c.to.AddMany(c.moved)
		c.moved = c.moved[:0]
	}
	if m.gather.rows == 0 {
		return nil
	}
	if err := m.ctx.Err(); err != nil {
		return err
	}
	rows := int64(m.gather.rows)
	rec, err := m.gather.take()
	if err != nil {
		return err
	}
	if m.divided != nil {
		return m.divided.add(rec)
	}
	err = m.w.Write(rec)
	rec.Release()
	if err != nil {
		return err
	}
	m.room -= rows
	m.resize()
	if m.room > 0 {
		return nil
	}
	f, err := m.w.Close()
	m.w = nil
	if err == nil {
		m.out.add(f)
	}
	return err
}

// resize divides the rows among outputs anew once the first one has a row group: inputs of another codec or encoding say
// little about how large the outputs become.
func (m *merger) resize() {
	packed := m.w.Packed()
	if m.sized || packed == 0 {
		return
	}
	m.sized = true
	written, rest := m.taken-m.room, m.room
	for _, rows := range m.shares {
		rest += rows
	}
	bytes := func(rows int64) int64 { return int64(float64(m.w.Size()) / float64(packed) * float64(rows)) }
	if next := shares(written+rest, bytes(written+rest), m.target); next[0] > written {
		m.room, m.shares = next[0]-written, next[1:]
	} else { // this output has enough
		m.room, m.shares = 0, shares(rest, bytes(rest), m.target)
	}
}

// add notes an output, of the rows that follow those of the outputs before.
func (r *rewritten) add(f *lake.NewFile) {
	r.outputs = append(r.outputs, f)
	r.bytes += f.Size
	r.moves.starts = append(r.moves.starts, r.moves.starts[len(r.moves.starts)-1]+uint32(f.Rows))
}
