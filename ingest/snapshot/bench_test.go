package snapshot

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/internal/testenv"
)

const benchRows = 50_000

// benchTable has twelve columns and about 195 bytes a row.
func benchTable(b *testing.B) (*Conn, *Table) {
	b.Helper()
	s := testenv.MySQL(b)
	s.Exec(b, `CREATE DATABASE d; USE d; SET cte_max_recursion_depth=100000; CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, a INT NOT NULL, b INT UNSIGNED NULL, c SMALLINT NULL,
		amount DECIMAL(18,4) NOT NULL, created DATETIME(6) NOT NULL, updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, name VARCHAR(64) NOT NULL,
		email VARCHAR(100) NULL, notes TEXT, doc JSON, score DOUBLE);
		INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
		SELECT i, i * 7 % 1000003, IF(i % 10, i * 31, NULL), i % 30000, i * 1234.5678, TIMESTAMP'2024-01-01 00:00:00' + INTERVAL i * 1234567 MICROSECOND,
			TIMESTAMP'2024-01-01 00:00:00' + INTERVAL i SECOND, CONCAT('name of ', i), CONCAT('user', i, '@example.com'), IF(i % 5, REPEAT('notes ', 10), NULL),
			JSON_OBJECT('k', i, 'tags', JSON_ARRAY('a', 'b', i % 7)), SQRT(i) FROM n`)
	c := open(b, s)
	table, err := Describe(b.Context(), c, "d", "t")
	require.NoError(b, err)
	return c, table
}

// cpu is the processor time that this process has used, its kernel part included.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkRead reads a table from a server.
func BenchmarkRead(b *testing.B) {
	c, table := benchTable(b)
	r := NewReader(memory.DefaultAllocator, c, table)
	defer r.Close(b.Context())
	b.ReportAllocs()
	used, rows := cpu(b), int64(0)
	for b.Loop() {
		require.NoError(b, r.Start(b.Context(), Range{}))
		for {
			batch, err := r.Next(b.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(b, err)
			rows += batch.NumRows()
			batch.Release()
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(rows)/(cpu(b)-used).Seconds(), "rows/cpu-s")
}

// BenchmarkRanges splits a table: how fast a server walks its key.
func BenchmarkRanges(b *testing.B) {
	c, table := benchTable(b)
	for b.Loop() {
		split(b, c, table, benchRows/5, nil)
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkDecode decodes recorded packets.
func BenchmarkDecode(b *testing.B) {
	c, table := benchTable(b)
	r := NewReader(memory.DefaultAllocator, c, table)
	defer r.Close(b.Context())
	require.NoError(b, r.Start(b.Context(), Range{}))
	var packets [][]byte
	size := 0
	for {
		p, err := c.packets().Next(b.Context())
		require.NoError(b, err)
		if p[0] != 0 {
			break
		}
		packets = append(packets, bytes.Clone(p))
		size += len(p)
	}
	require.Len(b, packets, benchRows)
	d := decode.NewDecoder(memory.DefaultAllocator, table.Plan)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for i, p := range packets {
			if err := d.WireRow(p); err != nil {
				b.Fatal(err)
			}
			if i%batchRows == batchRows-1 {
				d.Flush().Release()
			}
		}
		d.Flush().Release()
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}
