package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// session is one connection, logged in. raw is the TCP connection under whatever TLS there is: closing it never blocks.
type session struct {
	*client.Conn
	raw  net.Conn
	host string
}

// connect logs in to a server. The deadline of ConnectTimeout stays set on the connection; ctx is looked at only here.
func (c Config) connect(ctx context.Context, host string) (*session, error) {
	s, err := c.connectOnce(ctx, host, c.TLS)
	if err != nil && c.TLS == TLSPreferred && strings.Contains(err.Error(), noTLS) {
		s, err = c.connectOnce(ctx, host, TLSOff)
	}
	if err == nil {
		return s, nil
	}
	kind := Classify(err)
	if ctx.Err() != nil {
		kind, err = KindCanceled, context.Cause(ctx)
	}
	return nil, &Error{Kind: kind, Host: host, Op: "connect", Err: err}
}

func (c Config) connectOnce(ctx context.Context, host string, mode TLSMode) (*session, error) {
	c.TLS = mode
	tlsConfig, err := c.tlsConfig(host)
	if err != nil {
		return nil, &Error{Kind: KindTLS, Host: host, Op: "set up TLS", Err: err}
	}
	s := &session{host: host}
	deadline := time.Now().Add(c.ConnectTimeout)
	stop := func() bool { return true }
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Deadline: deadline}
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		s.raw = conn
		stop = context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the log-in under way
		return conn, nil
	}
	s.Conn, err = client.ConnectWithDialer(ctx, "tcp", host, c.User, c.Password, "", dial, func(conn *client.Conn) error {
		if tlsConfig != nil {
			conn.SetTLSConfig(tlsConfig)
		}
		conn.SetAttributes(map[string]string{"program_name": "tidemark"})
		return nil
	})
	stop()
	if err == nil {
		return s, nil
	}
	if s.raw != nil {
		_ = s.raw.Close()
	}
	// The library reports a network error in the text of its own error only.
	if errors.Is(err, mysql.ErrBadConn) && !time.Now().Before(deadline) {
		return nil, fmt.Errorf("connected, but no answer within %s: %w", c.ConnectTimeout, context.DeadlineExceeded)
	}
	return nil, err
}

// close ends the connection without waiting for anything.
func (s *session) close() { _ = s.raw.Close() }

// Results are not given back to the library's pool (Close): their strings lie in its memory.

// lookup asks for one row of values; absent is true when the server does not know what is asked for.
func (s *session) lookup(query string) (row []string, absent bool, err error) {
	r, err := s.Execute(query)
	if err != nil {
		var my *mysql.MyError
		if errors.As(err, &my) && (my.Code == mysql.ER_UNKNOWN_SYSTEM_VARIABLE || my.Code == mysql.ER_PARSE_ERROR || my.Code == mysql.ER_NO_SUCH_TABLE || my.Code == mysql.ER_BAD_DB_ERROR) {
			return nil, true, nil
		}
		return nil, false, fmt.Errorf("%s: %w", query, err)
	}
	if r.Resultset == nil || r.RowNumber() == 0 {
		return nil, true, nil
	}
	for i := range r.ColumnNumber() {
		v, err := r.GetString(0, i)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", query, err)
		}
		row = append(row, v)
	}
	return row, false, nil
}

// variable asks for a global variable by the names it had through the versions, newest first. ok is false when the
// server has none of them.
func (s *session) variable(names ...string) (value string, ok bool, err error) {
	for _, name := range names {
		row, absent, err := s.lookup("SELECT @@global." + name)
		if err != nil {
			return "", false, err
		}
		if !absent {
			return row[0], true, nil
		}
	}
	return "", false, nil
}

// rows asks for a table of values, by column name.
func (s *session) rows(query string) ([]map[string]string, error) {
	r, err := s.Execute(query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	if r.Resultset == nil {
		return nil, nil
	}
	var all []map[string]string
	for i := range r.RowNumber() {
		row := map[string]string{}
		for j, f := range r.Fields {
			null, err := r.IsNull(i, j)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", query, err)
			}
			if null {
				continue
			}
			if row[string(f.Name)], err = r.GetString(i, j); err != nil {
				return nil, fmt.Errorf("%s: %w", query, err)
			}
		}
		all = append(all, row)
	}
	return all, nil
}

// denied reports whether an error says that the user may not look.
func denied(err error) bool { return Classify(err) == KindPrivilege }

// unknownStatement reports whether the server does not know a statement.
func unknownStatement(err error) bool {
	var my *mysql.MyError
	return errors.As(err, &my) && my.Code == mysql.ER_PARSE_ERROR
}

// isAbsent reports whether the server has no such table.
func isAbsent(err error) bool {
	var my *mysql.MyError
	return errors.As(err, &my) && (my.Code == mysql.ER_NO_SUCH_TABLE || my.Code == mysql.ER_BAD_DB_ERROR)
}
