package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/checkpoint"
)

// Stream is the binary log of one server, from a position on, as transactions. One goroutine calls Next; Close may be
// called by any.
type Stream struct {
	host     string
	uuid     [16]byte
	serverID uint32
	session  *session
	packets  *packets
	checksum bool // events end in one
	inside   payload
	request  request
	previous checkpoint.Set // at the head of the file, when only that one is read
	past     uint64         // of the file asked for: what ends here or before is left out
	assembler

	closed atomic.Bool
	err    error // the end of the stream

	heard Heartbeat
}

// Heartbeat is the server's latest sign of life with nothing to send.
type Heartbeat struct {
	At       time.Time // on our clock
	File     string
	Position uint64
}

// firstPacket is how long the server may take to find the place to begin at: it reads the head of each of its files.
const firstPacket = 30 * time.Second

// writeTimeout is how long the server waits for us to take what it sends, in seconds: a commit to a slow lake must not
// cost the connection. An abandoned connection does no harm: the next one with our UUID ends it, or, where it is stuck
// in a write to a process that hangs, this time does.
const writeTimeout = 3600

// begin tells the server who we are and what we want.
func (s *Stream) begin(ctx context.Context, cfg Config) error {
	c := s.session
	if err := c.raw.SetDeadline(time.Now().Add(cfg.ConnectTimeout)); err != nil {
		return err
	}
	// Old and new names of the same things: a server looks at those it knows. The checksum has to be the server's own
	// setting, else its first event, which comes before the format is described, could not be read.
	set := fmt.Sprintf("SET @source_binlog_checksum=@@global.binlog_checksum, @master_binlog_checksum=@@global.binlog_checksum, "+
		"@source_heartbeat_period=%[1]d, @master_heartbeat_period=%[1]d, @replica_uuid='%[2]s', @slave_uuid='%[2]s', @@session.net_write_timeout=%[3]d",
		cfg.HeartbeatPeriod.Nanoseconds(), s.request.identity, writeTimeout)
	if _, err := c.Execute(set); err != nil {
		return fmt.Errorf("set up the session: %w", err)
	}
	row, _, err := c.lookup("SELECT @@global.server_uuid, @@global.server_id, @source_binlog_checksum")
	if err != nil {
		return err
	}
	if len(row) != 3 {
		return malformedf("the server does not say who it is")
	}
	if s.uuid, err = checkpoint.ParseUUID(row[0]); err != nil {
		return err
	}
	var own uint32
	if _, err := fmt.Sscan(row[1], &own); err != nil {
		return fmt.Errorf("server_id %q: %w", row[1], err)
	}
	if s.checksum = row[2] == "CRC32"; !s.checksum {
		cfg.Logger.Warn("the server writes its binary log without checksums: damage would go unnoticed", "server", s.host, "binlog_checksum", row[2])
	}
	s.serverID = cfg.drawServerID(own)
	if err := register(c, s.serverID); err != nil {
		return fmt.Errorf("register as a replica: %w", err)
	}
	if err := s.request.send(c, s.serverID); err != nil {
		return err
	}
	if err := c.raw.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// From here on we read ourselves. The library's buffer is empty: the server says nothing without being asked.
	s.packets = newPackets(ctx, c.Conn.Conn.Conn, c.close, max(firstPacket, cfg.ReadTimeout))
	// The first event names the file; after it comes the file's own head, wherever the stream begins.
	for named := false; ; {
		e, raw, err := s.event()
		if err != nil {
			return err
		}
		if _, err := s.control(&e, raw); err != nil {
			return err
		}
		described := e.kind == replication.FORMAT_DESCRIPTION_EVENT
		if described && s.request.offset > math.MaxUint32 {
			s.past = s.request.offset
		}
		if named = named || e.kind == replication.ROTATE_EVENT; described || named && s.request.from != nil {
			break
		}
	}
	s.packets.timeout = cfg.ReadTimeout
	return nil
}

// register announces us as a replica (COM_REGISTER_SLAVE), which is what shows us in SHOW REPLICAS. It takes the
// privilege REPLICATION SLAVE.
func register(c *session, serverID uint32) error {
	const name = "tidemark"
	b := []byte{0, 0, 0, 0, mysql.COM_REGISTER_SLAVE}
	b = binary.LittleEndian.AppendUint32(b, serverID)
	b = append(b, byte(len(name)))
	b = append(b, name...)
	b = append(b, make([]byte, 1+1+2+4+4)...) // no user, no password, no port, rank, source id
	c.ResetSequence()
	if err := c.WritePacket(b); err != nil {
		return err
	}
	_, err := c.ReadOKPacket()
	return err
}

// Server returns the address of the server.
func (s *Stream) Server() string { return s.host }

// ServerUUID returns the UUID of the server, as MySQL prints it.
func (s *Stream) ServerUUID() string { return checkpoint.FormatUUID(s.uuid) }

// UUID returns the UUID of the server.
func (s *Stream) UUID() [16]byte { return s.uuid }

// ServerID returns the replica server id that this connection drew.
func (s *Stream) ServerID() uint32 { return s.serverID }

// Received returns how many bytes came over the network.
func (s *Stream) Received() uint64 { return s.packets.received }

// Heartbeat returns the server's latest heartbeat. Like Next it is for the goroutine that reads.
func (s *Stream) Heartbeat() Heartbeat { return s.heard }

// Pending returns the GTIDs that are held back: XA transactions that are prepared and neither committed nor rolled
// back. The server counts them as executed. Like Next it is for the goroutine that reads.
func (s *Stream) Pending() checkpoint.Set { return s.xa.pending() }

// Place returns the place in the server's log before which everything was delivered: past the last transaction, or, when XA
// transactions without a GTID are prepared and not decided yet, before the first of them (held), so that a stream from
// there sees it again. It is zero inside a transaction. Like Next it is for the goroutine that reads.
func (s *Stream) Place() (p checkpoint.Place, held bool) {
	if s.open != nil {
		return p, false
	}
	p = checkpoint.Place{Server: s.uuid, File: s.file, Offset: s.high | uint64(s.last), Begun: s.fileBegun}
	if h := s.xa.first(); !h.IsZero() {
		p.File, p.Offset, p.Begun = h.File, h.Offset, h.Begun
		held = true
	}
	return p, held
}

// Next returns the next transaction, or the next part of a large one. It returns nil without an error on a heartbeat: the server is alive and
// has sent all it has. When ctx ends while Next waits, so does the stream.
//
// Errors are *Error, or *CutError around one when parts of the open transaction were delivered. After an error the
// stream is at its end.
func (s *Stream) Next(ctx context.Context) (*Transaction, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.packets.ctx = ctx
	t, err := s.next()
	if err == nil {
		return t, nil
	}
	s.err = s.explain(ctx, err)
	s.Close()
	return nil, s.err
}

// explain makes the stream's last error.
func (s *Stream) explain(ctx context.Context, err error) error {
	kind := Classify(err)
	switch {
	case ctx.Err() != nil:
		kind, err = KindCanceled, context.Cause(ctx)
	case s.closed.Load():
		kind, err = KindCanceled, errClosed
	}
	out := error(&Error{Kind: kind, Host: s.host, Op: "read the binary log", Err: err})
	var cut *CutError
	if errors.As(err, &cut) {
		return &CutError{GTID: cut.GTID, Err: &Error{Kind: kind, Host: s.host, Op: "read the binary log", Err: cut.Err}}
	}
	if s.open != nil && s.delivered {
		return &CutError{GTID: s.open.GTID, Err: out}
	}
	return out
}

// Close ends the stream. It does not wait for anything, and may be called more than once.
func (s *Stream) Close() {
	s.closed.Store(true)
	s.session.close()
}

func (s *Stream) next() (*Transaction, error) {
	for {
		t, e, err := s.step()
		switch {
		case err != nil:
			return nil, err
		case t != nil && t.File == s.request.file && t.Position <= s.past:
		case t != nil:
			return t, nil
		case isHeartbeat(e.kind):
			return nil, nil
		}
	}
}

// step reads one event, which may complete a transaction.
func (s *Stream) step() (t *Transaction, e event, err error) {
	if s.inside.active {
		var ok bool
		switch e, ok, err = s.inside.next(); {
		case err != nil:
		case ok:
			t, err = s.take(&e)
		default:
			e.position = s.inside.end
		}
		return t, e, err
	}
	var raw []byte
	if e, raw, err = s.event(); err != nil {
		return nil, e, err
	}
	control, err := s.control(&e, raw)
	if err == nil && !control {
		t, err = s.take(&e)
	}
	if e.kind != replication.ROTATE_EVENT { // its own file is behind us
		s.at(&e)
	}
	return t, e, err
}

// between reports whether the log is between two transactions after what was read.
func (s *Stream) between() bool { return s.open == nil && !s.inside.active }

func isHeartbeat(k replication.EventType) bool {
	return k == replication.HEARTBEAT_EVENT || k == replication.HEARTBEAT_LOG_EVENT_V2
}

// event reads the next event off the network. raw is the whole of it.
func (s *Stream) event() (e event, raw []byte, err error) {
	payload, owned, err := s.packets.next()
	if err != nil {
		return event{}, nil, err
	}
	if len(payload) == 0 {
		return event{}, nil, malformedf("an empty packet")
	}
	switch payload[0] {
	case mysql.OK_HEADER:
	case mysql.ERR_HEADER:
		return event{}, nil, s.session.HandleErrorPacket(bytes.Clone(payload))
	case mysql.EOF_HEADER:
		if s.request.only {
			return event{}, nil, io.EOF
		}
		return event{}, nil, mysql.NewError(1053, "the server ended the binary log dump")
	default:
		return event{}, nil, malformedf("a packet begins with %#x", payload[0])
	}
	raw = payload[1:]
	checksum := s.checksum
	if len(raw) > 4 && replication.EventType(raw[4]) == replication.FORMAT_DESCRIPTION_EVENT {
		if checksum, err = formatOf(raw); err != nil {
			return event{}, nil, err
		}
		s.checksum = checksum
	}
	e, err = parseEvent(raw, owned, checksum)
	return e, raw, err
}

// control handles what is about the log and not in it, and reports whether that was all.
func (s *Stream) control(e *event, raw []byte) (bool, error) {
	switch e.kind {
	case replication.ROTATE_EVENT:
		file, position, err := rotateOf(e.body)
		switch {
		case err != nil:
			return true, err
		case s.request.only && file != s.request.file:
			return true, io.EOF
		}
		s.newFile(file, position)
		return true, nil
	case replication.FORMAT_DESCRIPTION_EVENT:
		// A transaction does not reach from one file into the next: an open one has lost its end in a crash.
		if err := s.drop("the server's log file ends without its end"); err != nil {
			return true, err
		}
		// Sent again for a stream that begins further on, it keeps its time: that of the file's beginning.
		s.fileBegun = time.Unix(int64(e.time), 0).UTC()
		if r := &s.request; !r.begun.IsZero() && r.file == s.file && !r.begun.Equal(s.fileBegun) {
			return true, &anotherFileError{s.file, r.begun, s.fileBegun}
		}
		return true, s.tables.reset(raw)
	case replication.PREVIOUS_GTIDS_EVENT:
		if !s.request.only {
			return true, nil
		}
		set, err := mysql.DecodeMysqlGTIDSet(e.body)
		if err != nil {
			return true, malformedf("previous GTIDs event: %v", err)
		}
		s.previous, err = checkpoint.ParseSet(set.String())
		return true, err
	case replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2:
		s.heard = Heartbeat{At: time.Now(), File: s.file, Position: s.at(e)}
		return true, nil
	case replication.TRANSACTION_PAYLOAD_EVENT:
		if !e.owned {
			e.body = bytes.Clone(e.body)
		}
		return true, s.inside.open(e)
	}
	return false, nil
}
