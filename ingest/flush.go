package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// sink is one followed table as the flusher sees it: where its rows go. At most one job uses it at a time.
type sink struct {
	name   string
	table  *lake.Table
	index  *merge.Index      // nil until the first change of a table that was loaded just now
	record checkpoint.Record // as last committed; the next one is derived from it
	strict bool
	brief  int64 // bytes: a data file below that will be rewritten before long
	log    *slog.Logger
	tell   func(Event) // of what other programs did; may be nil

	// What was written for the transaction that is not complete yet, and will be committed with its end.
	delta   *merge.Delta
	files   []*lake.NewFile
	changes merge.Changes
	rows    int

	high *checkpoint.Set // while the table is loaded: what a row that was read may show

	committed time.Time // of the last commit, on our clock
	commits   int       // with changes, since the table was opened
	kept      int       // commits at the last upkeep,
	keptAt    time.Time // and when that was
	replaced  time.Time // when the last large rewrite was published, whose inputs old snapshots still have; zero: none
	compactor *compactor
}

// gatherRows is how many rows are put in key order and encoded at a time: enough to make a column's run long, little
// enough to stay in the processor's cache.
const gatherRows = 16 << 10

// piece is the net change of one table in a job.
type piece struct {
	sink    *sink
	segment *merge.Segment
	rows    arrow.RecordBatch
}

// point is where a commit takes its tables.
type point struct {
	sets     map[*sink]checkpoint.Set // every table to be committed
	at       checkpoint.Position      // but for the set
	pending  checkpoint.Set           // prepared XA transactions, which the source counts as executed
	replayed bool                     // what is committed came again
	again    bool                     // what is committed will come again after a restart
	doubt    string                   // why lake and source may differ
}

// job is what the loop hands to the flusher: rows to write and, unless they belong to a transaction whose end is
// still to come, the point to commit.
type job struct {
	rewrites []rewrite
	pieces   []piece
	point    *point
	force    bool          // commit the tables without changes too
	idle     time.Duration // else commit those whose last commit is older
}

// flush does a job. After an error the sinks are of no use any more: what they hold is the lake's last commit plus
// something unknown, and they have to be opened again.
func flush(ctx context.Context, j job, observe func(Event)) error {
	busy := map[*sink]*piece{}
	for i := range j.pieces {
		busy[j.pieces[i].sink] = &j.pieces[i]
	}
	defer func() {
		for _, p := range j.pieces {
			p.rows.Release()
		}
	}()
	var g errgroup.Group
	g.SetLimit(2)
	for _, r := range j.rewrites {
		if err := r.sink.publish(ctx, r.rewritten); err != nil {
			return err
		}
		observe(Rewritten{r.sink.name, r.rewrite.Files, r.rewrite.Bytes, r.rewrite.Took, r.sink.table.Size()})
	}
	for s, p := range busy {
		g.Go(func() error {
			started := time.Now()
			if err := s.write(ctx, p.segment, p.rows); err != nil {
				return err
			}
			if j.point == nil {
				return nil
			}
			return s.commit(ctx, j.point, started, observe)
		})
	}
	if j.point != nil {
		for s := range j.point.sets {
			if busy[s] != nil {
				continue
			}
			g.Go(func() error {
				switch {
				case s.pending():
					return s.commit(ctx, j.point, time.Now(), observe)
				case j.force || time.Since(s.committed) >= j.idle || s.promotes(j.point):
					return s.mark(ctx, j.point, observe)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

func (s *sink) pending() bool { return len(s.files) > 0 || s.changes.Total() > 0 }

// makeIndex builds the index from the key columns of the live rows, unless it is there.
func (s *sink) makeIndex(ctx context.Context) error {
	if s.index != nil {
		return nil
	}
	codec, err := keyCodec(s.table)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	started := time.Now()
	if s.index, err = merge.BuildIndex(ctx, s.table, codec); err != nil {
		return fmt.Errorf("%s: build the index: %w", s.name, err)
	}
	if s.index.Len() > 0 {
		s.log.Info("built the index", "table", s.name, "keys", s.index.Len(), "bytes", s.index.Bytes(), "took", time.Since(started).Round(time.Millisecond))
	}
	return nil
}

// write puts the surviving rows of a segment into data files that no snapshot knows yet, and resolves the segment.
func (s *sink) write(ctx context.Context, segment *merge.Segment, rows arrow.RecordBatch) error {
	if err := s.makeIndex(ctx); err != nil {
		return err
	}
	changes, live := segment.Changes, segment.Live()
	parts, err := writeRows(ctx, s.table, segment, rows, s.brief)
	if err != nil {
		return fmt.Errorf("%s: write a data file: %w", s.name, err)
	}
	if s.delta == nil {
		s.delta = merge.NewDelta()
	}
	for _, p := range parts {
		file := uint32(0)
		if p.file != nil {
			s.files = append(s.files, p.file)
			file = p.file.ID
		}
		s.delta.Resolve(p.segment, s.index, file)
	}
	s.changes.Add(changes)
	s.rows += live
	return nil
}

// errDiffers stops a strict pipeline.
var errDiffers = errors.New("lake and source differ")

// commit publishes what was written, with the position, in one snapshot.
func (s *sink) commit(ctx context.Context, p *point, started time.Time, observe func(Event)) error {
	record := s.next(p)
	contradictions, err := s.judge(&record, p)
	if err != nil {
		return err
	}
	if len(s.files) == 0 && s.deletes() == 0 {
		s.clear() // rows came and went within the batch
		return s.mark(ctx, p, observe)
	}
	files := s.files
	s.files = nil // they may be the table's from here on, whatever is reported: nobody may drop them
	promote := s.promotes(p)
	err = s.persist(ctx, func() error {
		return s.table.Commit(ctx, lake.Commit{Add: files, Delete: s.delta.Delete, Record: record, Promote: promote})
	})
	if err != nil {
		return fmt.Errorf("%s: commit: %w", s.name, err)
	}
	deletes := s.deletes()
	s.record, s.committed = record, time.Now()
	if promote {
		s.live()
	}
	took := s.committed.Sub(started)
	size := int64(0)
	for _, f := range files {
		size += f.Size
	}
	s.log.Info("committed", "table", s.name, "changes", s.changes.Total(), "rows", s.rows, "deletes", deletes, "files", len(files), "bytes", size, "took", took.Round(time.Millisecond))
	c := Commit{
		Table: s.name, Changes: s.changes, Rows: s.rows, Deletes: deletes, Files: len(files), Contradictions: contradictions, Duration: took, Record: record, Bytes: size, Size: s.table.Size(),
	}
	observe(c)
	s.clear()
	return s.keepUp(ctx)
}

// deletes counts the rows that the next commit takes away.
func (s *sink) deletes() (n int) {
	for _, positions := range s.delta.Delete {
		n += int(positions.GetCardinality())
	}
	return n
}

func (s *sink) clear() {
	s.delta, s.files, s.changes, s.rows = nil, nil, merge.Changes{}, 0
}

// races is how often a commit is tried again when other programs' commits come first.
const races = 20

// persist does a commit until no other program's comes first. What the others changed, index and pending delta follow.
func (s *sink) persist(ctx context.Context, commit func() error) error {
	for try := 1; ; try++ {
		err := commit()
		if !errors.Is(err, lake.ErrSnapshotChanged) || try == races {
			return err
		}
		if ferr := s.follow(ctx); ferr != nil {
			return errors.Join(err, ferr)
		}
		if errors.Is(err, lake.ErrOvertaken) {
			return nil
		}
	}
}

// follow makes table, index and pending delta follow what other programs committed.
func (s *sink) follow(ctx context.Context) error {
	started := time.Now()
	if err := s.makeIndex(ctx); err != nil {
		return err
	}
	drift, err := s.table.Follow(ctx)
	if err != nil {
		return err
	}
	codec, err := keyCodec(s.table)
	if err != nil {
		return err
	}
	did, err := merge.Follow(ctx, s.table, codec, s.index, drift, s.delta)
	if err != nil {
		return fmt.Errorf("after another program's commit: %w", err)
	}
	level := slog.LevelInfo
	if did.Rows != 0 {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "another program committed", "table", s.name, "files gone", len(drift.Gone), "files added", len(drift.Added),
		"rows moved", did.Moved, "rows more or less", did.Rows, "took", time.Since(started).Round(time.Millisecond))
	if s.tell != nil {
		s.tell(Foreign{Table: s.name, Rows: did.Rows, Size: s.table.Size()})
	}
	return nil
}

// mark records the position of a table without changes.
func (s *sink) mark(ctx context.Context, p *point, observe func(Event)) error {
	record := s.next(p)
	if !moved(&s.record, &record) {
		observe(Mark{s.name, s.record, s.table.Size()})
		return nil
	}
	set, promote := s.table.SetCheckpoint, s.promotes(p)
	if promote {
		set = s.table.Promote
	}
	if err := s.persist(ctx, func() error { return set(ctx, record) }); err != nil {
		return fmt.Errorf("%s: record the position: %w", s.name, err)
	}
	s.record, s.committed = record, time.Now()
	if promote {
		s.live()
	}
	observe(Mark{s.name, record, s.table.Size()})
	return nil
}

// moved reports whether a record says more than the one before.
func moved(from, to *checkpoint.Record) bool {
	return from.GTIDSet != to.GTIDSet || from.State != to.State || from.Anonymous != to.Anonymous || (from.Replay == nil) != (to.Replay == nil) ||
		to.Anonymous && (from.ServerUUID != to.ServerUUID || from.File != to.File || from.Position != to.Position)
}

// next is the record of a commit at p.
func (s *sink) next(p *point) checkpoint.Record {
	r := s.record
	r.Commit = uuid.NewString()
	at := p.at
	at.Set = p.sets[s]
	r.Reach(at)
	if r.Replay = nil; p.again {
		r.Replay = &checkpoint.Replay{Time: r.Time}
	}
	if p.doubt != "" && r.State == checkpoint.StateLive {
		s.log.Error("table is suspect until it is loaded again", "table", s.name, "why", p.doubt)
		r.State = checkpoint.StateSuspect
	}
	if s.promotes(p) {
		r.State, r.Load = checkpoint.StateLive, nil
	}
	return r
}

// judge looks at the contradictions the batch met. A table that was followed from a point and never loaded lacks rows
// by nature, and what comes again, after a load too, contradicts what it led to; in any other they mean that lake and source
// differ. It returns how many mean that.
func (s *sink) judge(r *checkpoint.Record, p *point) (contradictions int, err error) {
	if s.delta.AnomalyCount == 0 || r.State == checkpoint.StatePartial || s.high != nil || p.replayed {
		return 0, nil
	}
	for _, a := range s.delta.Anomalies {
		s.log.Error("lake and source differ", "table", s.name, "found", a.Kind.String(), "key", a.Key)
	}
	if s.strict {
		return 0, fmt.Errorf("%s: %w in %d changes, the first: %s; nothing of this batch was committed (--strict)",
			s.name, errDiffers, s.delta.AnomalyCount, s.delta.Anomalies[0])
	}
	if r.State != checkpoint.StateSuspect {
		s.log.Error("table is suspect until it is loaded again", "table", s.name, "contradictions", s.delta.AnomalyCount)
	}
	r.State = checkpoint.StateSuspect
	return s.delta.AnomalyCount, nil
}
