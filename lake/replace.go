package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
)

// Replacement exchanges data files for others that hold the same live rows.
type Replacement struct {
	Base    int64       // snapshot whose rows were read
	Inputs  []*FileInfo // as they were then
	Outputs []*NewFile  // their ID is set by Replace, to 0 for one without live rows, which is left out

	// Late maps positions of the inputs, by path, that were deleted since, to positions per output.
	Late func(map[string]*roaring.Bitmap) ([]*roaring.Bitmap, error)
}

// Errors of Replace that a caller decides on.
var (
	// ErrStale says that the inputs are not what they were: one is gone from the table, or has rows back that were
	// deleted when it was read. Nothing was committed, and the outputs are of no use.
	ErrStale = errors.New("the data files to be replaced are not in the table any more as they were")
	// ErrOvertaken says that the replacement took effect, and that somebody committed on top of it: the table has to be
	// loaded again. It matches ErrSnapshotChanged too.
	ErrOvertaken = fmt.Errorf("the replacement took effect, and then: %w", ErrSnapshotChanged)
)

// Replace publishes one snapshot, of operation replace, without the inputs and their deletes and with the outputs. Rows
// of the inputs that were deleted meanwhile are deleted in the outputs by the same snapshot. The checkpoint stays what it
// is: the new snapshot's summary repeats it, and the property is not touched.
//
// An input that is not in the table any more, since its last rows were deleted, counts as deleted whole.
//
// It fails with ErrStale; with ErrSnapshotChanged when somebody else changed the table's rows since it was loaded, with
// nothing committed; with ErrOvertaken; with *FencedError when another writer owns a table that was claimed. After any
// other error the outcome is unknown, and the table has to be opened again; Replace then tells what came of it.
func (t *Table) Replace(ctx context.Context, r Replacement) error {
	return t.publishReplacement(ctx, r.Outputs, func() (*change, error) {
		if err := t.replaceable(ctx, r); err != nil {
			return nil, err
		}
		return t.replacement(ctx, r)
	})
}

// publishReplacement commits the change that prepare makes of the table as it stands, once for each try.
func (t *Table) publishReplacement(ctx context.Context, outputs []*NewFile, prepare func() (*change, error)) error {
	tried := map[int64]attempt{} // by snapshot id
	var last error
	for range attempts {
		ch, err := prepare()
		if err != nil {
			return fmt.Errorf("%s: %w", t.id, err)
		}
		s, err := t.stageReplacement(ctx, ch)
		if err != nil {
			return fmt.Errorf("%s: %w", t.id, err)
		}
		tried[s.snapshot] = attempt{s, ch}
		version, err := t.lake.Catalog.Swap(ctx, t.version, s.doc.bytes())
		if err == nil {
			return t.adoptReplacement(ctx, version, s, ch)
		}
		last = err
		if ctx.Err() != nil {
			return err
		}
		done, lerr := t.lookForReplacement(ctx, outputs, tried)
		if lerr != nil {
			if !errors.Is(lerr, ErrSnapshotChanged) {
				lerr = errors.Join(err, lerr)
			}
			return fmt.Errorf("%s: %w", t.id, lerr)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("%s: the replacement failed %d times, the last time: %w", t.id, attempts, last)
}

type attempt struct {
	s  *staged
	ch *change
}

// replaceable reports why the outputs cannot take the place of the inputs in the table as it is.
func (t *Table) replaceable(ctx context.Context, r Replacement) error {
	var emptied map[string]bool
	there := 0
	for _, f := range r.Outputs {
		if t.files[f.Path] != nil {
			return ErrOvertaken
		}
	}
	for _, in := range r.Inputs {
		f := t.files[in.Path]
		if f == nil {
			if emptied == nil {
				var err error
				if emptied, err = t.emptied(ctx, r.Base); err != nil {
					return err
				}
			}
			if !emptied[in.Path] {
				return fmt.Errorf("%w: %s is gone", ErrStale, in.Path)
			}
			continue
		}
		there++
		if in.Deleted == nil {
			continue
		}
		// A rollback brings rows back that the outputs lack.
		if f.Deleted == nil || f.Deleted.AndCardinality(in.Deleted) != in.Deleted.GetCardinality() {
			return fmt.Errorf("%w: deleted rows of %s are back", ErrStale, in.Path)
		}
	}
	if there == 0 {
		return fmt.Errorf("%w: all their rows are deleted", ErrStale)
	}
	if t.pipeline == "" {
		return nil
	}
	return t.fenced()
}

// replacement writes the deletes of the outputs and says what is to change.
func (t *Table) replacement(ctx context.Context, r Replacement) (*change, error) {
	ch := &change{operation: "replace", bitmaps: map[string]*roaring.Bitmap{}}
	late := map[string]*roaring.Bitmap{}
	for _, in := range r.Inputs {
		f := t.files[in.Path]
		since := roaring.New()
		switch {
		case f == nil: // emptied meanwhile
			since.AddRange(0, uint64(in.Rows))
		case f.Deleted != nil:
			since.Or(f.Deleted)
		}
		if in.Deleted != nil {
			since.AndNot(in.Deleted)
		}
		if f != nil {
			ch.gone = append(ch.gone, f)
		}
		if !since.IsEmpty() {
			late[in.Path] = since
		}
	}
	moved, err := r.Late(late)
	if err != nil {
		return nil, err
	}
	for i, f := range r.Outputs {
		if moved[i] != nil && int64(moved[i].GetCardinality()) == f.Rows {
			f.ID = 0
			continue // deleted as a whole meanwhile
		}
		t.lastID++
		f.ID = t.lastID
		ch.add = append(ch.add, f)
		if moved[i] != nil {
			ch.bitmaps[f.Path] = moved[i]
		}
	}
	ch.deletion, err = t.writeDeletes(ctx, ch.bitmaps, ch.gone)
	return ch, err
}

// stageReplacement writes everything of the commit but the metadata file.
func (t *Table) stageReplacement(ctx context.Context, ch *change) (*staged, error) {
	s := &staged{doc: t.doc.clone(), sequence: t.sequence, nextRowID: t.nextRowID, updated: max(t.lake.now().UnixMilli(), t.updated+1), record: t.record}
	if err := s.doc.logVersion(t.version.URI); err != nil {
		return nil, err
	}
	var r checkpoint.Record // none where the table has no valid one
	if t.hasRecord {
		r = t.record
		r.SnapshotID = 0
	}
	stage := t.stageSnapshot
	if ch.tidy {
		stage = t.stageTidy
	}
	if err := stage(ctx, s, r, ch); err != nil {
		return nil, err
	}
	return s, s.doc.set("last-updated-ms", s.updated)
}

func (t *Table) adoptReplacement(ctx context.Context, version *catalog.Version, s *staged, ch *change) error {
	had := t.hasRecord
	err := t.adopt(ctx, version, s, ch)
	t.hasRecord = had
	return err
}

// lookForReplacement finds out what became of an attempt that was lost or whose outcome is unknown. It reports whether it
// is done; if not, and without an error, the next attempt may be made.
func (t *Table) lookForReplacement(ctx context.Context, outputs []*NewFile, tried map[int64]attempt) (done bool, err error) {
	newest, err := t.lake.Catalog.Load(ctx, t.id)
	if err != nil || newest.URI == t.version.URI {
		return false, err
	}
	fresh, err := load(ctx, t.lake, newest, t.branch)
	if err != nil {
		return false, err
	}
	if a, ours := tried[fresh.snapshot]; ours && fresh.follows(t.version) {
		return true, t.adoptReplacement(ctx, newest, a.s, a.ch)
	}
	var snapshots []snapshotJSON
	if err := fresh.doc.get("snapshots", &snapshots); err != nil {
		return false, err
	}
	for _, s := range snapshots {
		if _, ours := tried[s.ID]; ours {
			return false, ErrOvertaken
		}
	}
	for _, f := range outputs {
		if fresh.files[f.Path] != nil {
			return false, ErrOvertaken
		}
	}
	if fresh.snapshot != t.snapshot {
		return false, ErrSnapshotChanged
	}
	// Properties or schema were changed, or another branch: build on that.
	t.version, t.doc, t.sequence, t.nextRowID, t.updated = fresh.version, fresh.doc, fresh.sequence, fresh.nextRowID, fresh.updated
	t.record, t.hasRecord = fresh.record, fresh.hasRecord
	return false, nil
}
