// Package ingest follows a MySQL source into the lake: it is the pipeline loop of tidemark.
//
// In come whole transactions from whichever server of the replica list can serve them (package source). Their row
// images are decoded into Arrow (package decode) and collapsed by key (package merge), one batch per table. At a
// transaction boundary, after the commit interval or when memory says so, all batches are cut at the same GTID set and
// handed to the flusher, which writes one sorted data file per table, finds what it replaces, and commits data, deletes
// and GTID set in one snapshot per table (package lake). Meanwhile the next batches fill.
//
// What must hold: a table's rows at a snapshot are the source's rows at the GTID set recorded in that snapshot. So
// only complete transactions are ever committed, a table takes each transaction once, and whatever goes wrong between
// two commits is answered by forgetting everything since the last one and reading it again.
//
// pipeline.go  opens the tables, chooses servers, restarts after faults
// follow.go    the loop over one set of open tables
// table.go     a followed table as the loop sees it: decoder, batch, what to skip
// flush.go     a followed table as the flusher sees it: lake table, index, commits
// load.go      tables loaded beside it, in load_*.go
// compact.go   rewriting data files beside it, and publishing between two commits
// partition.go how tables are partitioned
// write.go     data files of a batch, one for each partition
// engine.go    having an engine rewrite those of large tables
// cascade.go   tables that foreign keys change behind the binary log
// observe.go   what an observer is told
// progress.go  what is committed, for the watch
// watch.go     looks at all servers beside the stream, and warns before they purge what is needed
package ingest

import (
	"cmp"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
)

// Options are the settings of a pipeline.
type Options struct {
	Source source.Config
	Tables source.Filter
	Lake   *lake.Lake

	Pipeline       string        // name recorded in checkpoints; default "tidemark"
	Start          Start         // for tables without a checkpoint
	Until          Until         // default: never stop
	CommitInterval time.Duration // time between commits; default 10s
	IdleInterval   time.Duration // a table without changes records its position this often; default 5m
	WaitForServer  time.Duration // how long a start waits for a server that can serve; one that was read from is waited for for ever; default 20s
	StoreTimeout   time.Duration // what the lake may take to open the tables, or for one commit, before it is started again; default 10m
	LoadWorkers    int           // connections that read a table at once; default: 4, fewer with little Memory
	LoadRate       int64         // rows read a second, at most; 0: no limit
	LoadMaxLag     time.Duration // a load pauses while the replica it reads from is further behind; 0: it does not
	LoadMaxRunning int           // a load pauses while its server runs more statements; 0: it does not
	LoadRange      int           // rows of a range; 0: as many as make a data file
	QuietLoads     bool          // the Observer shows how far loads are: leave it out of the log
	Memory         int64         // bytes the batches and the files being written may hold; default 1 GiB
	FormatVersion  int           // of new tables: 3 (default) or 2
	Partitions     Partitions    // how tables are partitioned
	OnPurged       Policy        // when no server has any more what tables lack; default GiveUp
	OnDiverged     Policy        // when tables have what no server has any more; default GiveUp
	Strict         bool          // stop at the first sign that lake and source differ

	// Compact says when data files are rewritten beside the stream; nil: never. A rewrite takes a quarter of Memory on top, at least
	// compactMemory, and one of small files beside a long one half of that again; together they keep a quarter of the processors busy, or what Pace says.
	Compact *compaction.Options
	// Brief is in bytes: a data file of about less is compressed for speed instead of size, for it will be rewritten before long.
	// Default: as rewrites do it where Compact is set, else 0.
	Brief int64
	// BriefLoad is Brief for the files of a load.
	BriefLoad int64
	// Outside says which of these rewrites are an engine's; the zero value: none.
	Outside compaction.Outside

	// Expire says which snapshots are old, where Compact is set.
	Expire lake.ExpireOptions

	IgnoreCascades bool // follow tables that foreign keys change behind the binary log, too

	ProbeInterval    time.Duration // all servers of the list are looked at this often, beside the stream; default 30s
	RetentionWarning time.Duration // warn when a server purges what the lake lacks within this time; default 6h

	Logger *slog.Logger
	// Observer is told what happens; may be nil. It is called by several goroutines at once, and must return soon.
	Observer func(Event)
}

// Policy says what to do about tables that cannot be followed on exactly.
type Policy string

// The policies: end with *source.NoServerError, or load the tables again.
const (
	GiveUp Policy = "stop"
	Reload Policy = "reload"
)

func (p Policy) valid() bool { return p == GiveUp || p == Reload }

// compactMemory is the least memory that a rewrite is given to read its inputs.
const compactMemory = 64 << 20

// loadMemory is about what one connection that reads a table takes: rows, and a file being written.
const loadMemory = 160 << 20

// minMemory is the least memory a pipeline works in: below it, transactions would be cut into very many files.
const minMemory = 64 << 20

// EnsureDefaults fills what is zero.
func (o *Options) EnsureDefaults() {
	if o.Pipeline == "" {
		o.Pipeline = "tidemark"
	}
	if o.CommitInterval == 0 {
		o.CommitInterval = 10 * time.Second
	}
	if o.IdleInterval == 0 {
		o.IdleInterval = 5 * time.Minute
	}
	if o.WaitForServer == 0 {
		o.WaitForServer = 20 * time.Second
	}
	if o.StoreTimeout == 0 {
		o.StoreTimeout = 10 * time.Minute
	}
	if o.Memory == 0 {
		o.Memory = 1 << 30
	}
	if o.LoadWorkers == 0 {
		o.LoadWorkers = int(min(max(o.Memory/loadMemory, 1), 4))
	}
	o.OnPurged, o.OnDiverged = cmp.Or(o.OnPurged, GiveUp), cmp.Or(o.OnDiverged, GiveUp)
	if o.FormatVersion == 0 {
		o.FormatVersion = 3
	}
	if o.ProbeInterval == 0 {
		o.ProbeInterval = 30 * time.Second
	}
	if o.RetentionWarning == 0 {
		o.RetentionWarning = 6 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Compact != nil {
		o.Compact.MaxMergeMemory = cmp.Or(o.Compact.MaxMergeMemory, max(o.Memory/4, compactMemory))
		o.Compact.EnsureDefaults()
		o.Compact.Pace = cmp.Or(o.Compact.Pace, compaction.NewPace(float64(runtime.GOMAXPROCS(0))/4))
		o.Brief, o.BriefLoad = cmp.Or(o.Brief, o.Compact.Brief()), cmp.Or(o.BriefLoad, o.Compact.BriefLoad())
	}
	o.Outside.EnsureDefaults()
}

// Validate reports the first setting that cannot work.
func (o *Options) Validate() error {
	switch {
	case o.FormatVersion != 2 && o.FormatVersion != 3:
		return fmt.Errorf("format version %d: tables have format version 2 or 3", o.FormatVersion)
	case o.CommitInterval < 0:
		return fmt.Errorf("commit interval %s: it cannot be negative", o.CommitInterval)
	case o.ProbeInterval < 0:
		return fmt.Errorf("probe interval %s: it cannot be negative", o.ProbeInterval)
	case o.RetentionWarning < 0:
		return fmt.Errorf("retention warning %s: it cannot be negative", o.RetentionWarning)
	case !o.OnPurged.valid() || !o.OnDiverged.valid():
		return fmt.Errorf("what to do when tables cannot be followed on: %q, %q: it is stop or reload", o.OnPurged, o.OnDiverged)
	case o.LoadWorkers < 0 || o.LoadRate < 0 || o.LoadRange < 0 || o.LoadMaxLag < 0 || o.LoadMaxRunning < 0:
		return fmt.Errorf("load workers %d, rate %d, range %d, lag %s, statements %d: they cannot be negative", o.LoadWorkers, o.LoadRate, o.LoadRange, o.LoadMaxLag, o.LoadMaxRunning)
	case o.Memory < minMemory:
		return fmt.Errorf("memory %d bytes: at least %d are needed", o.Memory, int64(minMemory))
	}
	if o.Compact != nil {
		if err := o.Compact.Validate(); err != nil {
			return err
		}
	}
	return o.Outside.Validate()
}

// batchBytes is how much of a batch may be buffered before it is cut or spilled. Two batches exist at a time, one
// filling and one being written, and Arrow builders grow by doubling: together they stay well below half of Memory, which
// leaves the rest to the Parquet encoder, uploads and what the collector has not freed yet.
func (o *Options) batchBytes() int { return int(o.Memory / 8) }
