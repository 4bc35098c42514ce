package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/testenv"
)

func TestRangesTogetherAreTheTable(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, numbers, `CREATE TABLE d.t (k VARCHAR(30) CHARACTER SET latin1, n INT, v BLOB, PRIMARY KEY (k, n));
		INSERT INTO d.t SELECT CONCAT(ELT(1 + x.i % 5, 'É', 'e', 'Z', 'ä', 'b'), x.i % 100), x.i * 10 + y.i, REPEAT('v', x.i % 50) FROM d.n x JOIN d.n y ON y.i < 8`)
	for _, tls := range []source.TLSMode{source.TLSOff, source.TLSRequired} {
		cfg := config(t, s)
		cfg.TLS = tls
		c, err := Open(t.Context(), cfg, s.Addr())
		require.NoError(t, err)
		table := describe(t, c, "d", "t")
		ranges := split(t, c, table, 3000, nil)
		require.Len(t, ranges, 14)

		// All memory is given back, and no batch is larger than it may be.
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		reader := NewReader(mem, c, table)
		var parts, whole []string
		collect := func(into *[]string, ranges ...Range) {
			for _, part := range ranges {
				require.NoError(t, reader.Start(t.Context(), part))
				require.ErrorContains(t, reader.Start(t.Context(), part), "not read to the end")
				for {
					batch, err := reader.Next(t.Context())
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(t, err)
					assert.LessOrEqual(t, batch.NumRows(), int64(batchRows))
					for i := range int(batch.NumRows()) {
						*into = append(*into, batch.Column(0).ValueStr(i)+" "+batch.Column(1).ValueStr(i)+" "+batch.Column(2).ValueStr(i))
					}
					batch.Release()
				}
				_, err := reader.Next(t.Context())
				require.ErrorIs(t, err, io.EOF)
			}
		}
		collect(&parts, ranges...)
		collect(&whole, Range{})
		assert.Len(t, whole, 40_000)
		assert.Equal(t, whole, parts)
		reader.Close(t.Context())
		mem.AssertSize(t, 0)

		// The connection is good for the next reader.
		next := NewReader(memory.DefaultAllocator, c, table)
		assert.NotEmpty(t, readAll(t, next, ranges[3]))
		next.Close(t.Context())
		require.Error(t, next.Start(t.Context(), Range{}))
		rows, err := c.rows("SHOW SESSION STATUS WHERE Variable_name IN ('Com_stmt_prepare', 'Com_stmt_close')")
		require.NoError(t, err)
		assert.Equal(t, *rows[0][1], *rows[1][1], "statements are closed")
		c.Close()
	}
}

// A value larger than a packet, and batches of large values.
func TestWideRows(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, numbers, `CREATE TABLE d.t (id INT PRIMARY KEY, v LONGBLOB, w LONGTEXT);
		INSERT INTO d.t VALUES (0, REPEAT('a', 17000000), 'x'), (1, 'y', REPEAT('é', 17000000)), (2, REPEAT('b', 16777215 - 30), ''), (3, '', '');
		INSERT INTO d.t SELECT 10 + i, REPEAT('c', 1000000), 'z' FROM d.n WHERE i < 40`)
	c := open(t, s)
	reader := NewReader(memory.DefaultAllocator, c, describe(t, c, "d", "t"))
	batches := readAll(t, reader, Range{})
	require.Len(t, batches, 6)
	var sizes []int
	for _, b := range batches {
		for i := range int(b.NumRows()) {
			sizes = append(sizes, len(b.Column(1).(*array.Binary).Value(i))+len(b.Column(2).(*array.String).Value(i)))
		}
	}
	assert.Len(t, sizes, 44)
	assert.Equal(t, []int{17000001, 34000001, 16777185, 0, 1000001}, sizes[:5])
	reader.Close(t.Context())
}

// Keys that cannot be carried over, as in the binary log.
func TestKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, `CREATE DATABASE d; USE d; SET sql_mode='', NAMES utf8mb4; CREATE TABLE e (a ENUM('x','','ü') PRIMARY KEY, b INT); INSERT INTO e VALUES ('x', 1), (2, 2), ('ü', 3);
		CREATE TABLE z (a DATE PRIMARY KEY); INSERT INTO z VALUES ('0000-00-00')`)
	c := open(t, s)
	table := describe(t, c, "d", "e")
	reader := NewReader(memory.DefaultAllocator, c, table)
	batch := readAll(t, reader, Range{})[0]
	assert.Equal(t, "x,,ü", batch.Column(0).ValueStr(0)+","+batch.Column(0).ValueStr(1)+","+batch.Column(0).ValueStr(2))
	reader.Close(t.Context())
	s.Exec(t, "SET sql_mode=''; INSERT INTO d.e VALUES ('none', 4)")
	for _, name := range []string{"e", "z"} {
		c := open(t, s)
		reader := NewReader(memory.DefaultAllocator, c, describe(t, c, "d", name))
		require.NoError(t, reader.Start(t.Context(), Range{}))
		_, err := reader.Next(t.Context())
		var value *decode.ValueError
		require.ErrorAs(t, err, &value)
		assert.Equal(t, "a", value.Column)
		_, again := reader.Next(t.Context())
		assert.Equal(t, err, again)
		reader.Close(t.Context())
	}
}

func TestChangedTables(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, "CREATE DATABASE d")
	for i, alter := range []string{
		"DROP TABLE d.t", "DROP DATABASE d", "ALTER TABLE d.t DROP COLUMN v", "ALTER TABLE d.t RENAME COLUMN v TO w", "ALTER TABLE d.t MODIFY n BIGINT NOT NULL", "ALTER TABLE d.t MODIFY n INT UNSIGNED NOT NULL",
		"ALTER TABLE d.t MODIFY n INT", "ALTER TABLE d.t MODIFY v VARCHAR(10) CHARACTER SET latin1", "ALTER TABLE d.t MODIFY v VARBINARY(10)", "ALTER TABLE d.t MODIFY x DECIMAL(12,3)",
		"ALTER TABLE d.t MODIFY y DATETIME", "ALTER TABLE d.t MODIFY y TIMESTAMP(3) NULL", "ALTER TABLE d.t MODIFY z BINARY(9)", "ALTER TABLE d.t MODIFY e SET('a','b')", "ALTER TABLE d.t MODIFY e ENUM('a','b') CHARACTER SET latin1",
		"ALTER TABLE d.t DROP PRIMARY KEY", "ALTER TABLE d.t MODIFY j TEXT", "ALTER TABLE d.t MODIFY v VARCHAR(10) CHARACTER SET utf8mb3",
	} {
		s.Exec(t, "CREATE DATABASE IF NOT EXISTS d; DROP TABLE IF EXISTS d.t; CREATE TABLE d.t (id INT PRIMARY KEY, n INT NOT NULL, v VARCHAR(10), x DECIMAL(12,2), y DATETIME(3), z BINARY(8), e ENUM('a','b'), j JSON)")
		c := open(t, s)
		table := describe(t, c, "d", "t")
		reader := NewReader(memory.DefaultAllocator, c, table)
		require.Empty(t, readAll(t, reader, Range{}))
		s.Exec(t, alter)
		err := reader.Start(t.Context(), Range{})
		var changed *ChangedError
		if assert.ErrorAs(t, err, &changed, "%d: %s", i, alter) {
			assert.False(t, source.IsStreamError(err))
		}
		reader.Close(t.Context())
	}
	// What does not matter to the values does not end a load.
	s.Exec(t, "CREATE DATABASE IF NOT EXISTS d; DROP TABLE IF EXISTS d.t; CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(10))")
	c := open(t, s)
	reader := NewReader(memory.DefaultAllocator, c, describe(t, c, "d", "t"))
	s.Exec(t, "ALTER TABLE d.t ADD COLUMN more INT FIRST, MODIFY v VARCHAR(300), ADD KEY (v)")
	require.NoError(t, reader.Start(t.Context(), Range{}))
	reader.Close(t.Context())
}

func TestBrokenReads(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, numbers, "CREATE TABLE d.t (id INT PRIMARY KEY, v VARCHAR(1000)); INSERT INTO d.t SELECT x.i * 10 + y.i, REPEAT('v', 500) FROM d.n x JOIN d.n y ON y.i < 10")
	started := func(t *testing.T) (*Conn, *Reader) {
		c := open(t, s)
		r := NewReader(memory.DefaultAllocator, c, describe(t, c, "d", "t"))
		require.NoError(t, r.Start(t.Context(), Range{}))
		batch, err := r.Next(t.Context())
		require.NoError(t, err)
		batch.Release()
		return c, r
	}
	toTheEnd := func(ctx context.Context, r *Reader) error {
		for {
			batch, err := r.Next(ctx)
			if err != nil {
				return err
			}
			batch.Release()
		}
	}
	kindOf := func(err error) source.Kind {
		var e *source.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, s.Addr(), e.Host)
		return e.Kind
	}

	_, r := started(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	_, err := r.Next(ctx)
	require.ErrorIs(t, err, reason)
	assert.Equal(t, source.KindCanceled, kindOf(err))
	assert.False(t, source.IsStreamError(err))
	r.Close(t.Context())

	// The end of a context ends a read that waits.
	_, r = started(t)
	s.Pause(t)
	ctx, cancel = context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- toTheEnd(ctx, r) }()
	cancel(reason)
	require.ErrorIs(t, <-done, reason)
	s.Resume(t)
	r.Close(t.Context())

	// The server ends the statement, the connection, itself.
	c, r := started(t)
	s.Exec(t, fmt.Sprintf("KILL QUERY %d", c.my.GetConnectionID()))
	if err = toTheEnd(t.Context(), r); !errors.Is(err, io.EOF) { // unless it had sent everything
		assert.Equal(t, source.KindShutdown, kindOf(err))
		assert.True(t, source.IsStreamError(err))
	}
	r.Close(t.Context())
	_, r = started(t)
	s.Kill(t)
	err = toTheEnd(t.Context(), r)
	assert.Equal(t, source.KindNetwork, kindOf(err))
	assert.True(t, source.IsStreamError(err) && source.CanPass(err))
	r.Close(t.Context())
	_, err = Open(t.Context(), config(t, s), s.Addr())
	assert.Equal(t, source.KindNetwork, kindOf(err))

	// Without the privilege.
	s.Start(t)
	s.Exec(t, "CREATE USER poor@'%' IDENTIFIED BY 'poor'; GRANT SELECT (id) ON d.t TO poor@'%'")
	table := describe(t, open(t, s), "d", "t")
	cfg := config(t, s)
	cfg.User, cfg.Password = "poor", "poor"
	poor, err := Open(t.Context(), cfg, s.Addr())
	require.NoError(t, err)
	t.Cleanup(poor.Close)
	r = NewReader(memory.DefaultAllocator, poor, table)
	assert.Equal(t, source.KindPrivilege, kindOf(r.Start(t.Context(), Range{})))
}
