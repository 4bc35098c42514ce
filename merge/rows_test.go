package merge

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
)

func rowCodec(t testing.TB) *KeyCodec {
	t.Helper()
	c, err := NewRowCodec([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "b", Type: arrow.BinaryTypes.Binary, Nullable: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// encodeRow is the key of a row with these values; nil is NULL.
func encodeRow(c *KeyCodec, n, f, s, b any) (Key, []byte) {
	c.Reset()
	for _, v := range []any{n, f, s, b} {
		switch v := v.(type) {
		case nil:
			c.AppendNull()
		case int:
			c.AppendInt(int64(v))
		case float64:
			c.AppendFloat(v)
		case string:
			c.AppendBytes([]byte(v))
		}
	}
	return c.Key()
}

// Rows that differ in anything have different keys: a NULL is not a zero nor an empty string, -0 is not 0, and what ends one
// string does not begin the next.
func TestRowKeysDiffer(t *testing.T) {
	c := rowCodec(t)
	if !c.Rows() || c.Fixed() || c.Narrow() {
		t.Fatal("a whole row is hashed")
	}
	seen := map[string]string{}
	for _, n := range []any{nil, 0, 1, -1} {
		for _, f := range []any{nil, 0.0, math.Copysign(0, -1), 1.5} {
			for _, s := range []any{nil, "", "a", "a\x00", "\x00", "\x01"} {
				for _, b := range []any{nil, "", "a", "\x00a", "\x01"} {
					k, raw := encodeRow(c, n, f, s, b)
					row := fmt.Sprintf("%v %g %q %q", n, f, s, b)
					if other, twice := seen[string(raw)]; twice && other != row {
						t.Errorf("%s and %s have the same bytes", other, row)
					}
					if seen[string(raw)] = row; k == (Key{}) {
						t.Errorf("%s has no hash", row)
					}
				}
			}
		}
	}
	k, raw := encodeRow(c, 7, nil, "it", "\x0a")
	if got, want := c.Text(k, raw), "n=7, f=NULL, s='it', b=0x0a"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := c.Text(k, raw[:9]), "n=7, ..."; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestRowsAgainstModel makes random batches over a table in which most rows are there several times, and holds places and
// counts against a model after each.
func TestRowsAgainstModel(t *testing.T) {
	const kinds, rounds = 40, 300
	rng := rand.New(rand.NewPCG(5, 21))
	c := rowCodec(t)
	x, b := NewIndex(c), NewBatch(c)
	source := map[int]int{}      // rows of each kind
	lake := map[Place]int{}      // kind of the live row at each place
	pick := func() (int, bool) { // a kind that the source has
		kind := rng.IntN(kinds)
		return kind, source[kind] > 0
	}
	key := func(kind int) (Key, []byte) {
		if kind%3 == 0 {
			return encodeRow(c, kind, nil, nil, "x")
		}
		return encodeRow(c, nil, 1.5, fmt.Sprint(kind), nil)
	}
	for round := range rounds {
		rows := []int{} // kind of each after image
		for range rng.IntN(60) {
			switch rng.IntN(3) {
			case 0:
				kind := rng.IntN(kinds)
				k, raw := key(kind)
				b.Insert(k, raw, len(rows))
				rows = append(rows, kind)
				source[kind]++
			case 1:
				if kind, ok := pick(); ok {
					k, raw := key(kind)
					b.Delete(k, raw)
					source[kind]--
				}
			case 2:
				if from, ok := pick(); ok {
					to := rng.IntN(kinds)
					k, raw := key(from)
					raw = append([]byte(nil), raw...)
					k2, raw2 := key(to)
					b.Update(k, raw, k2, raw2, len(rows))
					rows = append(rows, to)
					source[from]--
					source[to]++
				}
			}
		}
		segment, delta := b.Cut(), NewDelta()
		file := uint32(round + 1)
		delta.Resolve(segment, x, file)
		if delta.AnomalyCount != 0 {
			t.Fatalf("round %d: %v", round, delta.Anomalies)
		}
		for i, row := range segment.Order(nil) {
			lake[Place{file, uint32(i)}] = rows[row]
		}
		for f, positions := range delta.Delete {
			for _, pos := range positions.ToArray() {
				p := Place{f, pos}
				if _, live := lake[p]; !live {
					t.Fatalf("round %d: %v is deleted and was not live", round, p)
				}
				delete(lake, p)
			}
		}
		if round%17 == 16 { // another program moves the rows of some files, or removes them
			moved := uint32(1_000_000 + round)
			gone := func(p Place) bool { return p.File%3 == 0 }
			n, pos := 0, uint32(0)
			for p, kind := range maps.Clone(lake) {
				if gone(p) {
					n++
					delete(lake, p)
					lake[Place{moved, pos}] = kind
					pos++
				}
			}
			if got := x.drop(gone); got != n {
				t.Fatalf("round %d: %d rows dropped, want %d", round, got, n)
			}
			for pos := range uint32(n) {
				k, _ := key(lake[Place{moved, pos}])
				x.Add(k, Place{moved, pos})
			}
		}
		if round%23 == 22 { // a rewrite of our own
			to := func(p Place) Place { return Place{p.File + 10_000_000, p.Pos} }
			x.Remap(to)
			for p, kind := range maps.Clone(lake) {
				delete(lake, p)
				lake[to(p)] = kind
			}
		}
		have := map[int]int{}
		for _, kind := range lake {
			have[kind]++
		}
		maps.DeleteFunc(source, func(_, n int) bool { return n == 0 })
		if !maps.Equal(have, source) || x.Len() != len(lake) {
			t.Fatalf("round %d: the lake has %v, the source %v; the index has %d rows", round, have, source, x.Len())
		}
	}
	if x.others == 0 || x.Bytes() <= x.wide.capacity()*24 {
		t.Error("no rows were the same")
	}

	k, raw := encodeRow(c, 99, 2.5, "not there", "x")
	b.Delete(k, raw)
	delta := NewDelta()
	delta.Resolve(b.Cut(), x, 0)
	if delta.AnomalyCount != 1 || delta.Anomalies[0].Key != "n=99, f=2.5, s='not there', b=0x78" {
		t.Errorf("%d anomalies: %v", delta.AnomalyCount, delta.Anomalies)
	}
}
