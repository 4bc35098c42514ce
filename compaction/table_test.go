package compaction

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
	"github.com/tidemark/tidemark/merge"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var id = catalog.Identifier{DB: "db", Table: "t"}

// shape is a layout of the key, with the key of number n.
type shape struct {
	name  string
	types []arrow.DataType
	key   func(n int) []any
}

var shapes = []shape{
	{"bigint", []arrow.DataType{arrow.PrimitiveTypes.Int64}, func(n int) []any { return []any{int64(n) - 100} }},
	{"decimal", []arrow.DataType{&arrow.Decimal128Type{Precision: 20}}, func(n int) []any { return []any{decimal128.FromI64(int64(n) - 100)} }},
	{"text,int", []arrow.DataType{arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32}, func(n int) []any {
		return []any{fmt.Sprintf("common prefix %d", n%17), int32(n)}
	}},
}

// bench is a table with a model of what it holds.
type bench struct {
	t     testing.TB
	lake  *lake.Lake
	table *lake.Table
	index *merge.Index // nil: places are looked up in the model alone
	codec *merge.KeyCodec
	shape shape
	path  string
	rng   *rand.Rand

	rows    map[int]int // key number -> version
	places  map[int]merge.Place
	version int
}

func newBench(t testing.TB, format int, s shape, wrap func(store.Store) store.Store) *bench {
	t.Helper()
	dir := t.TempDir()
	local, err := store.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	var inner store.Store = local
	if wrap != nil {
		inner = wrap(inner)
	}
	b := &bench{
		t: t, shape: s, path: dir + "/db/t", rng: rand.New(rand.NewPCG(uint64(format), uint64(len(s.name)))),
		lake: &lake.Lake{Store: inner, Catalog: catalog.NewBucket(inner), Logger: slog.New(slog.DiscardHandler)},
		rows: map[int]int{}, places: map[int]merge.Place{},
	}
	record := checkpoint.Record{Pipeline: "p", Epoch: 1, State: checkpoint.StateLive}
	if b.table, err = lake.Create(t.Context(), b.lake, id, b.schema(), b.keyColumns(), lake.CreateOptions{FormatVersion: format, Record: record}); err != nil {
		t.Fatal(err)
	}
	if b.codec, err = merge.NewKeyCodec(b.schema().Fields()[:len(s.types)]); err != nil {
		t.Fatal(err)
	}
	b.index = merge.NewIndex(b.codec)
	return b
}

// schema has the key columns, then the number, a version, and columns of the other types that a table can have.
func (b *bench) schema() *arrow.Schema {
	var fields []arrow.Field
	for i, t := range b.shape.types {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("k", i), Type: t})
	}
	for name, t := range map[string]arrow.DataType{
		"n": arrow.PrimitiveTypes.Int64, "v": arrow.PrimitiveTypes.Int64, "a32": arrow.PrimitiveTypes.Int32, "abool": arrow.FixedWidthTypes.Boolean,
		"adate": arrow.FixedWidthTypes.Date32, "adecimal": &arrow.Decimal128Type{Precision: 18, Scale: 4}, "adouble": arrow.PrimitiveTypes.Float64,
		"afloat": arrow.PrimitiveTypes.Float32, "atext": arrow.BinaryTypes.String, "atime": &arrow.TimestampType{Unit: arrow.Microsecond},
		"azoned": arrow.FixedWidthTypes.Timestamp_us, "ybytes": arrow.BinaryTypes.Binary,
	} {
		fields = append(fields, arrow.Field{Name: name, Type: t, Nullable: name != "n"})
	}
	slices.SortStableFunc(fields[len(b.shape.types):], func(x, y arrow.Field) int { return cmp.Compare(x.Name, y.Name) })
	return arrow.NewSchema(fields, nil)
}

func (b *bench) keyColumns() []int {
	var key []int
	for i := range b.shape.types {
		key = append(key, i)
	}
	return key
}

// append adds the row of a key number at a version; about a quarter of the values is NULL.
func (b *bench) append(rb *array.RecordBuilder, n, version int) {
	b.t.Helper()
	for i, v := range b.shape.key(n) {
		b.value(rb.Field(i), v)
	}
	for i, f := range rb.Schema().Fields() {
		if i < len(b.shape.types) {
			continue
		}
		x := int64(n)*31 + int64(version)*7 + int64(i)
		switch fb := rb.Field(i).(type) {
		case *array.Int64Builder:
			b.value(fb, map[string]int64{"n": int64(n), "v": int64(version)}[f.Name])
		default:
			if x%4 == 0 {
				fb.AppendNull()
				continue
			}
			switch fb := fb.(type) {
			case *array.Int32Builder:
				fb.Append(int32(x))
			case *array.BooleanBuilder:
				fb.Append(x%2 == 0)
			case *array.Date32Builder:
				fb.Append(arrow.Date32(x % 20000))
			case *array.Decimal128Builder:
				fb.Append(decimal128.FromI64(x - 5000))
			case *array.Float64Builder:
				fb.Append(float64(x) / 8)
			case *array.Float32Builder:
				fb.Append(float32(x) / 8)
			case *array.StringBuilder:
				fb.Append(fmt.Sprint("text ", x))
			case *array.BinaryBuilder:
				fb.Append([]byte{byte(x), 0, byte(x >> 8)}[:x%4])
			case *array.TimestampBuilder:
				fb.Append(arrow.Timestamp(x * 1_000_003))
			default:
				b.t.Fatalf("no value for %s", f)
			}
		}
	}
}

func (b *bench) value(fb array.Builder, v any) {
	switch fb := fb.(type) {
	case *array.Int64Builder:
		fb.Append(v.(int64))
	case *array.Int32Builder:
		fb.Append(v.(int32))
	case *array.StringBuilder:
		fb.Append(v.(string))
	case *array.Decimal128Builder:
		fb.Append(v.(decimal128.Num))
	}
}

// encode gives the key of a number as the codec does.
func (b *bench) encode(n int) (merge.Key, string) {
	b.codec.Reset()
	for _, v := range b.shape.key(n) {
		switch v := v.(type) {
		case int64:
			b.codec.AppendInt(v)
		case int32:
			b.codec.AppendInt(int64(v))
		case string:
			b.codec.AppendBytes([]byte(v))
		case decimal128.Num:
			b.codec.AppendDecimal128(v)
		}
	}
	k, raw := b.codec.Key()
	return k, string(raw)
}

// sorted puts key numbers in key order.
func (b *bench) sorted(numbers map[int]bool) []int {
	type keyed struct {
		n   int
		k   merge.Key
		raw string
	}
	var all []keyed
	for n := range numbers {
		k, raw := b.encode(n)
		all = append(all, keyed{n, k, raw})
	}
	slices.SortFunc(all, func(x, y keyed) int {
		if b.codec.Fixed() {
			return cmp.Or(cmp.Compare(x.k.Hi, y.k.Hi), cmp.Compare(x.k.Lo, y.k.Lo))
		}
		return cmp.Compare(x.raw, y.raw)
	})
	out := make([]int, len(all))
	for i, x := range all {
		out[i] = x.n
	}
	return out
}

// upsert writes the rows of a commit and makes the model follow. With delete, those numbers leave the table.
func (b *bench) upsert(put, del []int) error {
	b.t.Helper()
	add, deletes, err := b.stage(put, del)
	if err != nil || len(add)+len(deletes) == 0 {
		return err
	}
	return b.commit(add, deletes)
}

// stage does all of an upsert but its commit.
func (b *bench) stage(put, del []int) (add []*lake.NewFile, deletes map[uint32]*roaring.Bitmap, err error) {
	b.t.Helper()
	b.version++
	deletes = map[uint32]*roaring.Bitmap{}
	drop := func(n int) {
		p, there := b.places[n]
		if !there {
			return
		}
		k, _ := b.encode(n)
		if got, _ := b.index.Remove(k); got != p {
			b.t.Fatalf("the index has key %d at %v, the model at %v", n, got, p)
		}
		if deletes[p.File] == nil {
			deletes[p.File] = roaring.New()
		}
		deletes[p.File].Add(p.Pos)
		delete(b.rows, n)
		delete(b.places, n)
	}
	numbers := map[int]bool{}
	for _, n := range put {
		numbers[n] = true
	}
	for _, n := range slices.Concat(put, del) {
		drop(n)
	}
	if order := b.sorted(numbers); len(order) > 0 {
		if add, err = b.write(order); err != nil {
			return nil, nil, err
		}
	}
	return add, deletes, nil
}

// scatter adds a data file for each of the given numbers, which must be new, in one commit.
func (b *bench) scatter(put []int) error {
	b.t.Helper()
	b.version++
	var add []*lake.NewFile
	for _, n := range put {
		files, err := b.write([]int{n})
		if err != nil {
			return err
		}
		add = append(add, files...)
	}
	return b.commit(add, nil)
}

// write makes a data file with the given rows, or one for each of their partitions, and index and model as after its commit.
func (b *bench) write(order []int) (files []*lake.NewFile, err error) {
	b.t.Helper()
	rec := b.records(order)
	defer rec.Release()
	p, err := b.table.Partitioner()
	if err != nil {
		return nil, err
	}
	if p == nil {
		f, err := b.file(order, b.table.Unpartitioned())
		return []*lake.NewFile{f}, err
	}
	parts, err := p.Split(rec)
	if err != nil {
		return nil, err
	}
	divided := make([][]int, p.Partitions())
	for row, part := range parts {
		divided[part] = append(divided[part], order[row])
	}
	for part, own := range divided {
		f, err := b.file(own, p.Partition(int32(part)))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func (b *bench) records(order []int) arrow.RecordBatch {
	b.t.Helper()
	rb := array.NewRecordBuilder(memory.DefaultAllocator, b.schema())
	defer rb.Release()
	for _, n := range order {
		b.append(rb, n, b.version)
	}
	return rb.NewRecordBatch()
}

func (b *bench) file(order []int, in lake.Partition) (*lake.NewFile, error) {
	b.t.Helper()
	rec := b.records(order)
	defer rec.Release()
	w, err := b.table.NewFileWriter(b.t.Context())
	if err != nil {
		return nil, err
	}
	w.In(in)
	if err := w.Write(rec); err != nil {
		return nil, err
	}
	f, err := w.Close()
	if err != nil {
		return nil, err
	}
	for pos, n := range order {
		p := merge.Place{File: f.ID, Pos: uint32(pos)}
		k, _ := b.encode(n)
		b.index.Put(k, p)
		b.rows[n], b.places[n] = b.version, p
	}
	return f, nil
}

func (b *bench) commit(add []*lake.NewFile, deletes map[uint32]*roaring.Bitmap) error {
	r, _ := b.table.Checkpoint()
	r.Commit = uuid.NewString()
	set := checkpoint.MustParseSet(r.GTIDSet)
	set.Add(checkpoint.GTID{SID: [16]byte{1}, GNO: int64(set.Count()) + 1})
	r.GTIDSet = set.String()
	return b.table.Commit(b.t.Context(), lake.Commit{Add: add, Delete: deletes, Record: r})
}

// random makes a commit of up to size upserts out of keys numbers, and deletes about share of the rows.
func (b *bench) random(keys, size int, share float64) {
	b.t.Helper()
	var put, del []int
	for range 1 + b.rng.IntN(size) {
		put = append(put, b.rng.IntN(keys))
	}
	for _, n := range slices.Sorted(maps.Keys(b.rows)) {
		if b.rng.Float64() < share && !slices.Contains(put, n) {
			del = append(del, n)
		}
	}
	if err := b.upsert(put, del); err != nil {
		b.t.Fatal(err)
	}
}

// lines is what readers have to see.
func (b *bench) lines() []string {
	var want []string
	for n, v := range b.rows {
		want = append(want, fmt.Sprintf("%d=%d", n, v))
	}
	slices.Sort(want)
	return want
}
