package verify_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest/verify"
)

// numbers is a table of the numbers 0 to 3999 that tests make rows from; it is not followed.
const numbers = `CREATE DATABASE d; CREATE DATABASE aside; USE d; SET sql_mode='', NAMES utf8mb4, cte_max_recursion_depth=10000;
	CREATE TABLE aside.n (i INT PRIMARY KEY); INSERT INTO aside.n WITH RECURSIVE r (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i < 3999) SELECT i FROM r;`

// keys are tables with keys of every kind that matters for dividing them: the first column in numbers, in the order of numbers
// or not, few or many values of it, and texts under a collation.
var keys = map[string]struct{ columns, order, values string }{
	"plain":      {"id INT", "id", "i - 2000"},
	"sparse":     {"id BIGINT", "id", "(i - 2000) * 4611686018427387"},
	"great":      {"id BIGINT UNSIGNED", "id", "18446744073709551615 - CAST(i AS UNSIGNED) * 4611686018427387"},
	"descending": {"id INT", "id DESC", "i"},
	"two":        {"id INT, b SMALLINT", "id, b", "i DIV 130, i % 130"},
	"few":        {"id TINYINT, b INT", "id, b", "i DIV 2000, i"},
	"mixed":      {"id INT, b VARCHAR(10)", "id, b", "i DIV 7, CONCAT('Ä', i % 7)"},
	"text":       {"id VARCHAR(20)", "id", "CONCAT(IF(i % 2, 'a', 'B'), i)"},
	"bin":        {"id BINARY(4)", "id", "UNHEX(LPAD(HEX(i), 8, '0'))"},
	"year":       {"id YEAR, b INT", "id, b", "1901 + i % 200, i"},
}

// TestParts compares tables of every kind of key in parts and shares of any size, and finds what is missing, changed or
// extra at both ends and in the middle.
func TestParts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(numbers)
	for name, k := range keys {
		w.exec(fmt.Sprintf("USE d; CREATE TABLE %s (%s, n INT, v VARCHAR(20), PRIMARY KEY (%s)); INSERT INTO %[1]s SELECT %[4]s, i, CONCAT('v', i) FROM aside.n", name, k.columns, k.order, k.values))
	}
	w.catchUp()
	w.exec("UPDATE d.plain SET v = CONCAT(v, '!') WHERE id % 3 = 0; DELETE FROM d.few WHERE b % 5 = 0; DELETE FROM d.text WHERE n < 100")
	w.catchUp() // rows in several files, and deleted ones
	sizes := []verify.Options{
		{RangeRows: 97, PartRows: 250, Memory: 64 << 10, Parallel: 3},
		{RangeRows: 1000, PartRows: 1000},
		{RangeRows: 700, Memory: 64 << 10, Parallel: 1},
		{},
	}
	for i, o := range sizes {
		report := w.found(o, map[string][]string{})
		require.Len(t, report.Tables, len(keys))
		for _, table := range report.Tables {
			require.Len(t, table.Compared, 1, "%s: at one position", table.Table)
			parts := table.Compared[0].Parts
			switch name := table.Table[2:]; {
			case i == 0 && (name == "plain" || name == "sparse" || name == "great" || name == "two" || name == "mixed"):
				assert.Greater(t, parts, 10, name)
			case i == 0 && (name == "text" || name == "bin" || name == "year" || name == "descending"):
				assert.Equal(t, 2, parts, "%s: shares of 2,048 rows", name)
			case i == 3:
				assert.Equal(t, 1, parts, name)
			}
		}
	}
	session := w.server.Session(t, "d")
	want := map[string][]string{}
	for name := range keys {
		rows := w.server.Query(t, "SELECT n FROM d."+name+" ORDER BY n")
		n := func(i int) string { return rows[i][0] }
		last := len(rows) - 1
		require.NoError(t, session.Exec("SET sql_log_bin = 0", fmt.Sprintf("DELETE FROM %s WHERE n IN (%s, %s)", name, n(0), n(last)),
			fmt.Sprintf("UPDATE %s SET v = 'w' WHERE n IN (%s, %s, %s)", name, n(1), n(last/2), n(last-1))))
	}
	for _, o := range sizes {
		report, err := w.verify(o)
		require.NoError(t, err)
		for _, table := range report.Tables {
			assert.Equal(t, map[verify.Kind]int64{verify.Extra: 2, verify.Changed: 3}, table.Count, "%s with %+v: %v", table.Table, o, table.Named)
			for _, d := range table.Named {
				if d.Kind == verify.Changed {
					assert.Equal(t, []string{"v"}, d.Columns)
				}
			}
			if want[table.Table] == nil {
				want[table.Table] = lines(table.Named)
			}
			assert.Equal(t, want[table.Table], lines(table.Named))
		}
	}
}

func lines(list []verify.Difference) (out []string) {
	for _, d := range list {
		out = append(out, d.String())
	}
	return out
}

// TestPlantedInTheLake finds a flipped bit, a missing row, an extra row and a doubled row, wherever the source is by then: at the same
// place, or after it has changed just these rows again and again.
func TestPlantedInTheLake(t *testing.T) {
	t.Parallel()
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.format = format
			w.exec(numbers+"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), big BIGINT)", "INSERT INTO d.t SELECT i, CONCAT('value ', i), i FROM aside.n WHERE i < 1000")
			w.catchUp()
			w.found(verify.Options{}, map[string][]string{})
			w.edit("t", func(e *edit) {
				e.put(e.remove("10"), "v", flip)
				e.remove("11")
				row, _, _ := e.row("12")
				e.put(row, "id", number("5000"))
				e.put(row, "big", number("12"))
				e.put(e.remove("500"), "big", number("501"))
				e.put(e.remove("501"), "id", number("-7"))
			})
			want := map[string][]string{"t": {"changed (10): v", "changed (500): big", "duplicate (12)", "extra (-7)", "extra (5000)", "missing (11)", "missing (501)"}}
			w.found(verify.Options{}, want)
			w.found(verify.Options{RangeRows: 100, PartRows: 100}, want)
			for _, sql := range []string{
				"UPDATE d.t SET v = 'other'", // all rows, also those that are equal
				"DELETE FROM d.t WHERE id IN (10, 11, 500)", "INSERT INTO d.t VALUES (10, 'again', 0), (11, 'again', 0), (5000, 'now', 1)",
				"UPDATE d.t SET id = id + 100000 WHERE id IN (10, 12, 501)", "UPDATE d.t SET id = 10 WHERE id = 11",
				"DELETE FROM d.t WHERE id < 600",
			} {
				w.exec(sql)
				w.found(verify.Options{Parallel: 2}, want)
			}
			w.exec("ALTER TABLE d.t MODIFY v VARCHAR(30)")
			report, err := w.verify(verify.Options{})
			require.NoError(t, err)
			require.Contains(t, report.Tables[0].Error, "ALTER TABLE d.t MODIFY v")
			w.exec("TRUNCATE d.t")
			report, err = w.verify(verify.Options{})
			require.NoError(t, err)
			require.Contains(t, report.Tables[0].Error, "ALTER TABLE d.t MODIFY v", "the first of them")
			var changed *verify.ChangedError
			require.ErrorAs(t, report.Err(), &changed)
		})
	}
}
