package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/apache/iceberg-go"
	"golang.org/x/sync/errgroup"
)

// Referenced returns the store names of all files that the table's metadata refers to: of every snapshot, whichever
// branch it is on, the manifest list, the manifests and the live data and delete files; statistics; and the metadata log.
// Names outside the lake are left out.
func (t *Table) Referenced(ctx context.Context) (map[string]bool, error) {
	var snapshots []snapshotJSON
	if err := t.doc.get("snapshots", &snapshots); err != nil {
		return nil, err
	}
	files, err := t.filesOf(ctx, snapshots, false)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"statistics", "partition-statistics"} {
		var list []struct {
			Path string `json:"statistics-path"`
		}
		if err := t.doc.get(key, &list); err != nil {
			return nil, err
		}
		for _, s := range list {
			files.add(t, s.Path)
		}
	}
	var log []metadataLogEntry
	if err := t.doc.get("metadata-log", &log); err != nil {
		return nil, err
	}
	for _, e := range log {
		files.add(t, e.File)
	}
	files.add(t, t.version.URI)
	return files.names, nil
}

type fileSet struct {
	mu    sync.Mutex
	names map[string]bool
}

// add notes a file and reports whether it is new.
func (s *fileSet) add(t *Table, uri string) bool {
	name, err := t.lake.Store.Name(uri)
	if err != nil {
		return false // not in this lake, so not ours to delete either
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := !s.names[name]
	s.names[name] = true
	return fresh
}

// deleteBatch is how many files are deleted in one call of the store.
const deleteBatch = 500

// filesOf collects the files of snapshots. Manifests that several share are read once. With tolerant, what is missing
// is passed by: snapshots that are gone from the metadata may have been cleaned up in part.
func (t *Table) filesOf(ctx context.Context, snapshots []snapshotJSON, tolerant bool) (*fileSet, error) {
	set := &fileSet{names: map[string]bool{}}
	get := func(ctx context.Context, uri string) ([]byte, error) {
		body, err := t.get(ctx, uri)
		if tolerant && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return body, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, s := range snapshots {
		g.Go(func() error {
			set.add(t, s.List)
			body, err := get(ctx, s.List)
			if err != nil || body == nil {
				return err
			}
			list, err := iceberg.ReadManifestList(bytes.NewReader(body))
			if err != nil {
				return fmt.Errorf("manifest list %s: %w", s.List, err)
			}
			for _, mf := range list {
				if !set.add(t, mf.FilePath()) {
					continue
				}
				body, err := get(ctx, mf.FilePath())
				if err != nil {
					return err
				}
				if body == nil {
					continue
				}
				m, err := readManifest(mf, body)
				if err != nil {
					return err
				}
				for _, e := range m.entries {
					set.add(t, e.file.FilePath())
				}
			}
			return nil
		})
	}
	return set, g.Wait()
}

// deleteUnneeded deletes the files of snapshots that are gone, except those that the table still needs.
func (t *Table) deleteUnneeded(ctx context.Context, gone []expiredSnapshot) (int, error) {
	var snapshots []snapshotJSON
	for _, s := range gone {
		snapshots = append(snapshots, s.snapshotJSON)
	}
	had, err := t.filesOf(ctx, snapshots, true)
	if err != nil {
		return 0, err
	}
	for _, s := range gone {
		for _, path := range s.statistics {
			had.add(t, path)
		}
	}
	needs, err := t.Referenced(ctx)
	if err != nil {
		return 0, err
	}
	var names []string
	for name := range had.names {
		if !needs[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return t.DeleteFilesNamed(ctx, names)
}

// DeleteFilesNamed deletes objects of the store by name and returns how many it asked for.
func (t *Table) DeleteFilesNamed(ctx context.Context, names []string) (n int, err error) {
	for batch := range slices.Chunk(names, deleteBatch) {
		if err := t.lake.Store.Delete(ctx, batch...); err != nil {
			return n, err
		}
		n += len(batch)
	}
	return n, nil
}

// PruneMetadata removes metadata files that are out of date, as the catalog sees fit.
func (t *Table) PruneMetadata(ctx context.Context) (int, error) {
	return t.lake.Catalog.Prune(ctx, t.version, previousVersions)
}
