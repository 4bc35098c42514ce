package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// schema has a table for every storage class of a key, and columns of every type that is followed.
const schema = `
CREATE DATABASE IF NOT EXISTS app;
CREATE TABLE app.wide (
  id BIGINT NOT NULL PRIMARY KEY,
  i8 TINYINT, u8 TINYINT UNSIGNED, i16 SMALLINT, u24 MEDIUMINT UNSIGNED, u32 INT UNSIGNED, u64 BIGINT UNSIGNED,
  price DECIMAL(18,4), big DECIMAL(38,10), huge DECIMAL(60,5), f FLOAT, d DOUBLE, flag BIT(1), bits BIT(17),
  c CHAR(10), v VARCHAR(200), latin VARCHAR(50) CHARACTER SET latin1, body MEDIUMTEXT, bin BINARY(8), vb VARBINARY(60), blb BLOB,
  e ENUM('small','medium','large'), s SET('a','b','c'), day DATE, dt DATETIME(6), dt0 DATETIME, ts TIMESTAMP(3) NULL, t TIME(3), y YEAR, j JSON
) DEFAULT CHARSET=utf8mb4;
CREATE TABLE app.pair (a INT NOT NULL, b VARCHAR(20) NOT NULL, n INT NOT NULL DEFAULT 0, note VARCHAR(100), PRIMARY KEY (a, b)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE app.text_key (k VARCHAR(40) NOT NULL PRIMARY KEY, v INT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci;
CREATE TABLE app.unsigned_key (id BIGINT UNSIGNED NOT NULL PRIMARY KEY, v DECIMAL(10,2), seen TIMESTAMP(6) NULL);
CREATE TABLE app.hot (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL);
CREATE TABLE app.ignored (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL);
INSERT INTO app.hot VALUES (1,0),(2,0),(3,0);
INSERT INTO app.wide (id, v) VALUES (1, 'first');
INSERT INTO app.pair (a, b) VALUES (1, 'first');
INSERT INTO app.text_key VALUES ('first', 1);
INSERT INTO app.unsigned_key VALUES (1, 1, NOW(6));
`

// tables are the followed ones, with the columns that order them.
var tables = map[string]string{
	"wide": "id", "pair": "a, b", "text_key": "k", "unsigned_key": "id", "hot": "id",
}

// workload makes random transactions: inserts, updates, deletes, key changes, hot keys, NULLs, wide rows, several rows
// and several tables in one, and some that are rolled back.
type workload struct {
	rng   *rand.Rand
	count atomic.Int64 // transactions made
}

func newWorkload(seed uint64) *workload { return &workload{rng: rand.New(rand.NewPCG(seed, 7))} }

// transaction returns the statements of one random transaction.
func (w *workload) transaction() string {
	var b strings.Builder
	b.WriteString("BEGIN;\n")
	for range 1 + w.rng.IntN(4) {
		b.WriteString(w.statement())
		b.WriteString(";\n")
	}
	if w.rng.IntN(10) == 0 {
		b.WriteString("ROLLBACK")
	} else {
		b.WriteString("COMMIT")
	}
	return b.String()
}

func (w *workload) statement() string {
	r := w.rng
	key := r.IntN(2000)
	switch r.IntN(12) {
	case 0, 1, 2:
		rows := make([]string, 1+r.IntN(20))
		for i := range rows {
			rows[i] = w.wideRow(key + i)
		}
		verb := []string{"REPLACE INTO", "INSERT IGNORE INTO"}[r.IntN(2)]
		return fmt.Sprintf("%s app.wide VALUES %s", verb, strings.Join(rows, ", "))
	case 3:
		return fmt.Sprintf("UPDATE app.wide SET price = price + 1, i16 = NULL, v = CONCAT('u', %d), dt = NOW(6) WHERE id BETWEEN %d AND %d", r.IntN(1e6), key, key+r.IntN(40))
	case 4:
		return fmt.Sprintf("DELETE FROM app.wide WHERE id BETWEEN %d AND %d", key, key+r.IntN(15))
	case 5:
		return fmt.Sprintf("UPDATE IGNORE app.wide SET id = id + %d WHERE id BETWEEN %d AND %d ORDER BY id DESC", 1+r.IntN(3), key, key+5)
	case 6:
		return fmt.Sprintf("INSERT INTO app.pair (a, b, n) VALUES (%d, 'b%d', 1), (%d, 'x%d', 2) ON DUPLICATE KEY UPDATE n = n + 1, note = IF(n %% 2, NULL, 'seen')", key%50, r.IntN(20), key%50, r.IntN(5))
	case 7:
		return fmt.Sprintf("UPDATE IGNORE app.pair SET b = CONCAT('x', %d), a = a + %d WHERE a = %d LIMIT 3", r.IntN(30), r.IntN(2), key%50)
	case 8:
		return fmt.Sprintf("REPLACE INTO app.text_key VALUES ('%s', %s)", []string{"Abc", "abc", "äbc", "ABD", "x''y", `back\\slash`, "日本"}[r.IntN(7)]+fmt.Sprint(r.IntN(40)), w.null("5"))
	case 9:
		return fmt.Sprintf("DELETE FROM app.text_key WHERE k LIKE '%%%d'; INSERT IGNORE INTO app.unsigned_key VALUES (%d, %s, NOW(6)), (18446744073709551615 - %d, -1.5, NULL)", r.IntN(40), key, w.null("12.34"), r.IntN(100))
	case 10:
		return fmt.Sprintf("DELETE FROM app.unsigned_key WHERE id > 18446744073709551515 OR id = %d; INSERT INTO app.ignored VALUES (1, 1) ON DUPLICATE KEY UPDATE n = n + 1", key)
	default:
		return "UPDATE app.hot SET n = n + 1; UPDATE app.hot SET n = n + 1 WHERE id = 1; DELETE FROM app.hot WHERE id = 3; INSERT INTO app.hot VALUES (3, 7)"
	}
}

func (w *workload) null(v string) string {
	if w.rng.IntN(4) == 0 {
		return "NULL"
	}
	return v
}

func (w *workload) wideRow(id int) string {
	r := w.rng
	body := "'short'"
	if r.IntN(50) == 0 {
		body = fmt.Sprintf("REPEAT('wide %d ', 20000)", id)
	}
	values := []string{
		fmt.Sprint(r.IntN(256) - 128), fmt.Sprint(r.IntN(256)), fmt.Sprint(r.IntN(65536) - 32768), fmt.Sprint(r.IntN(1 << 24)),
		fmt.Sprint(r.Uint32()), fmt.Sprint(r.Uint64()), fmt.Sprintf("%d.%04d", r.IntN(1e9)-5e8, r.IntN(10000)),
		fmt.Sprintf("-%d%d.%d", r.Uint64()>>1, r.IntN(1e9), r.IntN(1e9)), fmt.Sprintf("%d%d.%d", r.Uint64()>>1, r.Uint64()>>1, r.IntN(1e5)),
		fmt.Sprint(float32(r.NormFloat64())), fmt.Sprint(r.NormFloat64() * 1e6), fmt.Sprintf("b'%b'", r.IntN(2)), fmt.Sprintf("b'%b'", r.IntN(1<<17)),
		fmt.Sprintf("'c%d'", r.IntN(1e6)), fmt.Sprintf("'väl %d 値'", r.IntN(1e9)), "'latin é ÿ €'", body,
		fmt.Sprintf("x'%08x'", r.Uint32()), fmt.Sprintf("x'%016x'", r.Uint64()), fmt.Sprintf("x'00ff%02x00'", r.IntN(256)),
		[]string{"'small'", "'medium'", "'large'"}[r.IntN(3)], []string{"''", "'a'", "'a,c'", "'a,b,c'"}[r.IntN(4)],
		fmt.Sprintf("'%04d-%02d-%02d'", 1000+r.IntN(9000), 1+r.IntN(12), 1+r.IntN(28)),
		fmt.Sprintf("'%04d-%02d-%02d %02d:%02d:%02d.%06d'", 1000+r.IntN(9000), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6)),
		fmt.Sprintf("'2024-%02d-%02d 12:00:00'", 1+r.IntN(12), 1+r.IntN(28)), fmt.Sprintf("FROM_UNIXTIME(%d.%03d)", 1+r.IntN(1<<31-2), r.IntN(1000)),
		fmt.Sprintf("'%d:%02d:%02d.%03d'", r.IntN(1600)-800, r.IntN(60), r.IntN(60), r.IntN(1000)), fmt.Sprint(1901 + r.IntN(255)),
		fmt.Sprintf(`'{"id": %d, "f": %g, "list": [1, null, true, "ü"], "nested": {"a": "%d"}}'`, id, r.NormFloat64(), r.IntN(1e6)),
	}
	for i, v := range values {
		values[i] = w.null(v)
	}
	return fmt.Sprintf("(%d, %s)", id, strings.Join(values, ", "))
}

// run makes transactions on a server until ctx ends. A statement may fail on a lock or a dying server; what counts is
// what the binary log says.
func (w *workload) run(ctx context.Context, t testing.TB, s *testenv.Server) {
	session := s.Session(t, "app")
	for ctx.Err() == nil {
		if err := session.Exec(w.transaction()); err != nil {
			t.Errorf("workload: %v", err)
			return
		}
		w.count.Add(1)
	}
}
