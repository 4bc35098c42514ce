package compaction

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
)

// TestUnsortedFiles: files that other programs wrote in no order, and much larger than what is sorted at once, are merged with
// sorted ones: every row is in its place, values and lineage kept, and what is deleted meanwhile is found where it went.
func TestUnsortedFiles(t *testing.T) {
	for _, format := range []int{3, 2} {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("v%d/%s", format, s.name), func(t *testing.T) {
				b := newBench(t, format, s, nil)
				for range 3 {
					b.random(600, 200, 0.05)
				}
				for _, numbers := range [][]int{b.rng.Perm(300), b.rng.Perm(20_000)} {
					order := make([]int, len(numbers))
					for i, n := range numbers {
						order[i] = 1000*len(numbers) + n
					}
					files, err := b.write(order)
					b.must(err)
					b.must(b.commit(files, nil))
				}
				b.must(b.upsert([]int{20_000_001, 300_007}, []int{20_000_000, 20_019_999, 300_000}))
				var unsorted *UnsortedError
				infos := b.table.Inventory()
				var inputs []*lake.FileInfo
				for i := range infos {
					inputs = append(inputs, &infos[i])
				}
				if _, err := mergeSets(t.Context(), b.table, (*Pace)(nil).work(t.Context()), [][]*lake.FileInfo{inputs}, disorder{}, 40<<10, minHeld); !errors.As(err, &unsorted) {
					t.Fatalf("merged without sorting: %v", err)
				}
				b.noStrays()
				for _, f := range inputs {
					runs, err := sortRuns(t.Context(), b.table, (*Pace)(nil).work(t.Context()), f, 20<<10, memory.DefaultAllocator)
					b.must(err)
					if f.Rows == 20_000 && len(runs.runs) != 3 { // a batch each
						t.Errorf("%d rows are sorted in %d runs", f.Rows, len(runs.runs))
					}
					b.must(runs.close())
				}
				got, err := rewriteIn(t.Context(), b.table, nil, [][]*lake.FileInfo{inputs}, 40<<10, minHeld, 20<<10)
				b.must(err)
				b.compare(inputs, got)
				b.must(b.table.Discard(t.Context(), got.outputs))

				r := b.prepare()
				b.must(b.upsert(numbers(20_000_100, 20_000_200), numbers(300_100, 300_150)))
				b.must(b.publish(r))
				b.must(b.upsert(nil, numbers(20_000_300, 20_000_305)))
				b.equal(testenv.DuckDB(t))
				b.noStrays()
			})
		}
	}
}

// TestOlderSchema: files from before a column was added, or a type was widened, are rewritten to the table's schema as
// it is now, with the same values.
func TestOlderSchema(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 200), nil))
		b.must(b.upsert(numbers(100, 300), numbers(0, 5)))
		duck := testenv.DuckDB(t)
		sums := "SELECT count(a32), sum(a32), count(afloat), sum(afloat), count(adecimal), sum(adecimal) FROM iceberg_scan('" + b.path + "')"
		before := fmt.Sprint(duck.Query(t, sums))
		b.edit(func(meta map[string]any) {
			schema := meta["schemas"].([]any)[0].(map[string]any)
			wider := map[string]string{"a32": "long", "afloat": "double", "adecimal": "decimal(20, 4)"}
			for _, f := range schema["fields"].([]any) {
				field := f.(map[string]any)
				if to := wider[field["name"].(string)]; to != "" {
					field["type"] = to
				}
			}
			schema["fields"] = append(schema["fields"].([]any), map[string]any{"id": 100, "name": "added", "required": false, "type": "string"})
			meta["last-column-id"] = json.Number("100")
		})
		b.reopen()
		b.must(b.publish(b.prepare()))
		if n := b.table.DeleteFiles(); n != 0 {
			t.Errorf("%d delete files", n)
		}
		b.equal(duck)
		if after := fmt.Sprint(duck.Query(t, sums)); after != before {
			t.Errorf("sums were %s, are %s", before, after)
		}
		if n := fmt.Sprint(duck.Query(t, "SELECT count(added) FROM iceberg_scan('"+b.path+"')")); n != "[[0]]" {
			t.Errorf("%s values in the added column", n)
		}
	})
}
