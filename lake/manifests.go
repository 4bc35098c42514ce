package lake

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/iceberg-go"
	"golang.org/x/sync/errgroup"
)

// Entries that fit one manifest. A commit adds its entries to the newest manifest while that has room, by writing it
// anew: so manifests add up slowly, and writing one costs little.
const (
	dataManifestEntries   = 100
	deleteManifestEntries = 1000
)

// written is a manifest of the commit under way.
type written struct {
	manifest *manifest // its entries are read back once the commit has given them their sequence number
	body     []byte    // nil for one that is carried over
}

// rewrite returns the manifests of the next snapshot: those of old without the removed entries, plus the added files.
// Manifests that lose entries are written anew, with the lost ones marked as deleted. A manifest has files of one
// partition spec.
func (t *Table) rewrite(ctx context.Context, snapshot int64, content iceberg.ManifestContent, old []*manifest, removed map[*entry]bool, added []iceberg.DataFile, limit int) ([]written, error) {
	type plan struct {
		spec       int32
		keep, drop []*entry
		add        []iceberg.DataFile
		carry      *manifest
	}
	bySpec := map[int32][]iceberg.DataFile{}
	for _, f := range added {
		bySpec[f.SpecID()] = append(bySpec[f.SpecID()], f)
	}
	var plans []*plan
	room := map[int32]*plan{} // what takes the added files
	for _, m := range old {
		p := &plan{carry: m, spec: m.file.PartitionSpecID()}
		for _, e := range m.entries {
			if removed[e] {
				p.drop = append(p.drop, e)
			} else {
				p.keep = append(p.keep, e)
			}
		}
		if len(p.drop) > 0 {
			p.carry = nil
		}
		if len(p.keep)+len(bySpec[p.spec]) <= limit {
			if best := room[p.spec]; best == nil || p.carry == nil && best.carry != nil || len(p.keep) > len(best.keep) && (p.carry == nil) == (best.carry == nil) {
				room[p.spec] = p
			}
		}
		plans = append(plans, p)
	}
	for _, spec := range slices.Sorted(maps.Keys(bySpec)) {
		p := room[spec]
		if p == nil {
			p = &plan{spec: spec}
			plans = append(plans, p)
		}
		p.carry, p.add = nil, bySpec[spec]
	}
	out := make([]written, 0, len(plans))
	for _, p := range plans {
		switch {
		case p.carry != nil:
			out = append(out, written{manifest: p.carry})
		case len(p.keep)+len(p.drop)+len(p.add) > 0:
			w, err := t.writeManifest(snapshot, content, p.spec, p.keep, p.drop, p.add)
			if err != nil {
				return nil, err
			}
			out = append(out, w)
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

func (t *Table) writeManifest(snapshot int64, content iceberg.ManifestContent, specID int32, keep, drop []*entry, add []iceberg.DataFile) (written, error) {
	spec, ok := t.specs[int(specID)]
	if !ok {
		return written{}, fmt.Errorf("the table has no partition spec %d any more", specID)
	}
	var buf bytes.Buffer
	w, err := iceberg.NewManifestWriter(t.format, &buf, spec, t.icebergSc, snapshot, iceberg.WithManifestWriterContent(content))
	if err != nil {
		return written{}, err
	}
	for _, e := range keep {
		if err := w.Existing(iceberg.NewManifestEntry(iceberg.EntryStatusEXISTING, &e.snapshot, &e.sequence, &e.fileSeq, e.file)); err != nil {
			return written{}, fmt.Errorf("manifest entry %s: %w", e.file.FilePath(), err)
		}
	}
	for _, e := range drop {
		if err := w.Delete(iceberg.NewManifestEntry(iceberg.EntryStatusDELETED, &snapshot, &e.sequence, &e.fileSeq, e.file)); err != nil {
			return written{}, fmt.Errorf("manifest entry %s: %w", e.file.FilePath(), err)
		}
	}
	for _, f := range add {
		if err := w.Add(iceberg.NewManifestEntry(iceberg.EntryStatusADDED, &snapshot, nil, nil, f)); err != nil {
			return written{}, fmt.Errorf("manifest entry %s: %w", f.FilePath(), err)
		}
	}
	if err := w.Close(); err != nil {
		return written{}, err
	}
	uri := t.lake.Store.URI(t.name("metadata/" + newName() + "-m.avro"))
	file, err := w.ToManifestFile(uri, int64(buf.Len()), iceberg.WithManifestFileContent(content))
	if err != nil {
		return written{}, err
	}
	return written{&manifest{file: file}, buf.Bytes()}, nil
}

// list is a written manifest list.
type list struct {
	uri       string
	manifests map[string]iceberg.ManifestFile // by path, with the sequence numbers and row ids the list gave them
	nextRowID int64
}

func (t *Table) writeList(ctx context.Context, snapshot int64, parts ...[]written) (*list, error) {
	var files []iceberg.ManifestFile
	for _, part := range parts {
		for _, w := range part {
			files = append(files, w.manifest.file)
		}
	}
	var parent *int64
	if id := t.parent(); id != 0 {
		parent = &id
	}
	var buf bytes.Buffer
	var w *iceberg.ManifestListWriter
	var err error
	if t.format >= 3 {
		w, err = iceberg.NewManifestListWriterV3(&buf, snapshot, t.sequence+1, t.nextRowID, parent)
	} else {
		w, err = iceberg.NewManifestListWriterV2(&buf, snapshot, t.sequence+1, parent)
	}
	if err != nil {
		return nil, err
	}
	if err := w.AddManifests(files); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l := &list{manifests: map[string]iceberg.ManifestFile{}, nextRowID: t.nextRowID}
	if t.format >= 3 {
		l.nextRowID = *w.NextRowID()
	}
	back, err := iceberg.ReadManifestList(bytes.NewReader(buf.Bytes()))
	if err != nil {
		return nil, err
	}
	for _, mf := range back {
		l.manifests[mf.FilePath()] = mf
	}
	name := t.name(fmt.Sprintf("metadata/snap-%d-%s.avro", snapshot, newName()))
	l.uri = t.lake.Store.URI(name)
	return l, t.lake.Store.Put(ctx, name, buf.Bytes())
}

// settle turns the written manifests into the table's, after the commit.
func (l *list) settle(parts []written) ([]*manifest, error) {
	var out []*manifest
	for _, w := range parts {
		m := w.manifest
		if w.body != nil {
			var err error
			if m, err = readManifest(l.manifests[m.file.FilePath()], w.body); err != nil {
				return nil, err
			}
			if len(m.entries) == 0 {
				continue // only deleted entries: not carried into the next snapshot
			}
		}
		out = append(out, m)
	}
	return out, nil
}
