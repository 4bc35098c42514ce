package snapshot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
)

// Conn is one connection to a server, with its session set up for reading. It is not safe for concurrent use. After an
// error of the network, or when a context has ended a read, it is of no more use.
type Conn struct {
	host    string
	my      *client.Conn
	raw     net.Conn // under whatever TLS there is
	read    *source.Packets
	silence time.Duration
}

// silence is how long a server may take for an answer, or for the next part of one. What is asked here is answered from
// an index, and begins to come at once; only locks and overload take seconds.
const silence = 2 * time.Minute

// The session, set once for a connection:
//
//   - time_zone: TIMESTAMP values come as UTC.
//   - character_set_results=NULL: text comes in the column's own character set and is brought to UTF-8 here, exactly as
//     text of the binary log is. The server would write "?" for what it cannot convert.
//   - no sql_mode: PAD_CHAR_TO_FULL_LENGTH would add blanks that the binary log does not have; ANSI_QUOTES and
//     NO_BACKSLASH_ESCAPES would change what a statement means.
//   - READ COMMITTED, each statement on its own: nothing is held open while rows are written to the lake. Rows that
//     change meanwhile are put right by the binary log.
//   - net_write_timeout: how long the server waits for a reader who waits for a slow lake, in seconds.
//   - max_execution_time=0: a server's general limit for SELECT is not meant for this one.
//   - lock_wait_timeout: of the metadata lock, in seconds. An ALTER TABLE under way is reported instead of waited for.
//   - information_schema_stats_expiry: SHOW INDEX must not begin to collect statistics.
const sessionSetup = `SET time_zone='+00:00', character_set_client=utf8mb4, character_set_connection=utf8mb4, character_set_results=NULL, sql_mode='', ` +
	`autocommit=1, net_write_timeout=3600, lock_wait_timeout=60`

// Settings that not every server has.
var sessionExtras = []string{
	"SET transaction_isolation='READ-COMMITTED'", // tx_isolation before 5.7.20
	"SET max_execution_time=0",
	"SET information_schema_stats_expiry=4294967295",
	"SET show_gipk_in_create_table_and_information_schema=ON", // 8.0.30: the key that the server adds is a column like others
}

// Open connects to a server. ctx is for the opening only. Errors are *source.Error.
func Open(ctx context.Context, cfg source.Config, host string) (*Conn, error) {
	my, raw, err := cfg.Connect(ctx, host)
	if err != nil {
		return nil, err
	}
	c := &Conn{host: host, my: my, raw: raw, silence: silence}
	err = c.do(ctx, "set up the session", func() error {
		if _, err := my.Execute(sessionSetup); err != nil {
			return err
		}
		for _, set := range sessionExtras {
			var answer *mysql.MyError
			if _, err := my.Execute(set); err != nil && (!errors.As(err, &answer) || answer.Code != mysql.ER_UNKNOWN_SYSTEM_VARIABLE) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Host is the address of the server.
func (c *Conn) Host() string { return c.host }

// Close ends the connection. It waits for nothing, and may be called more than once and by any goroutine.
func (c *Conn) Close() { _ = c.raw.Close() }

// do talks to the server in a function that ends with the context. Its error is a *source.Error.
func (c *Conn) do(ctx context.Context, op string, talk func() error) error {
	deadline := time.Now().Add(c.silence)
	if err := c.raw.SetDeadline(deadline); err != nil {
		return c.fault(ctx, op, err)
	}
	stop := context.AfterFunc(ctx, c.Close)
	err := talk()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	// The library reports a network error in the text of its own error only.
	if errors.Is(err, mysql.ErrBadConn) && !time.Now().Before(deadline) {
		err = fmt.Errorf("no answer within %s: %w", c.silence, context.DeadlineExceeded)
	}
	return c.fault(ctx, op, err)
}

// fault makes a *source.Error of what happened, which source.IsStreamError and source.CanPass judge. A
// *ChangedError, and what package decode says of a value or a row, stays what it is.
func (c *Conn) fault(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	kind := source.Classify(err)
	var answer *mysql.MyError
	var changed *ChangedError
	var value *decode.ValueError
	var row *decode.WireError
	switch {
	case errors.As(err, &changed), errors.As(err, &value), errors.As(err, &row):
		return err
	case errors.Is(err, mysql.ErrMalformPacket):
		kind = source.KindCorruption
	case ctx.Err() != nil:
		kind, err = source.KindCanceled, context.Cause(ctx)
	case errors.As(err, &answer) && (answer.Code == mysql.ER_LOCK_WAIT_TIMEOUT || answer.Code == errMaxExecutionTime):
		kind = source.KindStall
	}
	return &source.Error{Kind: kind, Host: c.host, Op: op, Err: err}
}

// packets reads the answers to what is not asked through the library.
func (c *Conn) packets() *source.Packets {
	if c.read == nil {
		c.read = source.NewPackets(c.my, c.raw, c.silence)
	}
	return c.read
}

// errMaxExecutionTime is ER_QUERY_TIMEOUT.
const errMaxExecutionTime = 3024

// rows asks for rows of text. A NULL is nil.
func (c *Conn) rows(query string, args ...any) ([][]*string, error) {
	r, err := c.my.Execute(query, args...)
	if err != nil {
		return nil, err
	}
	// The result is not given back to the library's pool (Close): its strings lie in its memory.
	all := make([][]*string, r.RowNumber())
	for i := range all {
		all[i] = make([]*string, r.ColumnNumber())
		for j := range all[i] {
			null, err := r.IsNull(i, j)
			if err != nil {
				return nil, err
			}
			if null {
				continue
			}
			text, err := r.GetString(i, j)
			if err != nil {
				return nil, fmt.Errorf("column %d of %q: %w", j, query, err)
			}
			all[i][j] = &text
		}
	}
	return all, nil
}
