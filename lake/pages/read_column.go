package pages

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
)

// column is one column of a Reader, at a row of a row group.
type column struct {
	leaf     int
	name     string
	optional bool // a definition level of 1 says that there is a value, 0 that it is NULL
	kind     arrow.DataType
	sink     sink
	mem      memory.Allocator
	held     arrow.Array // rows that were read and belong to the next batch

	codec compress.Compression
	feed  feed
	rest  int64          // rows of the row group that are in none of the pages so far
	body  *memory.Buffer // of the page, where it had to be decompressed

	left     int    // rows of the page that were not read
	row      int    // rows of it that were
	some     bool   // the page has NULLs
	defined  []byte // bitmap of the page's rows that are not NULL, if some are; eight bytes follow
	validity *memory.Buffer
}

// begin begins a column chunk of so many rows.
func (c *column) begin(codec compress.Compression, rows int64) {
	c.feed.close()
	c.codec, c.rest, c.left = codec, rows, 0
}

// read returns the next rows as an array: at least one, and as many as asked for unless they are too large.
func (c *column) read(rows int) (arrow.Array, error) {
	c.sink.start(rows)
	defer c.abandon()
	filled, values := 0, 0
	for filled < rows {
		if c.left == 0 {
			if err := c.page(); err != nil {
				return nil, err
			}
			continue
		}
		n := min(rows-filled, c.left)
		valued := n
		if c.some {
			valid := c.mask(filled, rows)
			copyBits(valid, filled, c.defined, c.row, n)
			valued = bitutil.CountSetBits(valid, filled, n)
		} else if c.validity != nil {
			bitutil.SetBitsTo(c.validity.Bytes(), int64(filled), int64(n), true)
		}
		var valid []byte
		if c.validity != nil {
			valid = c.validity.Bytes()
		}
		took, err := c.sink.read(n, valued, valid)
		if err != nil {
			return nil, err
		}
		if took < n && valued < n {
			valued = bitutil.CountSetBits(valid, filled, took)
		} else {
			valued -= n - took
		}
		filled, values, c.left, c.row = filled+took, values+valued, c.left-took, c.row+took
		if took < n {
			break
		}
	}
	buffers := []*memory.Buffer{nil}
	if values < filled {
		c.validity.ResizeNoShrink((filled + 7) / 8)
		buffers[0] = c.validity
	} else if c.validity != nil {
		c.validity.Release()
	}
	c.validity = nil
	buffers = append(buffers, c.sink.finish()...)
	data := array.NewData(c.kind, filled, buffers, nil, filled-values, 0)
	defer data.Release()
	for _, b := range buffers {
		if b != nil {
			b.Release()
		}
	}
	return array.MakeFromData(data), nil
}

// mask returns the bitmap of the batch's rows that are not NULL, of which the first are filled, with eight bytes behind it.
func (c *column) mask(filled, rows int) []byte {
	if c.validity == nil {
		c.validity = memory.NewResizableBuffer(c.mem)
		c.validity.Resize((rows+7)/8 + 8)
		bitutil.SetBitsTo(c.validity.Bytes(), 0, int64(filled), true)
	}
	return c.validity.Bytes()
}

// page moves to the next data page, past a dictionary.
func (c *column) page() error {
	var h header
	body, levels, err := c.open(&h)
	if err != nil || h.kind != dataPage && h.kind != dataPageV2 {
		return err
	}
	if int64(h.values) > c.rest {
		return fmt.Errorf("a page has %d rows where %d are left", h.values, c.rest)
	}
	values := h.values
	c.some = false
	if c.optional {
		if h.kind == dataPage {
			if h.levels != parquet.Encodings.RLE {
				return fmt.Errorf("definition levels of encoding %s", h.levels)
			}
			if levels, body, err = prefixed(body); err != nil {
				return fmt.Errorf("definition levels: %w", err)
			}
		}
		if values, err = c.define(levels, h.values); err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
	}
	if values > 0 {
		if err := c.sink.begins(h.encoding, body, values); err != nil {
			return err
		}
	}
	c.rest -= int64(h.values)
	c.left, c.row = h.values, 0
	return nil
}

// open reads the next page, and hands a dictionary on. levels are the definition levels of a data page V2.
func (c *column) open(h *header) (body, levels []byte, err error) {
	if err := c.header(h); err != nil {
		return nil, nil, err
	}
	window, err := c.feed.peek(h.size)
	if err != nil {
		return nil, nil, err
	}
	if len(window) < h.size {
		return nil, nil, fmt.Errorf("a page of %d bytes where %d are left", h.size, len(window))
	}
	defer c.feed.skip(h.size)
	window = window[:h.size]
	switch h.kind {
	case dataPage:
		body, err = c.decompress(window, h.whole, true)
	case dataPageV2:
		if h.repeated > 0 {
			return nil, nil, errors.New("a page has repetition levels, the column is flat")
		}
		levels = window[:h.defined:cap(window)]
		body, err = c.decompress(window[h.defined:], h.whole-h.defined, h.compressed)
	case dictionaryPage:
		if h.encoding != parquet.Encodings.Plain && h.encoding != parquet.Encodings.PlainDict {
			return nil, nil, fmt.Errorf("a dictionary of encoding %s", h.encoding)
		}
		if body, err = c.decompress(window, h.whole, true); err == nil {
			err = c.sink.dictionary(body, h.values)
		}
		if err != nil {
			err = fmt.Errorf("dictionary: %w", err)
		}
	}
	return body, levels, err
}

// header reads the header of the next page.
func (c *column) header(h *header) error {
	for want := 256; ; want *= 2 {
		window, err := c.feed.peek(want)
		if err != nil {
			return err
		}
		if len(window) == 0 {
			return fmt.Errorf("the pages end %d rows before the row group does", c.rest)
		}
		size, err := h.parse(window)
		if errors.Is(err, errCut) && len(window) >= want && want < maxHeader {
			continue // there may be more
		}
		c.feed.skip(size)
		return err
	}
}

// decompress returns a page's body, with slack behind it.
func (c *column) decompress(b []byte, whole int, compressed bool) ([]byte, error) {
	if !compressed || c.codec == compress.Codecs.Uncompressed {
		if len(b) != whole {
			return nil, fmt.Errorf("a page of %d bytes, its header says %d", len(b), whole)
		}
		return b, nil
	}
	if whole == 0 {
		return make([]byte, 0, slack), nil
	}
	if c.body == nil {
		c.body = memory.NewResizableBuffer(c.mem)
	}
	if whole+slack > c.body.Cap() {
		c.body.Release()
		c.body = memory.NewResizableBuffer(c.mem)
	}
	c.body.ResizeNoShrink(whole + slack)
	body := c.body.Bytes()[:whole]
	return body, decompress(c.codec, body, b)
}

// define reads the definition levels of a page's rows, and returns how many have values.
func (c *column) define(levels []byte, rows int) (int, error) {
	runs := hybrid{body: levels, width: 1}
	if rows == 0 {
		return 0, nil
	}
	if err := runs.run(); err != nil {
		return 0, err
	}
	if runs.packed == nil && runs.value == 1 && runs.left >= rows {
		return rows, nil
	}
	size := (rows + 7) / 8
	if cap(c.defined) < size+8 {
		c.defined = make([]byte, size+8)
	}
	c.defined = c.defined[:size]
	if err := runs.bits(c.defined[:size+8], 0, rows); err != nil {
		return 0, err
	}
	values := bitutil.CountSetBits(c.defined, 0, rows)
	c.some = values < rows
	return values, nil
}

// abandon drops a batch that was not finished.
func (c *column) abandon() {
	c.sink.abandon()
	if c.validity != nil {
		c.validity.Release()
		c.validity = nil
	}
}

// close gives back all memory.
func (c *column) close() {
	c.abandon()
	c.sink.close()
	c.feed.close()
	if c.body != nil {
		c.body.Release()
		c.body = nil
	}
	if c.held != nil {
		c.held.Release()
		c.held = nil
	}
}
