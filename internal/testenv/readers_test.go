package testenv_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// writeTable makes an Iceberg table with PyIceberg at <warehouse>/db/t, whose metadata the bucket layout's hint points to.
func writeTable(t *testing.T, warehouse, settings string) {
	t.Helper()
	testenv.PyIceberg(t, fmt.Sprintf(`
from pyiceberg.catalog.sql import SqlCatalog
import pyarrow as pa, decimal, datetime as dt
c = SqlCatalog("w", uri="sqlite:///%s", warehouse="%s", **dict(%s))
c.create_namespace("db")
rows = pa.table({
    "id": pa.array([1, 2], pa.int32()), "f": pa.array([0.1, None], pa.float32()), "g": pa.array([1e20, -0.5], pa.float64()),
    "n": pa.array([decimal.Decimal("-12.500"), None], pa.decimal128(10, 3)), "b": pa.array([True, False]), "s": ["grün", None], "x": pa.array([b"\x00\xff", b""], pa.binary()),
    "d": pa.array([dt.date(2026, 1, 31), None]), "dt": pa.array([dt.datetime(2026, 1, 31, 23, 59, 59, 500000), None], pa.timestamp("us")),
    "ts": pa.array([dt.datetime(2026, 1, 31, 23, 59, 59, 1), None], pa.timestamp("us", tz="UTC"))})
table = c.create_table("db.t", schema=rows.schema, location="%s/db/t")
table.append(rows)
table = c.load_table("db.t")
io = table.io
with io.new_input(table.metadata_location).open() as f: body = f.read()
with io.new_output("%s/db/t/metadata/v1.metadata.json").create() as f: f.write(body)
with io.new_output("%s/db/t/metadata/version-hint.text").create() as f: f.write(b"1")
`, filepath.Join(t.TempDir(), "catalog.db"), warehouse, settings, warehouse, warehouse, warehouse))
}

var writtenRows = [][]string{
	{"1", "0.1", "1e+20", "-12.500", "true", "grün", "0x00ff", "2026-01-31", "2026-01-31T23:59:59.500000", "2026-01-31T23:59:59.000001Z"},
	{"2", testenv.Null, "-0.5", testenv.Null, "false", testenv.Null, "0x", testenv.Null, testenv.Null, testenv.Null},
}

func sameRows(t *testing.T, who string, got [][]string) {
	t.Helper()
	if !slices.EqualFunc(got, writtenRows, slices.Equal) {
		t.Errorf("%s returned\n%q, want\n%q", who, got, writtenRows)
	}
}

func TestDuckDBReadsALocalTable(t *testing.T) {
	t.Parallel()
	lake := t.TempDir()
	writeTable(t, "file://"+lake, "")
	sameRows(t, "DuckDB", testenv.DuckDB(t).Query(t, fmt.Sprintf("SELECT * FROM iceberg_scan('%s/db/t') ORDER BY id", lake)))
}

func TestDuckDBReadsATableOnMinIO(t *testing.T) {
	t.Parallel()
	b := testenv.MinIO(t)
	writeTable(t, b.URI("lake"), b.PyIcebergS3())
	sameRows(t, "DuckDB", testenv.DuckDB(t).UseBucket(t, b).Query(t, fmt.Sprintf("SELECT * FROM iceberg_scan('%s/db/t') ORDER BY id", b.URI("lake"))))
}

func TestReaderErrorsAreTold(t *testing.T) {
	t.Parallel()
	_, err := testenv.DuckDB(t).TryQuery(t.Context(), "SELECT * FROM nowhere")
	if err == nil || !strings.Contains(err.Error(), "nowhere does not exist") {
		t.Errorf("error %v, want DuckDB's own words", err)
	}
}
