package lake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
)

// Table is one table as of one version of its metadata. It has a single owner: its methods are not safe for concurrent use.
type Table struct {
	lake    *Lake
	id      catalog.Identifier
	version *catalog.Version
	doc     *document

	format    int
	uuid      string
	icebergSc *iceberg.Schema
	schema    *arrow.Schema // with field ids
	key       []int
	spec      iceberg.PartitionSpec
	branch    string // LoadBranch while the table is loaded there; empty: main
	snapshot  int64  // head of the branch, 0 when there is none
	main      int64  // current snapshot of main, 0 when there is none
	sequence  int64  // last sequence number
	nextRowID int64  // format 3
	updated   int64  // last-updated-ms

	files  map[string]*DataFile // live data files by path
	byID   map[uint32]*DataFile
	lastID uint32
	data   []*manifest
	delete []*manifest
	wide   map[string][]string // format 2: data files covered by each delete file that covers several

	record    checkpoint.Record
	hasRecord bool
	pipeline  string // who we write as; empty until claimed
	epoch     int64
}

// DataFile is a live data file.
type DataFile struct {
	ID      uint32          // 1 or more; stable while the table is open
	Path    string          // URI
	Rows    int64           // live and deleted
	Size    int64           // bytes
	Deleted *roaring.Bitmap // positions of rows that are not live; nil when all are

	deletes []*entry // delete files that concern this file alone
}

// Live is the number of rows that are not deleted.
func (f *DataFile) Live() int64 {
	if f.Deleted == nil {
		return f.Rows
	}
	return f.Rows - int64(f.Deleted.GetCardinality())
}

// entry is a live entry of a manifest.
type entry struct {
	file     iceberg.DataFile
	snapshot int64
	sequence int64 // data sequence number
	fileSeq  int64
}

type manifest struct {
	file    iceberg.ManifestFile
	entries []*entry
}

// load reads the state of a version on a branch: its manifests and delete files, not its data.
func load(ctx context.Context, l *Lake, version *catalog.Version, branch string) (*Table, error) {
	t := &Table{lake: l, id: version.ID, branch: branch}
	if err := t.load(ctx, version); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", version.ID, version.URI, err)
	}
	return t, nil
}

func (t *Table) load(ctx context.Context, version *catalog.Version) error {
	doc, err := parseDocument(version.Metadata)
	if err != nil {
		return err
	}
	meta, err := table.ParseMetadataBytes(version.Metadata)
	if err != nil {
		return fmt.Errorf("table metadata: %w", err)
	}
	t.version, t.doc = version, doc
	t.format, t.uuid, t.icebergSc, t.spec = meta.Version(), meta.TableUUID().String(), meta.CurrentSchema(), meta.PartitionSpec()
	t.sequence, t.nextRowID, t.updated = meta.LastSequenceNumber(), meta.NextRowID(), meta.LastUpdatedMillis()
	if t.schema, t.key, err = arrowSchema(t.icebergSc); err != nil {
		return err
	}
	known := t.files
	t.files, t.data, t.delete, t.snapshot, t.main = map[string]*DataFile{}, nil, nil, 0, 0
	if s := meta.CurrentSnapshot(); s != nil {
		t.main = s.SnapshotID
	}
	if s := t.head(meta); s != nil {
		t.snapshot = s.SnapshotID
		if err := t.loadManifests(ctx, s.ManifestList); err != nil {
			return err
		}
	}
	for path, f := range t.files {
		if old := known[path]; old != nil {
			f.ID = old.ID
		} else {
			t.lastID++
			f.ID = t.lastID
		}
	}
	t.byID = make(map[uint32]*DataFile, len(t.files))
	for _, f := range t.files {
		t.byID[f.ID] = f
	}
	if err := t.loadDeletes(ctx); err != nil {
		return err
	}
	t.record, t.hasRecord, err = ValidRecord(meta)
	return err
}

func (t *Table) loadManifests(ctx context.Context, listURI string) error {
	body, err := t.get(ctx, listURI)
	if err != nil {
		return fmt.Errorf("manifest list: %w", err)
	}
	list, err := iceberg.ReadManifestList(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("manifest list %s: %w", listURI, err)
	}
	manifests := make([]*manifest, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, mf := range list {
		g.Go(func() error {
			body, err := t.get(ctx, mf.FilePath())
			if err != nil {
				return fmt.Errorf("manifest: %w", err)
			}
			manifests[i], err = readManifest(mf, body)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, m := range manifests {
		if m.file.ManifestContent() == iceberg.ManifestContentDeletes {
			t.delete = append(t.delete, m)
			continue
		}
		t.data = append(t.data, m)
		for _, e := range m.entries {
			t.files[e.file.FilePath()] = &DataFile{Path: e.file.FilePath(), Rows: e.file.Count(), Size: e.file.FileSizeBytes()}
		}
	}
	return nil
}

func readManifest(mf iceberg.ManifestFile, body []byte) (*manifest, error) {
	entries, err := iceberg.ReadManifest(mf, bytes.NewReader(body), true)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", mf.FilePath(), err)
	}
	m := &manifest{file: mf}
	for _, e := range entries {
		x := &entry{file: e.DataFile(), snapshot: e.SnapshotID(), sequence: e.SequenceNum(), fileSeq: e.SequenceNum()}
		if s := e.FileSequenceNum(); s != nil {
			x.fileSeq = *s
		}
		m.entries = append(m.entries, x)
	}
	return m, nil
}

// get reads a whole object by its URI.
func (t *Table) get(ctx context.Context, uri string) ([]byte, error) {
	name, err := t.lake.Store.Name(uri)
	if err != nil {
		return nil, err
	}
	return t.lake.Store.Get(ctx, name)
}

// name is a name in the table's folder.
func (t *Table) name(parts string) string { return t.id.Path() + "/" + parts }

// ID is the table's name.
func (t *Table) ID() catalog.Identifier { return t.id }

// FormatVersion is 2 or 3.
func (t *Table) FormatVersion() int { return t.format }

// ArrowSchema is the table's schema.
func (t *Table) ArrowSchema() *arrow.Schema { return t.schema }

// Key has the ordinals of the columns that a row is known by: those of the key, in key order, or all when the table has no
// key.
func (t *Table) Key() []int {
	if !t.Keyless() {
		return t.key
	}
	all := make([]int, t.schema.NumFields())
	for i := range all {
		all[i] = i
	}
	return all
}

// Keyless reports whether the table has no identifier fields: its rows are a multiset, in no order.
func (t *Table) Keyless() bool { return len(t.key) == 0 }

// SnapshotID is the current snapshot of main, or the head of LoadBranch for a table opened on it; 0 when there is none.
func (t *Table) SnapshotID() int64 { return t.snapshot }

// Files returns the live data files in the order of their ids.
func (t *Table) Files() []*DataFile {
	ids := slices.Sorted(maps.Keys(t.byID))
	files := make([]*DataFile, len(ids))
	for i, id := range ids {
		files[i] = t.byID[id]
	}
	return files
}

// File returns a live data file by its id, or nil.
func (t *Table) File(id uint32) *DataFile { return t.byID[id] }

// DeleteFiles is the number of live delete files; vectors in one Puffin file count one each.
func (t *Table) DeleteFiles() (n int) {
	for _, m := range t.delete {
		n += len(m.entries)
	}
	return n
}

// Manifests is how many manifests the current snapshot has.
func (t *Table) Manifests() int { return len(t.data) + len(t.delete) }

// Checkpoint returns the table's valid checkpoint.
func (t *Table) Checkpoint() (checkpoint.Record, bool) { return t.record, t.hasRecord }

// Refresh loads the newest version and reports whether the branch has another snapshot than before.
func (t *Table) Refresh(ctx context.Context) (changed bool, err error) {
	version, err := t.lake.Catalog.Load(ctx, t.id)
	if err != nil {
		return false, err
	}
	if version.URI == t.version.URI {
		return false, nil
	}
	before := t.snapshot
	if err := t.load(ctx, version); err != nil {
		return false, fmt.Errorf("%s, %s: %w", t.id, version.URI, err)
	}
	return t.snapshot != before, nil
}

// section opens an object for sequential and random reads.
func (t *Table) section(ctx context.Context, uri string) (*io.SectionReader, io.Closer, error) {
	name, err := t.lake.Store.Name(uri)
	if err != nil {
		return nil, nil, err
	}
	r, err := t.lake.Store.Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	return io.NewSectionReader(r, 0, r.Size()), r, nil
}
