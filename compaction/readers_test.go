package compaction

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// equal compares every reader, and the index, with the model.
func (b *bench) equal(duck *testenv.Duck) {
	b.t.Helper()
	want := b.lines()
	check := func(reader string, got []string) {
		b.t.Helper()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			b.t.Fatalf("%s reads %d rows, want %d:\n got %v\nwant %v", reader, len(got), len(want), got, want)
		}
	}
	fresh, err := lake.Open(b.t.Context(), b.lake, id)
	if err != nil {
		b.t.Fatal(err)
	}
	check("the open table", b.read(b.table))
	check("a fresh open", b.read(fresh))
	if duck != nil {
		var got []string
		for _, row := range duck.Query(b.t, "SELECT n || '=' || v FROM iceberg_scan('"+b.path+"')") {
			got = append(got, row[0])
		}
		check("DuckDB", got)
	}
	rebuilt, err := merge.BuildIndex(b.t.Context(), b.table, b.codec)
	if err != nil {
		b.t.Fatal(err)
	}
	if rebuilt.Len() != b.index.Len() || rebuilt.Len() != len(b.rows) {
		b.t.Fatalf("the index has %d keys, one built anew %d, the model %d", b.index.Len(), rebuilt.Len(), len(b.rows))
	}
	for n := range b.rows {
		k, _ := b.encode(n)
		have, _ := b.index.Get(k)
		if want, ok := rebuilt.Get(k); !ok || have != want {
			b.t.Fatalf("key %d is at %v, the index says %v", n, want, have)
		}
	}
	open, _ := b.table.Checkpoint()
	onDisk, ok := fresh.Checkpoint()
	open.SnapshotID, onDisk.SnapshotID = 0, 0
	if !ok || open.Marshal() != onDisk.Marshal() {
		b.t.Fatalf("checkpoint %s on disk, %s in the open table", onDisk.Marshal(), open.Marshal())
	}
}

func (b *bench) read(t *lake.Table) (rows []string) {
	b.t.Helper()
	schema := t.ArrowSchema()
	columns := []int{schema.FieldIndices("n")[0], schema.FieldIndices("v")[0]}
	for _, f := range t.Files() {
		err := t.ReadColumns(b.t.Context(), f, columns, func(rec arrow.RecordBatch, first uint64) error {
			n, v := rec.Column(0).(*array.Int64), rec.Column(1).(*array.Int64)
			for i := range n.Len() {
				if f.Deleted == nil || !f.Deleted.Contains(uint32(first)+uint32(i)) {
					rows = append(rows, fmt.Sprintf("%d=%d", n.Value(i), v.Value(i)))
				}
			}
			return nil
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return rows
}

// lineage returns the row id and the sequence number of the last change of every live row, by its number. In format 3
// they are the row's own for as long as it lives (table spec, "Row Lineage").
func (b *bench) lineage() map[int64][2]int64 {
	b.t.Helper()
	out := map[int64][2]int64{}
	if b.table.FormatVersion() < 3 {
		return out
	}
	ids := map[int64]bool{}
	for _, f := range b.table.Inventory() {
		rec := b.readAll(&f)
		n := rec.Column(rec.Schema().FieldIndices("n")[0]).(*array.Int64)
		rowID, changed := rec.Column(int(rec.NumCols())-2).(*array.Int64), rec.Column(int(rec.NumCols())-1).(*array.Int64)
		for i := range n.Len() {
			if f.Deleted != nil && f.Deleted.Contains(uint32(i)) {
				continue
			}
			if rowID.IsNull(i) || changed.IsNull(i) || ids[rowID.Value(i)] {
				b.t.Fatalf("row %d has id %s (taken: %v), last changed at %s", n.Value(i), rowID.ValueStr(i), ids[rowID.Value(i)], changed.ValueStr(i))
			}
			ids[rowID.Value(i)] = true
			out[n.Value(i)] = [2]int64{rowID.Value(i), changed.Value(i)}
		}
	}
	return out
}

// noStrays demands that every data file in the store belongs to some snapshot.
func (b *bench) noStrays() {
	b.t.Helper()
	known, err := b.table.Referenced(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for o, err := range b.lake.Store.List(b.t.Context(), id.Path()+"/data/") {
		if err != nil {
			b.t.Fatal(err)
		}
		if !known[o.Name] {
			b.t.Errorf("%s is left behind", o.Name)
		}
	}
}
