package compaction

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
)

// partitionBy changes the table's partition spec.
func (b *bench) partitionBy(text string) {
	b.t.Helper()
	fields, err := lake.ParsePartition(text)
	b.must(err)
	_, err = b.table.SetPartitioning(b.t.Context(), fields)
	b.must(err)
}

// inPartitions demands that every row of a file of the table's spec is of the file's partition, and returns how many files
// of other specs there are, and how many partitions of this one.
func (b *bench) inPartitions() (outdated, partitions int) {
	b.t.Helper()
	seen := map[string]bool{}
	for _, f := range b.table.Inventory() {
		if b.table.Outdated(f.Partition()) {
			outdated++
			continue
		}
		seen[f.Partition().Key()] = true
		p, err := b.table.Partitioner()
		b.must(err)
		if p == nil {
			continue
		}
		rows, err := b.table.OpenRows(b.t.Context(), &f, 1000, memory.DefaultAllocator)
		b.must(err)
		for {
			rec, err := rows.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			b.must(err)
			_, err = p.Split(rec)
			b.must(err)
			rec.Release()
		}
		b.must(rows.Close())
		if p.Partitions() != 1 || p.Partition(0).Key() != f.Partition().Key() {
			b.t.Errorf("%s has rows of %d partitions, or of another than its own", f.Path, p.Partitions())
		}
	}
	return outdated, len(seen)
}

// TestPartitionedModel is TestModel over a table whose partition spec changes, with rewrites prepared before and published
// after the change.
func TestPartitionedModel(t *testing.T) {
	specs := []string{"bucket(3, n)", "truncate(40, v), bucket(2, atext)", "", "year(atime), adate", "bucket(3, n)"}
	formats(t, func(t *testing.T, b *bench) {
		duck := testenv.DuckDB(t)
		var waiting []*Rewrite
		published, divided, most := 0, 0, 0
		for step := range 60 {
			if step%12 == 0 {
				b.partitionBy(specs[step/12])
			}
			b.random(300, 80, []float64{0, 0.02, 0.1, 0.3}[b.rng.IntN(4)])
			if step%3 == 1 {
				v, err := OpenView(t.Context(), b.lake, id)
				b.must(err)
				for _, g := range v.Plan(small).Groups {
					r, err := v.Prepare(t.Context(), g, small)
					b.must(err)
					for _, m := range r.out.moves.inputs {
						if m.places != nil {
							divided++
							break
						}
					}
					waiting = append(waiting, r)
				}
			}
			for len(waiting) > 0 && b.rng.IntN(3) > 0 {
				i := b.rng.IntN(len(waiting))
				r := waiting[i]
				waiting = slices.Delete(waiting, i, i+1)
				switch err := b.publish(r); {
				case errors.Is(err, lake.ErrStale):
				case err != nil:
					t.Fatal(err)
				default:
					published++
				}
				b.equal(duck)
			}
			_, n := b.inPartitions()
			most = max(most, n)
		}
		for _, r := range waiting {
			b.must(r.Discard(t.Context()))
		}
		b.noStrays()
		if published < 10 || divided < 3 || most < 10 {
			t.Errorf("%d rewrites published, %d divided rows anew, %d partitions at most: the test shows little", published, divided, most)
		}
	})
}

// TestDivide: files of another spec are rewritten into the table's partitions, in several portions, with deletes that came
// meanwhile; then partitions are merged, in one commit, each by itself.
func TestDivide(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 20_000), nil))
		b.must(b.upsert(numbers(15_000, 25_000), numbers(0, 100)))
		b.partitionBy("bucket(7, n)")
		v, err := OpenView(t.Context(), b.lake, id)
		b.must(err)
		var inputs []*lake.FileInfo
		for _, f := range v.Files() {
			if !f.Outdated {
				t.Fatalf("%s is of the new spec", f.Path)
			}
			inputs = append(inputs, v.files[f.Path])
		}
		out, err := rewrite(t.Context(), v.table, nil, [][]*lake.FileInfo{inputs}, 1<<20, 300<<10)
		b.must(err)
		if n := len(out.outputs); n < 21 || n%7 != 0 {
			t.Errorf("%d outputs, expected 7 in each of several portions", n)
		}
		b.must(b.upsert(numbers(10_000, 16_000), numbers(500, 600)))
		r := &Rewrite{view: v.table, base: v.table.SnapshotID(), inputs: inputs, out: out}
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		if outdated, partitions := b.inPartitions(); outdated != 0 || partitions != 7 {
			t.Errorf("%d files of the old spec, %d partitions", outdated, partitions)
		}
		snapshots := len(b.snapshots())
		if v, err = OpenView(t.Context(), b.lake, id); err != nil {
			t.Fatal(err)
		}
		plan := v.Plan(Options{MinInputs: 3, DeletedShare: 0.99})
		if len(plan.Groups) != 1 || len(plan.Groups[0].Files) != len(b.table.Files()) {
			t.Fatalf("planned %s of %d files", &plan, len(b.table.Files()))
		}
		if r, err = v.Prepare(t.Context(), plan.Groups[0], Options{}); err != nil {
			t.Fatal(err)
		}
		b.must(b.publish(r))
		b.equal(testenv.DuckDB(t))
		if _, partitions := b.inPartitions(); partitions != 7 || len(b.table.Files()) != 7 || len(b.snapshots()) != snapshots+1 {
			t.Errorf("%d files in %d partitions, in %d commits", len(b.table.Files()), partitions, len(b.snapshots())-snapshots)
		}
		b.noStrays()
	})
}

// TestPlanWithinPartitions: files of different partitions are neither counted nor merged together.
func TestPlanWithinPartitions(t *testing.T) {
	var files []File
	for partition, n := range []int{3, 4, 5, 4} {
		for i := range n {
			files = append(files, File{Path: fmt.Sprint(partition, " ", i), Rows: 10, Bytes: 1000, Partition: fmt.Sprint(partition), Outdated: partition == 3})
		}
	}
	p := Make(files, Options{})
	if len(p.Groups) != 1 {
		t.Fatalf("planned %+v", p)
	}
	count := map[string]int{}
	for _, f := range p.Groups[0].Files {
		count[f.Partition]++
	}
	if count["0"] != 0 || count["1"] != 4 || count["2"] != 5 || count["3"] != 4 {
		t.Errorf("planned files by partition: %v", count)
	}
}

// TestPartitionedEngines: a table partitioned by values of every type is read alike by the engines, and a condition on a column
// of the partition finds the rows that it has, NULL included, in files that were rewritten and with deletes on top.
func TestPartitionedEngines(t *testing.T) {
	formats(t, func(t *testing.T, b *bench) {
		b.must(b.upsert(numbers(0, 40), nil))
		b.partitionBy("a32, abool, adate, adecimal, truncate(6, atext), month(atime), hour(azoned), ybytes")
		b.must(b.upsert(numbers(30, 60), numbers(0, 3)))
		b.must(b.publish(b.prepare()))
		b.must(b.upsert(numbers(50, 55), numbers(10, 15)))
		if _, partitions := b.inPartitions(); partitions < 20 {
			t.Fatalf("%d partitions: the test shows little", partitions)
		}
		service := httptest.NewServer(rest.New(rest.Options{Catalog: b.lake.Catalog.(*catalog.Bucket)}))
		defer service.Close()
		b.equal(testenv.DuckDB(t))
		got := testenv.PyIceberg(t, fmt.Sprintf(`
from pyiceberg.expressions import EqualTo, IsNull
t = catalog(%q).load_table("db.t")
rows = t.scan().to_arrow().to_pylist()
every = len(list(t.scan().plan_files()))
wrong, pruned = [], set()
for c in ("a32", "abool", "adate", "adecimal", "atext", "atime", "azoned", "ybytes"):
    for v in sorted({r[c] for r in rows if r[c] is not None})[:3] + [None]:
        scan = t.scan(row_filter=IsNull(c) if v is None else EqualTo(c, v.isoformat() if hasattr(v, "isoformat") else v))
        found, want = len(scan.to_arrow()), sum(r[c] == v for r in rows)
        if found != want:
            wrong.append(f"{c} = {v}: {found} rows, not {want}")
        if len(list(scan.plan_files())) < every:
            pruned.add(c)
result = {"rows": sorted(f"{r['n']}={r['v']}" for r in rows), "wrong": wrong, "pruned": len(pruned)}
`, service.URL)).(map[string]any)
		if lines := fmt.Sprint(got["rows"]); lines != fmt.Sprint(b.lines()) {
			t.Errorf("PyIceberg reads %.300s", lines)
		}
		if wrong := got["wrong"].([]any); len(wrong) > 0 || got["pruned"] != 8.0 {
			t.Errorf("PyIceberg by columns: %v; it left out files for %v of 8 columns", wrong, got["pruned"])
		}
		trino := testenv.Trino(t)
		table := trino.Catalog(t, service.URL, nil) + ".db.t"
		for column, literal := range map[string]string{
			"a32": "%s", "abool": "%s", "adate": "DATE '%s'", "adecimal": "DECIMAL '%s'", "atext": "'%s'", "atime": "TIMESTAMP '%s'", "azoned": "TIMESTAMP '%s'", "ybytes": "X'%s'",
		} {
			// The sum over a condition of each value, in one statement, against the values counted.
			groups := trino.Query(t, fmt.Sprintf("SELECT %[1]s, count(*) FROM %[2]s GROUP BY %[1]s ORDER BY %[1]s NULLS FIRST LIMIT 4", column, table))
			var parts, want []string
			for _, g := range groups {
				condition := column + " IS NULL"
				if g[0] != server.Null {
					text := strings.TrimPrefix(strings.Replace(strings.TrimSuffix(g[0], "Z"), "T", " ", 1), "0x")
					if column == "atext" {
						text = g[0]
					}
					if column == "azoned" {
						text += " UTC"
					}
					condition = column + " = " + fmt.Sprintf(literal, text)
				}
				parts = append(parts, fmt.Sprintf("(SELECT count(*) FROM %s WHERE %s)", table, condition))
				want = append(want, g[1])
			}
			if got := trino.Query(t, "SELECT "+strings.Join(parts, ", "))[0]; !slices.Equal(got, want) {
				t.Errorf("Trino finds %v rows by %s, has %v", got, column, want)
			}
		}
	})
}
