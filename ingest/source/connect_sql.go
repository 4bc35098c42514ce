package source

import (
	"context"
	"net"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// Connect logs in to a server, to ask it by SQL. raw is the TCP connection under whatever TLS there is: closing it never
// blocks and ends what waits. No deadline is set on it. ctx is for the log-in only. Errors are *Error.
func (c Config) Connect(ctx context.Context, host string) (conn *client.Conn, raw net.Conn, err error) {
	s, err := c.ensureDefaults().connect(ctx, host)
	if err != nil {
		return nil, nil, err
	}
	if err := s.raw.SetDeadline(time.Time{}); err != nil {
		s.close()
		return nil, nil, &Error{Kind: KindNetwork, Host: host, Op: "connect", Err: err}
	}
	return s.Conn, s.raw, nil
}

// Packets reads what a server sends over a connection that Connect made, past the library: a row is looked at where it lies
// in the read buffer. The connection is the library's again when the answer to a command was read to its end.
type Packets struct{ packets }

// NewPackets is for any number of answers. timeout is how long the server may send nothing.
func NewPackets(conn *client.Conn, raw net.Conn, timeout time.Duration) *Packets {
	end := func() { _ = raw.Close() }
	return &Packets{*newPackets(context.Background(), conn.Conn.Conn, end, timeout)}
}

// Begin is called when a command was sent. The end of ctx ends the connection while Next waits.
func (p *Packets) Begin(ctx context.Context) { p.ctx, p.sequence = ctx, 1 }

// Next returns the payload of the next packet, valid until the next call. What its errors mean, Classify tells.
func (p *Packets) Next(ctx context.Context) ([]byte, error) {
	p.ctx = ctx
	payload, _, err := p.next()
	return payload, err
}

// Received returns how many bytes came over the network.
func (p *Packets) Received() uint64 { return p.received }
