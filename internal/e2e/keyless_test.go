package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// keyless are tables whose rows have no key: rows that are the same, NULLs in every column, a unique key that can be NULL, a
// float for a primary key.
const keyless = `
CREATE DATABASE app;
CREATE TABLE app.journal (
  seen DATETIME(3) NULL, level ENUM('debug','info','error') NULL, who VARCHAR(40) NULL, n INT NULL, big BIGINT UNSIGNED NULL, price DECIMAL(12,3) NULL,
  f FLOAT NULL, d DOUBLE NULL, flag BIT(1) NULL, day DATE NULL, raw VARBINARY(40) NULL, doc JSON NULL, body TEXT NULL
) DEFAULT CHARSET=utf8mb4;
CREATE TABLE app.same (n INT NULL);
CREATE TABLE app.maybe (a INT NULL, b VARCHAR(20) NULL, UNIQUE KEY (a)) DEFAULT CHARSET=latin1;
CREATE TABLE app.measured (x DOUBLE NOT NULL PRIMARY KEY, n INT NULL);
`

var keylessTables = map[string]string{"journal": "1", "same": "1", "maybe": "1", "measured": "1"}

// keylessStatement is a random one.
func keylessStatement(r *rand.Rand) string {
	null := func(v string) string {
		if r.IntN(5) == 0 {
			return "NULL"
		}
		return v
	}
	row := func() string {
		n := r.IntN(30)
		return fmt.Sprintf("(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
			null(fmt.Sprintf("'2024-03-%02d 10:00:00.%03d'", 1+n%3, n)), null([]string{"'debug'", "'info'", "'error'"}[n%3]), null(fmt.Sprintf("'Zoë %d'", n%4)), null(fmt.Sprint(n%5)),
			null("18446744073709551615"), null(fmt.Sprintf("%d.125", n%3)), null("0.1"), null("-0e0"), null("b'1'"), null("'2024-02-29'"), null("x'00ff00'"),
			null(`'{"a": [1, 2.5, null], "b": "x"}'`), null([]string{"''", "'text'", "REPEAT('long ', 300)"}[n%3]))
	}
	switch r.IntN(9) {
	case 0, 1, 2:
		rows := make([]string, 1+r.IntN(30))
		for i := range rows {
			rows[i] = row()
		}
		return "INSERT INTO app.journal VALUES " + strings.Join(rows, ", ")
	case 3:
		return fmt.Sprintf("UPDATE app.journal SET n = n + 1, who = NULL WHERE n = %d LIMIT %d", r.IntN(5), 1+r.IntN(20))
	case 4:
		return fmt.Sprintf("UPDATE app.journal SET body = IF(body IS NULL, 'was null', NULL), f = f / 3, d = d + 0.1 WHERE level = 'info' LIMIT %d", 1+r.IntN(20))
	case 5:
		return fmt.Sprintf("DELETE FROM app.journal WHERE n = %d OR who IS NULL LIMIT %d", r.IntN(7), 1+r.IntN(40))
	case 6:
		return fmt.Sprintf("INSERT INTO app.same VALUES (1), (1), (NULL), (%d); DELETE FROM app.same LIMIT %d; UPDATE app.same SET n = 2 WHERE n = 1 LIMIT 2", r.IntN(3), r.IntN(4))
	case 7:
		return fmt.Sprintf("INSERT INTO app.maybe VALUES (NULL, 'x'), (NULL, 'é'), (NULL, NULL); REPLACE INTO app.maybe VALUES (%d, 'y'); DELETE FROM app.maybe WHERE a IS NULL LIMIT 2", r.IntN(20))
	default:
		return fmt.Sprintf("REPLACE INTO app.measured VALUES (%d / 7, %d), (-0.0, %s); UPDATE app.measured SET x = x + 0.5 ORDER BY x DESC LIMIT 1", r.IntN(50), r.IntN(5), null("1"))
	}
}

// TestKeyless loads tables without a key while they change, follows them through kills, other servers and rewrites of its own and
// of others, and demands that the lake has each row as often as the source has it.
func TestKeyless(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) { followKeyless(t, format) })
	}
}

func followKeyless(t *testing.T, format string) {
	rng := rand.New(rand.NewPCG(3, uint64(len(t.Name()))))
	cluster := testenv.Topology(t, 2)
	servers := cluster.Servers()
	shuffled := func() string {
		var hosts []string
		for _, i := range rng.Perm(len(servers)) {
			hosts = append(hosts, servers[i].Addr())
		}
		return fmt.Sprintf("mysql://%s:%s@%s/", server.User, server.Password, strings.Join(hosts, ","))
	}
	cluster.Primary.Exec(t, keyless)
	session := cluster.Primary.Session(t, "app")
	write := rand.New(rand.NewPCG(4, 4))
	transaction := func() {
		var b strings.Builder
		b.WriteString("BEGIN; ")
		for range 1 + write.IntN(3) {
			b.WriteString(keylessStatement(write) + "; ")
		}
		if err := session.Exec(b.String() + []string{"COMMIT", "COMMIT", "COMMIT", "ROLLBACK"}[write.IntN(4)]); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		transaction()
	}
	cluster.Sync(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && !t.Failed() {
			transaction()
			if err := session.Exec(fmt.Sprintf("DO SLEEP(%g)", float64(write.IntN(10))/1000)); err != nil {
				t.Error(err)
			}
		}
	}()

	lake := localLake(t)
	args := []string{"--start", "initial", "--strict", "--format-version", format}
	for range 6 {
		p := startIngest(t, lake, shuffled(), args...)
		select {
		case <-time.After(time.Duration(300+rng.IntN(1200)) * time.Millisecond):
		case <-p.exited:
			t.Fatalf("ingest ended by itself:\n%s", p.text())
		}
		p.kill()
	}
	p := startIngest(t, lake, shuffled(), append(args, "--compact", "off")...)
	until(t, "every table is loaded", func() (bool, string) {
		live := 0
		for _, r := range lake.checkpoints(t) {
			if r.Checkpoint.State == "live" {
				live++
			}
		}
		return live == len(keylessTables), p.text()
	})
	for range 2 {
		until(t, "there is something to rewrite", func() (bool, string) {
			code, out, log := run(t, lake.env, append([]string{"compact", "--tables", "app.*"}, lake.args...)...)
			if code != 0 {
				t.Fatalf("compact: exit code %d\n%s%s", code, out, log)
			}
			return strings.Contains(out, "app.journal: rewrote"), out
		})
		verify(t, lake, shuffled(), 0)
	}
	used := lake.checkpoints(t)["journal"].Checkpoint.ServerUUID
	for _, s := range servers {
		if s.UUID() == used && s != cluster.Primary {
			s.Kill(t)
			defer s.Start(t)
			servers = slices.DeleteFunc(servers, func(x *testenv.Server) bool { return x == s })
			until(t, "another server serves", func() (bool, string) { return lake.checkpoints(t)["journal"].Checkpoint.ServerUUID != used, p.text() })
		}
	}
	cancel()
	<-done
	p.stop()
	if text := p.text(); !strings.Contains(text, "another program committed") || strings.Contains(text, "starting again") {
		t.Errorf("the index should have followed the rewrites of another program:\n%s", text)
	}
	for _, s := range servers {
		if s != cluster.Primary {
			s.WaitFor(t, cluster.Primary.Executed(t))
		}
	}
	catchUp(t, lake, shuffled(), args...)
	for table, r := range lake.checkpoints(t) {
		if r.Checkpoint.State != "live" {
			t.Errorf("%s is %s", table, r.Checkpoint.State)
		}
	}
	equalTables(t, cluster.Primary, lake.byDuckDB(t), keylessTables)
	equalTables(t, cluster.Primary, lake.byTrino(t), keylessTables)
	verify(t, lake, testenv.URL(cluster.Primary), 0)

	// What the binary log does not know: a row more, a row less, a row with another value.
	unlogged(t, cluster.Primary, "DELETE FROM journal", "DELETE FROM same WHERE n = 1 LIMIT 1", "INSERT INTO same VALUES (77), (77)", "INSERT INTO same VALUES (5)")
	v := verify(t, lake, testenv.URL(cluster.Primary), 5, "--tables", "app.same,app.maybe")
	if got, want := v.named("same"), []string{"extra [1]", "missing [5]", "missing [77]", "missing [77]"}; !slices.Equal(got, want) {
		t.Errorf("verify found %q, want %q", got, want)
	}
	if v.named("maybe") != nil {
		t.Errorf("verify found %q in a table that is equal", v.named("maybe"))
	}
	if v := verify(t, lake, testenv.URL(cluster.Primary), 5, "--tables", "app.journal"); v.Tables[0].Rows == 0 || v.Tables[0].Differences != v.Tables[0].Rows {
		t.Errorf("verify of an emptied table: %+v", v.Tables[0])
	}
}

// TestKeylessUncertain: a transaction is being committed while a table without a key is read, so that nobody can tell whether the
// rows have it: the load begins anew. Verify reads such a table beside a transaction that is under way, too.
func TestKeylessUncertain(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, keyless, "INSERT INTO app.same WITH RECURSIVE x (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 900) SELECT i DIV 3 FROM x")
	session := s.Session(t, "app")
	owned := fmt.Sprintf("%s:5000", s.UUID())
	if err := session.Exec("SET gtid_next = '"+owned+"'", "BEGIN", "INSERT INTO app.same VALUES (1), (2)"); err != nil {
		t.Fatal(err)
	}
	lake := localLake(t)
	p := startLoading(t, lake, testenv.URL(s), "--tables", "app.same")
	p.waitForLog("created table")
	p.waitForLog("msg=loading table=app.same rows=900") // read, and waiting to learn what becomes of the transaction
	if err := session.Exec("COMMIT", "SET gtid_next = 'AUTOMATIC'"); err != nil {
		t.Fatal(err)
	}
	p.waitForLog("the load of a table has to begin anew")
	p.waitForLog("loaded table joins the stream")
	p.stop()
	same := map[string]string{"same": "1"}
	equalTables(t, s, lake.byDuckDB(t), same)

	if err := session.Exec("SET gtid_next = '"+fmt.Sprintf("%s:6000", s.UUID())+"'", "BEGIN", "INSERT INTO app.same VALUES (3)"); err != nil {
		t.Fatal(err)
	}
	verify(t, lake, testenv.URL(s), 0, "--tables", "app.same")
	if err := session.Exec("COMMIT", "SET gtid_next = 'AUTOMATIC'"); err != nil {
		t.Fatal(err)
	}
	verify(t, lake, testenv.URL(s), 0, "--tables", "app.same") // at the lake's position, before that commit
	catchUp(t, lake, testenv.URL(s), "--tables", "app.same", "--strict")
	equalTables(t, s, lake.byDuckDB(t), same)
}
