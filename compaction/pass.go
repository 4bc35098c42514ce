package compaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// PassOptions are those of one maintenance pass over a table.
type PassOptions struct {
	Options
	Expire  lake.ExpireOptions
	Orphans OrphanOptions
	DryRun  bool // only say what would be rewritten and which files are orphans
}

// Report is what a pass did. Bytes are of data files.
type Report struct {
	Table     string
	Planned   Plan
	Rewritten int // groups that were published
	Stale     int // groups that came too late: their files were replaced or rolled back meanwhile
	Unsorted  []string
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
	if n := len(r.Unsorted); n > 0 {
		s += fmt.Sprintf("; %d groups are left, since another program wrote files that are not sorted by the key, such as %s", n, r.Unsorted[0])
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
	if err := o.Validate(); err != nil {
		return r, err
	}
	view, err := OpenView(ctx, l, id)
	if err != nil {
		return r, err
	}
	r.Planned = view.Plan(o.Options)
	if o.DryRun {
		o.Orphans.DryRun = true
		r.Orphans, err = RemoveOrphans(ctx, l, id, o.Orphans)
		return r, err
	}
	owner, err := lake.Open(ctx, l, id)
	if err != nil {
		return r, err
	}
	for _, g := range r.Planned.Groups {
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

// rewrite prepares and publishes one group.
func (r *Report) rewrite(ctx context.Context, view *View, owner *lake.Table, g Group, o Options) error {
	var unsorted *UnsortedError
	w, err := view.Prepare(ctx, g, o)
	if errors.As(err, &unsorted) {
		r.Unsorted = append(r.Unsorted, unsorted.Path)
		return nil
	}
	if err != nil {
		return err
	}
	r.Unsorted = append(r.Unsorted, w.Unsorted...)
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
