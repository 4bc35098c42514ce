package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/tidemark/tidemark/ingest/decode"
)

const (
	batchRows  = 16 << 10
	batchBytes = 16 << 20 // of rows as the network has them: a batch of wide rows is cut earlier
)

// Reader reads ranges of one table over one connection, as Arrow batches of the table's plan. It holds one batch at a time,
// and lets the server wait while nobody asks for the next. It is not safe for concurrent use.
type Reader struct {
	table   *Table
	conn    *Conn
	decoder *decode.Decoder

	statement *client.Stmt
	open      bool // an answer is being read
	eofs      int  // in it
	err       error
}

// NewReader prepares to read a table. The connection is the reader's until Close, but for the time between ranges.
func NewReader(mem memory.Allocator, c *Conn, t *Table) *Reader {
	return &Reader{table: t, conn: c, decoder: decode.NewDecoder(mem, t.Plan)}
}

// Start asks for a range, which is the whole of a table without a key; Next gives its rows. Errors are *source.Error, *ChangedError and *BoundError.
func (r *Reader) Start(ctx context.Context, part Range) error {
	if r.err != nil {
		return r.err
	}
	if r.open {
		return errors.New("the rows of the last range were not read to the end")
	}
	where, err := r.table.where(part)
	if err != nil {
		return err
	}
	query := "SELECT " + r.table.Plan.SelectList() + r.table.from() + where + r.table.order()
	err = r.conn.do(ctx, r.op(), func() error { return r.table.changed(r.conn, r.begin(ctx, query)) })
	if err != nil {
		r.err = err
		return err
	}
	r.open = true
	return nil
}

func (r *Reader) op() string { return fmt.Sprintf("read %s.%s", r.table.DB, r.table.Table) }

// begin sends the statement and reads the answer up to its first row.
func (r *Reader) begin(ctx context.Context, query string) (err error) {
	my := r.conn.my
	if err := r.forget(); err != nil {
		return err
	}
	if r.statement, err = my.Prepare(query); err != nil {
		return err
	}
	// COM_STMT_EXECUTE without parameters and cursor
	// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html): the library would read the
	// answer as well.
	command := binary.LittleEndian.AppendUint32([]byte{0, 0, 0, 0, mysql.COM_STMT_EXECUTE}, r.statement.ID)
	my.ResetSequence()
	if err := my.WritePacket(append(command, mysql.CURSOR_TYPE_NO_CURSOR, 1, 0, 0, 0)); err != nil {
		return err
	}
	packets := r.conn.packets()
	packets.Begin(ctx)
	r.eofs = 0
	head, err := r.packet(ctx)
	if err != nil {
		return err
	}
	count, _, n := mysql.LengthEncodedInt(head)
	if n != len(head) {
		return fmt.Errorf("%w: an answer begins with %x", mysql.ErrMalformPacket, head[:min(len(head), 16)])
	}
	fields := make([]mysql.Field, count)
	for i := range fields {
		definition, err := r.packet(ctx)
		if err != nil {
			return err
		}
		if err := fields[i].Parse(bytes.Clone(definition)); err != nil {
			return err
		}
	}
	if err := r.table.Plan.CheckAnswer(fields); err != nil {
		return &ChangedError{Host: r.conn.host, DB: r.table.DB, Table: r.table.Table, Why: err.Error()}
	}
	return nil
}

// packet reads a packet that is not an error.
func (r *Reader) packet(ctx context.Context) ([]byte, error) {
	p, err := r.conn.packets().Next(ctx)
	switch {
	case err != nil:
		return nil, err
	case len(p) == 0:
		return nil, fmt.Errorf("%w: it is empty", mysql.ErrMalformPacket)
	case p[0] == mysql.ERR_HEADER:
		return nil, r.conn.my.HandleErrorPacket(bytes.Clone(p))
	}
	return p, nil
}

// Next returns the next rows of the range, in the order of the key, to be released by the caller; io.EOF when there are no
// more.
//
// Errors are *source.Error, *ChangedError, *decode.ValueError for a value that cannot be carried over, and
// *decode.WireError. The connection is of no more use then: read the range again with another one.
func (r *Reader) Next(ctx context.Context) (arrow.RecordBatch, error) {
	if r.err != nil {
		return nil, r.err
	}
	if !r.open {
		return nil, io.EOF
	}
	err := context.Cause(ctx)
	if err == nil {
		err = r.fill(ctx)
	}
	if err != nil {
		r.conn.Close()
		r.err = r.conn.fault(ctx, r.op(), err)
		return nil, r.err
	}
	if r.decoder.Len() == 0 {
		return nil, io.EOF
	}
	return r.decoder.Flush(), nil
}

// Discard reads the rest of the range and throws the rows away, undecoded: what server and network can do. It returns how
// many there were. Errors are those of Next.
func (r *Reader) Discard(ctx context.Context) (rows int64, err error) {
	for r.open {
		p, err := r.packet(ctx)
		switch {
		case err != nil:
			r.conn.Close()
			r.err = r.conn.fault(ctx, r.op(), err)
			return rows, r.err
		case p[0] == mysql.OK_HEADER:
			rows++
		case len(p) == eofSize && r.eofs == 0:
			r.eofs++
		default:
			r.open = false
		}
	}
	return rows, nil
}

// fill decodes rows until there are enough, or no more.
func (r *Reader) fill(ctx context.Context) error {
	packets := r.conn.packets()
	for received := 0; r.decoder.Len() < batchRows && received < batchBytes; {
		p, err := packets.Next(ctx)
		if err != nil {
			return err
		}
		if len(p) > 0 && p[0] == mysql.OK_HEADER {
			received += len(p)
			if err := r.decoder.WireRow(p); err != nil {
				return err
			}
			continue
		}
		switch {
		case len(p) == 0:
			return fmt.Errorf("%w: it is empty", mysql.ErrMalformPacket)
		case p[0] == mysql.ERR_HEADER:
			return r.table.changed(r.conn, r.conn.my.HandleErrorPacket(bytes.Clone(p)))
		case p[0] == mysql.EOF_HEADER && len(p) == eofSize && r.eofs == 0:
			r.eofs++ // between columns and rows, from servers without CLIENT_DEPRECATE_EOF
		case p[0] == mysql.EOF_HEADER:
			r.open = false
			return nil
		default:
			return fmt.Errorf("%w: a row begins with %#x", mysql.ErrMalformPacket, p[0])
		}
	}
	return nil
}

// eofSize is the size of an EOF packet of old; the OK packet that ends rows since has seven bytes or more.
const eofSize = 5

// ZeroDates is the number of dates that became NULL because there is no such date, since NewReader.
func (r *Reader) ZeroDates() int64 { return r.decoder.ZeroDates() }

// forget closes the last range's statement on the server, which does not answer to that.
func (r *Reader) forget() error {
	if r.statement == nil {
		return nil
	}
	err := r.statement.Close()
	r.statement = nil
	return err
}

// Close gives the memory back, and the connection when the last range was read to its end; else it closes the connection,
// as the server is still sending.
func (r *Reader) Close(ctx context.Context) {
	r.decoder.Release()
	if r.open || r.err != nil || r.conn.do(ctx, r.op(), r.forget) != nil {
		r.conn.Close()
	}
	r.open, r.err = false, errReaderClosed
}

var errReaderClosed = errors.New("the reader was closed")
