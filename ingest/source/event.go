package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/checkpoint"
)

// event is a binary log event: its header and its body, without checksum.
// https://dev.mysql.com/doc/dev/mysql-server/latest/classmysql_1_1binlog_1_1event_1_1Log__event__header.html
type event struct {
	kind     replication.EventType
	time     uint32 // seconds
	position uint32 // where the event ends in its file, modulo 2^32
	flags    uint16
	body     []byte
	owned    bool // body is ours to keep
}

const (
	eventHeader  = replication.EventHeaderSize
	checksumSize = replication.BinlogChecksumLength
)

// parseEvent takes an event apart. It verifies the checksum where there is one.
func parseEvent(raw []byte, owned, checksum bool) (event, error) {
	if len(raw) < eventHeader {
		return event{}, malformedf("binary log event of %d bytes", len(raw))
	}
	le := binary.LittleEndian
	e := event{
		time: le.Uint32(raw), kind: replication.EventType(raw[4]), position: le.Uint32(raw[13:]), flags: le.Uint16(raw[17:]),
		body: raw[eventHeader:], owned: owned,
	}
	if size := le.Uint32(raw[9:]); int(size) != len(raw) {
		return event{}, malformedf("%s says it has %d bytes and has %d", e.kind, size, len(raw))
	}
	if checksum {
		end := len(raw) - checksumSize
		if end < eventHeader {
			return event{}, malformedf("%s of %d bytes has no room for its checksum", e.kind, len(raw))
		}
		if crc32.ChecksumIEEE(raw[:end]) != le.Uint32(raw[end:]) {
			return event{}, fmt.Errorf("%s ending at %d: %w", e.kind, e.position, errChecksum)
		}
		e.body = raw[eventHeader:end]
	}
	return e, nil
}

// formatOf reads a FORMAT_DESCRIPTION event: whether the events after it have checksums. The event has one itself then,
// in any case it has room for one.
func formatOf(raw []byte) (checksum bool, err error) {
	var f replication.FormatDescriptionEvent
	if len(raw) < eventHeader+57+checksumSize+1 {
		return false, malformedf("format description event of %d bytes", len(raw))
	}
	if err := guarded(func() error { return f.Decode(raw[eventHeader:]) }); err != nil {
		return false, malformedf("format description event: %v", err)
	}
	return f.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32, nil
}

// gtidOf reads a GTID or ANONYMOUS_GTID event, without allocation.
func gtidOf(e *event) (g checkpoint.GTID, at time.Time, err error) {
	if e.kind == replication.GTID_TAGGED_LOG_EVENT {
		return taggedOf(e)
	}
	b := e.body
	if len(b) < 25 {
		return g, at, malformedf("GTID event of %d bytes", len(b))
	}
	copy(g.SID[:], b[1:])
	g.GNO = int64(binary.LittleEndian.Uint64(b[17:]))
	at = time.Unix(int64(e.time), 0)
	// From 8.0 on: flag 2, two logical clocks of 8 bytes, then the commit time here in 7 bytes of microseconds, and when
	// the highest bit is set, the original one in 7 more.
	if len(b) >= 49 && b[25] == replication.LogicalTimestampTypeCode {
		micros := mysql.FixedLengthInt(b[42:49])
		if micros&(1<<55) != 0 && len(b) >= 56 {
			micros &^= 1 << 55
			if original := mysql.FixedLengthInt(b[49:56]); original != 0 {
				micros = original
			}
		}
		at = time.UnixMicro(int64(micros))
	}
	return g, at.UTC(), nil
}

func taggedOf(e *event) (g checkpoint.GTID, at time.Time, err error) {
	var t replication.GtidTaggedLogEvent
	if err := guarded(func() error { return t.Decode(bytes.Clone(e.body)) }); err != nil {
		return g, at, malformedf("tagged GTID event: %v", err)
	}
	if len(t.SID) != len(g.SID) {
		return g, at, malformedf("tagged GTID event with a UUID of %d bytes", len(t.SID))
	}
	copy(g.SID[:], t.SID)
	g.GNO, g.Tag = t.GNO, t.Tag.String()
	micros := t.OriginalCommitTimestamp
	if micros == 0 {
		micros = t.ImmediateCommitTimestamp
	}
	return g, time.UnixMicro(int64(micros)).UTC(), nil
}

// queryOf reads a QUERY event.
func queryOf(b []byte) (schema, sql []byte, err error) {
	if len(b) < 13 {
		return nil, nil, malformedf("query event of %d bytes", len(b))
	}
	n, status := int(b[8]), int(binary.LittleEndian.Uint16(b[11:]))
	start := 13 + status
	if len(b) < start+n+1 {
		return nil, nil, malformedf("query event of %d bytes, %d of them status", len(b), status)
	}
	return b[start : start+n], b[start+n+1:], nil
}

// rowsHead is the head of a rows event.
type rowsHead struct {
	table         uint64
	flags         uint16
	columns       int
	first, second []byte // bitmaps; second for updates only
	images        []byte
}

// dummyTable is the table id of an event that only ends a statement.
const dummyTable = 0x00ffffff

// rowsOf reads the head of a rows event of version 1 or 2.
func rowsOf(e *event) (h rowsHead, err error) {
	b := e.body
	if len(b) < 8 {
		return h, malformedf("%s of %d bytes", e.kind, len(b))
	}
	h.table = mysql.FixedLengthInt(b[:6])
	h.flags = binary.LittleEndian.Uint16(b[6:])
	b = b[8:]
	if e.kind >= replication.WRITE_ROWS_EVENTv2 { // partition ids and the like
		if len(b) < 2 {
			return h, malformedf("%s without its extra data", e.kind)
		}
		extra := int(binary.LittleEndian.Uint16(b))
		if extra < 2 || len(b) < extra {
			return h, malformedf("%s with %d bytes of extra data", e.kind, extra)
		}
		b = b[extra:]
	}
	columns, n, ok := lengthInt(b)
	if !ok {
		return h, malformedf("%s without its column count", e.kind)
	}
	bitmap := (int(columns) + 7) / 8
	bitmaps := bitmap
	if isUpdate(e.kind) {
		bitmaps *= 2
	}
	if columns > 1<<16 || len(b) < n+bitmaps {
		return h, malformedf("%s of %d columns is cut short", e.kind, columns)
	}
	h.columns = int(columns)
	h.first = b[n : n+bitmap]
	h.second = b[n+bitmap : n+bitmaps]
	h.images = b[n+bitmaps:]
	return h, nil
}

func isUpdate(k replication.EventType) bool {
	return k == replication.UPDATE_ROWS_EVENTv1 || k == replication.UPDATE_ROWS_EVENTv2 || k == replication.PARTIAL_UPDATE_ROWS_EVENT
}

// tables keeps the table descriptions of a stream. The server sends one before every statement's rows; one that is the
// same as before, and mostly it is, costs a comparison.
type tables struct {
	wanted func(db, table string) bool
	byID   map[uint64]*described
	parser *replication.BinlogParser
}

type described struct {
	body   []byte
	db     string
	table  string
	wanted bool
	event  *replication.TableMapEvent // nil for a table that is not wanted
}

// reset begins a new binary log file: table ids may be given out anew. raw is the FORMAT_DESCRIPTION event.
func (t *tables) reset(raw []byte) error {
	// The library reads table maps only through its parser, and that wants to have seen a format description. Checksums
	// are verified and taken off before, so this one says there are none.
	raw = bytes.Clone(raw)
	raw[len(raw)-checksumSize-1] = byte(replication.BINLOG_CHECKSUM_ALG_OFF)
	t.parser = replication.NewBinlogParser()
	t.byID = map[uint64]*described{}
	if _, err := t.parser.Parse(raw); err != nil {
		return malformedf("format description event: %v", err)
	}
	return nil
}

// take remembers a TABLE_MAP event.
func (t *tables) take(e *event) error {
	b := e.body
	if t.parser == nil || len(b) < 10 {
		return malformedf("table map event of %d bytes", len(b))
	}
	id := mysql.FixedLengthInt(b[:6])
	if d := t.byID[id]; d != nil && bytes.Equal(d.body, b) {
		return nil
	}
	n := int(b[8])
	if len(b) < 9+n+2 || len(b) < 9+n+2+int(b[9+n+1]) {
		return malformedf("table map event of %d bytes is cut short", len(b))
	}
	m := int(b[9+n+1])
	d := &described{db: string(b[9 : 9+n]), table: string(b[9+n+2 : 9+n+2+m])}
	d.wanted = t.wanted(d.db, d.table)
	raw := make([]byte, eventHeader, eventHeader+len(b))
	raw[4] = byte(replication.TABLE_MAP_EVENT)
	raw = append(raw, b...)
	binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
	d.body = raw[eventHeader:]
	if d.wanted {
		var err error
		if d.event, err = parseTableMap(t.parser, raw); err != nil {
			return malformedf("table map event of %s.%s: %v", d.db, d.table, err)
		}
	}
	t.byID[id] = d
	return nil
}

func parseTableMap(p *replication.BinlogParser, raw []byte) (*replication.TableMapEvent, error) {
	var parsed *replication.BinlogEvent
	err := guarded(func() (err error) {
		parsed, err = p.Parse(raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	e, ok := parsed.Event.(*replication.TableMapEvent)
	if !ok {
		return nil, fmt.Errorf("it is a %T", parsed.Event)
	}
	return e, nil
}

// guarded runs a decoder of the library, which reads past the end of an event that is cut short.
func guarded(decode func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return decode()
}

// rotateOf reads a ROTATE event: the file that comes next.
func rotateOf(b []byte) (file string, position uint64, err error) {
	if len(b) < 9 {
		return "", 0, malformedf("rotate event of %d bytes", len(b))
	}
	return strings.TrimRight(string(b[8:]), "\x00"), binary.LittleEndian.Uint64(b), nil
}
