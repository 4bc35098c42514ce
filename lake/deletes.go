package lake

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/puffin"
	"github.com/apache/iceberg-go/table/dv"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/lake/store"
)

// maxFileScoped is up to how many data files a format 2 commit writes a position delete file each. Beyond it, one delete
// file covers all, so that a commit needs few object writes however many data files it touches.
const maxFileScoped = 32

// loadDeletes reads every live delete file into the bitmaps of the data files.
func (t *Table) loadDeletes(ctx context.Context) error {
	vectors := map[string][]iceberg.DataFile{} // by Puffin file
	t.wide = map[string][]string{}
	for _, m := range t.delete {
		for _, e := range m.entries {
			switch {
			case e.file.ContentType() == iceberg.EntryContentEqDeletes:
				return fmt.Errorf("equality delete file %s: another program wrote it; compact the table there first, tidemark does not read equality deletes", e.file.FilePath())
			case e.file.FileFormat() == iceberg.PuffinFile:
				vectors[e.file.FilePath()] = append(vectors[e.file.FilePath()], e.file)
				if f := t.files[*e.file.ReferencedDataFile()]; f != nil {
					f.deletes = append(f.deletes, e)
				}
			default:
				if err := t.loadPositions(ctx, e); err != nil {
					return fmt.Errorf("position delete file %s: %w", e.file.FilePath(), err)
				}
			}
		}
	}
	for puffin, files := range vectors {
		bitmaps, err := dv.ReadDVs(store.IcebergIO(ctx, t.lake.Store), files)
		if err != nil {
			return fmt.Errorf("deletion vectors %s: %w", puffin, err)
		}
		for i, b := range bitmaps {
			f := t.files[*files[i].ReferencedDataFile()]
			if f == nil {
				continue // its data file is gone
			}
			if f.Deleted, err = narrow(b); err != nil {
				return fmt.Errorf("deletion vector of %s: %w", f.Path, err)
			}
		}
	}
	return nil
}

// loadPositions reads a Parquet position delete file.
func (t *Table) loadPositions(ctx context.Context, e *entry) error {
	section, closer, err := t.section(ctx, e.file.FilePath())
	if err != nil {
		return err
	}
	defer closer.Close()
	pf, err := file.NewParquetReader(section)
	if err != nil {
		return err
	}
	defer pf.Close()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 64 << 10}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	records, err := r.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return err
	}
	defer records.Release()
	covered := map[string]bool{}
	var last *DataFile
	for records.Next() {
		rec := records.RecordBatch()
		paths, ok := rec.Column(0).(*array.String)
		positions, isInt := rec.Column(1).(*array.Int64)
		if !ok || !isInt {
			return fmt.Errorf("its columns are %s", rec.Schema())
		}
		for i := range paths.Len() {
			path := paths.Value(i)
			if last == nil || last.Path != path {
				last = t.files[path]
				if last == nil {
					continue
				}
				covered[path] = true
				if last.Deleted == nil {
					last.Deleted = roaring.New()
				}
			}
			last.Deleted.Add(uint32(positions.Value(i)))
		}
	}
	if err := records.Err(); err != nil {
		return err
	}
	if path := e.references(); path != "" {
		if f := t.files[path]; f != nil {
			f.deletes = append(f.deletes, e)
		}
		return nil
	}
	t.wide[e.file.FilePath()] = slices.Sorted(maps.Keys(covered))
	return nil
}

// filePathID is the field id of file_path in position delete files (table spec, "Reserved Field IDs").
const filePathID = 2147483546

// references is the one data file that a delete file concerns, "" where it may be several. Manifests of format 2 do not
// carry the reference; there the bounds of file_path tell.
func (e *entry) references() string {
	if ref := e.file.ReferencedDataFile(); ref != nil {
		return *ref
	}
	low, high := e.file.LowerBoundValues()[filePathID], e.file.UpperBoundValues()[filePathID]
	if len(low) > 0 && bytes.Equal(low, high) {
		return string(low)
	}
	return ""
}

// narrow turns a 64-bit bitmap into a 32-bit one: no data file of ours has four billion rows.
func narrow(b *dv.RoaringPositionBitmap) (*roaring.Bitmap, error) {
	var buf bytes.Buffer
	if err := b.Serialize(&buf); err != nil {
		return nil, err
	}
	out := roaring.New()
	switch n := binary.LittleEndian.Uint64(buf.Next(8)); {
	case n == 0:
		return out, nil
	case n > 1 || binary.LittleEndian.Uint32(buf.Next(4)) != 0:
		return nil, errors.New("it has positions beyond 2^32")
	}
	_, err := out.ReadFrom(&buf)
	return out, err
}

// widen is the inverse of narrow.
func widen(b *roaring.Bitmap) (*dv.RoaringPositionBitmap, error) {
	buf := bytes.NewBuffer(make([]byte, 12, 12+b.GetSerializedSizeInBytes()))
	buf.Bytes()[0] = 1 // one bitmap, for the key 0
	if _, err := b.WriteTo(buf); err != nil {
		return nil, err
	}
	return dv.DeserializeRoaringPositionBitmap(buf.Bytes())
}

// deletion is what a commit does to the table's delete files.
type deletion struct {
	added   []iceberg.DataFile
	removed map[*entry]bool
	wide    map[string][]string // data files covered by each live delete file that covers several
}

// writeDeletes writes the full deletions of the touched data files, and says which delete files they supersede.
// bitmaps has, per data file path, every deleted position; gone the data files that leave the table altogether; fresh those
// that come. A delete file is of the partition of the data files that it covers: readers look for it there.
func (t *Table) writeDeletes(ctx context.Context, bitmaps map[string]*roaring.Bitmap, gone []*DataFile, fresh []*NewFile) (*deletion, error) {
	d := &deletion{removed: map[*entry]bool{}, wide: maps.Clone(t.wide)}
	for _, f := range gone {
		for _, e := range f.deletes {
			d.removed[e] = true
		}
	}
	supersede := func(path string) {
		if f := t.files[path]; f != nil {
			for _, e := range f.deletes {
				d.removed[e] = true
			}
		}
	}
	home := map[string]Partition{}
	for _, f := range fresh {
		home[f.Path] = f.partition
	}
	for p := range bitmaps {
		if f := t.files[p]; f != nil {
			home[p] = f.partition
		}
	}
	paths := slices.Sorted(maps.Keys(bitmaps))
	var err error
	switch {
	case len(paths) == 0:
	case t.format >= 3:
		for _, p := range paths {
			supersede(p)
		}
		d.added, err = t.writeVectors(ctx, paths, bitmaps, home)
	case len(paths) <= maxFileScoped:
		d.added = make([]iceberg.DataFile, len(paths))
		var g errgroup.Group
		g.SetLimit(8)
		for i, p := range paths {
			supersede(p)
			g.Go(func() (err error) {
				d.added[i], err = t.writePositions(ctx, []string{p}, bitmaps, home[p])
				return err
			})
		}
		err = g.Wait()
	default:
		touched := map[string]bool{} // partitions
		for _, p := range home {
			touched[p.key] = true
		}
		for _, m := range t.delete {
			for _, e := range m.entries {
				covered := t.wide[e.file.FilePath()]
				if covered == nil {
					continue
				}
				of, err := t.partitionOf(e.file)
				if err != nil {
					return nil, err
				}
				if !touched[of.key] {
					continue
				}
				for _, p := range covered {
					if f := t.files[p]; f != nil && bitmaps[p] == nil && !slices.Contains(gone, f) {
						bitmaps[p], home[p] = f.Deleted, f.partition
					}
				}
				d.removed[e] = true
				delete(d.wide, e.file.FilePath())
			}
		}
		together := map[string][]string{} // paths by partition
		for _, p := range slices.Sorted(maps.Keys(bitmaps)) {
			supersede(p)
			together[home[p].key] = append(together[home[p].key], p)
		}
		groups := slices.Collect(maps.Values(together))
		d.added = make([]iceberg.DataFile, len(groups))
		var g errgroup.Group
		g.SetLimit(8)
		for i, paths := range groups {
			g.Go(func() (err error) {
				d.added[i], err = t.writePositions(ctx, paths, bitmaps, home[paths[0]])
				return err
			})
		}
		if err = g.Wait(); err != nil {
			break
		}
		for i, paths := range groups {
			if len(paths) > 1 {
				d.wide[d.added[i].FilePath()] = paths
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write deletes: %w", err)
	}
	return d, nil
}

// writeVectors writes the deletion vectors of all paths into one Puffin file, smaller ones first, with gaps of a byte among
// those of one size.
//
// The order is for DuckDB 1.5: when the bytes between a blob it reads and the next thing it has cached of the file (another
// blob, the footer) are no more than the blob itself, it reads on to fill the gap, and then takes the beginning of what it
// read for each of the blobs within: the rows of one data file were deleted by the vector of another. Where whatever stands
// between a blob and the one after the next is more than the blob, it reads no further than to the next
// (github.com/duckdb/duckdb-iceberg/pull/1182).
func (t *Table) writeVectors(ctx context.Context, paths []string, bitmaps map[string]*roaring.Bitmap, home map[string]Partition) ([]iceberg.DataFile, error) {
	type vector struct {
		path string
		rows int64
		blob []byte
	}
	var vectors []vector
	for _, p := range paths {
		wide, err := widen(bitmaps[p])
		if err != nil {
			return nil, err
		}
		blob, err := dv.SerializeDV(wide)
		if err != nil {
			return nil, err
		}
		vectors = append(vectors, vector{p, int64(bitmaps[p].GetCardinality()), blob})
	}
	slices.SortStableFunc(vectors, func(a, b vector) int { return cmp.Compare(len(a.blob), len(b.blob)) })
	body := []byte(puffinMagic)
	footer := puffin.Footer{}
	apart := false // a gap is before the vector
	for i, v := range vectors {
		footer.Blobs = append(footer.Blobs, puffin.BlobMetadata{
			Type: puffin.BlobTypeDeletionVector, SnapshotID: -1, SequenceNumber: -1, Fields: []int32{}, Offset: int64(len(body)), Length: int64(len(v.blob)),
			Properties: map[string]string{"referenced-data-file": v.path, "cardinality": strconv.FormatInt(v.rows, 10)},
		})
		body = append(body, v.blob...)
		if apart = !apart && i > 0 && len(vectors[i-1].blob) == len(v.blob); apart {
			body = append(body, 0)
		}
	}
	payload, err := json.Marshal(footer)
	if err != nil {
		return nil, err
	}
	body = append(append(append(body, puffinMagic...), payload...), 0, 0, 0, 0, 0, 0, 0, 0) // its size and no flags
	binary.LittleEndian.PutUint32(body[len(body)-8:], uint32(len(payload)))
	body = append(body, puffinMagic...)
	name := t.name("data/" + newName() + ".puffin")
	uri := t.lake.Store.URI(name)
	var files []iceberg.DataFile
	for i, v := range vectors {
		spec, ok := t.specs[home[v.path].spec]
		if !ok {
			return nil, fmt.Errorf("%s: the table has no partition spec %d any more", v.path, home[v.path].spec)
		}
		df, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentPosDeletes, uri, iceberg.PuffinFile, home[v.path].values, nil, nil, v.rows, int64(len(body)))
		if err != nil {
			return nil, err
		}
		files = append(files, df.ReferencedDataFile(v.path).ContentOffset(footer.Blobs[i].Offset).ContentSizeInBytes(footer.Blobs[i].Length).Build())
	}
	return files, t.lake.Store.Put(ctx, name, body)
}

// puffinMagic begins and ends a Puffin file and its footer (Puffin spec, "File structure").
const puffinMagic = "PFA1"

// positionSchema is that of position delete files (table spec, "Position Delete Files").
func positionSchema() *arrow.Schema {
	id := func(v string) arrow.Metadata { return arrow.MetadataFrom(map[string]string{fieldIDKey: v}) }
	return arrow.NewSchema([]arrow.Field{
		{Name: "file_path", Type: arrow.BinaryTypes.String, Metadata: id("2147483546")},
		{Name: "pos", Type: arrow.PrimitiveTypes.Int64, Metadata: id("2147483545")},
	}, nil)
}

// nopCloser keeps the Parquet writer from publishing the object.
type nopCloser struct{ *counted }

func (nopCloser) Close() error { return nil }

// writePositions writes one position delete file over the given data files of one partition, sorted by path and position:
// Trino returns deleted rows when it is not.
func (t *Table) writePositions(ctx context.Context, paths []string, bitmaps map[string]*roaring.Bitmap, of Partition) (_ iceberg.DataFile, err error) {
	spec, ok := t.specs[of.spec]
	if !ok {
		return nil, fmt.Errorf("%s: the table has no partition spec %d any more", paths[0], of.spec)
	}
	schema := positionSchema()
	name := t.name("data/" + newName() + "-deletes.parquet")
	object, err := t.lake.Store.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, object.Abort())
		}
	}()
	out := &counted{w: object}
	w, err := pqarrow.NewFileWriter(schema, nopCloser{out}, parquet.NewWriterProperties(
		parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(1), parquet.WithStats(true), parquet.WithDictionaryFor("pos", false),
		parquet.WithMaxStatsSize(1<<16),
	), pqarrow.NewArrowWriterProperties())
	if err != nil {
		return nil, err
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	flush := func() error {
		rec := b.NewRecordBatch()
		defer rec.Release()
		return w.WriteBuffered(rec)
	}
	file, pos := b.Field(0).(*array.StringBuilder), b.Field(1).(*array.Int64Builder)
	for _, p := range paths {
		for it := bitmaps[p].Iterator(); it.HasNext(); {
			file.Append(p)
			pos.Append(int64(it.Next()))
			if pos.Len() == 64<<10 {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
	}
	if err := errors.Join(flush(), w.Close()); err != nil {
		return nil, err
	}
	if err := object.Close(); err != nil {
		return nil, err
	}
	rows := int64(0)
	for _, p := range paths {
		rows += int64(bitmaps[p].GetCardinality())
	}
	df, err := iceberg.NewDataFileBuilder(spec, iceberg.EntryContentPosDeletes, t.lake.Store.URI(name), iceberg.ParquetFile, of.values, nil, nil, rows, out.n)
	if err != nil {
		return nil, err
	}
	// The bounds of file_path are never cut short: readers compare them with whole paths to tell what the file concerns.
	df.LowerBoundValues(map[int][]byte{filePathID: []byte(paths[0])}).UpperBoundValues(map[int][]byte{filePathID: []byte(paths[len(paths)-1])})
	df.ValueCounts(map[int]int64{filePathID: rows}).NullValueCounts(map[int]int64{filePathID: 0})
	if len(paths) == 1 {
		df.ReferencedDataFile(paths[0])
	}
	return df.Build(), nil
}

func newName() string { return uuid.Must(uuid.NewV7()).String() }
