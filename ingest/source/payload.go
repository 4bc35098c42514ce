package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/klauspost/compress/zstd"
)

// payload reads the events inside a TRANSACTION_PAYLOAD event (binlog_transaction_compression=ON) one by one, so that
// of a large transaction only the compressed form is held. One decoder serves the whole stream.
type payload struct {
	decoder *zstd.Decoder
	in      io.Reader
	buf     []byte
	active  bool
	end     uint32 // position of the outer event, which the inner ones have
	time    uint32
}

// Fields and kinds of compression of the event.
// https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1codecs_1_1binary_1_1Transaction__payload.html
const (
	payloadEndOfHeader  = 0
	payloadCompression  = 2
	compressionZstd     = 0
	compressionNone     = 255
	largestEventInside  = 1 << 30 // the server's limit of an event
	payloadMemory       = 128 << 20
	payloadReaderBuffer = 64 << 10
)

// open begins a payload. Its body must be ours.
func (p *payload) open(e *event) error {
	b := e.body
	compression := uint64(compressionNone)
	for {
		field, n, ok := lengthInt(b)
		if !ok {
			return malformedf("transaction payload event is cut short")
		}
		b = b[n:]
		if field == payloadEndOfHeader {
			break
		}
		length, n, ok := lengthInt(b)
		if !ok || uint64(len(b)-n) < length {
			return malformedf("transaction payload event is cut short in field %d", field)
		}
		if field == payloadCompression {
			if compression, _, ok = lengthInt(b[n:]); !ok {
				return malformedf("transaction payload event has an empty field %d", field)
			}
		}
		b = b[n+int(length):]
	}
	switch compression {
	case compressionNone:
		p.in = bytes.NewReader(b)
	case compressionZstd:
		if p.decoder == nil {
			// One goroutine, ours: the decoder needs no closing.
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(payloadMemory), zstd.WithDecoderLowmem(true))
			if err != nil {
				return err
			}
			p.decoder = d
		}
		if err := p.decoder.Reset(bytes.NewReader(b)); err != nil {
			return malformedf("transaction payload: %v", err)
		}
		p.in = p.decoder
	default:
		return &unknownEventError{"a transaction payload is compressed in a way this tidemark does not know"}
	}
	p.active, p.end, p.time = true, e.position, e.time
	return nil
}

// lengthInt reads a length-encoded integer.
func lengthInt(b []byte) (v uint64, n int, ok bool) {
	if len(b) == 0 || b[0] >= 0xfb && len(b) < 9 && len(b) < [...]int{0, 3, 4, 9, 0}[b[0]-0xfb] {
		return 0, 0, false
	}
	v, _, n = mysql.LengthEncodedInt(b)
	return v, n, n > 0
}

// next returns the next event inside, valid until the next call; ok is false at the end. Events inside have no checksum
// of their own: the outer one's covers them.
func (p *payload) next() (e event, ok bool, err error) {
	if cap(p.buf) == 0 {
		p.buf = make([]byte, 0, payloadReaderBuffer)
	}
	head := p.buf[:eventHeader]
	if _, err := io.ReadFull(p.in, head); errors.Is(err, io.EOF) {
		p.active = false
		return event{}, false, nil
	} else if err != nil {
		return event{}, false, malformedf("transaction payload: %v", err)
	}
	size := int(binary.LittleEndian.Uint32(head[9:]))
	if size < eventHeader || size > largestEventInside {
		return event{}, false, malformedf("transaction payload has an event of %d bytes", size)
	}
	raw := p.buf[:eventHeader]
	owned := size > readBuffer
	if size > cap(p.buf) {
		raw = append(make([]byte, 0, size), head...)
		if !owned {
			p.buf = raw
		}
	}
	raw = raw[:size]
	if _, err := io.ReadFull(p.in, raw[eventHeader:]); err != nil {
		return event{}, false, malformedf("transaction payload: %v", err)
	}
	if e, err = parseEvent(raw, owned, false); err != nil {
		return event{}, false, err
	}
	e.position = p.end
	return e, true, nil
}
