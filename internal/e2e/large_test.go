package e2e

import (
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestTransactionLargerThanMemory follows one transaction of three million rows over two tables, and one that changes a
// third of them, under --memory 256MiB: killed in the middle nothing of it is to be seen, and the second try takes no more
// memory than the first.
func TestTransactionLargerThanMemory(t *testing.T) {
	s := testenv.MySQL(t, testenv.BufferPool(512))
	lake := localLake(t)
	s.Exec(t, schema, `CREATE TABLE app.big (id INT NOT NULL PRIMARY KEY, n INT NOT NULL, price DECIMAL(12,2), label VARCHAR(40), at DATETIME(6))`,
		`CREATE TABLE app.ten (d INT PRIMARY KEY); INSERT INTO app.ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)`)
	catchUp(t, lake, testenv.URL(s))
	before := s.Executed(t)

	s.Exec(t, `BEGIN;
		UPDATE app.hot SET n = n + 1 WHERE id = 1;
		INSERT INTO app.big SELECT a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d + 100000*f.d + 1000000*g.d AS id, a.d, b.d * 1.25, CONCAT('row ', c.d, ' of ', d.d), NOW(6)
		FROM app.ten a, app.ten b, app.ten c, app.ten d, app.ten e, app.ten f, app.ten g WHERE g.d < 3;
		UPDATE app.hot SET n = n + 1 WHERE id = 2;
		COMMIT`)
	p := startIngest(t, lake, testenv.URL(s), "--memory", "256MiB", "--until", "caught-up", "--log-level", "debug")
	p.waitForLog("spilled")
	p.kill()
	if got := lake.checkpoints(t)["hot"].Checkpoint.GTIDSet; got != before {
		t.Errorf("killed inside the transaction the table is at %s, want %s", got, before)
	}

	const sums = "SELECT COUNT(*), SUM(n), MIN(id), MAX(id), SUM(price), COUNT(DISTINCT label) FROM %s"
	for _, sql := range []string{"", "UPDATE app.big SET n = n + 1, price = price - 1 WHERE id % 3 = 0"} {
		if sql != "" {
			s.Exec(t, sql)
		}
		p := startIngest(t, lake, testenv.URL(s), "--memory", "256MiB", "--until", "caught-up")
		ends(t, p, 0)
		peak := p.peak()
		t.Logf("peak memory %d MiB", peak>>20)
		if peak > 320<<20 {
			t.Errorf("%d MiB resident under --memory 256MiB", peak>>20)
		}
		want := s.Query(t, "SELECT COUNT(*), SUM(n), MIN(id), MAX(id), SUM(price), COUNT(DISTINCT label) FROM app.big")
		got := lake.byDuckDB(t)(t, "big", sums)
		if i, differ := difference(want, got); differ {
			t.Errorf("the source has %v, the lake %v (%d)", want, got, i)
		}
		equal(t, s, lake.byDuckDB(t))
	}
}
