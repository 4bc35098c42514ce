package snapshot

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/merge"
)

// readAll reads ranges and returns the batches.
func readAll(t testing.TB, r *Reader, ranges ...Range) []arrow.RecordBatch {
	t.Helper()
	var all []arrow.RecordBatch
	for _, part := range ranges {
		require.NoError(t, r.Start(t.Context(), part))
		for {
			batch, err := r.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			all = append(all, batch)
			t.Cleanup(batch.Release)
		}
	}
	return all
}

// nothing is a sink that forgets.
type nothing struct{}

func (nothing) Insert(merge.Key, []byte, int)                    {}
func (nothing) Update(merge.Key, []byte, merge.Key, []byte, int) {}
func (nothing) Delete(merge.Key, []byte)                         {}

// logged decodes the inserts of a table from the binary log.
func logged(t testing.TB, rows []*source.Rows) (arrow.RecordBatch, int64) {
	t.Helper()
	plan, err := decode.NewPlan(rows[0].Table)
	require.NoError(t, err)
	d := decode.NewDecoder(memory.DefaultAllocator, plan)
	for _, r := range rows {
		require.True(t, plan.Same(r.Table))
		require.NoError(t, d.Rows(r.Kind, r.Before, r.After, r.Body, nothing{}))
	}
	batch := d.Flush()
	t.Cleanup(batch.Release)
	return batch, d.ZeroDates()
}

// same compares batches column by column, to name the one that differs.
func same(t *testing.T, want, got arrow.RecordBatch) {
	t.Helper()
	require.True(t, want.Schema().Equal(got.Schema()), "%s\n%s", want.Schema(), got.Schema())
	require.Equal(t, want.NumRows(), got.NumRows())
	for i, column := range want.Columns() {
		if !array.Equal(column, got.Column(i)) {
			for row := range int(want.NumRows()) {
				if w, g := column.ValueStr(row), got.Column(i).ValueStr(row); w != g || column.IsNull(row) != got.Column(i).IsNull(row) {
					t.Errorf("column %s (%s), row %d: the binary log has %.200q, the table %.200q", want.ColumnName(i), column.DataType(), row, w, g)
					break
				}
			}
			t.Errorf("column %s differs", want.ColumnName(i))
		}
	}
}

// zooValues is literals at the edges of a type.
func zooValues(ddl string) []string {
	upper := strings.ToUpper(ddl)
	kind, _, _ := strings.Cut(strings.NewReplacer("(", " ", ",", " ").Replace(upper), " ")
	text := []string{"'a'", "'B  '", "''", "'  x'", "'é'", "'ÿ'", "REPEAT('x', 10)", "'ß漢Ж'"}
	switch kind {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "BOOLEAN":
		return []string{"0", "1", "-1", "127", "255", "-99999999999999999999", "99999999999999999999", "-32768", "8388607", "-8388608", "4294967295"}
	case "DECIMAL":
		return []string{"0", "-0.1", "0.1", "123456789.987654321", "-1e40", "1e40", "0.000000000000000000000000000001", "-12345678901234567890.5", "9e17"}
	case "FLOAT", "DOUBLE":
		return []string{"0", "-0e0", "1.1", "-1.1", "3.4028234e38", "1.17549e-38", "1e-45", "1e300", "-5e-324", "123456.789"}
	case "DATE":
		return []string{"'0000-00-00'", "'0001-01-01'", "'9999-12-31'", "'1969-12-31'", "'2024-00-10'", "'2024-10-00'", "'2024-02-29'", "'0000-05-05'"}
	case "DATETIME":
		return []string{"'0000-00-00 00:00:00'", "'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.4'", "'1969-12-31 23:59:59.999999'", "'2024-00-15 01:02:03'", "'2024-02-29 00:00:00.000001'", "'2024-02-29 12:34:56.5'", "'0000-00-00 01:02:03'"}
	case "TIMESTAMP":
		return []string{"'0000-00-00 00:00:00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:07.4'", "'2024-02-29 01:02:03.123456'", "'2024-10-27 02:30:00'", "'1970-01-01 00:00:00.5'"}
	case "TIME":
		return []string{"'00:00:00'", "'838:59:59'", "'-838:59:59'", "'-00:00:00.000001'", "'-00:00:00.01'", "'-00:00:00.9'", "'23:59:59.4'", "'-10:11:12.9876'", "'100:00:00'", "'-24:00:00'", "'00:00:00.1'"}
	case "YEAR":
		return []string{"0", "1901", "2155", "2000"}
	case "BIT":
		return []string{"0", "1", "2", "255", "256", "18446744073709551615", "81985529216486895"}
	case "ENUM":
		return []string{"1", "2", "0", "'nothing'", "7", "200", "1500", "255", "256"}
	case "SET":
		return []string{"0", "1", "2", "3", "7", "255", "4294967295", "18446744073709551615", "9223372036854775809"}
	case "JSON":
		return []string{"'{}'", "'null'", "'[1, 2.5, -0.0, 1e300, 18446744073709551615, \"x\\\\u0001é😀\\\\\"\"]'", "JSON_OBJECT('d', DATE'2024-01-02', 't', TIME'-10:11:12.5', 'ts', TIMESTAMP'2024-01-02 03:04:05.6', 'dec', 1.50, 'b', x'00ff', 'bit', b'101')", "'\"text\"'", "'true'", "JSON_ARRAY(CAST(1.1 AS FLOAT), REPEAT('y', 300))"}
	case "CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT":
		if strings.Contains(upper, "TEXT") && !strings.Contains(upper, "TINY") && !strings.Contains(upper, "(") {
			text = append(text, "REPEAT('long text ', 300)", "REPEAT('x', 65535)", "REPEAT('y', 252)", "REPEAT('y', 250)")
		}
		if strings.Contains(upper, "LONGTEXT") {
			text = append(text, "REPEAT('z', 70000)")
		}
		return text
	case "BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB":
		return []string{"''", "x'00'", "x'ff00410000'", "'ab'", "'a '", "x'ffff'", "REPEAT(x'00', 5)"}
	}
	return nil
}

func TestRowsEqualTheBinaryLogs(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	session := s.Session(t, "")
	exec := func(sql ...string) {
		t.Helper()
		require.NoError(t, session.Exec(sql...))
	}
	exec("CREATE DATABASE d; USE d; SET sql_mode='', NAMES utf8mb4")
	var names, inserts []string
	var ddl []string
	for i, column := range append(everyType(), "DECIMAL(18,4)", "DECIMAL(38,10)", "DECIMAL(38,0)", "DECIMAL(20,20)", "DECIMAL(18,18)", "DECIMAL(65,0) ZEROFILL", "FLOAT(9,2) ZEROFILL", "CHAR(10) COLLATE latin1_german1_ci", "VARCHAR(10) CHARACTER SET gbk", "TEXT CHARACTER SET sjis") {
		if strings.Contains(column, "GEOM") || column == "POINT" || strings.HasPrefix(column, "VECTOR") {
			continue
		}
		ddl = append(ddl, fmt.Sprintf("c%d %s", i, column))
	}
	for n := range 4 { // a row has at most 65,535 bytes
		var own, columns []string
		var values [][]string
		for i := n; i < len(ddl); i += 4 {
			own = append(own, ddl[i])
			name, kind, _ := strings.Cut(ddl[i], " ")
			if !strings.Contains(ddl[i], "GENERATED") {
				columns, values = append(columns, name), append(values, zooValues(kind))
			}
		}
		table := fmt.Sprintf("d.t%d", n)
		names = append(names, table)
		exec("CREATE TABLE " + table + " (id INT PRIMARY KEY, " + strings.Join(own, ", ") + ")")
		for row := range 40 {
			var list []string
			for i, edges := range values {
				v := "NULL"
				if len(edges) > 0 && (row > 12 && (row+i)%7 != 0 || row > 0 && row <= len(edges)) {
					v = edges[(row-1+i*(row/13))%len(edges)]
				}
				list = append(list, v)
			}
			inserts = append(inserts, fmt.Sprintf("INSERT INTO %s (id, %s) VALUES (%d, %s)", table, strings.Join(columns, ", "), row, strings.Join(list, ", ")))
		}
	}
	from := s.Executed(t)
	exec(inserts...)
	rows := rowsAfter(t, s, from)
	for _, name := range names {
		want, zero := logged(t, rows[name])
		c := open(t, s)
		table := describe(t, c, "d", strings.TrimPrefix(name, "d."))
		reader := NewReader(memory.DefaultAllocator, c, table)
		batches := readAll(t, reader, Range{})
		require.Len(t, batches, 1)
		same(t, want, batches[0])
		assert.Equal(t, zero, reader.ZeroDates(), name)
		assert.Positive(t, zero)
		reader.Close(t.Context())
	}
}
