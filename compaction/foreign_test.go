package compaction

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
)

// TestUnsortedFile: a file that another program wrote unsorted cannot be merged. The pass says so, leaves nothing behind
// and does the rest of its work.
func TestUnsortedFile(t *testing.T) {
	for _, format := range []int{3, 2} {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("v%d/%s", format, s.name), func(t *testing.T) {
				b := newBench(t, format, s, nil)
				for range 6 {
					b.random(300, 60, 0.05)
				}
				order := b.sorted(map[int]bool{1001: true, 1002: true, 1003: true, 1004: true})
				order[1], order[2] = order[2], order[1]
				f, err := b.file(order, b.table.Unpartitioned())
				b.must(err)
				b.must(b.commit([]*lake.NewFile{f}, nil))
				var unsorted *UnsortedError
				v, err := OpenView(t.Context(), b.lake, id)
				b.must(err)
				if _, err := v.Prepare(t.Context(), v.all(), small); !errors.As(err, &unsorted) || unsorted.Path != f.Path {
					t.Errorf("a rewrite of it: %v", err)
				}
				b.noStrays()
				r, err := Pass(t.Context(), b.lake, id, later(1))
				b.must(err)
				if len(r.Unsorted) != 1 || r.Unsorted[0] != f.Path || r.Expired.Snapshots == 0 {
					t.Errorf("%s", r)
				}
				b.reopen()
				b.equal(testenv.DuckDB(t))
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
