package source

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

// BenchmarkStream reads the same history of about 190 B a row in transactions of 500 rows three times over: the bare
// network packets, the stream of a table that is not wanted, and the stream of one that is.
func BenchmarkStream(b *testing.B) {
	const transactions, perTransaction = 600, 500
	p := testenv.MySQL(b, testenv.BufferPool(256))
	p.Exec(b, "CREATE DATABASE d; CREATE TABLE d.w (id BIGINT PRIMARY KEY AUTO_INCREMENT, a INT, c DATETIME(6), s VARCHAR(300)); CREATE TABLE d.n (i INT PRIMARY KEY)",
		fmt.Sprintf("SET SESSION cte_max_recursion_depth=10000; INSERT INTO d.n WITH RECURSIVE r AS (SELECT 1 i UNION ALL SELECT i+1 FROM r WHERE i<%d) SELECT i FROM r", perTransaction))
	from := set(p.Executed(b))
	session := p.Session(b, "d")
	for range transactions {
		require.NoError(b, session.Exec("INSERT INTO w (a,c,s) SELECT i, NOW(6), REPEAT('x',170) FROM n"))
	}
	until := set(p.Executed(b))
	cfg := config(b, p)
	report := func(b *testing.B, bytes uint64, took time.Duration) {
		seconds := took.Seconds()
		b.ReportMetric(float64(bytes)/seconds/1e6, "MB/s")
		b.ReportMetric(float64(b.N*transactions*perTransaction)/seconds/1e6, "Mrows/s")
	}
	for _, mode := range []string{"packets", "unwanted", "wanted"} {
		b.Run(mode, func(b *testing.B) {
			b.ReportAllocs()
			cfg := cfg
			cfg.Wanted = func(string, string) bool { return mode == "wanted" }
			var bytes uint64
			for b.Loop() {
				s := dial(b, cfg, p.Addr(), from)
				if mode == "packets" {
					for total := uint64(transactions * perTransaction * 190); s.Received() < total; {
						_, _, err := s.packets.next()
						require.NoError(b, err)
					}
				} else {
					for reached := from.Clone(); !reached.Contains(until); {
						tx, err := s.Next(b.Context())
						if err != nil {
							b.Fatal(err)
						}
						if tx != nil {
							reached.Add(tx.GTID)
						}
					}
				}
				bytes += s.Received()
				s.Close()
			}
			report(b, bytes, b.Elapsed())
		})
	}
}

// BenchmarkAssemble is the stream without network and server: events of 40 rows.
func BenchmarkAssemble(b *testing.B) {
	a := newAssembler()
	rows := make([]byte, 8000)
	begin, insert := queryEvent("BEGIN"), insertEvent(string(rows))
	b.ReportAllocs()
	n := int64(0)
	var g checkpoint.Set
	for b.Loop() {
		n++
		gtid := gtidEvent(n)
		for _, e := range []*event{gtid, begin, insert, insert, insert, insert, insert, insert, insert, insert, xid} {
			tx, err := a.take(e)
			if err != nil {
				b.Fatal(err)
			}
			if tx != nil {
				g.Add(tx.GTID)
			}
		}
	}
	b.ReportMetric(float64(n*8*40)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}
