package testenv_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

func count(t *testing.T, s *testenv.Server) string {
	t.Helper()
	return s.Query(t, "SELECT count(*) FROM shop.t")[0][0]
}

func TestTopologyReplicatesAndSurvivesFaults(t *testing.T) {
	t.Parallel()
	c := testenv.Topology(t, 2, testenv.ReadOnly())
	c.Primary.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1), (2)")
	c.Sync(t)
	uuids := map[string]bool{}
	for _, s := range c.Servers() {
		if got := count(t, s); got != "2" {
			t.Errorf("%s has %s rows, want 2", s.Addr(), got)
		}
		uuids[s.UUID()] = true
	}
	if len(uuids) != 3 {
		t.Errorf("the three servers have %d different UUIDs", len(uuids))
	}

	first := c.Replicas[0]
	first.Kill(t)
	c.Primary.Exec(t, "INSERT INTO shop.t VALUES (3)")
	first.Start(t)
	c.Sync(t)
	if got := count(t, first); got != "3" {
		t.Errorf("after SIGKILL and start: %s rows, want 3", got)
	}
	if got := first.Query(t, "SELECT @@super_read_only")[0][0]; got != "1" {
		t.Errorf("super_read_only after a restart is %s, want 1", got)
	}

	second := c.Replicas[1]
	before := second.Executed(t)
	second.Pause(t)
	c.Primary.Exec(t, "INSERT INTO shop.t VALUES (4)")
	first.WaitFor(t, c.Primary.Executed(t))
	second.Resume(t)
	c.Sync(t)
	if after := second.Executed(t); after == before {
		t.Errorf("the paused replica did not go on: still at %s", after)
	}

	c.Primary.Purge(t)
	if purged, err := c.Primary.Purged(t.Context()); err != nil || purged != c.Primary.Executed(t) {
		t.Errorf("purged %q (%v), want everything: %q", purged, err, c.Primary.Executed(t))
	}
	first.Stop(t)
	first.Start(t)
	if got := count(t, first); got != "4" {
		t.Errorf("after a clean restart: %s rows, want 4", got)
	}
}

func TestNormalFormOfMySQL(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, `CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY, u BIGINT UNSIGNED, f FLOAT, g DOUBLE, n DECIMAL(10,3), b BIT(1), b9 BIT(9),
		c VARCHAR(20) CHARACTER SET latin1, x VARBINARY(10), e ENUM('a','b'), s SET('p','q'), d DATE, dt DATETIME(3), ts TIMESTAMP(6) NULL, tm TIME(2), y YEAR, j JSON, z INT);
		INSERT INTO d.t VALUES (-1, 18446744073709551615, 0.1, 1e20, -12.5, 1, 258, 'grün', 0x00ff, 'b', 'p,q', '2026-01-31', '2026-01-31 23:59:59.5',
		'2026-01-31 23:59:59.000001', '-100:00:01.5', 2026, '{"b": 1, "a": [true, null]}', NULL)`)
	want := []string{
		"-1", "18446744073709551615", "0.1", "1e+20", "-12.500", "true", "0x0102", "grün", "0x00ff", "b", "p,q", "2026-01-31",
		"2026-01-31T23:59:59.500000", "2026-01-31T23:59:59.000001Z", "-100:00:01.50", "2026", `{"a": [true, null], "b": 1}`, testenv.Null,
	}
	for i, got := range s.Query(t, "SELECT * FROM d.t")[0] {
		if got != want[i] {
			t.Errorf("column %d: %q, want %q", i, got, want[i])
		}
	}
}

func TestProxyCutsAndHeals(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t).Proxy(t)
	greet := func(limit time.Duration) error { // a server speaks first
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 4))
		return err
	}
	if err := greet(10 * time.Second); err != nil {
		t.Fatalf("through the open proxy: %v", err)
	}
	open, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	p.Cut(t)
	if _, err := open.Read(make([]byte, 1000)); err == nil {
		if _, err = open.Read(make([]byte, 1000)); err == nil {
			t.Error("an open connection survived the cut")
		}
	}
	if err := greet(time.Second); err == nil {
		t.Error("a new connection was accepted during the cut")
	}
	p.Blackhole(t)
	if err := greet(300 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("through a black hole: %v, want a time-out", err)
	}
	p.Heal(t)
	if err := greet(10 * time.Second); err != nil {
		t.Errorf("after healing: %v", err)
	}
}
