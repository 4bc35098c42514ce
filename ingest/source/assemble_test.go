package source

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
)

func newAssembler() *assembler {
	a := &assembler{maxBuffered: 1 << 20}
	id := uint64(7)
	a.tables.byID = map[uint64]*described{id: {db: "d", table: "t", wanted: true, event: &replication.TableMapEvent{Schema: []byte("d"), Table: []byte("t"), ColumnCount: 1}}}
	a.newFile("bin.000001", 4)
	return a
}

func gtidEvent(n int64) *event {
	b := make([]byte, 25)
	b[1] = 9
	binary.LittleEndian.PutUint64(b[17:], uint64(n))
	return &event{kind: replication.GTID_EVENT, body: b, time: 1_700_000_000}
}

func queryEvent(sql string) *event {
	b := make([]byte, 13, 13+2+len(sql))
	b[8] = 1
	return &event{kind: replication.QUERY_EVENT, body: append(append(b, 'd', 0), sql...)}
}

func insertEvent(images string) *event {
	b := append([]byte{7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 1}, images...)
	return &event{kind: replication.WRITE_ROWS_EVENTv2, body: b}
}

// run feeds events and describes the transactions that come out.
func run(t *testing.T, a *assembler, events ...*event) (out []string, err error) {
	t.Helper()
	for _, e := range events {
		tx, err := a.take(e)
		if err != nil {
			return out, err
		}
		if tx != nil {
			out = append(out, fmt.Sprintf("%d first=%v last=%v anonymous=%v %s", tx.GTID.GNO, tx.First, tx.Last, tx.Anonymous, describe(tx)))
		}
	}
	return out, nil
}

var xid = &event{kind: replication.XID_EVENT, body: make([]byte, 8), position: 500}

func TestAssemble(t *testing.T) {
	incident := &event{kind: replication.INCIDENT_EVENT, body: []byte{1, 0, 0}}
	unknown := &event{kind: 150}
	ignorable := &event{kind: 150, flags: replication.LOG_EVENT_IGNORABLE_F}
	anonymous := gtidEvent(0)
	anonymous.kind = replication.ANONYMOUS_GTID_EVENT
	for name, tt := range map[string]struct {
		in   []*event
		want []string
	}{
		"an open transaction is dropped by the next": {[]*event{gtidEvent(1), queryEvent("BEGIN"), insertEvent("x"), gtidEvent(2), queryEvent("BEGIN"), xid}, []string{"2 first=true last=true anonymous=false "}},
		"rolled back with tables of no transactions": {[]*event{gtidEvent(1), queryEvent("BEGIN"), insertEvent("x"), insertEvent("y"), queryEvent("ROLLBACK")}, []string{"1 first=true last=true anonymous=false ? ROLLBACK of a transaction with tables that have no transactions d.t;"}},
		"rolled back to a savepoint":                 {[]*event{gtidEvent(1), queryEvent("BEGIN"), queryEvent("SAVEPOINT `a`"), insertEvent("x"), queryEvent("ROLLBACK TO `a`"), queryEvent("COMMIT")}, []string{"1 first=true last=true anonymous=false ? ROLLBACK TO SAVEPOINT in a transaction with tables that have no transactions d.t;"}},
		"lost events":                                {[]*event{gtidEvent(1), incident}, []string{"1 first=true last=true anonymous=false ? INCIDENT (the server lost events) .;"}},
		"an unknown event in a transaction":          {[]*event{gtidEvent(1), queryEvent("BEGIN"), unknown, ignorable, xid}, []string{"1 first=true last=true anonymous=false ? type 150 .;"}},
		"anonymous, then GTIDs":                      {[]*event{anonymous, queryEvent("BEGIN"), insertEvent("x"), xid, gtidEvent(1), queryEvent("DROP TABLE x")}, []string{"0 first=true last=true anonymous=true insert t;", "1 first=true last=true anonymous=false DROP TABLE x;"}},
		"no GTID events at all":                      {[]*event{queryEvent("BEGIN"), insertEvent("x"), xid}, []string{"0 first=true last=true anonymous=true insert t;"}},
		"a statement that loads a file":              {[]*event{gtidEvent(1), {kind: replication.EXECUTE_LOAD_QUERY_EVENT}, xid}, []string{"1 first=true last=true anonymous=false ? LOAD DATA or an event of MySQL 5.0 (ExectueLoadQueryEvent) .;"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := run(t, newAssembler(), tt.in...)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
	_, err := run(t, newAssembler(), unknown)
	assert.Equal(t, KindFatal, Classify(err), "outside a transaction nothing can be said about it")
	_, err = run(t, newAssembler(), ignorable)
	require.NoError(t, err)
	undescribed := insertEvent("x")
	undescribed.body[0] = 8
	_, err = run(t, newAssembler(), gtidEvent(1), undescribed)
	assert.Equal(t, KindCorruption, Classify(err))
}

func TestAssembleParts(t *testing.T) {
	a := newAssembler()
	a.maxBuffered = 1
	got, err := run(t, a, gtidEvent(1), queryEvent("BEGIN"), insertEvent("x"), insertEvent("y"), xid)
	require.NoError(t, err)
	assert.Equal(t, []string{"1 first=true last=false anonymous=false insert t;", "1 first=false last=false anonymous=false insert t;", "1 first=false last=true anonymous=false "}, got)

	// The server's log goes on without the end of a transaction of which a part was delivered.
	_, err = run(t, a, gtidEvent(2), queryEvent("BEGIN"), insertEvent("x"), gtidEvent(3))
	var cut *CutError
	require.ErrorAs(t, err, &cut)
	assert.Equal(t, int64(2), cut.GTID.GNO)

	// XA: not held beyond the bound.
	got, err = run(t, newAssembler(), gtidEvent(1))
	require.NoError(t, err)
	assert.Empty(t, got)
	a = newAssembler()
	a.maxBuffered = 1
	prepare := &event{kind: replication.XA_PREPARE_LOG_EVENT, body: []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x'}}
	got, err = run(t, a, gtidEvent(1), queryEvent("XA START X'78',X'',1"), insertEvent("x"), insertEvent("y"), queryEvent("XA END X'78',X'',1"), prepare,
		gtidEvent(2), queryEvent("XA COMMIT X'78',X'',1"))
	require.NoError(t, err)
	assert.Equal(t, []string{"2 first=true last=true anonymous=false ? an XA transaction too large to be held until its commit d.t;"}, got)
}

func TestPositionsBeyondFourGigabytes(t *testing.T) {
	a := newAssembler()
	var got []uint64
	for _, p := range []uint32{100, 4_000_000_000, 50, 0, 60} {
		got = append(got, a.at(&event{position: p}))
	}
	assert.Equal(t, []uint64{100, 4_000_000_000, 1<<32 + 50, 1<<32 + 50, 1<<32 + 60}, got)
}

func TestClassify(t *testing.T) {
	my := func(code uint16, text string) error {
		return fmt.Errorf("wrapped: %w", mysql.NewError(code, text))
	}
	for want, errs := range map[Kind][]error{
		KindNone: {nil},
		KindPurged: {
			my(1236, "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged binary logs containing GTIDs that the slave requires."),
			my(1236, "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere"),
			my(1236, "Could not find first log file name in binary log index file"),
		},
		KindDiverged:   {my(1236, "Slave has more GTIDs than the master has, using the master's SERVER_UUID."), my(1236, "Replica has more GTIDs than the source has")},
		KindCollision:  {my(1236, "A slave with the same server_uuid/server_id as this slave has connected to the master; the first event..."), my(1236, "A replica with the same server_uuid/server_id as this replica has connected to the source")},
		KindCorruption: {my(1236, "event read from binlog did not pass crc check"), my(1236, "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source"), errChecksum, malformedf("x")},
		KindSettings:   {my(1236, "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./bin.000001, position 154."), my(1236, "Binary log is not open"), my(1236, "something else")},
		KindAuth:       {my(1045, "Access denied for user"), my(1130, "Host is not allowed")},
		KindPrivilege:  {my(1227, "Access denied; you need")},
		KindBusy:       {my(1040, "Too many connections")},
		KindShutdown:   {my(1053, "Server shutdown in progress"), my(3032, "offline mode")},
		KindNetwork:    {io.EOF, io.ErrUnexpectedEOF, &net.OpError{Op: "dial", Err: errors.New("refused")}, mysql.ErrBadConn},
		KindStall:      {context.DeadlineExceeded},
		KindCanceled:   {context.Canceled, errClosed},
		KindFatal:      {errors.New("never seen"), my(9999, "never seen")},
	} {
		for _, err := range errs {
			assert.Equal(t, want, Classify(err), "%v", err)
			if err != nil {
				e := &Error{Kind: Classify(err), Host: "h:1", Op: "o", Err: err}
				assert.Equal(t, want, Classify(fmt.Errorf("x: %w", e)))
				assert.Equal(t, want != KindFatal && want != KindCanceled, IsStreamError(&CutError{Err: e}))
			}
		}
	}
}

func TestVerdictsForMachines(t *testing.T) {
	text, err := json.Marshal(Judge([]State{
		{Host: "a:1", Err: &Error{Kind: KindAuth, Host: "a:1", Op: "connect", Err: errors.New("denied")}},
		{Host: "b:1", Version: "9.7", GTIDMode: "ON", LogBin: true, ServerID: 1, Executed: set(someUUID + ":1-3"), Purged: set(someUUID + ":1-2")},
	}, checkpoint.Set{}, Filter{}, nil))
	require.NoError(t, err)
	var got []map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	assert.Equal(t, "unreachable", got[0]["verdict"])
	assert.Equal(t, "auth", got[0]["fault"])
	assert.Equal(t, "purged", got[1]["verdict"])
	assert.Equal(t, someUUID+":1-2", got[1]["missing"])
}

// Whatever bytes come, the parsers answer with an error and not with a panic.
func FuzzEvents(f *testing.F) {
	f.Add(byte(replication.QUERY_EVENT), queryEvent("XA COMMIT X'78',X'',1").body)
	f.Add(byte(replication.WRITE_ROWS_EVENTv2), insertEvent("x").body)
	f.Add(byte(replication.GTID_EVENT), gtidEvent(1).body)
	f.Add(byte(replication.XA_PREPARE_LOG_EVENT), []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x'})
	f.Add(byte(replication.TRANSACTION_PAYLOAD_EVENT), []byte{2, 1, 255, 0, 1, 2, 3})
	f.Add(byte(replication.UPDATE_ROWS_EVENTv1), []byte{7, 0, 0, 0, 0, 0, 1, 0, 0xfd})
	f.Fuzz(func(_ *testing.T, kind byte, body []byte) {
		a := newAssembler()
		e := &event{kind: replication.EventType(kind), body: body}
		if e.kind == replication.TRANSACTION_PAYLOAD_EVENT {
			var p payload
			if p.open(e) == nil {
				for ok := true; ok; {
					var err error
					if _, ok, err = p.next(); err != nil {
						break
					}
				}
			}
			return
		}
		if _, err := a.take(e); err == nil {
			_, _ = a.take(xid)
		}
		_, _, _ = rotateOf(body)
	})
}
