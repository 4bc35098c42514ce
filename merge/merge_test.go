package merge

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func codecFor(t testing.TB, types ...arrow.DataType) *KeyCodec {
	t.Helper()
	var fields []arrow.Field
	for i, dt := range types {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("k%d", i), Type: dt})
	}
	c, err := NewKeyCodec(fields)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shapes are key layouts of every storage class: narrow, 16 bytes verbatim, hashed.
func shapes(t testing.TB) map[string]*KeyCodec {
	return map[string]*KeyCodec{
		"int":           codecFor(t, arrow.PrimitiveTypes.Int32),
		"bigint":        codecFor(t, arrow.PrimitiveTypes.Int64),
		"bigint,bigint": codecFor(t, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64),
		"decimal":       codecFor(t, &arrow.Decimal128Type{Precision: 20}),
		"string":        codecFor(t, arrow.BinaryTypes.String),
		"string,int":    codecFor(t, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32),
	}
}

func encode(c *KeyCodec, n int) (Key, []byte) {
	c.Reset()
	for i, col := range c.columns {
		v := n
		if i < len(c.columns)-1 {
			v = n / 7
		}
		switch col.kind.ID() {
		case arrow.STRING:
			c.AppendBytes([]byte(fmt.Sprintf("\x00key-%d", v)))
		case arrow.DECIMAL128:
			c.AppendDecimal128(decimal128.FromI64(int64(v)))
		default:
			c.AppendInt(int64(v))
		}
	}
	return c.Key()
}

// TestBatchesAgainstModel applies random changes through batches, segments and the index, and demands that index and
// deletions leave exactly the rows of a plain map.
func TestBatchesAgainstModel(t *testing.T) {
	for name, codec := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			model := map[int]int{}            // key -> version
			written := map[Place]int{}        // place -> version of the row there
			dead := map[uint32]map[int]bool{} // file -> positions deleted
			index := NewIndex(codec)
			batch := NewBatch(codec)
			version := 0
			for file := uint32(1); file <= 60; file++ {
				var rows []int // ordinal -> version
				for range rng.IntN(400) {
					k, other := rng.IntN(300), rng.IntN(300)
					version++
					key, raw := encode(codec, k)
					raw = bytes.Clone(raw)
					_, there := model[k]
					switch {
					case !there:
						batch.Insert(key, raw, len(rows))
						model[k] = version
					case rng.IntN(3) == 0:
						batch.Delete(key, raw)
						delete(model, k)
						continue
					default:
						after, afterRaw := encode(codec, k)
						if _, taken := model[other]; !taken && rng.IntN(2) == 0 {
							after, afterRaw = encode(codec, other)
							delete(model, k)
							k = other
						}
						batch.Update(key, raw, after, afterRaw, len(rows))
						model[k] = version
					}
					rows = append(rows, version)
				}
				segment := batch.Cut()
				order := segment.Order(nil)
				for pos, ordinal := range order {
					written[Place{file, uint32(pos)}] = rows[ordinal]
				}
				delta := NewDelta()
				before := index.Len()
				delta.Resolve(segment, index, file)
				if delta.AnomalyCount != 0 {
					t.Fatalf("file %d: anomalies in a clean history: %v", file, delta.Anomalies)
				}
				if got := index.Len() - before; got != delta.Rows {
					t.Fatalf("delta says %d rows more, index %d", delta.Rows, got)
				}
				for f, positions := range delta.Delete {
					if dead[f] == nil {
						dead[f] = map[int]bool{}
					}
					for _, p := range positions.ToArray() {
						if dead[f][int(p)] {
							t.Fatalf("file %d position %d deleted twice", f, p)
						}
						dead[f][int(p)] = true
					}
				}
				var want, got []int
				for k, v := range model {
					want = append(want, v)
					key, _ := encode(codec, k)
					if p, ok := index.Get(key); !ok || written[p] != v {
						t.Fatalf("key %d: index says %v (%v), version %d there, want %d", k, p, ok, written[p], v)
					}
				}
				for p, v := range written {
					if !dead[p.File][int(p.Pos)] {
						got = append(got, v)
					}
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(want, got) {
					t.Fatalf("file %d: live rows differ from the model", file)
				}
			}
		})
	}
}

func TestSegmentIsSortedByKeyValue(t *testing.T) {
	values := []int64{5, -3, 0, math.MinInt64, math.MaxInt64, -1, 1, 1 << 40}
	codec := codecFor(t, arrow.PrimitiveTypes.Int64)
	b := NewBatch(codec)
	for row, v := range values {
		codec.Reset()
		codec.AppendInt(v)
		k, raw := codec.Key()
		b.Insert(k, raw, row)
	}
	var got []int64
	for _, row := range b.Cut().Order(nil) {
		got = append(got, values[row])
	}
	if !slices.IsSorted(got) {
		t.Errorf("rows come in order %v", got)
	}
}

// TestKeyOrder demands that canonical bytes sort like the values, over types and composite keys.
func TestKeyOrder(t *testing.T) {
	text := codecFor(t, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary)
	var raws [][]byte
	for _, pair := range [][2]string{{"", "z"}, {"a", ""}, {"a", "b"}, {"a\x00", "a"}, {"a\x00\x01", ""}, {"ab", "\x00"}, {"b", "a"}} {
		text.Reset()
		text.AppendBytes([]byte(pair[0]))
		text.AppendBytes([]byte(pair[1]))
		_, raw := text.Key()
		raws = append(raws, bytes.Clone(raw))
	}
	if !slices.IsSortedFunc(raws, bytes.Compare) {
		t.Errorf("string pairs are out of order: %q", raws)
	}
	float := codecFor(t, arrow.PrimitiveTypes.Float64)
	last := Key{}
	for i, v := range []float64{math.Inf(-1), -1e300, -1, -1e-300, 0, 1e-300, 1, math.Inf(1)} {
		float.Reset()
		float.AppendFloat(v)
		k, _ := float.Key()
		if i > 0 && k.Lo <= last.Lo {
			t.Errorf("float %g does not come after its predecessor", v)
		}
		last = k
	}
	float.Reset()
	float.AppendFloat(math.Copysign(0, -1))
	negative, _ := float.Key()
	float.Reset()
	float.AppendFloat(0)
	if zero, _ := float.Key(); zero != negative {
		t.Error("negative zero and zero are one key in MySQL, and two here")
	}
}

func TestKeyText(t *testing.T) {
	c := codecFor(t, arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String, arrow.FixedWidthTypes.Timestamp_us)
	c.Reset()
	c.AppendInt(-7)
	c.AppendBytes([]byte("o\x00'x"))
	c.AppendInt(1_000_000)
	k, raw := c.Key()
	if got, want := c.Text(k, raw), "k0=-7, k1='o\x00'x', k2='1970-01-01 00:00:01'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d := codecFor(t, &arrow.Decimal128Type{Precision: 20, Scale: 2})
	d.Reset()
	d.AppendDecimal128(decimal128.FromI64(-1234))
	k, raw = d.Key()
	if got, want := d.Text(k, raw), "k0=-12.34"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnomaliesAreCountedAndNamed(t *testing.T) {
	codec := codecFor(t, arrow.PrimitiveTypes.Int64)
	key := func(v int64) Key {
		codec.Reset()
		codec.AppendInt(v)
		k, _ := codec.Key()
		return k
	}
	index := NewIndex(codec)
	b := NewBatch(codec)
	b.Insert(key(1), nil, 0)
	NewDelta().Resolve(b.Cut(), index, 1)

	b.Insert(key(1), nil, 0)              // there
	b.Update(key(2), nil, key(2), nil, 1) // not there
	b.Delete(key(3), nil)                 // not there
	b.Insert(key(4), nil, 2)
	b.Delete(key(4), nil)
	b.Delete(key(4), nil) // gone already
	d := NewDelta()
	d.Resolve(b.Cut(), index, 2)
	if d.AnomalyCount != 4 {
		t.Errorf("counted %d anomalies, want 4", d.AnomalyCount)
	}
	text := fmt.Sprint(d.Anomalies)
	for _, k := range []string{"k0=1", "k0=2", "k0=3", "k0=4"} {
		if !strings.Contains(text, k) {
			t.Errorf("%s does not name %s", text, k)
		}
	}
	if index.Len() != 2 {
		t.Errorf("the lake took the source's word for %d rows, want 2", index.Len())
	}
}

func TestGather(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "i", Type: arrow.PrimitiveTypes.Int64},
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "d", Type: &arrow.Decimal128Type{Precision: 20}, Nullable: true},
		{Name: "f", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us, Nullable: true},
		{Name: "bin", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
	rb := array.NewRecordBuilder(mem, schema)
	defer rb.Release()
	const n = 1000
	for i := range n {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
		for c := 1; c < schema.NumFields(); c++ {
			if (i+c)%5 == 0 {
				rb.Field(c).AppendNull()
			} else if err := rb.Field(c).AppendValueFromString([]string{"", "true", "text" + fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i), "2020-01-02", "2020-01-02T03:04:05Z", "AAEC"}[c]); err != nil {
				t.Fatal(err)
			}
		}
	}
	rec := rb.NewRecordBatch()
	defer rec.Release()
	order := make([]int32, n)
	for i, o := range rand.New(rand.NewPCG(3, 4)).Perm(n) {
		order[i] = int32(o)
	}
	for name, order := range map[string][]int32{"shuffled": order, "own order": identity(n)} {
		at := 0
		err := Gather(mem, rec, order, 300, func(batch arrow.RecordBatch) error {
			for r := range int(batch.NumRows()) {
				for c := range int(rec.NumCols()) {
					if got, want := batch.Column(c).ValueStr(r), rec.Column(c).ValueStr(int(order[at])); got != want {
						t.Fatalf("%s: row %d column %d: %s, want %s", name, at, c, got, want)
					}
				}
				at++
			}
			return nil
		})
		if err != nil || at != n {
			t.Fatalf("%s: %d rows, %v", name, at, err)
		}
	}
}

func identity(n int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	return order
}

func BenchmarkBatchAndResolve(b *testing.B) {
	codec := codecFor(b, arrow.PrimitiveTypes.Int64)
	index := NewIndex(codec)
	batch := NewBatch(codec)
	rng := rand.New(rand.NewPCG(5, 6))
	const size = 100_000
	file := uint32(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := Key{0, rng.Uint64N(4_000_000)}
		batch.Update(k, nil, k, nil, i%size)
		if i%size == size-1 {
			NewDelta().Resolve(batch.Cut(), index, file)
			file++
		}
	}
	b.ReportMetric(float64(index.Bytes())/float64(max(1, index.Len())), "B/key")
}

func BenchmarkGather(b *testing.B) {
	const rows = 256 << 10
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "n", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String}}
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer rb.Release()
	order := make([]int32, rows)
	for i := range rows {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
		rb.Field(1).(*array.Int32Builder).AppendNull()
		rb.Field(2).(*array.StringBuilder).Append("twenty bytes of text")
		order[i] = int32(i * 5 % rows)
	}
	rec := rb.NewRecordBatch()
	defer rec.Release()
	b.ReportAllocs()
	for b.Loop() {
		if err := Gather(memory.DefaultAllocator, rec, order, 16<<10, func(arrow.RecordBatch) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkIndexFill puts two million keys that are far apart into an empty index, as when a table is opened.
func BenchmarkIndexFill(b *testing.B) {
	const rows = 2_000_000
	for _, reserved := range []bool{false, true} {
		b.Run(map[bool]string{false: "grown", true: "reserved"}[reserved], func(b *testing.B) {
			var bytes int
			for b.Loop() {
				x := NewIndex(codecFor(b, arrow.PrimitiveTypes.Int64))
				if reserved {
					x.Reserve(rows)
				}
				for i := range uint32(rows) {
					x.Put(Key{0, uint64(i) * 7}, Place{1, i})
				}
				bytes = x.Bytes()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/key")
			b.ReportMetric(float64(bytes)/rows, "B/key")
		})
	}
}
