package rest

import (
	"context"
	"errors"
	"io/fs"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// purgeBatch is how many files are removed at a time.
const purgeBatch = 500

// purge removes the files that the last version of a dropped table knows of, and the content of its metadata files. Files
// that no snapshot names stay, and so do those outside the lake, and data files where the table says so
// (gc.enabled=false), since others may use them.
func (s *server) purge(ctx context.Context, v *catalog.Version) error {
	metadata, err := s.parse(v)
	if err != nil {
		return err
	}
	p := purger{ctx: ctx, store: s.catalog.Store(), data: metadata.Properties().GetBool("gc.enabled", true), seen: map[string]bool{}}
	for _, snapshot := range metadata.Snapshots() {
		if err := p.snapshot(snapshot); err != nil {
			return err
		}
	}
	for f := range metadata.Statistics() {
		p.add(f.StatisticsPath)
	}
	for f := range metadata.PartitionStatistics() {
		p.add(f.StatisticsPath)
	}
	// Manifests last: with them gone, nobody could find the rest after a failure.
	for _, names := range [][]string{p.files, p.manifests, p.lists} {
		for len(names) > 0 {
			n := min(len(names), purgeBatch)
			if err := p.store.Delete(ctx, names[:n]...); err != nil {
				return err
			}
			names = names[n:]
		}
	}
	if err := s.catalog.Erase(ctx, v.ID); err != nil && !errors.Is(err, fs.ErrExist) { // made anew already
		return err
	}
	return nil
}

// purger collects the names of files.
type purger struct {
	ctx   context.Context
	store store.Store
	data  bool // data files too
	seen  map[string]bool

	files, manifests, lists []string
}

func (p *purger) name(uri string) (string, bool) {
	name, err := p.store.Name(uri)
	if err != nil || p.seen[name] {
		return "", false
	}
	p.seen[name] = true
	return name, true
}

func (p *purger) add(uri string) {
	if name, ok := p.name(uri); ok {
		p.files = append(p.files, name)
	}
}

func (p *purger) snapshot(snapshot table.Snapshot) error {
	manifests, err := snapshot.Manifests(store.IcebergIO(p.ctx, p.store))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if name, ok := p.name(snapshot.ManifestList); ok {
		p.lists = append(p.lists, name)
	}
	for _, m := range manifests {
		name, ok := p.name(m.FilePath())
		if !ok {
			continue
		}
		p.manifests = append(p.manifests, name)
		if err := p.entries(m); err != nil {
			return err
		}
	}
	return nil
}

func (p *purger) entries(m iceberg.ManifestFile) error {
	if !p.data {
		return nil
	}
	for entry, err := range m.Entries(store.IcebergIO(p.ctx, p.store), false) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		p.add(entry.DataFile().FilePath())
	}
	return nil
}
