package compaction

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
)

// Ways in which compaction loses rows elsewhere, or raises deleted ones, that have no test among those of the parts. docs/compaction.md
// lists them all.

// byTrino demands that Trino reads the model.
func (b *bench) byTrino() {
	b.t.Helper()
	server := httptest.NewServer(rest.New(rest.Options{Catalog: b.lake.Catalog.(*catalog.Bucket)}))
	defer server.Close()
	trino := testenv.Trino(b.t)
	var got []string
	for _, row := range trino.Query(b.t, "SELECT CAST(n AS varchar) || '=' || CAST(v AS varchar) FROM "+trino.Catalog(b.t, server.URL, nil)+".db.t") {
		got = append(got, row[0])
	}
	slices.Sort(got)
	if want := b.lines(); !slices.Equal(got, want) {
		b.t.Fatalf("Trino reads %d rows, want %d:\n got %.500v\nwant %.500v", len(got), len(want), got, want)
	}
}

// TestOneVectorAFile: whatever was committed and rewritten, and in whatever order, a data file is in the table once; in format 3 it
// has one vector at most, and no vector is without its file: two make a table unreadable.
func TestOneVectorAFile(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		for round := range 12 {
			b.random(400, 80, 0.05)
			r := b.prepare()
			b.random(400, 80, 0.05)
			if round%3 == 0 {
				b.must(b.publish(r))
			} else {
				b.must(r.Discard(t.Context()))
			}
			b.random(400, 20, 0.02)
			seen, with := map[string]bool{}, 0
			for _, f := range b.table.Inventory() {
				if seen[f.Path] {
					t.Errorf("round %d: %s is there twice", round, f.Path)
				}
				seen[f.Path] = true
				if f.DeleteFiles > 0 {
					with++
				}
				if b.table.FormatVersion() == 3 && (f.DeleteFiles > 1 || (f.DeleteFiles == 1) != (f.Deleted != nil)) {
					t.Errorf("round %d: %s has %d vectors", round, f.Path, f.DeleteFiles)
				}
			}
			if n := b.table.DeleteFiles(); b.table.FormatVersion() == 3 && n != with {
				t.Errorf("round %d: %d vectors for %d data files", round, n, with)
			}
		}
		b.equal(testenv.DuckDB(t))
		b.byTrino()
	})
}

// TestWideDeletesByTrino: a position-delete file over many data files has to be sorted by path and position, else Trino misses
// deletes in silence. It stays so when a part of the files is rewritten, and deletes arrive during that.
func TestWideDeletesByTrino(t *testing.T) {
	b := newBench(t, 2, shapes[0], nil)
	const files = 60
	var del []int
	for i := range files {
		b.must(b.upsert(numbers(i*10, i*10+10), nil))
		del = append(del, i*10+7, i*10+2)
	}
	b.must(b.upsert(nil, del))
	b.byTrino()
	v, err := OpenView(t.Context(), b.lake, id)
	b.must(err)
	third := v.all()
	third.Files = third.Files[:files/3]
	r, err := v.Prepare(t.Context(), third, small)
	b.must(err)
	for i := range del {
		del[i]++
	}
	b.must(b.upsert(nil, del))
	b.must(b.publish(r))
	if n := b.table.DeleteFiles(); n == 0 || n > files {
		t.Errorf("%d delete files", n)
	}
	b.byTrino()
	b.equal(testenv.DuckDB(t))
}

// TestRewriteByOthersIsMerged: files that Trino rewrote, of a table with a sort order and of one without, are merged by tidemark with
// what came since.
func TestRewriteByOthersIsMerged(t *testing.T) {
	for _, sorted := range []bool{true, false} {
		formats(t, func(t *testing.T, b *bench) {
			t.Log("sort order:", sorted)
			if !sorted { // as tables of earlier versions are
				b.edit(func(meta map[string]any) {
					meta["default-sort-order-id"] = 0
					meta["sort-orders"] = []any{map[string]any{"order-id": 0, "fields": []any{}}}
				})
				b.reopen()
			}
			for range 4 {
				b.must(b.upsert(b.rng.Perm(3000)[:1200], nil))
			}
			server := httptest.NewServer(rest.New(rest.Options{Catalog: b.lake.Catalog.(*catalog.Bucket)}))
			defer server.Close()
			trino := testenv.Trino(t)
			trino.Query(t, fmt.Sprintf("ALTER TABLE %s.db.t EXECUTE optimize(file_size_threshold => '1GB')", trino.Catalog(t, server.URL, nil)))
			b.reopen()
			b.must(b.upsert(numbers(10, 300), numbers(500, 520)))
			b.must(b.publish(b.prepare()))
			b.equal(testenv.DuckDB(t))
			b.byTrino()
		})
	}
}
