package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// Drift is what other programs changed about a table's rows since it was loaded.
type Drift struct {
	Gone    []*DataFile                // files that the table does not have any more, as they were
	Added   []*DataFile                // files that it did not have
	Deleted map[uint32]*roaring.Bitmap // rows of files that stayed and were live, by DataFile.ID
}

// ErrMoved says that a table is at another position than it was, has rows back that were deleted, or has another schema:
// what was known about it is of no use, and it has to be opened again.
var ErrMoved = errors.New("another program moved the table to another state")

// Follow loads the newest version of a table that somebody else committed to, and says what that changed. Data files that
// stayed keep their ids. After an error, ErrMoved and *FencedError among them, the table has to be opened again.
func (t *Table) Follow(ctx context.Context) (Drift, error) {
	before, record, schema := t.files, t.record, t.icebergSc.ID
	if _, err := t.Refresh(ctx); err != nil {
		return Drift{}, err
	}
	if err := t.fenced(); err != nil {
		return Drift{}, err
	}
	switch {
	case !t.hasRecord || t.record.Commit != record.Commit:
		return Drift{}, fmt.Errorf("%s: %w: its checkpoint is another one", t.id, ErrMoved)
	case t.icebergSc.ID != schema:
		return Drift{}, fmt.Errorf("%s: %w: its schema is another one", t.id, ErrMoved)
	}
	d := Drift{Deleted: map[uint32]*roaring.Bitmap{}}
	for path, old := range before {
		f := t.files[path]
		if f == nil {
			d.Gone = append(d.Gone, old)
			continue
		}
		now := f.Deleted
		if now == nil {
			now = roaring.New()
		}
		was := old.Deleted
		if was == nil {
			was = roaring.New()
		}
		if was.AndCardinality(now) != was.GetCardinality() {
			return Drift{}, fmt.Errorf("%s: %w: deleted rows of %s are back", t.id, ErrMoved, path)
		}
		if since := roaring.AndNot(now, was); !since.IsEmpty() {
			d.Deleted[f.ID] = since
		}
	}
	for _, f := range t.Files() {
		if before[f.Path] == nil {
			d.Added = append(d.Added, f)
		}
	}
	return d, nil
}
