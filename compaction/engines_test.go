package compaction

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
)

// TestEngines: what a rewrite writes, with lineage columns and the encodings of its own, is read alike by all engines,
// deletes that came during and after it included.
func TestEngines(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 3000), nil))
		b.must(b.upsert(numbers(2000, 5000), numbers(0, 100)))
		r := b.prepare()
		b.must(b.upsert(numbers(1000, 1100), numbers(4000, 4100)))
		b.must(b.publish(r))
		b.must(b.upsert(nil, numbers(300, 310)))
		server := httptest.NewServer(rest.New(rest.Options{Catalog: b.lake.Catalog.(*catalog.Bucket)}))
		defer server.Close()
		const columns = "count(*), sum(n), sum(v), sum(k0), count(a32), sum(a32), sum(adecimal), sum(adouble), min(adate), max(adate), min(atime), max(atext), count_if(abool)"
		duck := testenv.DuckDB(t)
		b.equal(duck)
		duck.Attach(t, "lake", server.URL)
		want := fmt.Sprint(duck.Query(t, "SELECT "+columns+" FROM lake.db.t"))
		trino := testenv.Trino(t)
		if got := fmt.Sprint(trino.Query(t, "SELECT "+columns+" FROM "+trino.Catalog(t, server.URL, nil)+".db.t")); got != want {
			t.Errorf("Trino reads  %s\nDuckDB reads %s", got, want)
		}
		got := testenv.PyIceberg(t, fmt.Sprintf(`
rows = catalog(%q).load_table("db.t").scan(selected_fields=("n", "v")).to_arrow()
result = sorted(f"{r['n']}={r['v']}" for r in rows.to_pylist())
`, server.URL))
		if lines := fmt.Sprint(got); lines != fmt.Sprint(b.lines()) {
			t.Errorf("PyIceberg reads %.300s", lines)
		}
	})
}
