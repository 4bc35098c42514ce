package lake_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
)

// TestVectorsOfManySizes: DuckDB 1.5 takes a deletion vector for another one when less than its own size follows it in
// the Puffin file. Written in the order of the data files, the sizes here, from large to small, made it so.
func TestVectorsOfManySizes(t *testing.T) {
	b := open(t, 3, nil)
	duck := testenv.DuckDB(t)
	var files []*lake.NewFile
	alive := map[int64]bool{}
	ids := map[uint32][]int64{}
	next := int64(0)
	for _, rows := range []int{60_000, 30_000, 14_000, 6_000, 3_000, 500} {
		var list []int64
		for range rows {
			list = append(list, next)
			alive[next] = true
			next++
		}
		f := b.write(list, 1)
		files = append(files, f)
		ids[f.ID] = list
	}
	if err := b.commit(files, nil); err != nil {
		t.Fatal(err)
	}
	for step := range 3 {
		deletes := map[uint32]*roaring.Bitmap{}
		for i, f := range files {
			if step == 1 && i%2 == 0 {
				continue // its vector stays in the Puffin file of the step before
			}
			deletes[f.ID] = roaring.New()
			for pos := (i + step) % 7; pos < len(ids[f.ID]); pos += 7 {
				deletes[f.ID].Add(uint32(pos))
				delete(alive, ids[f.ID][pos])
			}
		}
		if err := b.commit(nil, deletes); err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for n := range alive {
			sum += n
		}
		want := fmt.Sprintf("[[%d %d %d]]", len(alive), len(alive), sum)
		if got := fmt.Sprint(duck.Query(t, "SELECT count(*), count(DISTINCT id), sum(id) FROM iceberg_scan('"+b.path+"')")); got != want {
			t.Errorf("step %d: DuckDB reads %s, want %s", step, got, want)
		}
	}
}

// TestVectorsOfOneSize: so it did with vectors of one size, when it had read the one after the next before.
func TestVectorsOfOneSize(t *testing.T) {
	b := open(t, 3, nil)
	duck := testenv.DuckDB(t)
	const rows = 10
	var files []*lake.NewFile
	for i := range 9 {
		// Vectors are in the order of paths. Those of a spec are in one manifest, so the third is read before the first.
		by := "v"
		if i%3 == 2 {
			by = ""
		}
		if _, err := b.table.SetPartitioning(t.Context(), fields(t, by)); err != nil {
			t.Fatal(err)
		}
		var list []int64
		for n := range rows {
			list = append(list, int64(i*rows+n))
		}
		one, _ := b.spread(list, 1)
		files = append(files, one...)
	}
	if err := b.commit(files, nil); err != nil {
		t.Fatal(err)
	}
	deletes := map[uint32]*roaring.Bitmap{}
	var want []string
	for i, f := range files {
		deletes[f.ID] = roaring.BitmapOf(uint32(i))
		want = append(want, fmt.Sprint(i*rows+i))
	}
	if err := b.commit(nil, deletes); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range duck.Query(t, "SELECT n FROM range(90) AS all_ids(n) WHERE n NOT IN (SELECT id FROM iceberg_scan('"+b.path+"')) ORDER BY n") {
		got = append(got, row[0])
	}
	if !slices.Equal(got, want) {
		t.Errorf("to DuckDB %v are deleted, want %v", got, want)
	}
}
