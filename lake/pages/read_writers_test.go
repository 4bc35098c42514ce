package pages

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestReadEngines: files that DuckDB, Arrow's C++ library and Spark wrote, with pages of both versions, have the values that they were
// given. Decimals that parquet-mr stores as DELTA_BYTE_ARRAY are left to pqarrow, which cannot read some of DuckDB's other columns.
func TestReadEngines(t *testing.T) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 3))
	var fields []arrow.Field
	var columns []arrow.Array
	const rows = 5000
	for i, typ := range types {
		if ts, ok := typ.(*arrow.TimestampType); ok && ts.Unit == arrow.Nanosecond {
			continue // Spark has none
		}
		for shape := range shapes {
			fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d_%d", i, shape), Type: typ, Nullable: true})
			c := randomColumn(rng, typ, float64(shape)/10, shape, rows)
			if _, ok := typ.(*arrow.Date32Type); ok {
				c.Release()
				c = randomColumn(rng, typ, 0.1, ascending, rows) // years of four digits
			}
			if _, ok := typ.(*arrow.TimestampType); ok {
				c.Release()
				c = randomColumn(rng, typ, float64(shape)/10, 1+shape%2, rows)
			}
			columns = append(columns, c)
		}
	}
	rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, rows)
	defer rec.Release()
	source := filepath.Join(dir, "source.parquet")
	require.NoError(t, os.WriteFile(source, write(t, rec), 0o600))

	duck := testenv.DuckDB(t)
	for i, options := range []string{"PARQUET_VERSION v1, COMPRESSION snappy", "PARQUET_VERSION v2, COMPRESSION zstd", "PARQUET_VERSION v2, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1"} {
		duck.Query(t, fmt.Sprintf("COPY (SELECT * FROM '%s') TO '%s' (FORMAT parquet, ROW_GROUP_SIZE 2048, %s)", source, filepath.Join(dir, fmt.Sprint("duck", i, ".parquet")), options))
	}
	testenv.PyIceberg(t, fmt.Sprintf(`
import pyarrow.parquet as pq
t = pq.read_table(%q)
for i, options in enumerate([dict(compression='gzip'), dict(data_page_version='2.0', compression='zstd', use_dictionary=False), dict(compression='lz4', data_page_size=1000, store_decimal_as_integer=True),
		dict(data_page_version='2.0', compression='none', row_group_size=1000, dictionary_pagesize_limit=1000)]):
	pq.write_table(t, '%s/arrow%%d.parquet' %% i, **options)
result = True
`, source, dir))
	var statements []string
	for i, version := range []string{"PARQUET_1_0", "PARQUET_2_0"} {
		statements = append(statements, "SET parquet.writer.version="+version, fmt.Sprint("SET parquet.enable.dictionary=", i == 0), "SET parquet.page.size=4000", fmt.Sprintf("INSERT OVERWRITE DIRECTORY '%s/spark%d' USING parquet SELECT * FROM parquet.`%s`", dir, i, source))
	}
	testenv.Spark(t, "spark.master local[1]\nspark.sql.parquet.outputTimestampType TIMESTAMP_MICROS\n", statements...)

	files, err := filepath.Glob(filepath.Join(dir, "*[0-9].parquet"))
	require.NoError(t, err)
	more, err := filepath.Glob(filepath.Join(dir, "spark*", "*.parquet"))
	require.NoError(t, err)
	require.Len(t, more, 2)
	require.Len(t, files, 7)
	met, left := map[parquet.Encoding]bool{}, 0
	for _, name := range append(files, more...) {
		t.Run(filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name)[:5], func(t *testing.T) {
			body, err := os.ReadFile(name)
			require.NoError(t, err)
			f, err := file.NewParquetReader(bytes.NewReader(body))
			require.NoError(t, err)
			require.Equal(t, len(columns), f.MetaData().Schema.NumColumns())
			for i, want := range columns {
				if err := Readable(f.MetaData(), []int{i}); err != nil {
					require.ErrorContains(t, err, "DELTA_BYTE_ARRAY")
					require.Equal(t, parquet.Types.FixedLenByteArray, f.MetaData().Schema.Column(i).PhysicalType())
					left++
					continue
				}
				got := readLeaves(t, body, []int{i}, 1000, 0, 5000)[0]
				require.True(t, array.Equal(want, got), "column %s, %s and %s", fields[i].Name, want.DataType(), got.DataType())
				chunk, err := f.MetaData().RowGroup(0).ColumnChunk(i)
				require.NoError(t, err)
				for _, e := range chunk.Encodings() {
					met[e] = true
				}
			}
		})
	}
	require.Equal(t, 2*shapes, left)
	for _, e := range []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.RLEDict, parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray, parquet.Encodings.ByteStreamSplit} {
		require.True(t, met[e], "no file has %s", e)
	}
}
