package compaction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// View is a table as of one snapshot, for planning and rewriting. It has a lake.Table of its own, so the table's owner
// goes on committing meanwhile. One goroutine at a time may use it.
type View struct {
	table *lake.Table
	files map[string]*lake.FileInfo
}

// OpenView loads the table's current snapshot.
func OpenView(ctx context.Context, l *lake.Lake, id catalog.Identifier) (*View, error) {
	t, err := lake.Open(ctx, l, id)
	if err != nil {
		return nil, err
	}
	return viewOf(t), nil
}

func viewOf(t *lake.Table) *View {
	v := &View{table: t, files: map[string]*lake.FileInfo{}}
	infos := t.Inventory()
	for i := range infos {
		v.files[infos[i].Path] = &infos[i]
	}
	return v
}

// Files describes the live data files for planning.
func (v *View) Files() []File {
	var files []File
	for _, f := range v.files {
		deleted := int64(0)
		if f.Deleted != nil {
			deleted = int64(f.Deleted.GetCardinality())
		}
		file := File{
			Path: f.Path, Rows: f.Rows, Deleted: deleted, Bytes: f.Size, DeleteFiles: f.DeleteFiles,
			Partition: f.Partition().Key(), Outdated: v.table.Outdated(f.Partition()),
		}
		if !v.table.Keyless() { // else rows have no order
			file.Low, file.High = f.Low, f.High
		}
		files = append(files, file)
	}
	return files
}

// Plan says what is worth rewriting.
func (v *View) Plan(o Options) Plan { return Make(v.Files(), o) }

// Rewrite is a finished rewrite of one group that waits to be published.
type Rewrite struct {
	Group   Group
	Bytes   int64         // of the outputs
	Files   int           // outputs
	Dropped int64         // deleted rows of the inputs, which the outputs do not have
	Took    time.Duration // to rewrite

	inputs  []*lake.FileInfo
	out     *rewritten
	view    *lake.Table
	base    int64 // snapshot
	unknown bool  // a commit was tried whose outcome is unknown
}

// minHeld is the least memory in bytes for rows that are to be divided among partitions.
const minHeld = 8 << 20

// Prepare rewrites a group of the view's plan. It takes long; nothing of it is visible to readers. The result is to be
// given to Publish or Discard. An error leaves no files behind, except those that the store would not delete.
func (v *View) Prepare(ctx context.Context, g Group, o Options) (*Rewrite, error) {
	o.EnsureDefaults()
	started := time.Now()
	r := &Rewrite{Group: g, view: v.table, base: v.table.SnapshotID()}
	var sets [][]*lake.FileInfo
	last := ""
	for i, f := range g.Files {
		info := v.files[f.Path]
		if info == nil {
			return nil, fmt.Errorf("%s: %s is not in this view of the table", v.table.ID(), f.Path)
		}
		if home := f.home(); i == 0 || home != last {
			sets, last = append(sets, nil), home
		}
		sets[len(sets)-1] = append(sets[len(sets)-1], info)
	}
	var err error
	if r.out, err = rewrite(ctx, v.table, o.Pace, sets, o.TargetFileSize, max(o.MaxMergeMemory/4, minHeld)); err != nil {
		return nil, fmt.Errorf("%s: rewrite %d files (%s): %w", v.table.ID(), len(g.Files), g.Why, err)
	}
	r.inputs = slices.Concat(sets...)
	r.Bytes, r.Files, r.Dropped, r.Took = r.out.bytes, len(r.out.outputs), r.out.dropped, time.Since(started)
	return r, nil
}

// Publish puts the outputs in the place of the inputs, in one commit through t, whose owner calls it: between two of its
// own commits. It is short: it writes manifests and the deletes that arrived since the view was opened. The owner then
// makes its index follow (Remap.Apply), and what it is about to delete (Remap.Deletes).
//
// Errors: lake.ErrStale, the rewrite came too late, and its outputs are removed. lake.ErrOvertaken, it took effect and
// somebody committed on top; lake.ErrSnapshotChanged, it did not, since somebody else changed the table. For the owner
// of an index both mean to load table and index again. After ErrSnapshotChanged, or an error of the store, which leaves
// the outcome unknown, Publish may be called again with the table opened anew: it looks before it does anything.
func (r *Rewrite) Publish(ctx context.Context, t *lake.Table) (*Remap, error) {
	m := &Remap{moves: r.out.moves, inputs: map[uint32]*moved{}}
	for _, f := range t.Files() {
		if in := r.out.moves.inputs[f.Path]; in != nil {
			m.inputs[f.ID] = in
		}
	}
	var fenced *lake.FencedError
	err := t.Replace(ctx, lake.Replacement{Base: r.base, Inputs: r.inputs, Outputs: r.out.outputs, Late: r.out.moves.late})
	switch {
	case err == nil:
		var unused []*lake.NewFile // all rows were deleted meanwhile
		for _, f := range r.out.outputs {
			m.output = append(m.output, f.ID)
			if f.ID == 0 {
				unused = append(unused, f)
			}
		}
		if !r.unknown {
			_ = r.view.Discard(context.WithoutCancel(ctx), unused) // else they are orphans
		}
		return m, nil
	case errors.Is(err, lake.ErrStale) && !r.unknown:
		return nil, errors.Join(err, r.Discard(ctx))
	case errors.Is(err, lake.ErrStale), errors.Is(err, lake.ErrSnapshotChanged) && !errors.Is(err, lake.ErrOvertaken), errors.As(err, &fenced):
	default:
		r.unknown = true
	}
	return nil, err
}

// Discard removes the outputs of a rewrite that is not to be published. After an attempt whose outcome is unknown they
// stay, for a snapshot may have them: if none has, they are orphans that a later pass removes.
func (r *Rewrite) Discard(ctx context.Context) error {
	if r.unknown {
		return nil
	}
	return r.view.Discard(context.WithoutCancel(ctx), r.out.outputs)
}
