package pages

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestMain leaves fuzzing alone, which starts processes of its own and no server.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run())
	}
	testenv.Main(m)
}

// TestEnginesReadAlike: DuckDB, Arrow's C++ library and Spark read the same rows from a file of ours, with all types in all
// encodings, as from arrow-go's.
func TestEnginesReadAlike(t *testing.T) {
	schema, columns := wideTestSchema()
	rng := rand.New(rand.NewPCG(5, 5))
	var records []arrow.RecordBatch
	rows := 0
	for _, n := range []int{5000, 9000, 6000} {
		records = append(records, randomRecord(rng, schema, n))
		rows += n
	}
	groups := []int{2, 1}
	data, _ := writeRecords(t, schema, columns, records, groups)
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.parquet"), filepath.Join(dir, "theirs.parquet")
	require.NoError(t, os.WriteFile(ours, data, 0o600))
	require.NoError(t, os.WriteFile(theirs, writeByArrow(t, schema, records, groups), 0o600))

	query := "SELECT count(*), sum(xxhash64(*) % 1000000007) FROM parquet.`"
	sums := testenv.Spark(t, "spark.master local[1]\n", query+ours+"`", query+theirs+"`")
	require.Len(t, sums, 2)
	assert.Equal(t, fmt.Sprint(rows), sums[0][0][0])
	assert.Equal(t, sums[1], sums[0], "Spark")

	duck := testenv.DuckDB(t)
	for _, f := range schema.Fields() {
		got := duck.Query(t, fmt.Sprintf(`SELECT count(*), count(*) FILTER (WHERE a.v IS DISTINCT FROM b.v)
			FROM (SELECT %[1]q AS v FROM '%[2]s') a POSITIONAL JOIN (SELECT %[1]q AS v FROM '%[3]s') b`, f.Name, ours, theirs))
		assert.Equal(t, [][]string{{fmt.Sprint(rows), "0"}}, got, "DuckDB: %s", f.Name)
	}

	differ := testenv.PyIceberg(t, fmt.Sprintf(`
import pyarrow as pa, pyarrow.parquet as pq
a, b = pq.read_table(%q), pq.read_table(%q)
def bits(c):
    c = pa.concat_arrays(c.chunks)
    return c.view({pa.float32(): pa.int32(), pa.float64(): pa.int64()}.get(c.type, c.type))
result = [len(a), [n for n in b.column_names if not bits(a[n]).equals(bits(b[n]))]]
`, ours, theirs))
	assert.Equal(t, fmt.Sprint([]any{rows, []any{}}), fmt.Sprint(differ), "Arrow C++")
}
