package source

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/checkpoint"
)

// assembler makes transactions out of events. It holds the one that is open; only XID, COMMIT, a statement outside a
// transaction (DDL) and the end of an XA transaction complete it.
type assembler struct {
	maxBuffered int
	tables      tables
	xa          preparedXA

	file      string
	high      uint64 // what positions beyond 4 GiB lack
	last      uint32
	fileBegun time.Time // when the server began the file, in whole seconds

	open      *Transaction // nil between transactions
	begun     bool         // BEGIN or XA START was seen
	delivered bool         // a part of it was
	inXA      bool
	from      checkpoint.Place // before it
	overflow  bool             // an XA transaction outgrew the buffer: its rows are not kept

	// What transactions are made of is carved from these.
	bytes  []byte
	rows   []Rows
	events []Event
}

const (
	byteChunk  = 256 << 10
	rowChunk   = 128
	eventChunk = 512
)

// newFile begins a binary log file.
func (a *assembler) newFile(file string, position uint64) {
	a.file, a.last, a.high = file, uint32(position), position&^0xffffffff
}

// at returns where an event ends. Events that the server made up for us have position 0.
func (a *assembler) at(e *event) uint64 {
	if e.position == 0 {
		return a.high | uint64(a.last)
	}
	if e.position < a.last && a.last-e.position > 1<<31 {
		a.high += 1 << 32
	}
	a.last = e.position
	return a.high | uint64(a.last)
}

// take adds an event. It returns a transaction when the event completes one, or a part of one that has grown too large.
func (a *assembler) take(e *event) (*Transaction, error) {
	switch e.kind {
	case replication.GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.ANONYMOUS_GTID_EVENT:
		return nil, a.begin(e)
	case replication.TABLE_MAP_EVENT:
		return nil, a.tables.take(e)
	case replication.WRITE_ROWS_EVENTv1, replication.WRITE_ROWS_EVENTv2, replication.UPDATE_ROWS_EVENTv1, replication.UPDATE_ROWS_EVENTv2,
		replication.DELETE_ROWS_EVENTv1, replication.DELETE_ROWS_EVENTv2, replication.PARTIAL_UPDATE_ROWS_EVENT:
		return a.takeRows(e)
	case replication.XID_EVENT:
		return a.finish(e), nil
	case replication.QUERY_EVENT:
		return a.takeQuery(e)
	case replication.XA_PREPARE_LOG_EVENT:
		return a.takePrepare(e)
	case replication.INCIDENT_EVENT:
		a.other(e, Other{Name: "INCIDENT (the server lost events)"})
		return a.finish(e), nil
	case replication.EXECUTE_LOAD_QUERY_EVENT, replication.EXEC_LOAD_EVENT, replication.LOAD_EVENT, replication.NEW_LOAD_EVENT,
		replication.WRITE_ROWS_EVENTv0, replication.UPDATE_ROWS_EVENTv0, replication.DELETE_ROWS_EVENTv0:
		a.other(e, Other{Name: "LOAD DATA or an event of MySQL 5.0 (" + e.kind.String() + ")"})
		return nil, nil
	case replication.STOP_EVENT, replication.PREVIOUS_GTIDS_EVENT, replication.ROWS_QUERY_EVENT, replication.INTVAR_EVENT, replication.RAND_EVENT,
		replication.USER_VAR_EVENT, replication.IGNORABLE_EVENT, replication.BEGIN_LOAD_QUERY_EVENT, replication.APPEND_BLOCK_EVENT,
		replication.DELETE_FILE_EVENT, replication.TRANSACTION_CONTEXT_EVENT, replication.VIEW_CHANGE_EVENT, replication.SLAVE_EVENT:
		return nil, nil // no rows of their own: what they prepare comes in an event that is looked at
	}
	if e.flags&replication.LOG_EVENT_IGNORABLE_F != 0 {
		return nil, nil
	}
	if a.open == nil {
		return nil, &unknownEventError{fmt.Sprintf("the binary log has an event of type %d at %s:%d, which this tidemark does not know", e.kind, a.file, a.at(e))}
	}
	a.other(e, Other{Name: fmt.Sprintf("type %d", e.kind)})
	return nil, nil
}

// begin opens a transaction. One that is open never got its end: the server crashed while writing it, and it does not
// count.
func (a *assembler) begin(e *event) error {
	if err := a.drop("the server's log goes on without its end"); err != nil {
		return err
	}
	g, at, err := gtidOf(e)
	if err != nil {
		return err
	}
	a.start(g, at)
	a.open.Anonymous = e.kind == replication.ANONYMOUS_GTID_EVENT || g.GNO == 0
	return nil
}

func (a *assembler) start(g checkpoint.GTID, at time.Time) {
	a.open = &Transaction{GTID: g, Time: at, First: true}
	a.from = checkpoint.Place{File: a.file, Offset: a.high | uint64(a.last), Begun: a.fileBegun}
	a.begun, a.delivered, a.inXA, a.overflow = false, false, false, false
	a.carve()
}

// carve gives the open transaction room for events from the chunk: append fills the chunk, or leaves it by itself.
func (a *assembler) carve() {
	if cap(a.events)-len(a.events) < 8 {
		a.events = make([]Event, 0, eventChunk)
	}
	a.open.Events = a.events[len(a.events):len(a.events):cap(a.events)]
}

// seal cuts the transaction's events off the chunk.
func (a *assembler) seal(t *Transaction) *Transaction {
	n := len(t.Events)
	if n <= cap(a.events)-len(a.events) {
		a.events = a.events[:len(a.events)+n]
	}
	t.Events = t.Events[:n:n]
	return t
}

// drop forgets the open transaction. When parts of it were delivered the receiver has to forget them too.
func (a *assembler) drop(why string) error {
	t, delivered := a.open, a.delivered
	a.open, a.begun, a.delivered = nil, false, false
	if t != nil && delivered {
		return &CutError{GTID: t.GTID, Err: malformedf("%s", why)}
	}
	return nil
}

// ensure opens an anonymous transaction for what comes without a GTID event, as from a server that has none.
func (a *assembler) ensure(e *event) {
	if a.open == nil {
		a.start(checkpoint.GTID{}, time.Unix(int64(e.time), 0).UTC())
		a.open.Anonymous = true
	}
}

func (a *assembler) other(e *event, o Other) {
	a.ensure(e)
	a.open.Events = append(a.open.Events, Event{Other: &o})
}

// takeRows keeps the rows of a table that is wanted.
func (a *assembler) takeRows(e *event) (*Transaction, error) {
	h, err := rowsOf(e)
	if err != nil {
		return nil, err
	}
	d := a.tables.byID[h.table]
	switch {
	case h.table == dummyTable:
		return nil, nil
	case d == nil:
		return nil, malformedf("%s at %s:%d names table %d, which was not described", e.kind, a.file, a.at(e), h.table)
	case !d.wanted:
		return nil, nil
	case h.columns != int(d.event.ColumnCount):
		return nil, malformedf("%s of %s.%s has %d columns, its description %d", e.kind, d.db, d.table, h.columns, d.event.ColumnCount)
	}
	a.ensure(e)
	if e.kind == replication.PARTIAL_UPDATE_ROWS_EVENT {
		a.other(e, Other{Name: "PARTIAL_UPDATE_ROWS (binlog_row_value_options=PARTIAL_JSON)", DB: d.db, Table: d.table})
		return nil, nil
	}
	if a.overflow {
		return nil, nil
	}
	if len(a.rows) == cap(a.rows) {
		a.rows = make([]Rows, 0, rowChunk)
	}
	a.rows = append(a.rows, Rows{Table: d.event, Flags: h.flags})
	r := &a.rows[len(a.rows)-1]
	if e.owned {
		r.Before, r.After, r.Body = h.first, h.second, h.images
	} else {
		kept := a.keep(h.first, h.second, h.images)
		n, m := len(h.first), len(h.first)+len(h.second)
		r.Before, r.After, r.Body = kept[:n:n], kept[n:m:m], kept[m:]
	}
	switch e.kind {
	case replication.WRITE_ROWS_EVENTv1, replication.WRITE_ROWS_EVENTv2:
		r.Kind = replication.EnumRowsEventTypeInsert
		r.Before, r.After = nil, r.Before
	case replication.DELETE_ROWS_EVENTv1, replication.DELETE_ROWS_EVENTv2:
		r.Kind = replication.EnumRowsEventTypeDelete
		r.After = nil
	default:
		r.Kind = replication.EnumRowsEventTypeUpdate
	}
	a.open.Events = append(a.open.Events, Event{Rows: r})
	a.open.Size += r.bodySize()
	if a.open.Size < a.maxBuffered {
		return nil, nil
	}
	if a.inXA {
		a.giveUpRows("an XA transaction too large to be held until its commit")
		a.overflow = true
		return nil, nil
	}
	return a.part(e), nil
}

// keep copies slices, one after the other, to memory that stays.
func (a *assembler) keep(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if cap(a.bytes)-len(a.bytes) < n {
		if n > byteChunk/8 {
			return slicesConcat(n, parts)
		}
		a.bytes = make([]byte, 0, byteChunk)
	}
	start := len(a.bytes)
	for _, p := range parts {
		a.bytes = append(a.bytes, p...)
	}
	return a.bytes[start:len(a.bytes):len(a.bytes)]
}

func slicesConcat(n int, parts [][]byte) []byte {
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// part delivers what is held of a transaction that has not ended.
func (a *assembler) part(e *event) *Transaction {
	t := a.seal(a.open)
	t.File, t.Position = a.file, a.at(e)
	a.open = &Transaction{GTID: t.GTID, Anonymous: t.Anonymous, Also: t.Also, Time: t.Time}
	a.delivered = true
	a.carve()
	return t
}

// finish completes the open transaction.
func (a *assembler) finish(e *event) *Transaction {
	a.ensure(e)
	t := a.seal(a.open)
	t.Last = true
	t.File, t.Position = a.file, a.at(e)
	a.open, a.begun, a.delivered = nil, false, false
	return t
}

// giveUpRows replaces the rows held by one Other event for each of their tables.
func (a *assembler) giveUpRows(why string) {
	seen := map[*replication.TableMapEvent]bool{}
	var rest []Event
	for _, ev := range a.open.Events {
		if ev.Rows == nil {
			rest = append(rest, ev)
			continue
		}
		if t := ev.Rows.Table; !seen[t] {
			seen[t] = true
			rest = append(rest, Event{Other: &Other{Name: why, DB: string(t.Schema), Table: string(t.Table)}})
		}
	}
	a.open.Events, a.open.Size = rest, 0
}

var (
	sqlBegin  = []byte("BEGIN")
	sqlCommit = []byte("COMMIT")
)

// takeQuery looks at a statement: does it frame a transaction, or change something.
func (a *assembler) takeQuery(e *event) (*Transaction, error) {
	schema, sql, err := queryOf(e.body)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(sql, sqlBegin) {
		a.ensure(e)
		a.begun = true
		return nil, nil
	}
	if bytes.Equal(sql, sqlCommit) {
		return a.finish(e), nil
	}
	a.ensure(e)
	text := string(sql)
	switch word, rest := firstWord(text); {
	case word == "XA":
		return a.takeXA(e, rest)
	case word == "SAVEPOINT" && a.begun:
		return nil, nil
	case word == "ROLLBACK" && a.begun:
		if next, _ := firstWord(rest); next == "TO" {
			// The log could not forget what came after the savepoint, because tables without transactions changed too. It
			// does not say which rows stand.
			a.giveUpRows("ROLLBACK TO SAVEPOINT in a transaction with tables that have no transactions")
			return nil, nil
		}
		a.giveUpRows("ROLLBACK of a transaction with tables that have no transactions")
		if a.delivered {
			a.other(e, Other{Name: "ROLLBACK of a transaction with tables that have no transactions"})
		}
		return a.finish(e), nil
	}
	a.open.Events = append(a.open.Events, Event{Query: &Query{Schema: string(schema), SQL: text}})
	if a.begun {
		return nil, nil // a statement inside, such as CREATE TABLE ... SELECT or one that changes rows
	}
	return a.finish(e), nil
}

// firstWord returns the first word of a statement in upper case, and what follows.
func firstWord(sql string) (word, rest string) {
	sql = strings.TrimLeft(sql, " \t\r\n")
	n := strings.IndexAny(sql, " \t\r\n;")
	if n < 0 {
		n = len(sql)
	}
	return strings.ToUpper(sql[:min(n, 16)]), strings.TrimLeft(sql[n:], " \t\r\n")
}
