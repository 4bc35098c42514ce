package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"

	"github.com/tidemark/tidemark/checkpoint"
)

// request is what a server is asked to send.
type request struct {
	from     *checkpoint.Set // by GTID: all that is not in it
	file     string          // by file: all after offset, whatever gtid_mode is
	offset   uint64
	begun    time.Time // of file, when it is known: another file of that name is refused
	only     bool      // end with the file, and where the log ends now
	identity string    // replica UUID
}

// headOfFile is the offset of the first event of a file.
const headOfFile = 4

// Dial asks a server for everything that is not in from. It returns when the server has begun to send, so that its
// refusal (purged, diverged) is Dial's error. ctx is for the dialling only. Errors are *Error.
func Dial(ctx context.Context, cfg Config, host string, from checkpoint.Set) (*Stream, error) {
	return openStream(ctx, cfg, host, request{from: &from, identity: cfg.ReplicaUUID()})
}

// DialAt asks a server for everything after a place in its own binary log, with GTIDs or without. It is Dial for servers
// whose gtid_mode is not ON, which refuse to look for a GTID set. A file of that name which is not the one meant is
// refused as diverged.
func DialAt(ctx context.Context, cfg Config, host string, place checkpoint.Place) (*Stream, error) {
	return openStream(ctx, cfg, host, request{file: place.File, offset: place.Offset, begun: place.Begun, identity: cfg.ReplicaUUID()})
}

// dialFile reads a file from a place to its end, or to where it ends now, without rows. Its identity is its own, so that
// it is in no stream's way.
func dialFile(ctx context.Context, cfg Config, host string, place checkpoint.Place) (*Stream, error) {
	cfg.Wanted = func(string, string) bool { return false }
	return openStream(ctx, cfg, host, request{file: place.File, offset: place.Offset, begun: place.Begun, only: true, identity: uuid.NewString()})
}

func openStream(ctx context.Context, cfg Config, host string, r request) (*Stream, error) {
	cfg = cfg.ensureDefaults()
	c, err := cfg.connect(ctx, host)
	if err != nil {
		return nil, err
	}
	s := &Stream{host: host, session: c, request: r}
	s.maxBuffered, s.tables.wanted = cfg.MaxBuffered, cfg.Wanted
	stop := context.AfterFunc(ctx, c.close)
	err = s.begin(ctx, cfg)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		kind := Classify(err)
		if ctx.Err() != nil {
			kind, err = KindCanceled, context.Cause(ctx)
		}
		return nil, &Error{Kind: kind, Host: host, Op: "start the binary log dump", Err: err}
	}
	return s, nil
}

// send asks for the dump.
func (r *request) send(c *session, serverID uint32) error {
	if r.from != nil {
		return requestDump(c, serverID, *r.from)
	}
	flags := uint16(0)
	if r.only {
		flags = replication.BINLOG_DUMP_NON_BLOCK
	}
	return requestFile(c, serverID, r.file, r.offset, flags)
}

// requestDump sends COM_BINLOG_DUMP_GTID.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump_gtid.html
func requestDump(c *session, serverID uint32, from checkpoint.Set) error {
	set := from.Encode()
	b := []byte{0, 0, 0, 0, mysql.COM_BINLOG_DUMP_GTID}
	b = binary.LittleEndian.AppendUint16(b, replication.BINLOG_THROUGH_GTID)
	b = binary.LittleEndian.AppendUint32(b, serverID)
	b = binary.LittleEndian.AppendUint32(b, 0)          // no file name
	b = binary.LittleEndian.AppendUint64(b, headOfFile) // position, ignored
	b = binary.LittleEndian.AppendUint32(b, uint32(len(set)))
	b = append(b, set...)
	c.ResetSequence()
	return c.WritePacket(b)
}

// requestFile sends COM_BINLOG_DUMP. It has four bytes for the offset: of a file that a giant transaction has made longer
// than that, everything is asked for, and the stream leaves out what lies before.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump.html
func requestFile(c *session, serverID uint32, file string, offset uint64, flags uint16) error {
	if offset > math.MaxUint32 {
		offset = headOfFile
	}
	b := []byte{0, 0, 0, 0, mysql.COM_BINLOG_DUMP}
	b = binary.LittleEndian.AppendUint32(b, uint32(offset))
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, serverID)
	b = append(b, file...)
	c.ResetSequence()
	return c.WritePacket(b)
}

// anotherFileError says that the file of a position is not the one that bears its name now.
type anotherFileError struct {
	file       string
	want, have time.Time
}

func (e *anotherFileError) Error() string {
	return fmt.Sprintf("its file %s was begun at %s, and the position is in a file of that name begun at %s: the server was reset, or is another one",
		e.file, e.have.Format(time.RFC3339), e.want.Format(time.RFC3339))
}
