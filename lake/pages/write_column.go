package pages

import (
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/klauspost/compress/s2"
)

const (
	// pageBytes is about how many bytes a page has before its codec. Small ones keep the memory of a merge of many files small.
	pageBytes = 256 << 10

	// pageRows is how many rows a page has at most.
	pageRows = 64 << 10

	// dictionaryBytes is from which size on a dictionary is given up.
	dictionaryBytes = 1 << 20

	// stepRows is how many rows are encoded at a time: what is in between stays in the processor's cache.
	stepRows = 4 << 10
)

// shared is what the columns of a writer need one of.
type shared struct {
	mem        memory.Allocator
	valid      [stepRows / 8]byte
	levels     []byte
	compressed []byte
	header     headerWriter
}

// compress returns the page after the codec, valid until the next call. zstd is at its fastest level.
func (s *shared) compress(codec compress.Compression, page []byte) ([]byte, error) {
	room := func(n int) []byte {
		if cap(s.compressed) < n {
			s.release()
			s.compressed = s.mem.Allocate(n)
		}
		return s.compressed[:0]
	}
	switch codec {
	case compress.Codecs.Uncompressed:
		return page, nil
	case compress.Codecs.Snappy: // arrow-go takes the variant that compresses better, in twice the time
		return s2.EncodeSnappy(room(s2.MaxEncodedLen(len(page))), page), nil
	default:
		c, err := compress.GetCodec(codec)
		if err != nil {
			return nil, err
		}
		return c.EncodeLevel(room(int(c.CompressBound(int64(len(page))))), page, 1), nil
	}
}

func (s *shared) release() {
	if s.compressed != nil {
		s.mem.Free(s.compressed)
		s.compressed = nil
	}
}

// columnWriter makes the pages of one column of a row group.
type columnWriter struct {
	column   Column
	nullable bool
	signed   bool // bounds are compared with a sign
	encoder  encoder
	levels   levelBits
	shared   *shared

	rows    int // of the page
	pages   []page
	stored  int64 // bytes in pages
	nulls   int   // of the chunk, with those of the page
	indexed bool  // a page has indices into the dictionary
}

// page is a data page that is complete.
type page struct {
	stored   []byte // with its header, after the codec
	size     int    // bytes of header and page, before the codec
	encoding parquet.Encoding
}

func newColumnWriter(f arrow.Field, c Column, descr *schema.Column, shared *shared) (*columnWriter, error) {
	e, err := newEncoder(f, c, descr, shared.mem)
	if err != nil {
		return nil, err
	}
	return &columnWriter{column: c, nullable: f.Nullable, signed: descr.SortOrder() == schema.SortSIGNED, encoder: e, shared: shared}, nil
}

// write adds rows.
func (c *columnWriter) write(a arrow.Array) error {
	data, nulls := a.Data(), a.NullN() > 0
	for from := 0; from < a.Len(); {
		to := min(a.Len(), from+stepRows, from+pageRows-c.rows)
		to = c.encoder.fit(data, from, to, pageBytes)
		s := stretch{data: data, from: from, rows: to - from, live: to - from}
		if nulls {
			s.valid = c.shared.valid[:]
			bitutil.CopyBitmap(data.Buffers()[0].Bytes(), data.Offset()+from, s.rows, s.valid, 0)
			if s.live = bitutil.CountSetBits(s.valid, 0, s.rows); s.live == s.rows {
				s.valid = nil
			}
		}
		if c.nullable {
			c.levels.add(s.valid, s.rows, s.rows-s.live)
		}
		if s.live > 0 {
			if err := c.encoder.add(s); err != nil {
				return err
			}
		}
		c.rows += s.rows
		c.nulls += s.rows - s.live
		from = to
		dictionary, _ := c.encoder.dictionary()
		full := len(dictionary) > dictionaryBytes && c.encoder.indexing()
		if full || c.rows >= pageRows || c.encoder.size() >= pageBytes {
			if err := c.endPage(); err != nil {
				return err
			}
		}
		if full {
			c.encoder.giveUp()
		}
	}
	return nil
}

// endPage completes the page, if it has rows: its definition levels, and its values (README.md, "Data Pages"), through the codec.
func (c *columnWriter) endPage() error {
	if c.rows == 0 {
		return nil
	}
	var levels []byte
	nulls := c.levels.nulls
	if c.nullable {
		levels = c.levels.append(c.shared.levels[:0])
		c.shared.levels = levels
		c.levels.reset()
	}
	body, encoding := c.encoder.finish(len(levels))
	copy(body, levels)
	if len(body) > math.MaxInt32 {
		return fmt.Errorf("a page of %d bytes, the format takes less than 2 GiB", len(body))
	}
	stored, err := c.shared.compress(c.column.Codec, body)
	if err != nil {
		return err
	}
	header := c.shared.header.dataHeader(c.rows, nulls, encoding, len(body), len(stored))
	p := page{stored: c.shared.mem.Allocate(len(header) + len(stored)), size: len(header) + len(body), encoding: encoding}
	copy(p.stored[copy(p.stored, header):], stored)
	c.pages = append(c.pages, p)
	c.stored += int64(len(p.stored))
	c.indexed = c.indexed || encoding == parquet.Encodings.RLEDict
	c.rows = 0
	return nil
}

// endChunk sets the bounds of the column chunk, and begins another.
func (c *columnWriter) endChunk(stats *metadata.EncodedStatistics) {
	c.encoder.chunk(stats)
	c.drop()
	c.stored, c.nulls, c.indexed = 0, 0, false
}

func (c *columnWriter) drop() {
	for i := range c.pages {
		c.shared.mem.Free(c.pages[i].stored)
	}
	c.pages = c.pages[:0]
}

func (c *columnWriter) release() {
	c.drop()
	c.encoder.release()
}
