package source

import (
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/checkpoint"
)

// Transaction is a transaction, or a part of one that is larger than Config.MaxBuffered. Parts come one after the
// other; only with the last one is the transaction known to be committed.
type Transaction struct {
	GTID      checkpoint.GTID
	Anonymous bool // it has no GTID
	// Also are further GTIDs that are complete with this transaction: that of the XA PREPARE whose rows it delivers.
	Also        []checkpoint.GTID
	First, Last bool      // both, for a transaction in one part
	Time        time.Time // of the commit on the server where it was first committed, if known, else on this one
	Events      []Event   // in order
	Size        int       // bytes of row images held by Events
	File        string    // binary log file it ends in; a hint
	Position    uint64    // where it ends there
}

// Name is the transaction's GTID, as text.
func (t *Transaction) Name() string {
	if t.Anonymous {
		return "without a GTID"
	}
	return t.GTID.String()
}

// Event is one of Rows, Query and Other; the two others are nil.
type Event struct {
	Rows  *Rows
	Query *Query
	Other *Other
}

// Rows are row images of one table, as in a WRITE_ROWS, UPDATE_ROWS or DELETE_ROWS event.
type Rows struct {
	Kind replication.EnumRowsEventType // insert, update or delete
	// Table describes the columns. It is the same pointer for as long as the server sends the same description, so a
	// plan made for it can be kept under it.
	Table  *replication.TableMapEvent
	Flags  uint16
	Before []byte // bitmap of the columns in before images (update, delete), one bit a column, lowest first; bits
	// past the last column mean nothing
	After []byte // the same of after images (insert, update)
	Body  []byte // the images, one after the other; an update has before and after in turn. Stays valid
}

// Query is a statement in the log: a DDL statement, or, from a session with binlog_format other than ROW, one that
// changes rows without row events. Statements that only frame transactions are not delivered.
type Query struct {
	Schema string // the session's database
	SQL    string
}

// Other is an event that may change rows in a way that is not understood. Table and DB are empty where the event does
// not name a table: any may be concerned.
type Other struct {
	Name      string
	DB, Table string
}

// bodySize is the memory that counts for MaxBuffered.
func (r *Rows) bodySize() int { return len(r.Body) + 2*len(r.Before) + rowsOverhead }

// rowsOverhead is what a Rows and its Event take besides the images.
const rowsOverhead = 136
