package pages

// Reading: in come the bytes of a file and its footer, out come arrays of a batch of rows, one for each column asked for.
// pqarrow does the same for every file there is, through a tower of readers and builders that look at each value several
// times; here a page is decompressed, and its values go to where they stay, by loops over plain memory. What must hold: the
// arrays are equal to what was written; a corrupt file gives an error, never a panic or memory without bounds; memory does not
// grow with the size of a row group, and a batch holds no page.
//
// read.go        row groups, batches of rows, the bytes of chunks
// read_column.go the pages of a column chunk, and which rows are NULL
// read_header.go the header of a page
// read_codec.go  decompression
// read_type.go   which columns and encodings there are
// decode_*.go    the encodings of values

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// batchBytes is how many bytes of strings or bytes a batch has of a column, unless a single value has more: a batch of
// long ones has fewer rows.
const batchBytes = 4 << 20

// nearChunks is up to how many bytes between two chunks are read and thrown away, rather than ask for each by itself.
const nearChunks = 16 << 10

// Options say what a Reader reads and how.
type Options struct {
	Columns []int            // ordinals among the leaves of the schema
	Groups  []int            // row groups, in this order
	Batch   int              // rows of a batch, at most
	Memory  memory.Allocator // of batches and of what is being read
	Whole   int64            // bytes of a row group's chunks, up to which they are read at once
	Piece   int              // bytes of a chunk that are read at a time in larger ones
}

// Reader reads columns of row groups, in batches of rows.
type Reader struct {
	Options
	src  io.ReaderAt
	meta *metadata.FileMetaData

	columns []*column
	group   int              // of Groups: how many were begun
	left    int64            // rows of the group to come
	spans   []*memory.Buffer // of the group, whole chunks
}

// NewReader begins to read. Readable has said that it can.
func NewReader(src io.ReaderAt, meta *metadata.FileMetaData, o Options) *Reader {
	r := &Reader{Options: o, src: src, meta: meta}
	for _, leaf := range o.Columns {
		c := meta.Schema.Column(leaf)
		s, t := newSink(c, o.Memory)
		r.columns = append(r.columns, &column{leaf: leaf, name: c.Path(), optional: c.MaxDefinitionLevel() > 0, kind: t, sink: s, mem: o.Memory})
	}
	return r
}

// Type is the type of the arrays of column i of Options.Columns.
func (r *Reader) Type(i int) arrow.DataType { return r.columns[i].kind }

// Next returns the next rows: an array of each column, all of one length, which the caller releases; io.EOF behind the last. Rows of
// one batch are of one row group.
func (r *Reader) Next() (_ []arrow.Array, err error) {
	for r.left == 0 {
		if r.group == len(r.Groups) {
			return nil, io.EOF
		}
		if err := r.begin(r.Groups[r.group]); err != nil {
			return nil, fmt.Errorf("row group %d: %w", r.Groups[r.group], err)
		}
		r.group++
	}
	rows := int(min(int64(r.Batch), r.left))
	for _, c := range r.columns {
		if c.held != nil {
			rows = min(rows, c.held.Len())
		}
	}
	out := make([]arrow.Array, len(r.columns))
	defer func() {
		if err != nil {
			release(out)
		}
	}()
	for i, c := range r.columns {
		if out[i], c.held = c.held, nil; out[i] != nil {
			continue
		}
		if out[i], err = c.read(rows); err != nil {
			return nil, fmt.Errorf("row group %d: column %q: %w", r.Groups[r.group-1], c.name, err)
		}
		rows = min(rows, out[i].Len())
	}
	for i, c := range r.columns {
		if whole := out[i]; whole.Len() > rows { // another column has its batch full
			c.held = array.NewSlice(whole, int64(rows), int64(whole.Len()))
			out[i] = array.NewSlice(whole, 0, int64(rows))
			whole.Release()
		}
	}
	r.left -= int64(rows)
	return out, nil
}

func release(arrays []arrow.Array) {
	for _, a := range arrays {
		if a != nil {
			a.Release()
		}
	}
}

// span are the bytes of some chunks in the file.
type span struct {
	from, to int64
	columns  []*column
}

// begin begins a row group.
func (r *Reader) begin(group int) error {
	meta := r.meta.RowGroup(group)
	if meta.NumRows() < 0 {
		return fmt.Errorf("it has %d rows", meta.NumRows())
	}
	var spans []span
	all := int64(0)
	for _, c := range r.columns {
		chunk, err := meta.ColumnChunk(c.leaf)
		if err != nil {
			return fmt.Errorf("column %q: %w", c.name, err)
		}
		from := chunk.DataPageOffset()
		if at := chunk.DictionaryPageOffset(); chunk.HasDictionaryPage() && at > 0 && at < from {
			from = at
		}
		to := from + chunk.TotalCompressedSize()
		if from < 0 || to < from || to > r.meta.GetSourceFileSize() {
			return fmt.Errorf("column %q: its bytes are [%d, %d) in a file of %d", c.name, from, to, r.meta.GetSourceFileSize())
		}
		if chunk.NumValues() != meta.NumRows() {
			return fmt.Errorf("column %q: %d values in %d rows", c.name, chunk.NumValues(), meta.NumRows())
		}
		c.begin(chunk.Compression(), meta.NumRows())
		c.feed = feed{src: r.src, mem: r.Memory, piece: r.Piece, next: from, end: to}
		spans = append(spans, span{from, to, []*column{c}})
		all += to - from
	}
	r.drop()
	r.left = meta.NumRows()
	if all > r.Whole || r.left == 0 {
		return nil
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 0; i < len(spans); {
		s := spans[i]
		for i++; i < len(spans) && spans[i].from >= s.to && spans[i].from-s.to <= nearChunks; i++ {
			s.to, s.columns = spans[i].to, append(s.columns, spans[i].columns...)
		}
		buf, err := readAt(r.src, r.Memory, nil, s.from, s.to)
		if err != nil {
			return err
		}
		r.spans = append(r.spans, buf)
		for _, c := range s.columns {
			f := &c.feed
			f.window = buf.Buf()[f.next-s.from : f.end-s.from]
			f.next = f.end
		}
	}
	return nil
}

// readAt returns first and, behind it, the bytes [from, to) of a file, and then slack.
func readAt(src io.ReaderAt, mem memory.Allocator, first []byte, from, to int64) (*memory.Buffer, error) {
	size := len(first) + int(to-from)
	buf := memory.NewResizableBuffer(mem)
	buf.Resize(size + slack)
	b := buf.Bytes()[:size]
	n, err := src.ReadAt(b[copy(b, first):], from)
	switch {
	case int64(n) == to-from && (err == nil || errors.Is(err, io.EOF)):
		return buf, nil
	case err == nil || errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	buf.Release()
	return nil, fmt.Errorf("read bytes [%d, %d): %w", from, to, err)
}

// drop gives back the chunks of the row group before.
func (r *Reader) drop() {
	for _, b := range r.spans {
		b.Release()
	}
	r.spans = r.spans[:0]
}

// Close ends reading, and gives back what was not returned.
func (r *Reader) Close() {
	for _, c := range r.columns {
		c.close()
	}
	r.drop()
}

// feed is what was not read yet of the bytes of a column chunk.
type feed struct {
	src   io.ReaderAt
	mem   memory.Allocator
	piece int

	window    []byte         // slack follows
	buf       *memory.Buffer // that window is in; nil: one of Reader.spans
	next, end int64          // where the bytes behind window are in the file
}

// peek returns at least n bytes, or all that there are.
func (f *feed) peek(n int) ([]byte, error) {
	if len(f.window) >= n || f.next == f.end {
		return f.window, nil
	}
	more := min(f.end-f.next, int64(max(n-len(f.window), f.piece)))
	buf, err := readAt(f.src, f.mem, f.window, f.next, f.next+more)
	if err != nil {
		return nil, err
	}
	window := buf.Bytes()[:len(f.window)+int(more)]
	f.close()
	f.buf, f.window = buf, window
	f.next += more
	return window, nil
}

// skip goes on behind n bytes that peek returned.
func (f *feed) skip(n int) { f.window = f.window[n:] }

func (f *feed) close() {
	if f.buf != nil {
		f.buf.Release()
		f.buf = nil
	}
	f.window = nil
}
