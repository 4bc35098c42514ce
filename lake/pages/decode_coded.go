package pages

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// codedArrays are the values of a column of strings or bytes, as indices into the dictionary of the column chunk where the pages
// have such. A batch is all of the one kind or all of the other.
type codedArrays struct {
	byteArrays
	kind   arrow.DataType // of the values
	shared *array.Data    // the chunk's dictionary
	codes  fixed[uint32]

	reader codeReader
	coded  bool // the page has indices
	rows   int  // asked for

	begun   bool // the batch has rows
	indexed bool // the batch has indices
}

// codeReader reads indices into a dictionary of n values.
type codeReader struct {
	indices
	n int
}

func (c *codeReader) next(dst []uint32) error {
	for len(dst) > 0 {
		block, err := c.peek(len(dst))
		if err != nil {
			return err
		}
		for _, at := range block {
			if int(at) >= c.n {
				return outside(at, c.n)
			}
		}
		copy(dst, block)
		c.take(len(block))
		dst = dst[len(block):]
	}
	return nil
}

func (c *codedArrays) dictionary(body []byte, n int) error {
	if err := c.byteArrays.dictionary(body, n); err != nil {
		return err
	}
	c.release()
	c.shared = array.NewData(c.kind, n, []*memory.Buffer{nil, c.dict.ends, c.dict.values}, nil, 0, 0)
	c.reader.n = n
	c.coded = c.coded && n > 0 // rows that are NULL have an index, too
	return nil
}

func (c *codedArrays) begins(e parquet.Encoding, body []byte, n int) error {
	c.coded = isDictionary(e) && c.shared != nil
	if !c.coded {
		return c.byteArrays.begins(e, body, n)
	}
	c.codes.page = &c.reader
	return c.reader.start(body)
}

func (c *codedArrays) start(rows int) { c.rows, c.begun = rows, false }

func (c *codedArrays) read(rows, n int, valid []byte) (int, error) {
	if !c.begun {
		c.begun, c.indexed = true, c.coded
		if c.indexed {
			c.codes.start(c.rows)
		} else {
			c.byteArrays.start(c.rows)
		}
	}
	switch {
	case c.indexed != c.coded:
		return 0, nil // the next batch begins here
	case c.indexed:
		return c.codes.read(rows, n, valid)
	}
	return c.byteArrays.read(rows, n, valid)
}

func (c *codedArrays) finish() ([]*memory.Buffer, *array.Data) {
	if !c.indexed {
		return c.byteArrays.finish()
	}
	buffers, _ := c.codes.finish()
	return buffers, c.shared
}

func (c *codedArrays) abandon() {
	c.codes.abandon()
	c.byteArrays.abandon()
}

func (c *codedArrays) release() {
	if c.shared != nil {
		c.shared.Release()
		c.shared = nil
	}
}

func (c *codedArrays) close() {
	c.abandon()
	c.release()
	c.byteArrays.close()
}
