package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/iceberg-go"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
)

// ErrSnapshotChanged says that somebody else changed the table's rows since it was loaded. What was to be committed has
// to be resolved again, against the table as it is now.
var ErrSnapshotChanged = errors.New("another program committed to the table")

// FencedError says that another writer owns the table.
type FencedError struct {
	Table         string
	Pipeline      string // theirs
	Epoch         int64  // theirs
	OwnPipeline   string
	OwnEpoch      int64
	OtherPipeline bool
}

func (e *FencedError) Error() string {
	if e.OtherPipeline {
		return fmt.Sprintf("%s belongs to the pipeline %q, this is %q: give this one the same --pipeline to take it over, or leave the table out with --tables", e.Table, e.Pipeline, e.OwnPipeline)
	}
	return fmt.Sprintf("%s was taken over by another writer of pipeline %q (epoch %d, ours was %d): stop one of the two; this one has published nothing since", e.Table, e.Pipeline, e.Epoch, e.OwnEpoch)
}

// Commit is what one snapshot changes.
type Commit struct {
	Add    []*NewFile
	Delete map[uint32]*roaring.Bitmap // rows that are not live any more, per DataFile.ID or NewFile.ID
	Record checkpoint.Record          // Commit, a unique id, must be set

	// Promote makes the snapshot, of a table that was loaded on LoadBranch, the current one of main. The branch is gone.
	Promote bool
}

// attempts bounds how often a commit whose outcome is unknown or that lost to a change of properties is tried.
const attempts = 8

// RaiseEpoch makes the caller the table's writer: older writers of the pipeline find a higher epoch and stop.
func (t *Table) RaiseEpoch(ctx context.Context, pipeline string) (int64, error) {
	for range attempts {
		if t.hasRecord && t.record.Pipeline != pipeline {
			return 0, &FencedError{Table: t.id.String(), Pipeline: t.record.Pipeline, OwnPipeline: pipeline, OtherPipeline: true}
		}
		r := t.record
		epoch := t.propertyEpoch() + 1
		r.Epoch, r.Commit = epoch, newName()
		t.pipeline, t.epoch = pipeline, epoch
		err := t.publish(ctx, r, nil)
		var fenced *FencedError
		if err == nil {
			return epoch, nil
		}
		if !errors.Is(err, ErrSnapshotChanged) && !errors.As(err, &fenced) {
			return 0, err
		}
		if _, err := t.Refresh(ctx); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%s: other writers keep taking it over", t.id)
}

// Claim goes on as the writer of an epoch raised before, and finishes what an interrupted commit left undone.
func (t *Table) Claim(ctx context.Context, pipeline string, epoch int64) error {
	t.pipeline, t.epoch = pipeline, epoch
	if err := t.fenced(); err != nil {
		return err
	}
	t.version = t.lake.Catalog.Point(ctx, t.version)
	t.warnOfHint()
	return nil
}

// fenced reports whether the table's properties name another writer.
func (t *Table) fenced() error {
	properties, err := t.doc.properties()
	if err != nil {
		return err
	}
	r, ok, err := propertyRecord(properties)
	if err != nil || !ok {
		return err
	}
	if r.Pipeline != t.pipeline || r.Epoch > t.epoch {
		return &FencedError{Table: t.id.String(), Pipeline: r.Pipeline, Epoch: r.Epoch, OwnPipeline: t.pipeline, OwnEpoch: t.epoch, OtherPipeline: r.Pipeline != t.pipeline}
	}
	return nil
}

// propertyEpoch is the highest epoch the table has seen. A rollback does not lower it.
func (t *Table) propertyEpoch() int64 {
	properties, err := t.doc.properties()
	if err != nil {
		return t.record.Epoch
	}
	r, ok, err := propertyRecord(properties)
	if err != nil || !ok {
		return t.record.Epoch
	}
	return max(r.Epoch, t.record.Epoch)
}

// SetCheckpoint records a position without a snapshot.
func (t *Table) SetCheckpoint(ctx context.Context, r checkpoint.Record) error {
	return t.publish(ctx, r, nil)
}

// Commit publishes data files, deletes and checkpoint as one snapshot. It fails with ErrSnapshotChanged when the table's
// rows were changed by somebody else, and with *FencedError when another writer owns the table. After any other error
// the table has to be opened again, for the commit may have taken effect.
func (t *Table) Commit(ctx context.Context, c Commit) error {
	bitmaps := map[string]*roaring.Bitmap{} // per data file, all deleted positions
	var gone []*DataFile
	fresh := map[uint32]*NewFile{}
	for _, f := range c.Add {
		fresh[f.ID] = f
	}
	for id, positions := range c.Delete {
		if positions.IsEmpty() {
			continue
		}
		if n := fresh[id]; n != nil {
			if int64(positions.GetCardinality()) == n.Rows {
				delete(fresh, id) // superseded within the commit: it need not be added at all
				continue
			}
			bitmaps[n.Path] = positions
			continue
		}
		f := t.byID[id]
		if f == nil {
			return fmt.Errorf("%s: positions are to be deleted from data file %d, which the table does not have", t.id, id)
		}
		all := positions
		if f.Deleted != nil {
			all = roaring.Or(f.Deleted, positions)
		}
		if int64(all.GetCardinality()) == f.Rows {
			gone = append(gone, f)
			continue
		}
		bitmaps[f.Path] = all
	}
	var add []*NewFile
	for _, f := range c.Add {
		if fresh[f.ID] != nil {
			add = append(add, f)
		}
	}
	deletion, err := t.writeDeletes(ctx, bitmaps, gone)
	if err != nil {
		return fmt.Errorf("%s: %w", t.id, err)
	}
	return t.publish(ctx, c.Record, &change{add: add, gone: gone, bitmaps: bitmaps, deletion: deletion, promote: c.Promote})
}

// change is what a snapshot changes about the table's files.
type change struct {
	add       []*NewFile
	gone      []*DataFile
	bitmaps   map[string]*roaring.Bitmap
	deletion  *deletion
	operation string // in the snapshot summary; empty: append or overwrite, as it turns out
	tidy      bool   // all manifests are written anew (tidy.go)
	promote   bool   // the snapshot becomes main's (branch.go)
	restart   bool   // there is no snapshot, and the branch is gone (branch.go)
}

// staged is a new version of the metadata, with what it means for the open table.
type staged struct {
	doc       *document
	snapshot  int64
	sequence  int64 // last sequence number
	nextRowID int64
	updated   int64
	record    checkpoint.Record
	data      []*manifest
	delete    []*manifest
}

// publish makes a new version of the metadata and swaps it in. ch is nil when only the position is recorded.
func (t *Table) publish(ctx context.Context, r checkpoint.Record, ch *change) error {
	r.Version, r.Pipeline, r.Epoch = checkpoint.Version, t.pipeline, t.epoch
	var last error
	for range attempts {
		s, err := t.stage(ctx, r, ch)
		if err != nil {
			return fmt.Errorf("%s: %w", t.id, err)
		}
		text := s.doc.bytes()
		version, err := t.lake.Catalog.Swap(ctx, t.version, text)
		if err == nil {
			return t.adopt(ctx, version, s, ch)
		}
		last = err
		if ctx.Err() != nil {
			return err
		}
		// Lost, or unknown: look.
		newest, lerr := t.lake.Catalog.Load(ctx, t.id)
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if newest.URI == t.version.URI {
			continue // certainly not applied, and nothing in the way
		}
		fresh, lerr := load(ctx, t.lake, newest, t.branch)
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if applied, lerr := fresh.applied(r.Commit); lerr != nil {
			return errors.Join(err, lerr)
		} else if applied && (bytes.Equal(newest.Metadata, text) || fresh.has(s, ch) && fresh.follows(t.version)) {
			return t.adopt(ctx, t.lake.Catalog.Point(ctx, newest), s, ch)
		} else if applied {
			// Somebody committed on top of ours, or an attempt given up for lost came through late.
			t.lake.Catalog.Point(ctx, newest)
			return fmt.Errorf("%s: %w", t.id, ErrSnapshotChanged)
		}
		fresh.pipeline, fresh.epoch = t.pipeline, t.epoch
		if err := fresh.fenced(); err != nil {
			return err
		}
		if taken := fresh.propertyEpoch(); taken >= t.epoch && t.propertyEpoch() < t.epoch {
			// This was to raise the epoch, and another writer has raised it as far.
			return &FencedError{Table: t.id.String(), Pipeline: t.pipeline, Epoch: taken, OwnPipeline: t.pipeline, OwnEpoch: t.epoch}
		}
		if fresh.snapshot != t.snapshot || fresh.uuid != t.uuid { // another uuid: dropped and made anew
			return fmt.Errorf("%s: %w", t.id, ErrSnapshotChanged)
		}
		// Properties or schema were changed, or another branch: build on that.
		t.version, t.doc, t.sequence, t.nextRowID, t.updated = fresh.version, fresh.doc, fresh.sequence, fresh.nextRowID, fresh.updated
		t.main = fresh.main
	}
	return fmt.Errorf("%s: the commit failed %d times, the last time: %w", t.id, attempts, last)
}

// follows reports whether the table's version was made of base directly, as its log of metadata files says.
func (t *Table) follows(base *catalog.Version) bool {
	var log []metadataLogEntry
	err := t.doc.get("metadata-log", &log)
	return err == nil && len(log) > 0 && log[len(log)-1].File == base.URI
}

// has reports whether the branch is where an attempt was to bring it.
func (t *Table) has(s *staged, ch *change) bool {
	if ch != nil && ch.promote {
		return t.main == s.snapshot
	}
	return t.snapshot == s.snapshot
}

// applied reports whether a commit is part of the table.
func (t *Table) applied(commit string) (bool, error) {
	properties, err := t.doc.properties()
	if err != nil {
		return false, err
	}
	r, ok, err := propertyRecord(properties)
	if err != nil || ok && r.Commit == commit {
		return ok, err
	}
	var snapshots []struct {
		Summary map[string]string `json:"summary"`
	}
	if err := t.doc.get("snapshots", &snapshots); err != nil {
		return false, err
	}
	for i := len(snapshots) - 1; i >= 0; i-- {
		if text, ok := snapshots[i].Summary[checkpoint.Key]; ok {
			if r, err := checkpoint.ParseRecord(text); err == nil && r.Commit == commit {
				return true, nil
			}
		}
	}
	return false, nil
}

// snapshotJSON is a snapshot in table metadata (table spec, "Table Metadata Fields").
type snapshotJSON struct {
	ID         int64             `json:"snapshot-id"`
	Parent     int64             `json:"parent-snapshot-id,omitempty"`
	Sequence   int64             `json:"sequence-number"`
	Time       int64             `json:"timestamp-ms"`
	List       string            `json:"manifest-list"`
	Summary    map[string]string `json:"summary"`
	Schema     int               `json:"schema-id"`
	FirstRowID *int64            `json:"first-row-id,omitempty"`
	AddedRows  *int64            `json:"added-rows,omitempty"`
}

// stage writes everything of a commit but the metadata file.
func (t *Table) stage(ctx context.Context, r checkpoint.Record, ch *change) (*staged, error) {
	s := &staged{doc: t.doc.clone(), snapshot: t.snapshot, sequence: t.sequence, nextRowID: t.nextRowID, data: t.data, delete: t.delete}
	s.updated = max(t.lake.now().UnixMilli(), t.updated+1)
	var err error
	if err = s.doc.logVersion(t.version.URI); err != nil {
		return nil, err
	}
	switch {
	case ch == nil:
	case ch.restart:
		if err := s.dropBranch(t.branch); err != nil {
			return nil, err
		}
	default:
		if err := t.stageSnapshot(ctx, s, r, ch); err != nil {
			return nil, err
		}
	}
	r.SnapshotID = s.snapshot
	if t.branch != "" && (ch == nil || !ch.promote) {
		r.SnapshotID = t.main // the property is held against main (position.go)
	}
	s.record = r
	properties, err := s.doc.properties()
	if err != nil {
		return nil, err
	}
	properties[checkpoint.Key] = r.Marshal()
	if ch != nil && ch.restart {
		delete(properties, loadRequestKey)
	}
	return s, errors.Join(s.doc.set("properties", properties), s.doc.set("last-updated-ms", s.updated))
}

func (t *Table) stageSnapshot(ctx context.Context, s *staged, r checkpoint.Record, ch *change) error {
	s.snapshot = rand.Int64N(1<<62) + 1
	removed := map[*entry]bool{}
	goneBy := map[string]bool{}
	for _, f := range ch.gone {
		goneBy[f.Path] = true
	}
	if len(goneBy) > 0 {
		for _, m := range t.data {
			for _, e := range m.entries {
				if goneBy[e.file.FilePath()] {
					removed[e] = true
				}
			}
		}
	}
	var added []iceberg.DataFile
	for _, f := range ch.add {
		added = append(added, f.file)
	}
	data, err := t.rewrite(ctx, s.snapshot, iceberg.ManifestContentData, t.data, removed, added, dataManifestEntries)
	if err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	deletes, err := t.rewrite(ctx, s.snapshot, iceberg.ManifestContentDeletes, t.delete, ch.deletion.removed, ch.deletion.added, deleteManifestEntries)
	if err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	return t.stageManifests(ctx, s, r, ch, data, deletes)
}

// stageManifests makes the snapshot of manifests that are written.
func (t *Table) stageManifests(ctx context.Context, s *staged, r checkpoint.Record, ch *change, data, deletes []written) error {
	l, err := t.writeList(ctx, s.snapshot, data, deletes)
	if err != nil {
		return fmt.Errorf("write the manifest list: %w", err)
	}
	if s.data, err = l.settle(data); err != nil {
		return err
	}
	if s.delete, err = l.settle(deletes); err != nil {
		return err
	}
	snapshot := snapshotJSON{ID: s.snapshot, Parent: t.parent(), Sequence: t.sequence + 1, Time: s.updated, List: l.uri, Summary: t.summary(s, ch), Schema: t.icebergSc.ID}
	if r.Version > 0 {
		snapshot.Summary[checkpoint.Key] = r.Marshal()
	}
	s.sequence = t.sequence + 1
	if t.format >= 3 {
		first, rows := t.nextRowID, l.nextRowID-t.nextRowID
		snapshot.FirstRowID, snapshot.AddedRows = &first, &rows
		s.nextRowID = l.nextRowID
		if err := s.doc.set("next-row-id", s.nextRowID); err != nil {
			return err
		}
	}
	return errors.Join(
		s.doc.add("snapshots", snapshot), s.moveBranch(t.branch, ch.promote), s.doc.set("last-sequence-number", t.sequence+1),
	)
}

// summary has the totals that the table spec suggests (appendix F).
func (t *Table) summary(s *staged, ch *change) map[string]string {
	m := map[string]string{"operation": "overwrite"}
	put := func(key string, n int64) { m[key] = strconv.FormatInt(n, 10) }
	var addedRows, addedSize, goneRows, goneSize int64
	for _, f := range ch.add {
		addedRows += f.Rows
		addedSize += f.Size
	}
	for _, f := range ch.gone {
		goneRows += f.Rows
		goneSize += f.Size
	}
	if len(ch.gone) == 0 && len(ch.deletion.added) == 0 {
		m["operation"] = "append"
	}
	if t.replaces() {
		m["operation"] = "overwrite"
	}
	if ch.operation != "" {
		m["operation"] = ch.operation
	}
	var addedPositions, removedPositions int64
	for _, f := range ch.deletion.added {
		addedPositions += f.Count()
	}
	for e := range ch.deletion.removed {
		removedPositions += e.file.Count()
	}
	for key, n := range map[string]int64{
		"added-data-files": int64(len(ch.add)), "added-records": addedRows, "added-files-size": addedSize,
		"deleted-data-files": int64(len(ch.gone)), "deleted-records": goneRows, "removed-files-size": goneSize,
		"added-delete-files": int64(len(ch.deletion.added)), "removed-delete-files": int64(len(ch.deletion.removed)),
		"added-position-deletes": addedPositions, "removed-position-deletes": removedPositions,
	} {
		if n != 0 {
			put(key, n)
		}
	}
	if t.format >= 3 && len(ch.deletion.added) > 0 {
		put("added-dvs", int64(len(ch.deletion.added)))
	}
	var files, rows, size, deleteFiles, positions int64
	for _, list := range s.data {
		for _, e := range list.entries {
			files++
			rows += e.file.Count()
			size += e.file.FileSizeBytes()
		}
	}
	for _, list := range s.delete {
		for _, e := range list.entries {
			deleteFiles++
			positions += e.file.Count()
		}
	}
	put("total-data-files", files)
	put("total-records", rows)
	put("total-files-size", size)
	put("total-delete-files", deleteFiles)
	put("total-position-deletes", positions)
	put("total-equality-deletes", 0)
	return m
}

// take makes the metadata of a published version the table's. They are what was staged, unless the catalog writes metadata
// itself: then it sets the time and may have merged other changes.
func (t *Table) take(version *catalog.Version, s *staged) (err error) {
	if !bytes.Equal(version.Metadata, s.doc.bytes()) {
		if s.doc, err = parseDocument(version.Metadata); err == nil {
			err = errors.Join(s.doc.get("last-updated-ms", &s.updated), s.doc.get("last-sequence-number", &s.sequence), s.doc.get("next-row-id", &s.nextRowID))
		}
		if err != nil {
			return fmt.Errorf("%s: committed %s, but: %w", t.id, version.URI, err)
		}
	}
	t.version, t.doc, t.updated, t.sequence, t.nextRowID = version, s.doc, s.updated, s.sequence, s.nextRowID
	return nil
}

// adopt makes a published version the table's state, without reading anything. After an error the table has to be opened
// again.
func (t *Table) adopt(ctx context.Context, version *catalog.Version, s *staged, ch *change) error {
	if err := t.take(version, s); err != nil {
		return err
	}
	t.record, t.hasRecord = s.record, true
	if ch != nil && ch.restart {
		t.forget()
	} else if ch != nil {
		t.moved(s.snapshot, ch.promote)
		t.snapshot, t.data, t.delete = s.snapshot, s.data, s.delete
		t.wide = ch.deletion.wide
		for _, f := range ch.gone {
			delete(t.files, f.Path)
			delete(t.byID, f.ID)
		}
		for _, n := range ch.add {
			f := &DataFile{ID: n.ID, Path: n.Path, Rows: n.Rows, Size: n.Size}
			t.files[f.Path], t.byID[f.ID] = f, f
		}
		for path, b := range ch.bitmaps {
			t.files[path].Deleted = b
		}
		for _, f := range t.files {
			f.deletes = f.deletes[:0]
		}
		for _, m := range t.delete {
			for _, e := range m.entries {
				if f := t.files[e.references()]; f != nil {
					f.deletes = append(f.deletes, e)
				}
			}
		}
	}
	t.warnOfHint()
	if _, err := t.lake.Catalog.Prune(ctx, version, previousVersions); err != nil {
		t.lake.Logger.Warn("old metadata files stay", "table", t.id.String(), "error", err)
	}
	return nil
}

func (t *Table) warnOfHint() {
	if t.version.HintErr != nil {
		t.lake.Logger.Warn("committed, but DuckDB on the bare path sees it only with the next commit", "table", t.id.String(), "error", t.version.HintErr)
	}
}
