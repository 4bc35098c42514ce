package compaction

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// PassOptions are those of one maintenance pass over a table.
type PassOptions struct {
	Options
	Outside Outside // what an engine rewrites
	Expire  lake.ExpireOptions
	Orphans OrphanOptions
	DryRun  bool // only say what would be rewritten and which files are orphans
}

// Report is what a pass did. Bytes are of data files.
type Report struct {
	Table     string
	Planned   Plan
	Sent      []string // statements for an engine; in a dry run they are not run
	ByHand    bool     // nobody is set up to run them
	Engine    string   // why the engine failed
	Rewritten int      // groups that were published
	Stale     int      // groups that came too late: their files were replaced or rolled back meanwhile
	FilesIn   int
	FilesOut  int
	BytesIn   int64
	BytesOut  int64
	Dropped   int64 // deleted rows that are not stored any more
	Tidied    lake.Tidied
	Expired   lake.Expired
	Orphans   Orphans
	Metadata  int // old metadata files removed
	Took      time.Duration
}

// String is the report in one line.
func (r Report) String() string {
	s := fmt.Sprintf("%s: rewrote %d data files (%s) to %d (%s), dropped %d deleted rows and %d delete files, expired %d snapshots with %d files, %d orphan files (%s)",
		r.Table, r.FilesIn, humanize.IBytes(uint64(r.BytesIn)), r.FilesOut, humanize.IBytes(uint64(r.BytesOut)), r.Dropped, r.Tidied.DeleteFiles,
		r.Expired.Snapshots, r.Expired.Files, len(r.Orphans.Names), humanize.IBytes(uint64(r.Orphans.Bytes)))
	switch {
	case r.Engine != "":
		s += "; " + r.Engine
	case r.ByHand:
		s += "; to rewrite the large files, run: " + strings.Join(r.Sent, "; ")
	case len(r.Sent) > 0:
		s += fmt.Sprintf("; an engine ran %d statements", len(r.Sent))
	}
	return s
}

// races is how often a commit of a pass is tried again when other writers' commits come first.
const races = 50

// Pass does what is worth doing for a table, once: it rewrites, tidies up the manifests, expires snapshots and removes
// orphan files. It may run beside an ingest in another process, and beside other passes. What it did before an error is
// in the report, and stays done.
func Pass(ctx context.Context, l *lake.Lake, id catalog.Identifier, o PassOptions) (r Report, err error) {
	started := time.Now()
	defer func() { r.Took = time.Since(started) }()
	r.Table = id.String()
	o.EnsureDefaults()
	o.Outside.EnsureDefaults()
	if err := errors.Join(o.Validate(), o.Outside.Validate()); err != nil {
		return r, err
	}
	view, err := OpenView(ctx, l, id)
	if err != nil {
		return r, err
	}
	o.Alone = o.Alone || o.Outside.Engine != nil
	r.Planned = view.Plan(o.Options)
	here, work := view.Divide(r.Planned, o.Options, o.Outside)
	if len(work.Groups) > 0 {
		r.Sent = o.Outside.Engine.Statements(work)
	}
	if o.DryRun {
		o.Orphans.DryRun = true
		r.Orphans, err = RemoveOrphans(ctx, l, id, o.Orphans)
		return r, err
	}
	owner, err := lake.Open(ctx, l, id)
	if err != nil {
		return r, err
	}
	view, here, err = r.send(ctx, l, view, here, work, o)
	if err != nil {
		return r, err
	}
	for _, g := range here.Groups {
		if err := r.rewrite(ctx, view, owner, g, o.Options); err != nil {
			return r, err
		}
	}
	err = persist(ctx, owner, func() (err error) { r.Tidied, err = owner.Tidy(ctx); return err })
	if err != nil {
		return r, fmt.Errorf("tidy up: %w", err)
	}
	err = persist(ctx, owner, func() (err error) { r.Expired, err = owner.Expire(ctx, o.Expire); return err })
	if err != nil {
		return r, fmt.Errorf("expire snapshots: %w", err)
	}
	if r.Orphans, err = RemoveOrphans(ctx, l, id, o.Orphans); err != nil {
		return r, err
	}
	r.Metadata, err = owner.PruneMetadata(ctx)
	return r, err
}

// send has the engine do its part of the plan, and returns what is to be rewritten here, with the view it was planned on.
func (r *Report) send(ctx context.Context, l *lake.Lake, view *View, here Plan, work Work, o PassOptions) (*View, Plan, error) {
	if len(work.Groups) == 0 {
		return view, here, nil
	}
	err := o.Outside.Engine.Rewrite(ctx, work)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, here, ctx.Err()
	case errors.Is(err, ErrByHand):
		r.ByHand = true
	default:
		r.Engine = err.Error()
		if !o.Outside.Wait { // it may have done a part
			if view, err = OpenView(ctx, l, view.table.ID()); err != nil {
				return nil, here, err
			}
			return view, view.Plan(o.Options), nil
		}
	}
	return view, here, nil
}

// rewrite prepares and publishes one group.
func (r *Report) rewrite(ctx context.Context, view *View, owner *lake.Table, g Group, o Options) error {
	w, err := view.Prepare(ctx, g, o)
	if err != nil {
		return err
	}
	err = persist(ctx, owner, func() error { _, err := w.Publish(ctx, owner); return err })
	switch {
	case errors.Is(err, lake.ErrStale):
		r.Stale++
		return nil
	case err != nil:
		return fmt.Errorf("publish a rewrite: %w", errors.Join(err, w.Discard(ctx)))
	}
	r.Rewritten++
	r.FilesIn += len(w.inputs)
	r.FilesOut += w.Files
	r.BytesIn += g.Bytes
	r.BytesOut += w.Bytes
	r.Dropped += w.Dropped
	return nil
}

// persist does a commit until no other writer comes first, on the table as it then is.
func persist(ctx context.Context, t *lake.Table, commit func() error) error {
	for try := 1; ; try++ {
		err := commit()
		if !errors.Is(err, lake.ErrSnapshotChanged) {
			return err
		}
		if _, rerr := t.Refresh(ctx); rerr != nil {
			return errors.Join(err, rerr)
		}
		if errors.Is(err, lake.ErrOvertaken) {
			return nil
		}
		if try == races {
			return fmt.Errorf("other writers came first %d times: %w", races, err)
		}
	}
}
