package rest

import (
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake"
)

// A table that tidemark fills carries its position in the source, in the property tidemark.checkpoint and in snapshot
// summaries (lake/position.go). Other engines commit on top of that, and know nothing of it. So:
//
//   - The property is not removed, and not set to anything but a record that follows the one that is there: of the same
//     pipeline, of no earlier writer, with no smaller GTID set. The same goes for records in added snapshots.
//   - Where a commit goes on from main's current snapshot and the position could not be found any more after it, because
//     it is the first snapshot at all or expires the one that had the position, the property is tied to a snapshot that
//     stays.
//
// A rollback takes the position back together with the rows, which is as it must be.

// keepCheckpoint checks what a commit does to the position, and returns an update that keeps it, nil where none is needed.
func keepCheckpoint(current, next table.Metadata) (table.Update, error) {
	valid, has, err := lake.ValidRecord(current)
	if err != nil {
		return nil, nil //nolint:nilerr // what is there was not written by tidemark, or by a later one: it is left alone
	}
	was, is := current.Properties()[checkpoint.Key], next.Properties()[checkpoint.Key]
	var owner checkpoint.Record
	if was != "" {
		if owner, err = checkpoint.ParseRecord(was); err != nil {
			return nil, nil //nolint:nilerr // likewise
		}
		if is == "" {
			return nil, badRequest("the property %s is tidemark's record of what the table holds: it cannot be removed", checkpoint.Key)
		}
	}
	check := func(text string) error { return follows(text, was != "", owner, has, valid) }
	if is != was {
		if err := check(is); err != nil {
			return nil, err
		}
	}
	old := map[int64]bool{}
	for _, s := range current.Snapshots() {
		old[s.SnapshotID] = true
	}
	for _, s := range next.Snapshots() {
		if s.Summary == nil || old[s.SnapshotID] || s.Summary.Properties[checkpoint.Key] == "" {
			continue
		}
		if err := check(s.Summary.Properties[checkpoint.Key]); err != nil {
			return nil, err
		}
	}
	if !has {
		return nil, nil
	}
	if _, still, err := lake.ValidRecord(next); err != nil || still {
		return nil, err
	}
	anchor := stays(current, next)
	if anchor == 0 {
		return nil, nil
	}
	valid.SnapshotID = anchor
	return table.NewSetPropertiesUpdate(iceberg.Properties{checkpoint.Key: valid.Marshal()}), nil
}

// keepKey refuses a schema with other identifier fields for a table that tidemark fills: without the source's key it could
// not go on. DuckDB 1.5 leaves them out of every schema that it writes.
func keepKey(current, next table.Metadata) error {
	if current.Properties()[checkpoint.Key] == "" {
		return nil
	}
	was, is := slices.Sorted(slices.Values(current.CurrentSchema().IdentifierFieldIDs)), slices.Sorted(slices.Values(next.CurrentSchema().IdentifierFieldIDs))
	if !slices.Equal(was, is) {
		return badRequest("the table's identifier fields are the source's primary key, by which tidemark fills it: they cannot change from %v to %v", was, is)
	}
	return nil
}

// follows checks that a record is one that may come after those that are there.
func follows(text string, owned bool, owner checkpoint.Record, has bool, valid checkpoint.Record) error {
	r, err := checkpoint.ParseRecord(text)
	if err != nil {
		return badRequest("%s is tidemark's record of what the table holds, and this is none: %v", checkpoint.Key, err)
	}
	if owned {
		switch {
		case r.Pipeline != owner.Pipeline:
			return badRequest("%s: the table belongs to the pipeline %q, not to %q", checkpoint.Key, owner.Pipeline, r.Pipeline)
		case r.Epoch < owner.Epoch:
			return commitFailed("%s: a writer with epoch %d has taken over from epoch %d", checkpoint.Key, owner.Epoch, r.Epoch)
		}
	}
	if has {
		now, err := checkpoint.ParseSet(r.GTIDSet)
		if err != nil {
			return badRequest("%s: %v", checkpoint.Key, err)
		}
		before, err := checkpoint.ParseSet(valid.GTIDSet)
		if err != nil {
			return err
		}
		if missing := before.Subtract(now); !missing.IsEmpty() {
			return commitFailed("%s: the table holds more than the record says: %s", checkpoint.Key, missing.Short())
		}
	}
	return nil
}

// stays returns the oldest snapshot of the new metadata that is main's or an ancestor of it and no older than the
// one that was main's, as far as ancestors are there; 0 when main does not go on from where it was.
func stays(current, next table.Metadata) int64 {
	head := next.CurrentSnapshot()
	if head == nil {
		return 0
	}
	was := current.CurrentSnapshot()
	goesOn, oldest := was == nil, head.SnapshotID
	for s := head; s != nil; s = next.SnapshotByID(*s.ParentSnapshotID) {
		oldest = s.SnapshotID
		goesOn = goesOn || s.SnapshotID == was.SnapshotID || s.ParentSnapshotID != nil && *s.ParentSnapshotID == was.SnapshotID
		if s.ParentSnapshotID == nil {
			break
		}
	}
	if !goesOn {
		return 0
	}
	return oldest
}

// checkNewCheckpoint checks the position that a new table brings along.
func checkNewCheckpoint(m table.Metadata) error {
	if text := m.Properties()[checkpoint.Key]; text != "" {
		if _, err := checkpoint.ParseRecord(text); err != nil {
			return badRequest("%s is tidemark's record of what a table holds, and this is none: %v", checkpoint.Key, err)
		}
	}
	return nil
}
