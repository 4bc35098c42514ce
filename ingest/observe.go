package ingest

import (
	"errors"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// Event is what a pipeline tells its observer: one of the types below. None holds a password.
type Event interface{ event() }

// Open tells that a table of the lake was opened, or created, and where it stands.
type Open struct {
	Table  string
	Record checkpoint.Record
	Size   lake.Size
}

// Commit tells what one commit of one table did.
type Commit struct {
	Table          string
	Changes        merge.Changes // row changes as the source made them
	Rows           int           // rows written
	Deletes        int           // positions deleted
	Files          int           // data files written
	Bytes          int64         // of those
	Contradictions int           // changes that did not fit what the lake has
	Duration       time.Duration // of writing and committing
	Record         checkpoint.Record
	Size           lake.Size // of the table now
}

// Mark tells that the position of a table without changes was recorded, or found to be recorded already.
type Mark struct {
	Table  string
	Record checkpoint.Record
	Size   lake.Size // another program may have changed it
}

// Rewritten tells that data files of a table were rewritten beside the stream.
type Rewritten struct {
	Table    string
	Files    int           // data files written
	Bytes    int64         // of those, also when they came too late and were dropped
	Duration time.Duration // of reading and writing
	Size     lake.Size     // of the table now
}

// Foreign tells that another program committed to a table.
type Foreign struct {
	Table string
	Rows  int // by how much the number of live rows changed; 0 after a mere rewrite
	Size  lake.Size
}

// Sent tells how the work came out that an engine was asked for.
type Sent struct {
	Table, Engine string
	Files         int   // to be rewritten
	Bytes         int64 // of those
	Duration      time.Duration
	Err           error // nil, compaction.ErrByHand or *compaction.EngineError
}

// The results of Sent beside those of compaction.Failure.
const (
	SentDone   = "done"
	SentByHand = "by-hand" // somebody has to run the statement
)

// Result is how it came out: SentDone, SentByHand or a compaction.Failure.
func (s Sent) Result() string {
	var failed *compaction.EngineError
	switch {
	case s.Err == nil:
		return SentDone
	case errors.Is(s.Err, compaction.ErrByHand):
		return SentByHand
	case errors.As(s.Err, &failed):
		return string(failed.Failure)
	}
	return string(compaction.Refused)
}

// Stop tells that a table was given up.
type Stop struct {
	Table string
	Err   error
}

// Gone tells that a table is not in the source any more, and was left out.
type Gone struct{ Table string }

// Load tells how far the load of a table is. It comes every second or so while rows are read, and once when all are.
type Load struct {
	Table    string
	Progress LoadProgress  // as committed, with what is finished and will be
	Rows     int64         // read, of unfinished ranges too
	Bytes    int64         // of data files of finished ranges, since the session began
	Rate     float64       // rows a second, of late
	Left     time.Duration // until all rows are read, about; 0: unknown
}

// Begin tells that all tables are open: everything in After is in the lake.
type Begin struct{ After checkpoint.Position }

// Follow tells that a server is read from.
type Follow struct{ Server string }

// Lost tells that the server was lost.
type Lost struct {
	Server string
	Err    error
}

// Wait tells that no server can be read from now. It comes again with every try.
type Wait struct{ Err error }

// Flush tells that a commit of the batches has begun, or ended.
type Flush struct {
	Done bool
	Err  error // why it failed, when it is done
}

// Fail tells that the pipeline begins again from the last commit, or, in its last event, that it ends.
type Fail struct {
	Err   error
	Final bool
}

// Probe tells what the servers of the list are good for.
type Probe struct {
	Verdicts []source.Verdict
	Position checkpoint.Set // what all tables of the lake have
	Known    bool           // Position is known: the verdicts are about it
}

func (Open) event()      {}
func (Commit) event()    {}
func (Mark) event()      {}
func (Rewritten) event() {}
func (Foreign) event()   {}
func (Sent) event()      {}
func (Stop) event()      {}
func (Gone) event()      {}
func (Load) event()      {}
func (Begin) event()     {}
func (Follow) event()    {}
func (Lost) event()      {}
func (Wait) event()      {}
func (Flush) event()     {}
func (Fail) event()      {}
func (Probe) event()     {}

// observe passes an event on. Any goroutine of the pipeline may call it.
func (p *pipeline) observe(e Event) {
	p.progress.note(e)
	if p.Observer != nil {
		p.Observer(e)
	}
}

// Kinds of errors beside those of package source.
const (
	KindNoServer      = "no-server"      // no server of the list can serve
	KindTable         = "table"          // a table cannot be followed on
	KindFenced        = "fenced"         // another writer took the tables over
	KindForeignCommit = "foreign-commit" // another program changed a table's rows
	KindDiffers       = "differs"        // lake and source contradict each other (--strict)
	KindAgain         = "again"          // what was read has to be read again
	KindLake          = "lake"           // the store or the catalog failed
)

// KindOf classifies an error of a pipeline for those who count: one of the kinds above or of package source.
func KindOf(err error) string {
	var fenced *lake.FencedError
	var none *source.NoServerError
	var stopped *StoppedError
	var server *source.Error
	switch {
	case errors.As(err, &fenced):
		return KindFenced
	case errors.As(err, &none):
		return KindNoServer
	case errors.As(err, &stopped):
		return KindTable
	case errors.Is(err, errDiffers):
		return KindDiffers
	case errors.Is(err, lake.ErrSnapshotChanged):
		return KindForeignCommit
	case errors.As(err, &server):
		return string(server.Kind)
	case errors.Is(err, errAgain):
		return KindAgain
	}
	return KindLake
}
