package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// Session is one connection as root, for transactions and session variables. Not for use by several goroutines at once.
type Session struct {
	conn *client.Conn
	name string
}

// Session connects over the server's socket. db may be "".
func (s *MySQL) Session(ctx context.Context, db string) (*Session, error) {
	conn, err := client.ConnectWithContext(ctx, s.socket, "root", "", db, 0, func(c *client.Conn) error {
		return c.SetCapability(mysql.CLIENT_MULTI_STATEMENTS)
	})
	if err != nil {
		return nil, fmt.Errorf("connect to mysqld on port %d: %w", s.Port, err)
	}
	return &Session{conn: conn, name: fmt.Sprintf("mysqld on port %d", s.Port)}, nil
}

// Exec runs statements in order. Each text may hold several, separated by semicolons. It stops at the first error.
func (c *Session) Exec(texts ...string) error {
	for _, text := range texts {
		var failed error
		n := 0
		_, err := c.conn.ExecuteMultiple(text, func(_ *mysql.Result, err error) {
			n++
			if err != nil && failed == nil {
				failed = fmt.Errorf("statement %d: %w", n, err)
			}
		})
		if err := errors.Join(failed, err); err != nil {
			return fmt.Errorf("%s: %w: %s", c.name, err, shorten(text))
		}
	}
	return nil
}

// Query runs one statement and returns its rows in the normal form of this package (see Null).
func (c *Session) Query(sql string) ([][]string, error) {
	result, err := c.query(sql)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", c.name, err, shorten(sql))
	}
	defer result.Close()
	if result.Resultset == nil {
		return nil, nil
	}
	rows := make([][]string, len(result.Values))
	for i, values := range result.Values {
		rows[i] = make([]string, len(values))
		for j, v := range values {
			rows[i][j] = normalMySQL(v, result.Fields[j])
		}
	}
	return rows, nil
}

// query uses the binary protocol, in which a FLOAT is exact (the text has six digits), where the statement can be prepared.
func (c *Session) query(sql string) (*mysql.Result, error) {
	stmt, err := c.conn.Prepare(sql)
	var unsupported *mysql.MyError
	if errors.As(err, &unsupported) && unsupported.Code == mysql.ER_UNSUPPORTED_PS {
		return c.conn.Execute(sql)
	}
	if err != nil {
		return nil, err
	}
	result, err := stmt.Execute()
	return result, errors.Join(err, stmt.Close())
}

// Close ends the connection. An open transaction is rolled back.
func (c *Session) Close() error { return c.conn.Close() }

// Exec runs statements in a session of their own: see Session.Exec.
func (s *MySQL) Exec(ctx context.Context, texts ...string) error {
	c, err := s.Session(ctx, "")
	if err != nil {
		return err
	}
	return errors.Join(c.Exec(texts...), c.Close())
}

// Query runs one statement in a session of its own: see Session.Query.
func (s *MySQL) Query(ctx context.Context, sql string) ([][]string, error) {
	c, err := s.Session(ctx, "")
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(sql)
	return rows, errors.Join(err, c.Close())
}

func shorten(sql string) string {
	sql = strings.Join(strings.Fields(sql), " ")
	if len(sql) > 300 {
		return sql[:300] + "..."
	}
	return sql
}
