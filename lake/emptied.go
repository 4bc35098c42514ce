package lake

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apache/iceberg-go"

	"github.com/tidemark/tidemark/checkpoint"
)

// emptied returns the data files that left the table between an ancestor of the current snapshot and now because their
// last rows were deleted. Only our own commits are believed to remove a file for that reason alone: one of operation
// replace, or another program's, may have moved rows elsewhere. Where the history does not reach back to the ancestor,
// it returns what can be told, none.
func (t *Table) emptied(ctx context.Context, since int64) (map[string]bool, error) {
	var snapshots []snapshotJSON
	if err := t.doc.get("snapshots", &snapshots); err != nil {
		return nil, err
	}
	byID := map[int64]*snapshotJSON{}
	for i := range snapshots {
		byID[snapshots[i].ID] = &snapshots[i]
	}
	out := map[string]bool{}
	for id := t.snapshot; id != since; {
		s := byID[id]
		if s == nil {
			return nil, nil
		}
		id = s.Parent
		_, ours := s.Summary[checkpoint.Key]
		if !ours || s.Summary["operation"] == "replace" || s.Summary["deleted-data-files"] == "" {
			continue
		}
		if err := t.removedBy(ctx, s, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// removedBy adds the data files that a snapshot removed.
func (t *Table) removedBy(ctx context.Context, s *snapshotJSON, out map[string]bool) error {
	body, err := t.get(ctx, s.List)
	if err != nil {
		return fmt.Errorf("manifest list: %w", err)
	}
	list, err := iceberg.ReadManifestList(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("manifest list %s: %w", s.List, err)
	}
	for _, mf := range list {
		if mf.SnapshotID() != s.ID || mf.ManifestContent() != iceberg.ManifestContentData || mf.DeletedDataFiles() == 0 {
			continue
		}
		if body, err = t.get(ctx, mf.FilePath()); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		entries, err := iceberg.ReadManifest(mf, bytes.NewReader(body), false)
		if err != nil {
			return fmt.Errorf("manifest %s: %w", mf.FilePath(), err)
		}
		for _, e := range entries {
			if e.Status() == iceberg.EntryStatusDELETED {
				out[e.DataFile().FilePath()] = true
			}
		}
	}
	return nil
}
