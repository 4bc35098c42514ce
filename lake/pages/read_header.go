package pages

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/parquet"
)

// The types of pages (parquet.thrift, PageType).
const (
	dataPage       = 0
	dictionaryPage = 2
	dataPageV2     = 3
)

// header is what is needed of a page's header (parquet.thrift, PageHeader and the headers in it).
type header struct {
	kind       int
	size       int // bytes of the page behind its header, in the file
	whole      int // bytes of it when decompressed
	values     int // NULLs included
	encoding   parquet.Encoding
	levels     parquet.Encoding // of definition levels, data page V1
	defined    int              // bytes of definition levels, data page V2
	repeated   int              // bytes of repetition levels, data page V2
	compressed bool             // data page V2: the values are; V1: always, where the column has a codec
}

// More bytes of a page, or of its header, are taken for a mistake. pqarrow has the same limits.
const (
	maxPage   = 256 << 20
	maxHeader = 16 << 20
)

// Types of Thrift's compact protocol.
const (
	thriftTrue = iota + 1
	thriftFalse
	thriftByte
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

// errCut says that bytes end within a page's header.
var errCut = errors.New("the header of the page is cut off")

// parse reads a page's header, and returns how many bytes it takes. It fails with errCut when b ends before the header does.
func (h *header) parse(b []byte) (int, error) {
	*h = header{kind: -1, values: -1, compressed: true}
	t := thrift{b: b}
	for {
		id, kind := t.field()
		switch {
		case t.err != nil:
			return 0, t.err
		case kind == 0:
			if h.size < 0 || h.size > maxPage || h.whole < 0 || h.whole > maxPage {
				return 0, fmt.Errorf("the page has %d bytes, %d when decompressed", h.size, h.whole)
			}
			known := h.kind == dataPage || h.kind == dataPageV2 || h.kind == dictionaryPage
			if known && (h.values < 0 || h.defined < 0 || h.repeated < 0 || h.defined+h.repeated > min(h.size, h.whole)) {
				return 0, fmt.Errorf("the header of the page is wrong: %+v", *h)
			}
			return len(b) - len(t.b), nil
		case id == 1 && kind == thriftI32:
			h.kind = t.int()
		case id == 2 && kind == thriftI32:
			h.whole = t.int()
		case id == 3 && kind == thriftI32:
			h.size = t.int()
		case id == 5 && kind == thriftStruct:
			h.data(&t)
		case id == 7 && kind == thriftStruct:
			h.dictionary(&t)
		case id == 8 && kind == thriftStruct:
			h.dataV2(&t)
		default:
			t.skip(kind, 0)
		}
	}
}

func (h *header) data(t *thrift) {
	t.fields(func(id, kind int) bool {
		switch id {
		case 1:
			h.values = t.int()
		case 2:
			h.encoding = parquet.Encoding(t.int())
		case 3:
			h.levels = parquet.Encoding(t.int())
		default:
			return false
		}
		return true
	})
}

func (h *header) dictionary(t *thrift) {
	t.fields(func(id, kind int) bool {
		switch id {
		case 1:
			h.values = t.int()
		case 2:
			h.encoding = parquet.Encoding(t.int())
		default:
			return false
		}
		return true
	})
}

func (h *header) dataV2(t *thrift) {
	t.fields(func(id, kind int) bool {
		switch id {
		case 1:
			h.values = t.int()
		case 4:
			h.encoding = parquet.Encoding(t.int())
		case 5:
			h.defined = t.int()
		case 6:
			h.repeated = t.int()
		case 7:
			h.compressed = kind == thriftTrue
		default:
			return false
		}
		return true
	})
}

// thrift reads Thrift's compact protocol. After the first error it reads nothing more.
type thrift struct {
	b    []byte
	last int // id of the field before
	err  error
}

func (t *thrift) byte() byte {
	if t.err != nil || len(t.b) == 0 {
		t.fail(errCut)
		return 0
	}
	v := t.b[0]
	t.b = t.b[1:]
	return v
}

func (t *thrift) fail(err error) {
	if t.err == nil {
		t.err = err
	}
	t.b = nil
}

func (t *thrift) uvarint() uint64 {
	v, n := binary.Uvarint(t.b)
	if n == 0 {
		t.fail(errCut)
		return 0
	}
	if n < 0 {
		t.fail(errors.New("the header of the page has a number of more than 64 bits"))
		return 0
	}
	t.b = t.b[n:]
	return v
}

// int reads a whole number, of 32 bits where it is used.
func (t *thrift) int() int {
	v := t.uvarint()
	return int(int32(v>>1) ^ -int32(v&1))
}

// field reads the header of a struct's next field; its type is 0 behind the last.
func (t *thrift) field() (id, kind int) {
	b := t.byte()
	if b == 0 {
		return 0, 0
	}
	if b>>4 != 0 {
		t.last += int(b >> 4)
	} else {
		t.last = t.int()
	}
	return t.last, int(b & 15)
}

// fields reads a struct: fn reads the fields whose numbers, or booleans, it knows, and returns false for others.
func (t *thrift) fields(fn func(id, kind int) bool) {
	outer := t.last
	t.last = 0
	for t.err == nil {
		id, kind := t.field()
		if kind == 0 {
			break
		}
		known := (kind == thriftI32 || kind == thriftTrue || kind == thriftFalse) && fn(id, kind)
		if !known {
			t.skip(kind, 1)
		}
	}
	t.last = outer
}

// skip reads a value of a type without looking at it.
func (t *thrift) skip(kind, depth int) {
	if depth > 16 {
		t.fail(errors.New("the header of the page has structs within structs"))
	}
	if t.err != nil {
		return
	}
	switch kind {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case thriftI16, thriftI32, thriftI64:
		t.uvarint()
	case thriftDouble:
		t.bytes(8)
	case thriftBinary:
		t.bytes(t.uvarint())
	case thriftList, thriftSet:
		b := t.byte()
		n := uint64(b >> 4)
		if n == 15 {
			n = t.uvarint()
		}
		for ; n > 0 && t.err == nil; n-- {
			t.element(int(b&15), depth)
		}
	case thriftMap:
		n := t.uvarint()
		if n == 0 {
			return
		}
		b := t.byte()
		for ; n > 0 && t.err == nil; n-- {
			t.element(int(b>>4), depth)
			t.element(int(b&15), depth)
		}
	case thriftStruct:
		outer := t.last
		t.last = 0
		for t.err == nil {
			_, kind := t.field()
			if kind == 0 {
				break
			}
			t.skip(kind, depth+1)
		}
		t.last = outer
	default:
		t.fail(fmt.Errorf("the header of the page has a value of type %d", kind))
	}
}

// element skips one of a collection's values, in which a boolean takes a byte.
func (t *thrift) element(kind, depth int) {
	if kind == thriftTrue || kind == thriftFalse {
		t.byte()
		return
	}
	t.skip(kind, depth+1)
}

func (t *thrift) bytes(n uint64) {
	if n > uint64(len(t.b)) {
		t.fail(errCut)
		return
	}
	t.b = t.b[n:]
}
