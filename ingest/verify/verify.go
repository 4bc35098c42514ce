// Package verify compares tables of the lake with their source, row by row, and names the keys that differ.
//
// What is compared is the table at one GTID set: that of the lake's own checkpoint, L. The source has moved on since; a
// row of it at L is known all the same, without a lock and without a transaction held open:
//
//   - A key that no transaction after L touched has at any later time the row that it had at L: a plain SELECT gives it.
//   - A key that was touched has the row that the first of these transactions found there: the binary log has it, as the
//     before image of an update or a delete; before an insert there was none.
//
// So each part of a table is compared in these steps. The lake's live rows go into a set of hashes (hashes.go). The source's
// rows are read by SELECT, range by range, and the binary log from L on is read beside it (changes.go), until it has gone past
// everything that the SELECTs can have seen. Each SELECTed row and each first before image is looked up in the set. What
// was SELECTed and differs counts only when the key was not touched; what is left in the set and was neither SELECTed nor
// touched is a row that the source does not have. Nothing is guessed: a key is reported exactly if lake and source differ in
// it at L.
//
// What must hold: the server has all of L when a SELECT begins. The binary log has full row images and is complete from
// L on. The log is read past gtid_executed and gtid_owned as they were when the SELECTs had ended.
//
// verify.go   options, tables one after the other
// table.go    one table: the view of the lake, the server, attempts
// parts.go    which rows are compared at a time
// compare.go  one part
// tally.go    tables without a key
// hashes.go   the lake's rows of a part, as hashes
// changes.go  the binary log beside the SELECTs
// findings.go what differs, and in which columns
// resume.go   progress in a file
// report.go   the outcome, for machines and people
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// Options are the settings of a run.
type Options struct {
	Source source.Config
	Tables source.Filter
	Lake   *lake.Lake

	Wait     time.Duration // for the lake to reach what the source has at the start; default 0: compare what it has
	Rate     int           // rows of the source a second, at most; default 0: as fast as can be
	Parallel int           // connections to the source, and data files read at once; default 4
	Memory   int64         // bytes that the hashes of a part may take; default 512 MiB
	List     int           // differences that are named for a table; all are counted; default 20
	State    string        // file to keep the progress in, and to go on from; "": none

	RangeRows int // rows of a SELECT; default 128 Ki
	PartRows  int // rows of a part, where a table can be divided by numbers; default 4 Mi

	Logger   *slog.Logger
	Progress func(Progress) // called often, by one goroutine at a time; may be nil
}

// Progress says how far a run is.
type Progress struct {
	Table       string
	Rows, Total int64 // of all tables: rows of the source compared, and about how many there are
}

// hashBytes is about what a row takes in the set of hashes.
const hashBytes = 32

// EnsureDefaults fills what is zero.
func (o *Options) EnsureDefaults() {
	setDefault(&o.Parallel, 4)
	setDefault(&o.Memory, 512<<20)
	setDefault(&o.List, 20)
	setDefault(&o.RangeRows, 128<<10)
	setDefault(&o.PartRows, 4<<20)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func setDefault[T int | int64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Validate reports the first setting that cannot work.
func (o *Options) Validate() error {
	const minMemory = 64 << 10
	switch {
	case o.Parallel < 0:
		return fmt.Errorf("%d connections: at least one is needed", o.Parallel)
	case o.Memory < minMemory:
		return fmt.Errorf("memory %d bytes: at least %d are needed", o.Memory, minMemory)
	case o.Rate < 0, o.Wait < 0, o.List < 0:
		return errors.New("a rate, a time and a number of differences cannot be negative")
	}
	return nil
}

// run is one run over all tables.
type run struct {
	Options
	limiter *rate.Limiter
	goal    checkpoint.Set // what the source had at the start
	waitEnd time.Time
	state   *state
	current string // host in use

	counted atomic.Int64 // rows, for Progress
	total   int64
	telling sync.Mutex
}

// Run compares the tables. The report is whole as far as the run came, also with an error. Errors of single tables stand
// in the report. The run itself ends with *source.NoServerError when no server of the list can be read from, *StateError
// for a file of another run, and with the context.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.EnsureDefaults()
	report := &Report{Tables: []TableReport{}}
	if err := o.Validate(); err != nil {
		return report, err
	}
	// Another identity than the pipeline's: a server ends the older of two streams of one identity.
	o.Source.Pipeline += "/verify/" + uuid.NewString()
	o.Source.HeartbeatPeriod = heartbeat
	o.Source.ReadTimeout = readTimeout
	r := &run{Options: o, waitEnd: time.Now().Add(o.Wait)}
	if o.Rate > 0 {
		r.limiter = rate.NewLimiter(rate.Limit(o.Rate), rateBurst)
		r.limiter.AllowN(time.Now(), rateBurst) // no rows on credit
	}
	var err error
	if r.state, err = openState(o.State, o.Lake.Store.URI("")); err != nil {
		return report, err
	}
	servers := source.ProbeAll(ctx, o.Source)
	if !slices.ContainsFunc(servers, source.State.ByGTID) {
		return report, noGTIDs(servers, o.Tables)
	}
	servers = slices.DeleteFunc(servers, withoutGTIDs)
	r.goal = source.Reached(servers)
	names, err := source.Tables(ctx, o.Source, servers, o.Tables)
	if err != nil {
		return report, err
	}
	tables, err := r.tables(ctx)
	if err != nil {
		return report, err
	}
	for _, t := range tables {
		err := r.table(ctx, t)
		if ctx.Err() != nil {
			t.report.Result = Interrupted
			report.Tables = append(report.Tables, t.report)
			return report, context.Cause(ctx)
		}
		if err != nil {
			t.report.fail(err)
		}
		report.Tables = append(report.Tables, t.report)
	}
	for _, n := range names {
		if !slices.ContainsFunc(tables, func(t *table) bool { return t.id == catalog.Identifier{DB: n.DB, Table: n.Table} }) {
			report.Tables = append(report.Tables, r.absent(ctx, n))
		}
	}
	if len(report.Tables) == 0 {
		return report, fmt.Errorf("neither the lake nor the source has a table that matches %s", o.Tables)
	}
	report.finish()
	return report, r.state.end(report)
}

// withoutGTIDs reports whether a server answers, and cannot be read from by a GTID set.
func withoutGTIDs(s source.State) bool { return s.Err == nil && !s.ByGTID() }

// noGTIDs says why none of the servers will do.
func noGTIDs(servers []source.State, filter source.Filter) error {
	none := &source.NoServerError{Verdicts: source.Judge(servers, checkpoint.Set{}, filter, nil)}
	for i := range none.Verdicts {
		if v := &none.Verdicts[i]; v.State.Answers() {
			v.Kind, v.Reason, v.Advice = source.WrongSettings, "gtid_mode is "+v.State.GTIDMode+", and verify compares at a GTID set", ""
		}
	}
	return none
}

// heartbeat is short, since at the end of a part the last changes wait for it.
const (
	heartbeat   = 100 * time.Millisecond
	readTimeout = 10 * time.Second
	rateBurst   = 16 << 10 // a batch
)

// tables lists the lake's tables that are wanted.
func (r *run) tables(ctx context.Context) ([]*table, error) {
	ids, err := r.Lake.Filled(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the lake's tables: %w", err)
	}
	var list []*table
	for _, id := range ids {
		if !r.Tables.Match(id.DB, id.Table) {
			continue
		}
		t := &table{run: r, id: id, report: TableReport{Table: id.String()}}
		err := t.look(ctx)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		r.total += t.rows
		list = append(list, t)
	}
	return list, nil
}

// host is a server to ask for what every server knows.
func (r *run) host() string { return cmp.Or(r.current, r.Source.Hosts[0]) }

// progress counts rows.
func (r *run) progress(table string, rows int64) {
	r.telling.Lock()
	defer r.telling.Unlock()
	done := r.count(rows)
	if r.Progress != nil {
		r.Progress(Progress{table, done, max(r.total, done)})
	}
}

// count adds rows, and returns how many there are now.
func (r *run) count(rows int64) int64 {
	return r.counted.Add(rows)
}
