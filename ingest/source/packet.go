package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	packetHeader = 4
	maxPayload   = 1<<24 - 1 // a packet of this length is continued by the next
	readBuffer   = 256 << 10 // fits the processor's second-level cache
)

// packets reads the server's packets. Small ones are handed out where they lie in the read buffer; so a row image is
// copied once, when it is kept.
type packets struct {
	conn     net.Conn
	ctx      context.Context // ends a read that waits
	end      func()          // what ends it
	timeout  time.Duration   // for any progress at all
	buf      []byte
	from, to int // unread bytes
	sequence byte
	received uint64 // bytes, of statistics
}

func newPackets(ctx context.Context, conn net.Conn, end func(), timeout time.Duration) *packets {
	return &packets{ctx: ctx, conn: conn, end: end, timeout: timeout, buf: make([]byte, readBuffer), sequence: 1}
}

// next returns the payload of the next packet, continuations joined. owned is true when it is the caller's to keep;
// otherwise it is valid until the next call.
func (p *packets) next() (payload []byte, owned bool, err error) {
	length, err := p.header()
	if err != nil {
		return nil, false, err
	}
	if length < maxPayload && length <= len(p.buf)-packetHeader {
		if err := p.fill(length); err != nil {
			return nil, false, err
		}
		payload = p.buf[p.from : p.from+length]
		p.from += length
		return payload, false, nil
	}
	for {
		start := len(payload)
		payload = append(payload, make([]byte, length)...)
		n := copy(payload[start:], p.buf[p.from:p.to])
		p.from += n
		for start += n; start < len(payload); start += n {
			if n, err = p.read(payload[start:]); err != nil {
				return nil, false, err
			}
		}
		if length < maxPayload {
			return payload, true, nil
		}
		if length, err = p.header(); err != nil {
			return nil, false, err
		}
	}
}

func (p *packets) header() (length int, err error) {
	if err := p.fill(packetHeader); err != nil {
		return 0, err
	}
	h := p.buf[p.from : p.from+packetHeader]
	p.from += packetHeader
	if h[3] != p.sequence {
		return 0, malformedf("packet number %d arrived where %d was due", h[3], p.sequence)
	}
	p.sequence++
	return int(h[0]) | int(h[1])<<8 | int(h[2])<<16, nil
}

// fill makes at least n unread bytes available in the buffer.
func (p *packets) fill(n int) error {
	if p.to-p.from >= n {
		return nil
	}
	if len(p.buf)-p.from < n || p.from == p.to {
		p.to = copy(p.buf, p.buf[p.from:p.to])
		p.from = 0
	}
	for p.to-p.from < n {
		got, err := p.read(p.buf[p.to:])
		if err != nil {
			return err
		}
		p.to += got
	}
	return nil
}

func (p *packets) read(into []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.timeout)); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(p.ctx, p.end)
	n, err := p.conn.Read(into)
	stop()
	p.received += uint64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil {
		return 0, io.ErrNoProgress
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return 0, fmt.Errorf("not a byte for %s: %w", p.timeout, err)
	}
	if errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("the server closed the connection: %w", err)
	}
	return 0, err
}
