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
