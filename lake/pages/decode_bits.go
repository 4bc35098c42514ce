package pages

import (
	"encoding/binary"
	"errors"

	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// booleans are the values of a column of booleans: a bitmap in Arrow, and in PLAIN.
type booleans struct {
	mem memory.Allocator

	runs   hybrid // RLE
	packed []byte // PLAIN; nil: RLE
	bit    int    // in packed

	out    *memory.Buffer
	filled int
	dense  []byte // values without NULLs between them
}

func (b *booleans) dictionary([]byte, int) error {
	return errors.New("a dictionary of booleans")
}

func (b *booleans) begins(e parquet.Encoding, body []byte, _ int) error {
	b.packed, b.bit = nil, 0
	switch e {
	case parquet.Encodings.Plain:
		b.packed = body
		return nil
	case parquet.Encodings.RLE:
		runs, _, err := prefixed(body)
		b.runs = hybrid{body: runs, width: 1}
		return err
	}
	return unknownEncoding(e)
}

func (b *booleans) start(rows int) {
	b.out, b.filled = memory.NewResizableBuffer(b.mem), 0
	b.out.Resize((rows+7)/8 + 8)
	clear(b.out.Bytes())
}

func (b *booleans) read(rows, n int, valid []byte) (int, error) {
	out := b.out.Bytes()
	if n == rows {
		err := b.next(out, b.filled, n)
		b.filled += rows
		return rows, err
	}
	b.dense = append(b.dense[:0], make([]byte, (n+7)/8+8)...)
	if err := b.next(b.dense, 0, n); err != nil {
		return 0, err
	}
	at := 0
	for i := b.filled; i < b.filled+rows; i++ {
		if bitutil.BitIsSet(valid, i) {
			bitutil.SetBitTo(out, i, bitutil.BitIsSet(b.dense, at))
			at++
		}
	}
	b.filled += rows
	return rows, nil
}

// next sets bits [at, at+n) of a bitmap, behind which there are eight bytes, to the next values.
func (b *booleans) next(out []byte, at, n int) error {
	if b.packed == nil {
		return b.runs.bits(out, at, n)
	}
	if b.bit+n > 8*len(b.packed) {
		return errShort
	}
	copyBits(out, at, b.packed, b.bit, n)
	b.bit += n
	return nil
}

func (b *booleans) finish() []*memory.Buffer {
	b.out.ResizeNoShrink((b.filled + 7) / 8)
	out := b.out
	b.out = nil
	return []*memory.Buffer{out}
}

func (b *booleans) close() { b.abandon() }

func (b *booleans) abandon() {
	if b.out != nil {
		b.out.Release()
		b.out = nil
	}
}

// prefixed cuts off runs whose length in bytes stands before them, in four bytes.
func prefixed(body []byte) (runs, rest []byte, err error) {
	if len(body) < 4 {
		return nil, nil, errShort
	}
	n := binary.LittleEndian.Uint32(body)
	if uint64(n) > uint64(len(body)-4) {
		return nil, nil, errShort
	}
	return body[4:][:n], body[4+n:], nil
}
