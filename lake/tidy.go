package lake

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/iceberg-go"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/checkpoint"
)

// sparse is how many manifests more than needed a table may have before they are merged.
const sparse = 8

// Tidied is what Tidy did.
type Tidied struct {
	Manifests   int // fewer than before
	DeleteFiles int // dropped, since no data file that they concern is in the table
}

// Tidy drops delete files that concern no data file of the table any more, and merges manifests where many hold few
// entries, in one commit of operation replace. It commits nothing where there is nothing to do. Errors are those of
// Replace, except ErrStale.
func (t *Table) Tidy(ctx context.Context) (Tidied, error) {
	var done Tidied
	idle := t.useless()
	before := len(t.data) + len(t.delete)
	if len(idle) == 0 && !t.scattered() {
		return done, nil
	}
	err := t.publishReplacement(ctx, nil, func() (*change, error) {
		idle = t.useless()
		ch := &change{operation: "replace", tidy: true, bitmaps: map[string]*roaring.Bitmap{}, deletion: &deletion{removed: idle, wide: map[string][]string{}}}
		for path, covered := range t.wide {
			ch.deletion.wide[path] = covered
		}
		for e := range idle {
			delete(ch.deletion.wide, e.file.FilePath())
		}
		if t.pipeline == "" {
			return ch, nil
		}
		return ch, t.fenced()
	})
	if err == nil {
		done = Tidied{Manifests: before - len(t.data) - len(t.delete), DeleteFiles: len(idle)}
	}
	return done, err
}

// useless returns the delete files that concern no data file of the table.
func (t *Table) useless() map[*entry]bool {
	out := map[*entry]bool{}
	for _, m := range t.delete {
	entries:
		for _, e := range m.entries {
			covered := t.wide[e.file.FilePath()]
			if ref := e.references(); ref != "" {
				covered = []string{ref}
			}
			for _, p := range covered {
				if t.files[p] != nil {
					continue entries
				}
			}
			out[e] = true
		}
	}
	return out
}

// scattered reports whether there are many more manifests than the entries need.
func (t *Table) scattered() bool {
	return len(t.data) > need(t.data, dataManifestEntries)*2+sparse || len(t.delete) > need(t.delete, deleteManifestEntries)*2+sparse
}

// need is how many manifests hold the entries, each those of one partition spec.
func need(manifests []*manifest, limit int) (n int) {
	entries := map[int32]int{}
	for _, m := range manifests {
		entries[m.file.PartitionSpecID()] += len(m.entries)
	}
	for _, of := range entries {
		n += (of + limit - 1) / limit
	}
	return n
}

// stageTidy writes all manifests anew, full ones first in the order of their entries.
func (t *Table) stageTidy(ctx context.Context, s *staged, r checkpoint.Record, ch *change) error {
	s.snapshot = rand.Int64N(1<<62) + 1
	data, err := t.pack(ctx, s.snapshot, iceberg.ManifestContentData, t.data, nil, dataManifestEntries)
	if err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	deletes, err := t.pack(ctx, s.snapshot, iceberg.ManifestContentDeletes, t.delete, ch.deletion.removed, deleteManifestEntries)
	if err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	return t.stageManifests(ctx, s, r, ch, data, deletes)
}

// pack returns manifests with limit entries each, for each partition spec. One that is full is carried over.
func (t *Table) pack(ctx context.Context, snapshot int64, content iceberg.ManifestContent, old []*manifest, removed map[*entry]bool, limit int) ([]written, error) {
	var out []written
	type open struct{ keep, drop []*entry }
	bySpec := map[int32]*open{}
	flush := func(spec int32) error {
		o := bySpec[spec]
		delete(bySpec, spec)
		w, err := t.writeManifest(snapshot, content, spec, o.keep, o.drop, nil)
		out = append(out, w)
		return err
	}
	for _, m := range old {
		lost := 0
		for _, e := range m.entries {
			if removed[e] {
				lost++
			}
		}
		if lost == 0 && len(m.entries) >= limit {
			out = append(out, written{manifest: m})
			continue
		}
		spec := m.file.PartitionSpecID()
		for _, e := range m.entries {
			if bySpec[spec] == nil {
				bySpec[spec] = &open{}
			}
			o := bySpec[spec]
			if removed[e] {
				o.drop = append(o.drop, e)
				continue
			}
			o.keep = append(o.keep, e)
			if len(o.keep) == limit {
				if err := flush(spec); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, spec := range slices.Sorted(maps.Keys(bySpec)) {
		if err := flush(spec); err != nil {
			return nil, err
		}
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, w := range out {
		if w.body == nil {
			continue
		}
		g.Go(func() error {
			name, err := t.lake.Store.Name(w.manifest.file.FilePath())
			if err != nil {
				return err
			}
			return t.lake.Store.Put(ctx, name, w.body)
		})
	}
	return out, g.Wait()
}
