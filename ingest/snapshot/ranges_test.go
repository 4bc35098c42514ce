package snapshot

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/internal/testenv"
)

// numbers is a table of the numbers 0 to 4999 that tests make rows from.
const numbers = `CREATE DATABASE d; USE d; SET sql_mode='', NAMES utf8mb4, cte_max_recursion_depth=10000;
	CREATE TABLE d.n (i INT PRIMARY KEY); INSERT INTO d.n WITH RECURSIVE r (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i < 4999) SELECT i FROM r`

func describe(t testing.TB, c *Conn, db, table string) *Table {
	t.Helper()
	out, err := Describe(t.Context(), c, db, table)
	require.NoError(t, err)
	return out
}

// split returns all ranges from a bound on, each through JSON.
func split(t testing.TB, c *Conn, table *Table, rows int, from Bound) []Range {
	t.Helper()
	var all []Range
	r := NewRanges(table, rows, from)
	for {
		next, ok, err := r.Next(t.Context(), c)
		require.NoError(t, err)
		if !ok {
			return all
		}
		text, err := json.Marshal(next)
		require.NoError(t, err)
		var again Range
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, next, again)
		all = append(all, again)
		require.Less(t, len(all), 1000, "no end")
	}
}

func TestRangesOfEveryKey(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	session := s.Session(t, "")
	exec := func(sql ...string) {
		t.Helper()
		require.NoError(t, session.Exec(sql...))
	}
	exec(numbers)
	for i, k := range []struct {
		ddl    string
		values string // of row i
		scan   bool   // the server may read the index from its beginning, and sort a range: it sees no order in such values
	}{
		{"a INT, PRIMARY KEY (a)", "i - 2500", false},
		{"a BIGINT UNSIGNED, PRIMARY KEY (a)", "18446744073709551615 - CAST(i AS UNSIGNED) * 3689348814741910", false},
		{"a BIGINT, PRIMARY KEY (a DESC)", "(i - 2500) * 3089348814741910", false},
		{"a TINYINT ZEROFILL, b SMALLINT, PRIMARY KEY (b, a)", "i % 100, i DIV 100 - 20", false},
		{"a INT, PRIMARY KEY (a)", "IF(i < 4000, i, i * 400000)", false}, // dense, then sparse
		{"a INT, PRIMARY KEY (a)", "i * i * 80", false},
		{"a DECIMAL(65,30), PRIMARY KEY (a)", "(i - 2500) * 1.000000000000000000000000000001", false},
		{"a DECIMAL(10,2) ZEROFILL, PRIMARY KEY (a)", "i * 0.25", false},
		{"a DATE, PRIMARY KEY (a)", "DATE'1990-01-01' + INTERVAL i DAY", false},
		{"a DATETIME(6), PRIMARY KEY (a)", "TIMESTAMP'1990-01-01 00:00:00' + INTERVAL i * 10000019 MICROSECOND", false},
		{"a TIMESTAMP(3), PRIMARY KEY (a)", "FROM_UNIXTIME(1.007 + i * 400000.001)", false},
		{"a TIME(2), PRIMARY KEY (a)", "SEC_TO_TIME((i - 2500) * 1200.01)", false},
		{"a YEAR, b INT, PRIMARY KEY (a, b)", "IF(i % 100 = 0, 0, 1901 + i % 255), i", false},
		{"a BIT(13), PRIMARY KEY (a)", "i", false},
		{"a BIT(64), PRIMARY KEY (a)", "18446744073709551615 - i", false},
		{"a ENUM('z','é','b','a','') CHARACTER SET latin1, b INT, PRIMARY KEY (a, b)", "1 + i % 5, i", false}, // the label '' is 5
		{"a ENUM('z','é','b','a',''), b INT, PRIMARY KEY (a, b)", "IF(i % 6, i % 6, 'not accepted'), i", true},
		{"a ENUM('z','é','b','a'), b INT, PRIMARY KEY (a DESC, b)", "1 + i % 4, i", true},
		{"b INT, a SET('z','é','b','a'), PRIMARY KEY (a, b)", "i, i % 16", true},
		{"a SET(" + labelList(64) + "), b INT, PRIMARY KEY (a, b)", "(i DIV 5) * 1000000007, i", true},
		{"a CHAR(36), PRIMARY KEY (a)", "UUID()", false},
		{"a BINARY(16), PRIMARY KEY (a)", "UUID_TO_BIN(UUID(), i % 2)", false},
		{"a VARCHAR(150) COLLATE utf8mb4_0900_ai_ci, PRIMARY KEY (a)", "CONCAT(ELT(1 + i % 8, 'a', 'Ä', 'z', 'ß', '漢', '😀', ' ', 'É'), SHA2(i, 0))", false},
		{"a VARCHAR(150) COLLATE utf8mb4_bin, PRIMARY KEY (a)", "CONCAT(ELT(1 + i % 8, 'a', 'Ä', 'z', 'ß', '漢', '😀', ' ', 'É'), SHA2(i, 0))", false},
		{"a VARCHAR(150) COLLATE latin1_german2_ci, PRIMARY KEY (a)", "CONCAT(ELT(1 + i % 8, 'a', 'Ä', 'z', 'ß', '''', '\\\\', '%', 'É'), SHA2(i, 0), '  ')", false},
		{"a VARCHAR(150) CHARACTER SET gbk, PRIMARY KEY (a)", "CONCAT(ELT(1 + i % 4, 'a', '中', '文', ''), i)", false},
		{"a VARCHAR(150) CHARACTER SET utf16, PRIMARY KEY (a)", "CONCAT(ELT(1 + i % 4, 'a', '中', '😀', ''), i)", false},
		{"a CHAR(20) CHARACTER SET sjis, b INT, PRIMARY KEY (a, b)", "ELT(1 + i % 4, '表', '能', 'ソ', ''), i", false},
		{"a VARBINARY(80), PRIMARY KEY (a)", "CONCAT(UNHEX('00ff27'), UNHEX(SHA2(i, 0)), UNHEX('00'))", false},
		{"a INT, b VARCHAR(20), c INT UNSIGNED, d DATE, v INT, PRIMARY KEY (d, b, c, a)", "i, CONCAT('b', i % 3), i % 7, DATE'2000-01-01' + INTERVAL i % 2 DAY, 1", false},
		{"a INT, b INT, c INT, PRIMARY KEY (a, b DESC, c)", "i % 3, i % 11 - 5, i", false},
		{"a INT NOT NULL, b INT NOT NULL, UNIQUE `odd``name` (b, a)", "i, i % 3", false},
		{"a INT, `b``b` INT, PRIMARY KEY (`b``b`), KEY other (a)", "i % 5, i", false},
	} {
		table := fmt.Sprintf("t%d", i)
		columns := strings.Join(columnsOf(k.ddl), ", ")
		exec(fmt.Sprintf("CREATE TABLE d.%s (%s)", table, k.ddl), fmt.Sprintf("INSERT IGNORE INTO d.%s (%s) SELECT %s FROM d.n", table, columns, k.values), "ANALYZE TABLE d."+table)
		t.Run(k.ddl[:min(len(k.ddl), 60)], func(t *testing.T) {
			c := open(t, s)
			described := describe(t, c, "d", table)
			total := s.Query(t, "SELECT COUNT(*) FROM d."+table)[0][0]
			const rows = 611
			ranges := split(t, c, described, rows, nil)
			require.GreaterOrEqual(t, len(ranges), 3, total)
			assert.Nil(t, ranges[0].From)
			assert.Nil(t, ranges[len(ranges)-1].To)
			var within []string
			for j, r := range ranges {
				if j > 0 {
					assert.Equal(t, ranges[j-1].To, r.From)
				}
				where, err := described.where(r)
				require.NoError(t, err)
				count := s.Query(t, "SELECT COUNT(*) FROM d."+table+where)[0][0]
				if r.To != nil {
					assert.Equal(t, fmt.Sprint(rows), count, "%s", r)
				}
				within = append(within, "("+strings.TrimPrefix(where, " WHERE ")+")")
				plan := s.Query(t, "EXPLAIN FORMAT=TREE SELECT *"+described.from()+where+" ORDER BY "+described.key.order())[0][0]
				if !k.scan {
					assert.NotContains(t, plan, "Sort")
					assert.Regexp(t, "ndex range scan", plan)
				}
				if r.From != nil && r.To != nil {
					open, err := described.where(Range{From: r.From})
					require.NoError(t, err)
					plan = s.Query(t, "EXPLAIN FORMAT=TREE SELECT "+quoteName(described.key.parts[0].name)+described.from()+open+" ORDER BY "+described.key.order()+" LIMIT 1 OFFSET 100")[0][0]
					if !k.scan {
						assert.NotContains(t, plan, "Sort")
						assert.Regexp(t, "ndex range scan", plan)
					}
				}
			}
			// Every row is in one range.
			assert.Equal(t, [][]string{{total, "1", "1"}}, s.Query(t, fmt.Sprintf("SELECT COUNT(*), MIN(x), MAX(x) FROM (SELECT %s AS x FROM d.%s) y", strings.Join(within, "+"), table)))
			// From any range on it is the same.
			middle := len(ranges) / 2
			assert.Equal(t, ranges[middle:], split(t, open(t, s), described, rows, ranges[middle].From))
		})
	}
}

func labelList(n int) string {
	var labels []string
	for i := range n {
		labels = append(labels, fmt.Sprintf("'m%d'", i))
	}
	return strings.Join(labels, ",")
}

// columnsOf takes the names out of column definitions.
func columnsOf(ddl string) []string {
	var names []string
	depth := 0
	for _, part := range strings.FieldsFunc(ddl, func(r rune) bool {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		return r == ',' && depth == 0
	}) {
		if name := strings.Fields(part)[0]; name != "PRIMARY" && name != "UNIQUE" && name != "KEY" {
			names = append(names, name)
		}
	}
	return names
}

func TestRangesOfSmallTables(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, numbers, `CREATE TABLE d.t (a INT PRIMARY KEY); CREATE TABLE d.p (a TEXT, b INT, PRIMARY KEY (a(3), b)); CREATE TABLE d.heap (a INT)`)
	c := open(t, s)
	table := describe(t, c, "d", "t")
	assert.Empty(t, split(t, c, table, 10, nil))
	for n, want := range map[int]int{1: 1, 2: 1, 9: 1, 10: 1, 11: 2, 20: 2, 21: 3} {
		s.Exec(t, "DELETE FROM d.t", fmt.Sprintf("INSERT INTO d.t SELECT i FROM d.n WHERE i < %d", n))
		ranges := split(t, c, table, 10, nil)
		assert.Len(t, ranges, want, "%d rows", n)
		assert.Nil(t, ranges[len(ranges)-1].To)
	}
	// A range of what was there is there still, when rows go.
	s.Exec(t, "DELETE FROM d.t", "INSERT INTO d.t SELECT i FROM d.n WHERE i < 21")
	r := NewRanges(table, 10, nil)
	_, ok, err := r.Next(t.Context(), c)
	require.True(t, ok)
	require.NoError(t, err)
	assert.Equal(t, Bound{"10"}, r.At())
	s.Exec(t, "DELETE FROM d.t WHERE a >= 5")
	last, ok, err := r.Next(t.Context(), c)
	require.True(t, ok)
	require.NoError(t, err)
	assert.Equal(t, Range{From: Bound{"10"}}, last)
	_, ok, err = r.Next(t.Context(), c)
	require.False(t, ok)
	require.NoError(t, err)

	prefix := describe(t, c, "d", "p")
	assert.Empty(t, split(t, c, prefix, 10, nil))
	s.Exec(t, "INSERT INTO d.p SELECT 'same beginning', i FROM d.n")
	assert.Equal(t, []Range{{}}, split(t, c, prefix, 10, nil))

	s.Exec(t, "CREATE TABLE d.f (a DOUBLE, b INT, PRIMARY KEY (b, a)); INSERT INTO d.f SELECT i / 7, i FROM d.n")
	for _, keyless := range []string{"heap", "f"} {
		assert.Equal(t, []Range{{}}, split(t, c, describe(t, c, "d", keyless), 10, nil))
	}

	var bad *BoundError
	for _, b := range []Bound{{"1", "2"}, {"1) OR (1=1"}, {""}, {"x"}, {"NaN"}, {"0x1p4"}, {}} {
		_, _, err = NewRanges(table, 10, b).Next(t.Context(), c)
		require.ErrorAs(t, err, &bad, "%v", b)
	}
	var changed *ChangedError
	s.Exec(t, "ALTER TABLE d.t RENAME COLUMN a TO b")
	_, _, err = NewRanges(table, 10, nil).Next(t.Context(), c)
	require.ErrorAs(t, err, &changed)
	s.Exec(t, "DROP TABLE d.t")
	_, _, err = NewRanges(table, 10, nil).Next(t.Context(), c)
	require.ErrorAs(t, err, &changed)
}

// The rows of a partitioned table come in the order of its key without being sorted, too.
func TestRangesOfPartitions(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, numbers, "CREATE TABLE d.t (a INT, b INT, PRIMARY KEY (b, a)) PARTITION BY KEY (a) PARTITIONS 5; INSERT INTO d.t SELECT i, i % 3 FROM d.n; ANALYZE TABLE d.t")
	c := open(t, s)
	table := describe(t, c, "d", "t")
	ranges := split(t, c, table, 1000, nil)
	require.Len(t, ranges, 5)
	for _, r := range ranges {
		where, err := table.where(r)
		require.NoError(t, err)
		assert.Equal(t, "1000", s.Query(t, "SELECT COUNT(*) FROM d.t"+where)[0][0])
		assert.NotContains(t, s.Query(t, "EXPLAIN FORMAT=TREE SELECT *"+table.from()+where+" ORDER BY "+table.key.order())[0][0], "Sort")
	}
}
