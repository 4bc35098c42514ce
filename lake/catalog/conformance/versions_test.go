package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
)

// mark is a property by which versions are told apart.
const mark = "tidemark.mark"

// first is the metadata of a table without rows.
func (w *world) first(t testing.TB, id catalog.Identifier) []byte {
	t.Helper()
	schema := iceberg.NewSchemaWithIdentifiers(0, []int{1}, iceberg.NestedField{ID: 1, Name: "id", Type: iceberg.PrimitiveTypes.Int64, Required: true})
	m, err := table.NewMetadata(schema, iceberg.UnpartitionedSpec, table.UnsortedSortOrder, w.store.URI(id.Path()), iceberg.Properties{"format-version": "3", mark: "first"})
	check(t, err)
	text, err := json.Marshal(m)
	check(t, err)
	return text
}

// marked is the metadata of a version with another mark.
func marked(t testing.TB, v *catalog.Version, text string) []byte {
	t.Helper()
	old := markOf(t, v)
	next := strings.Replace(string(v.Metadata), fmt.Sprintf("%q:%q", mark, old), fmt.Sprintf("%q:%q", mark, text), 1)
	if next == string(v.Metadata) {
		t.Fatalf("no mark %s in %s", old, v.Metadata)
	}
	return []byte(next)
}

func markOf(t testing.TB, v *catalog.Version) string {
	t.Helper()
	m, err := table.ParseMetadataBytes(v.Metadata)
	check(t, err)
	return m.Properties()[mark]
}

// is demands that everyone sees a version with a mark.
func (w *world) is(t testing.TB, want string) {
	t.Helper()
	v, err := w.open(t).Load(t.Context(), w.id)
	check(t, err)
	if got := markOf(t, v); got != want {
		t.Fatalf("the table's mark is %q, want %q", got, want)
	}
}

func caseVersions(t *testing.T, w *world) {
	ctx := t.Context()
	c := w.open(t)
	if _, err := c.Load(ctx, w.id); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no table yet: %v", err)
	}
	if ids, err := c.Tables(ctx); err != nil || len(ids) > 0 {
		t.Fatalf("no tables yet: %v, %v", ids, err)
	}
	v, err := c.Create(ctx, w.id, w.first(t, w.id))
	check(t, err)
	if v.URI == "" || v.ID != w.id || markOf(t, v) != "first" {
		t.Fatalf("created %s %s", v.ID, v.URI)
	}
	if _, err := w.open(t).Create(ctx, w.id, w.first(t, w.id)); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("created twice: %v", err)
	}
	old, seen := v, map[string]bool{v.URI: true}
	for n := range 5 {
		text := fmt.Sprint("swap ", n)
		if v, err = c.Swap(ctx, v, marked(t, v, text)); err != nil {
			t.Fatal(err)
		}
		if got := markOf(t, v); got != text || seen[v.URI] {
			t.Fatalf("version %s has the mark %q, want %q", v.URI, got, text)
		}
		seen[v.URI] = true
		w.is(t, text)
		loaded, err := w.open(t).Load(ctx, w.id)
		check(t, err)
		if loaded.URI != v.URI || string(loaded.Metadata) != string(v.Metadata) {
			t.Fatalf("committed %s, loaded %s", v.URI, loaded.URI)
		}
	}
	for _, other := range []catalog.Catalog{c, w.open(t)} {
		if _, err := other.Swap(ctx, old, marked(t, old, "stale")); !errors.Is(err, catalog.ErrConflict) {
			t.Fatalf("a swap from an old version: %v", err)
		}
	}
	w.is(t, "swap 4")
	if ids, err := w.open(t).Tables(ctx); err != nil || !slices.Equal(ids, []catalog.Identifier{w.id}) {
		t.Fatalf("tables: %v, %v", ids, err)
	}
}

// caseRace: of any number of writers that swap the same version, one wins, and the others are told that they lost.
func caseRace(t *testing.T, w *world) {
	const writers, rounds = 6, 8
	v, err := w.open(t).Create(t.Context(), w.id, w.first(t, w.id))
	check(t, err)
	clients := make([]catalog.Catalog, writers)
	for i := range clients {
		clients[i] = w.open(t)
	}
	for round := range rounds {
		var mu sync.Mutex
		var won []*catalog.Version
		var g sync.WaitGroup
		for i, c := range clients {
			g.Go(func() {
				next, err := c.Swap(t.Context(), v, marked(t, v, fmt.Sprint(round, "-", i)))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, next)
				} else if !errors.Is(err, catalog.ErrConflict) {
					t.Errorf("a writer that lost is told: %v", err)
				}
			})
		}
		g.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %d writers won", round, len(won))
		}
		v = won[0]
		w.is(t, markOf(t, v))
	}
}

func caseDrop(t *testing.T, w *world) {
	ctx := t.Context()
	c := w.open(t)
	old, err := c.Create(ctx, w.id, w.first(t, w.id))
	check(t, err)
	v, err := c.Swap(ctx, old, marked(t, old, "second"))
	check(t, err)
	if err := w.open(t).Drop(ctx, old, "a test"); !errors.Is(err, catalog.ErrConflict) {
		t.Fatalf("dropped at an old version: %v", err)
	}
	w.is(t, "second")
	check(t, w.open(t).Drop(ctx, v, "a test"))
	if _, err := w.open(t).Load(ctx, w.id); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a dropped table: %v", err)
	}
	if _, err := c.Swap(ctx, v, marked(t, v, "after the end")); err == nil {
		t.Fatal("a commit to a dropped table was taken")
	}
	if ids, err := w.open(t).Tables(ctx); err != nil || len(ids) > 0 {
		t.Fatalf("tables: %v, %v", ids, err)
	}
	_, err = w.open(t).Create(ctx, w.id, w.first(t, w.id))
	check(t, err)
	w.is(t, "first")
}

// caseNames: what MySQL allows as names, tables that differ in case alone among them.
func caseNames(t *testing.T, w *world) {
	want := []catalog.Identifier{
		{DB: "Shop", Table: "Orders"},
		{DB: "Shop", Table: "orders"},
		{DB: "store.eu", Table: "v1.2"},
		{DB: "store", Table: "with space+plus"},
		{DB: "mañana", Table: "注文"},
		{DB: "store", Table: strings.Repeat("x", 64)},
		{DB: "store", Table: `q"uo'te`},
		{DB: "store", Table: "a?b=c&d"},
	}
	if w.unlike != nil {
		want = slices.DeleteFunc(want, w.unlike)
	}
	c := w.open(t)
	for _, id := range want {
		v, err := c.Create(t.Context(), id, w.first(t, id))
		check(t, err)
		_, err = c.Swap(t.Context(), v, marked(t, v, id.String()))
		check(t, err)
	}
	for _, id := range want {
		v, err := w.open(t).Load(t.Context(), id)
		check(t, err)
		if got := markOf(t, v); got != id.String() {
			t.Errorf("%s is %s", id, got)
		}
	}
	got, err := w.open(t).Tables(t.Context())
	check(t, err)
	slices.SortFunc(want, catalog.Identifier.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("tables: %v, want %v", got, want)
	}
}
