package verify_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest/verify"
	"github.com/tidemark/tidemark/internal/testenv"
)

const benchRows = 400_000

// BenchmarkVerify compares a table of twelve columns and about 195 bytes a row, a tenth of whose rows were changed once.
// rows/cpu-s are rows of the source for each second of processor time of this process, in which both sides are read.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b, testenv.BufferPool(512))
	w.exec(`CREATE DATABASE d; CREATE TABLE d.t (id BIGINT NOT NULL PRIMARY KEY, a INT NOT NULL, b INT UNSIGNED NULL, c SMALLINT NULL,
		amount DECIMAL(18,4) NOT NULL, created DATETIME(6) NOT NULL, updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, name VARCHAR(64) NOT NULL,
		email VARCHAR(100) NULL, notes TEXT, doc JSON, score DOUBLE)`)
	const step = 50_000
	for from := 0; from < benchRows; from += step {
		w.exec(fmt.Sprintf(`SET SESSION cte_max_recursion_depth = 1000000; INSERT INTO d.t WITH RECURSIVE n (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			SELECT i, i * 7 %% 1000003, IF(i %% 10, i * 31, NULL), i %% 30000, i * 1234.5678, TIMESTAMP'2024-01-01 00:00:00' + INTERVAL i * 1234567 MICROSECOND,
				TIMESTAMP'2024-01-01 00:00:00' + INTERVAL i SECOND, CONCAT('name of ', i), CONCAT('user', i, '@example.com'), IF(i %% 5, REPEAT('notes ', 10), NULL),
				JSON_OBJECT('k', i, 'tags', JSON_ARRAY('a', 'b', i %% 7)), SQRT(i) FROM n`, from, from+step-1))
	}
	w.catchUp()
	w.exec("UPDATE d.t SET c = c + 1 WHERE id % 10 = 3")
	w.catchUp()
	b.ReportAllocs()
	used := cpu(b)
	for b.Loop() {
		report, err := w.verify(verify.Options{Parallel: 2})
		require.NoError(b, err)
		require.True(b, report.Equal)
		require.EqualValues(b, benchRows, report.Tables[0].Rows)
	}
	rows := float64(b.N) * benchRows
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(rows/(cpu(b)-used).Seconds(), "rows/cpu-s")
}

// cpu is the processor time that this process has used, its kernel part included.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
