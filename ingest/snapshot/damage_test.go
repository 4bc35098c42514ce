package snapshot

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/go-mysql-org/go-mysql/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/testenv"
)

// Rows that are cut or changed on their way are errors, or rows, and never more than that.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, `CREATE DATABASE d; USE d; CREATE TABLE t (id INT PRIMARY KEY, a TINYINT UNSIGNED, b BIGINT UNSIGNED, c DECIMAL(10,2), d DECIMAL(30,5), e DECIMAL(65,5), f FLOAT, g DOUBLE,
		h BIT(1), i BIT(9), j DATE, k DATETIME(6), l TIMESTAMP(3) NULL, m TIME(2), n YEAR, o VARCHAR(300), p VARBINARY(10), q BINARY(4), r TEXT CHARACTER SET latin1, s ENUM('a','é') CHARACTER SET latin1, u SET('x','y'), v JSON);
		INSERT INTO t VALUES (1, 255, 18446744073709551615, -1.5, 123456789012345.5, -1234567890.5, 1.5, 2.5, 1, 257, '2024-01-02', '2024-01-02 03:04:05.678901', '2024-01-02 03:04:05', '-10:11:12.5', 2024,
			REPEAT('x', 260), x'00ff', x'01', 'é', 'é', 'x,y', '{"a": [1, 2]}'), (2, 0, 1, 0, 0, 0, 0, 0, 0, 0, '9999-12-31', '2024-01-02', '2024-01-02', '00:00:00', 0, '', '', '', '', NULL, '', 'null')`)
	c := open(t, s)
	table := describe(t, c, "d", "t")
	r := NewReader(memory.DefaultAllocator, c, table)
	require.NoError(t, r.Start(t.Context(), Range{}))
	var rows [][]byte
	for range 2 {
		p, err := c.packets().Next(t.Context())
		require.NoError(t, err)
		rows = append(rows, bytes.Clone(p))
	}
	random := rand.New(rand.NewPCG(1, 1))
	failed := 0
	const tries = 20_000
	for n := range tries {
		row := bytes.Clone(rows[n%2])
		if n%3 == 0 {
			row = row[:random.IntN(len(row))]
		} else {
			for range 1 + random.IntN(3) {
				row[random.IntN(len(row))] = byte(random.Uint32())
			}
		}
		d := decode.NewDecoder(memory.DefaultAllocator, table.Plan)
		require.NoError(t, d.WireRow(rows[0]))
		if err := d.WireRow(row); err != nil {
			failed++
			var wire *decode.WireError
			var value *decode.ValueError
			require.True(t, errors.As(err, &wire) || errors.As(err, &value), "%v", err)
			require.ErrorIs(t, d.WireRow(rows[0]), decode.ErrPoisoned)
		}
		batch := d.Flush()
		require.Contains(t, []int64{1, 2}, batch.NumRows())
		for _, column := range batch.Columns() {
			_ = column.String()
		}
		batch.Release()
	}
	assert.Greater(t, failed, tries/3+tries/20)
}

// A server that says nothing is a stall, after a while.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)")
	c := open(t, s)
	table := describe(t, c, "d", "t")
	c.silence = 200 * time.Millisecond
	s.Pause(t)
	defer s.Resume(t)
	var err error
	for err == nil { // the server stops soon, not at once
		_, _, err = NewRanges(table, 1, nil).Next(t.Context(), c)
	}
	var fault *source.Error
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, source.KindStall, fault.Kind)
	assert.True(t, source.IsStreamError(err) && source.CanPass(err))
}

// old answers prepared statements as servers without CLIENT_DEPRECATE_EOF do: with an EOF packet after the columns and one
// after the rows.
type old struct {
	server.EmptyHandler
	rows int
}

func (o *old) HandleQuery(string) (*mysql.Result, error) { return nil, nil }

func (o *old) HandleStmtPrepare(query string) (params, columns int, context any, err error) {
	return 0, 2, nil, nil
}

func (o *old) HandleStmtExecute(any, string, []any) (*mysql.Result, error) {
	var rows [][]any
	for i := range o.rows {
		rows = append(rows, []any{int64(i), strings.Repeat("x", i%3)})
	}
	if len(rows) == 0 {
		rows = [][]any{{int64(0), ""}}
	}
	r, err := mysql.BuildSimpleBinaryResultset([]string{"id", "v"}, rows)
	if err != nil {
		return nil, err
	}
	r.RowDatas = r.RowDatas[:o.rows]
	r.Fields[0].Flag |= mysql.NOT_NULL_FLAG
	r.Fields[1].Charset = 255
	return mysql.NewResult(r), nil
}

func (o *old) HandleStmtClose(any) error { return nil }

func TestOldEndOfRows(t *testing.T) {
	t.Parallel()
	plan, err := decode.NewPlan(&replication.TableMapEvent{
		Schema: []byte("d"), Table: []byte("t"), ColumnCount: 2, ColumnType: []byte{mysql.MYSQL_TYPE_LONGLONG, mysql.MYSQL_TYPE_VARCHAR}, ColumnMeta: []uint16{0, 40},
		NullBitmap: []byte{2}, SignednessBitmap: []byte{0}, DefaultCharset: []uint64{255}, ColumnName: [][]byte{[]byte("id"), []byte("v")}, PrimaryKey: []uint64{0},
	})
	require.NoError(t, err)
	table := &Table{DB: "d", Table: "t", Plan: plan, key: key{primary, []keyPart{{columnInfo: columnInfo{name: "id", dataType: "bigint"}}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()
	handler := &old{}
	served := make(chan struct{})
	go func() {
		defer close(served)
		in, err := l.Accept()
		if err != nil {
			return
		}
		users := server.NewInMemoryAuthenticationHandler(mysql.AUTH_NATIVE_PASSWORD)
		conf := server.NewServer("5.7.44", mysql.DEFAULT_COLLATION_ID, mysql.AUTH_NATIVE_PASSWORD, nil, nil)
		if err = users.AddUser("u", "p"); err != nil {
			return
		}
		conn, err := conf.NewCustomizedConn(in, users, handler)
		for err == nil {
			err = conn.HandleCommand()
		}
	}()
	c, err := Open(t.Context(), source.Config{User: "u", Password: "p", TLS: source.TLSOff}, l.Addr().String())
	require.NoError(t, err)
	r := NewReader(memory.DefaultAllocator, c, table)
	for _, n := range []int{0, 1, 5, batchRows, batchRows + 1} {
		handler.rows = n
		require.NoError(t, r.Start(t.Context(), Range{}))
		total := 0
		for {
			batch, err := r.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			total += int(batch.NumRows())
			batch.Release()
		}
		assert.Equal(t, n, total)
	}
	assert.Equal(t, 1, r.eofs)
	r.Close(t.Context())
	c.Close()
	<-served
}
