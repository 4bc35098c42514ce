package snapshot

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func config(t testing.TB, servers ...*testenv.Server) source.Config {
	t.Helper()
	c, err := source.ParseURL(testenv.URL(servers...))
	require.NoError(t, err)
	c.Pipeline = t.Name()
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return c
}

func open(t testing.TB, s *testenv.Server) *Conn {
	t.Helper()
	c, err := Open(t.Context(), config(t, s), s.Addr())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// rowsAfter returns the rows events that the binary log has after a GTID set, by table, until what is executed now.
func rowsAfter(t testing.TB, s *testenv.Server, from string) map[string][]*source.Rows {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reached, until := checkpoint.MustParseSet(from), checkpoint.MustParseSet(s.Executed(t))
	stream, err := source.Dial(ctx, config(t, s), s.Addr(), reached)
	require.NoError(t, err)
	defer stream.Close()
	rows := map[string][]*source.Rows{}
	for !reached.Contains(until) {
		tx, err := stream.Next(ctx)
		require.NoError(t, err)
		if tx == nil {
			continue
		}
		for _, e := range tx.Events {
			if e.Rows != nil {
				name := string(e.Rows.Table.Schema) + "." + string(e.Rows.Table.Table)
				rows[name] = append(rows[name], e.Rows)
			}
		}
		if tx.Last {
			reached.Add(tx.GTID)
		}
	}
	return rows
}

// everyType is columns of all types that package decode reads, and some that it does not.
func everyType() []string {
	columns := []string{
		"FLOAT", "FLOAT UNSIGNED", "FLOAT(7,3)", "DOUBLE", "DOUBLE UNSIGNED", "DOUBLE(12,4)", "DECIMAL(10,0)", "DECIMAL(65,30)", "DECIMAL(5,5) UNSIGNED", "DECIMAL(1,0) ZEROFILL",
		"DATE", "YEAR", "JSON", "BIT(1)", "BIT(7)", "BIT(8)", "BIT(9)", "BIT(64)", "GEOMETRY", "POINT", "GEOMETRYCOLLECTION", "VECTOR(3)", "VECTOR", "BOOLEAN", "TINYINT(1) ZEROFILL",
		"ENUM('a')", "ENUM('it''s','b\\\\s','n\\nl','c,d','(e)','', 'ü')", "SET('x','y','z''s')", "TEXT(10)", "TEXT(300) CHARACTER SET latin1", "BLOB(70000)",
		"VARCHAR(0)", "CHAR(0)", "VARCHAR(63)", "VARCHAR(64)", "VARCHAR(255) CHARACTER SET latin1", "VARCHAR(256) CHARACTER SET latin1", "CHAR(255)", "CHAR(63)", "CHAR(64)", "CHAR(200) CHARACTER SET latin1",
		"INT GENERATED ALWAYS AS (id * 2) VIRTUAL", "INT GENERATED ALWAYS AS (id * 3) STORED NOT NULL", "INT INVISIBLE", "VARCHAR(20) INVISIBLE", "INT DEFAULT (1 + 1)",
	}
	for _, t := range []string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT"} {
		columns = append(columns, t, t+" UNSIGNED", t+"(4) UNSIGNED ZEROFILL")
	}
	for fsp := range 7 {
		columns = append(columns, fmt.Sprintf("DATETIME(%d)", fsp), fmt.Sprintf("TIMESTAMP(%d) NULL", fsp), fmt.Sprintf("TIME(%d)", fsp))
	}
	for _, n := range []int{1, 8, 9, 16, 17, 24, 25, 32, 33, 64} {
		var members []string
		for i := range n {
			members = append(members, fmt.Sprintf("'m%d'", i))
		}
		columns = append(columns, "SET("+strings.Join(members, ",")+")")
	}
	for _, n := range []int{255, 256, 1500} {
		var labels []string
		for i := range n {
			labels = append(labels, fmt.Sprintf("'é%d'", i))
		}
		columns = append(columns, "ENUM("+strings.Join(labels, ",")+") CHARACTER SET latin1")
	}
	for _, t := range []string{"CHAR(10)", "VARCHAR(20)", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM('ä','b')", "SET('ä','b')"} {
		for _, c := range []string{
			"CHARACTER SET utf8mb4", "COLLATE utf8mb4_bin", "COLLATE utf8mb4_general_ci", "COLLATE utf8mb4_ja_0900_as_cs", "CHARACTER SET utf8mb3", "CHARACTER SET latin1", "COLLATE latin1_bin",
			"CHARACTER SET utf16", "CHARACTER SET utf32", "CHARACTER SET cp1251", "CHARACTER SET gb18030", "CHARACTER SET binary",
		} {
			if t == "SET('ä','b')" || t == "ENUM('ä','b')" {
				switch c {
				case "CHARACTER SET cp1251":
					c = "CHARACTER SET latin2"
				}
			}
			columns = append(columns, t+" "+c)
		}
	}
	return append(columns, "BINARY(1)", "BINARY(255)", "VARBINARY(255)", "VARBINARY(256)", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB")
}

func TestDefinitionEqualsTheTableMap(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	session := s.Session(t, "")
	exec := func(sql ...string) {
		t.Helper()
		require.NoError(t, session.Exec(sql...))
	}
	exec("CREATE DATABASE d; CREATE DATABASE `o'd``d` DEFAULT CHARACTER SET latin1; USE d; SET sql_mode='', NAMES utf8mb4, sql_generate_invisible_primary_key=OFF")
	var tables []string
	create := func(name, ddl string) {
		t.Helper()
		exec("CREATE TABLE " + name + " (" + ddl + ")")
		tables = append(tables, name)
	}
	columns := everyType()
	for i, c := range columns { // each alone
		create(fmt.Sprintf("d.one%d", i), "id INT PRIMARY KEY, c "+c)
	}
	for _, step := range []int{1, 2, 3, 5, 7, 11} { // and among others
		var ddl []string
		for i := 0; i < len(columns); i += step {
			null := ""
			if i%3 == 0 && !strings.Contains(columns[i], "GENERATED") && !strings.Contains(columns[i], "NULL") && !strings.Contains(columns[i], "GEOM") && columns[i] != "POINT" && !strings.Contains(columns[i], "VECTOR") {
				null = " NOT NULL"
			}
			ddl = append(ddl, fmt.Sprintf("c%d %s%s", i, columns[i], null))
		}
		create(fmt.Sprintf("d.many%d", step), "id INT PRIMARY KEY, "+strings.Join(ddl, ", "))
	}
	for i, ddl := range []string{
		"a INT",
		"a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (b, a)",
		"a VARCHAR(20), b INT, c BINARY(16), PRIMARY KEY (c, a, b)",
		"a VARCHAR(200), b TEXT, PRIMARY KEY (b(10), a(5))",
		"a BLOB, b VARCHAR(100) CHARACTER SET latin1, PRIMARY KEY (b(100), a(7))",
		"a INT NOT NULL UNIQUE, b INT NOT NULL UNIQUE",
		"a INT NOT NULL, b INT NOT NULL, KEY (a), UNIQUE later (b), UNIQUE AAA (a)",
		"a INT NOT NULL, b INT, UNIQUE first (b), UNIQUE second (a, b), KEY (b)",
		"a INT, b INT NOT NULL, UNIQUE first (a), UNIQUE second (b)",
		"a TEXT NOT NULL, b INT NOT NULL, c INT NOT NULL, UNIQUE first (a(10)), UNIQUE second (c, b), UNIQUE third (b)",
		"a INT NOT NULL, UNIQUE f ((a + 1)), b INT NOT NULL, UNIQUE g (b)",
		"a INT NOT NULL, UNIQUE f ((a + 1))",
		"a INT NOT NULL, b INT NOT NULL, UNIQUE x (a) INVISIBLE, UNIQUE y (b), PRIMARY KEY (b, a DESC)",
		"a INT NOT NULL, b VARCHAR(10), PRIMARY KEY (a), FULLTEXT f (b), UNIQUE v (b), KEY e ((a * 2))",
		"`o``d'd` INT PRIMARY KEY, `Été` INT, `SELECT` INT, `a b` INT",
		"a INT INVISIBLE PRIMARY KEY, b INT, c INT INVISIBLE",
		"a INT PRIMARY KEY, b INT CHECK (b > 0)",
		"a ENUM('ä','b') CHARACTER SET latin1 PRIMARY KEY, b DATE",
	} {
		create(fmt.Sprintf("d.key%d", i), ddl)
	}
	create("`o'd``d`.`t'``t`", "a INT PRIMARY KEY, b VARCHAR(10)")
	create("d.Upper", "A INT PRIMARY KEY, b INT")
	create("d.my", "a BIT(9), b VARCHAR(10), id INT AUTO_INCREMENT PRIMARY KEY")
	exec("ALTER TABLE d.my ENGINE=MyISAM, CONVERT TO CHARACTER SET latin1")
	exec("SET sql_generate_invisible_primary_key=ON")
	create("d.gipk", "a INT, b VARCHAR(10)")
	exec("SET sql_generate_invisible_primary_key=OFF; SET GLOBAL show_gipk_in_create_table_and_information_schema=OFF")
	create("d.parts", "a INT PRIMARY KEY, b VARCHAR(10)")
	exec("ALTER TABLE d.parts PARTITION BY HASH (a) PARTITIONS 4")
	create("d.instant", "a INT PRIMARY KEY, b VARCHAR(10), d INT")
	exec("ALTER TABLE d.instant ADD COLUMN c ENUM('x','y') NOT NULL AFTER a, DROP COLUMN d, ALGORITHM=INSTANT", "ALTER TABLE d.instant RENAME COLUMN b TO bb, ALGORITHM=INSTANT")
	from := s.Executed(t)
	for _, name := range tables {
		exec("INSERT INTO " + name + " () VALUES ()")
	}
	s.Exec(t, "CREATE USER reader@'%' IDENTIFIED BY 'reader'; GRANT SELECT ON d.* TO reader@'%'; GRANT SELECT ON `o'd``d`.* TO reader@'%'")
	logged := rowsAfter(t, s, from)
	cfg := config(t, s)
	cfg.User, cfg.Password = "reader", "reader"
	c, err := Open(t.Context(), cfg, s.Addr())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	assert.Len(t, logged, len(tables))
	for name, rows := range logged {
		want := rows[0].Table
		got, err := Definition(t.Context(), c, string(want.Schema), string(want.Table))
		if !assert.NoError(t, err, name) {
			continue
		}
		sameMap(t, name, want, got)
		plan, planErr := decode.NewPlan(want)
		own, ownErr := decode.NewPlan(got)
		assert.Equal(t, planErr, ownErr, name)
		if plan != nil && own != nil {
			assert.True(t, own.Same(want), name)
			assert.True(t, plan.Same(got), name)
			assert.True(t, plan.Schema.Equal(own.Schema), name)
		}
	}
}

// sameMap compares all that a table map says, but for the numbers that the server gives out anew.
func sameMap(t *testing.T, name string, want, got *replication.TableMapEvent) {
	t.Helper()
	assert.Equal(t, want.Schema, got.Schema, name)
	assert.Equal(t, want.Table, got.Table, name)
	assert.Equal(t, want.ColumnCount, got.ColumnCount, name)
	assert.Equal(t, want.ColumnName, got.ColumnName, name)
	assert.Equal(t, want.ColumnType, got.ColumnType, name)
	assert.Equal(t, want.ColumnMeta, got.ColumnMeta, name)
	assert.Equal(t, want.NullBitmap, got.NullBitmap, "%s NULL", name)
	assert.Equal(t, want.SignednessBitmap, got.SignednessBitmap, "%s signs", name)
	assert.Equal(t, want.DefaultCharset, got.DefaultCharset, "%s default charset", name)
	assert.Equal(t, want.ColumnCharset, got.ColumnCharset, "%s column charset", name)
	assert.Equal(t, want.EnumSetDefaultCharset, got.EnumSetDefaultCharset, "%s labels' default charset", name)
	assert.Equal(t, want.EnumSetColumnCharset, got.EnumSetColumnCharset, "%s labels' charset", name)
	assert.Equal(t, want.EnumStrValue, got.EnumStrValue, "%s ENUM", name)
	assert.Equal(t, want.SetStrValue, got.SetStrValue, "%s SET", name)
	assert.Equal(t, want.PrimaryKey, got.PrimaryKey, "%s key", name)
	assert.Equal(t, want.PrimaryKeyPrefix, got.PrimaryKeyPrefix, "%s key prefix", name)
	assert.Equal(t, want.VisibilityBitmap, got.VisibilityBitmap, "%s visibility", name)
}

// The server does not show characters beyond the Basic Multilingual Plane; values are read all the same.
func TestLabelsThatAreNotShown(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, "SET NAMES utf8mb4; CREATE DATABASE d; CREATE TABLE d.t (e ENUM('a','😀','?'), s SET('b','😀 x'), id INT PRIMARY KEY)")
	from := s.Executed(t)
	s.Exec(t, "INSERT INTO d.t VALUES (1, 3, 1), (2, 2, 2), (3, 1, 3)")
	rows := rowsAfter(t, s, from)["d.t"]
	c := open(t, s)
	table := describe(t, c, "d", "t")
	assert.False(t, table.Plan.Same(rows[0].Table))
	want, _ := logged(t, rows)
	r := NewReader(memory.DefaultAllocator, c, table)
	same(t, want, readAll(t, r, Range{})[0])
	r.Close(t.Context())
}

func TestNoDefinition(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); CREATE VIEW d.v AS SELECT a FROM d.t; CREATE USER poor@'%' IDENTIFIED BY 'poor'")
	c := open(t, s)
	for _, name := range []string{"v", "absent", "T"} {
		_, err := Definition(t.Context(), c, "d", name)
		var absent *NoTableError
		require.ErrorAs(t, err, &absent)
		assert.Equal(t, name, absent.Table)
		assert.False(t, source.IsStreamError(err))
	}
	cfg := config(t, s)
	cfg.User, cfg.Password = "poor", "poor"
	poor, err := Open(t.Context(), cfg, s.Addr())
	require.NoError(t, err)
	defer poor.Close()
	_, err = Definition(t.Context(), poor, "d", "t")
	var absent *NoTableError
	require.ErrorAs(t, err, &absent)

	// A part of the table is not the table.
	s.Exec(t, "CREATE TABLE d.u (a INT PRIMARY KEY, b INT, c INT INVISIBLE); GRANT SELECT (a) ON d.t TO poor@'%'; GRANT SELECT (a, b) ON d.u TO poor@'%'")
	var fault *source.Error
	_, err = Definition(t.Context(), poor, "d", "u")
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, source.KindPrivilege, fault.Kind)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Definition(ctx, c, "d", "t")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, source.KindCanceled, fault.Kind)
}
