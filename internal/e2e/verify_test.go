package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// verified is what the tests look at in `tidemark verify --json`.
type verified struct {
	Equal  bool `json:"equal"`
	Tables []struct {
		Table    string `json:"table"`
		Result   string `json:"result"`
		Rows     int    `json:"rows"`
		Touched  int    `json:"touched"`
		Compared []struct {
			GTIDSet string `json:"gtid_set"`
			Parts   int    `json:"parts"`
		} `json:"compared"`
		Differences int `json:"differences"`
		Named       []struct {
			Kind    string   `json:"kind"`
			Key     []string `json:"key"`
			Columns []string `json:"columns"`
		} `json:"named"`
		Error string `json:"error"`
	} `json:"tables"`
}

// named lists the differences of a table.
func (v verified) named(table string) (list []string) {
	for _, t := range v.Tables {
		for _, d := range t.Named {
			if t.Table == "app."+table {
				list = append(list, strings.TrimSpace(fmt.Sprint(d.Kind, " ", d.Key, " ", strings.Join(d.Columns, ","))))
			}
		}
	}
	return list
}

func verifyArgs(lake *place, source string, args ...string) []string {
	all := append([]string{"verify", "--source", source, "--tables", "app.*,!app.ignored", "--json"}, lake.args...)
	return append(all, args...)
}

// verify runs `tidemark verify` and demands an exit code.
func verify(t testing.TB, lake *place, source string, code int, args ...string) verified {
	t.Helper()
	got, out, log := run(t, lake.env, verifyArgs(lake, source, args...)...)
	if got != code {
		t.Fatalf("verify: exit code %d, want %d\n%s%s", got, code, log, out)
	}
	var v verified
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("verify: %v\n%s", err, out)
	}
	return v
}

// unlogged changes the source behind the back of its binary log, so that the lake never hears of it.
func unlogged(t testing.TB, s *testenv.Server, sql ...string) {
	t.Helper()
	session := s.Session(t, "app")
	if err := session.Exec(append([]string{"SET sql_log_bin = 0"}, sql...)...); err != nil {
		t.Fatal(err)
	}
}

// TestVerify compares after a workload over every type, finds what was changed in the source alone, and says so in every
// way it is asked.
func TestVerify(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := minioLake(t)
			w, session := newWorkload(21), s.Session(t, "app")
			for range 3 {
				for range 100 {
					if err := session.Exec(w.transaction()); err != nil {
						t.Fatal(err)
					}
				}
				catchUp(t, lake, testenv.URL(s), "--format-version", format)
			}
			// The least privileges there can be.
			s.Exec(t, fmt.Sprintf("CREATE USER reader IDENTIFIED BY '%s'; GRANT REPLICATION SLAVE ON *.* TO reader; GRANT SELECT ON app.* TO reader", server.Password))
			least := fmt.Sprintf("mysql://reader:%s@%s/", server.Password, s.Addr())
			v := verify(t, lake, least, 0)
			if !v.Equal || len(v.Tables) != len(tables) {
				t.Errorf("verify says %+v", v)
			}
			for _, table := range v.Tables {
				if want := s.Query(t, "SELECT COUNT(*) FROM "+table.Table)[0][0]; fmt.Sprint(table.Rows) != want || len(table.Compared) != 1 {
					t.Errorf("%s: %d rows, the source has %s: %+v", table.Table, table.Rows, want, table)
				}
			}
			// Small memory: in shares by hash, and in parts of the key.
			verify(t, lake, least, 0, "--memory", "1MiB", "--parallel", "1")

			s.Exec(t, "INSERT INTO app.wide (id, v, blb, huge) VALUES (70001, 'abc', 'blob', 1.5), (70002, 'abc', 'blob', 2.5), (70003, 'abc', NULL, 0); INSERT INTO app.pair VALUES (7, 'gone', 1, NULL)")
			catchUp(t, lake, least)
			unlogged(t, s, "UPDATE wide SET blb = 'bloc', huge = 1.50001 WHERE id = 70001", "DELETE FROM wide WHERE id = 70002", "INSERT INTO wide (id, v) VALUES (70004, 'x')",
				"UPDATE wide SET blb = '' WHERE id = 70003", "DELETE FROM pair WHERE b = 'gone'", "INSERT INTO text_key VALUES ('Új', 3)", "UPDATE unsigned_key SET v = v + 1 WHERE id = 1")
			v = verify(t, lake, least, 5)
			for table, want := range map[string][]string{
				"wide": {"changed [70001] huge,blb", "changed [70003] blb", "extra [70002]", "missing [70004]"}, "pair": {"extra [7 gone]"},
				"text_key": {"missing [Új]"}, "unsigned_key": {"changed [1] v"}, "hot": nil,
			} {
				if got := v.named(table); !slices.Equal(got, want) {
					t.Errorf("%s: verify names %q, want %q", table, got, want)
				}
			}
			// What the binary log says of these rows since is no excuse: at the lake's position they differ.
			s.Exec(t, "UPDATE app.wide SET blb = 'bloc', huge = 1.5 WHERE id = 70001; DELETE FROM app.wide WHERE id = 70003; UPDATE app.wide SET id = 70002 WHERE id = 70004")
			v = verify(t, lake, least, 5)
			want := []string{"changed [70001] huge,blb", "changed [70003] blb", "extra [70002]", "missing [70004]"}
			if got := v.named("wide"); !slices.Equal(got, want) {
				t.Errorf("after more changes verify names %q, want %q", got, want)
			}
			// With these changes the lake has just what the source has, by contradictions.
			catchUp(t, lake, least)
			code, out, log := run(t, lake.env, append([]string{"verify", "--source", least, "--tables", "app.wide"}, lake.args...)...)
			if code != 0 || !strings.Contains(out, "app.wide: equal") || !strings.Contains(out, "it is marked suspect, and is equal now") {
				t.Errorf("of a suspect table that is equal, verify says, with exit code %d:\n%s%s", code, out, log)
			}
			s.Exec(t, "UPDATE app.hot SET n = n + 1")
			s.Purge(t)
			if v := verify(t, lake, least, 3); !strings.Contains(v.Tables[0].Error, "purged") {
				t.Errorf("with a purged position verify says %+v", v)
			}
		})
	}
}

// TestVerifyBesideIngest verifies again and again while a workload and an ingest run: nothing is reported that is not so,
// and what differs is found in the same conditions.
func TestVerifyBesideIngest(t *testing.T) {
	cluster := testenv.Topology(t, 1)
	s := cluster.Primary
	s.Exec(t, schema, "INSERT INTO app.wide (id, v) VALUES (900001, 'a'), (900002, 'b')")
	lake := localLake(t)
	w := newWorkload(22)
	stop := background(t, w, s)
	p := startIngest(t, lake, testenv.URL(s), "--commit-interval", "300ms")
	p.waitForLog("committed")
	until(t, "every table is in the lake", func() (bool, string) { return len(lake.checkpoints(t)) == len(tables), p.text() })
	both := testenv.URL(cluster.Replicas[0], s)
	touched := 0
	for i := range 8 {
		before := w.count.Load()
		v := verify(t, lake, both, 0, "--parallel", fmt.Sprint(1+i%3))
		for _, table := range v.Tables {
			touched += table.Touched
		}
		until(t, "the workload goes on", func() (bool, string) { return w.count.Load() > before, "" })
	}
	if touched == 0 {
		t.Error("no key was changed while tables were compared: the test has shown nothing")
	}
	t.Logf("%d keys were compared by the binary log", touched)

	for _, server := range cluster.Servers() {
		unlogged(t, server, "SET GLOBAL super_read_only = OFF", "DELETE FROM wide WHERE id = 900001", "UPDATE wide SET v = 'c' WHERE id = 900002", "INSERT INTO pair VALUES (99, 'planted', 0, NULL)")
	}
	for range 4 {
		v := verify(t, lake, both, 5, "--wait", "1s")
		if got, want := v.named("wide"), []string{"changed [900002] v", "extra [900001]"}; !slices.Equal(got, want) {
			t.Errorf("wide: verify names %q, want %q", got, want)
		}
		if got, want := v.named("pair"), []string{"missing [99 planted]"}; !slices.Equal(got, want) {
			t.Errorf("pair: verify names %q, want %q", got, want)
		}
	}
	stop()
	p.stop()
	cluster.Sync(t)
	catchUp(t, lake, both)
	v := verify(t, lake, both, 5)
	for _, table := range v.Tables {
		if table.Touched > 0 {
			t.Errorf("%+v: nothing has changed since the last commit", table)
		}
	}
}

// TestVerifyGoesOn interrupts a slow verify and lets another go on behind the parts that were done.
func TestVerifyGoesOn(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema, "SET SESSION cte_max_recursion_depth = 1000000; INSERT INTO app.hot WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 150000) SELECT i, i FROM n")
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	file := filepath.Join(t.TempDir(), "progress.json")
	hot := []string{"--tables", "app.hot", "--memory", "1MiB", "--resume", file} // 1 MiB: parts of 32 Ki rows
	p := start(t, lake.env, verifyArgs(lake, testenv.URL(s), append(hot, "--rate", "60000")...)...)
	until(t, "two parts are done", func() (bool, string) {
		text, err := os.ReadFile(file)
		return err == nil && strings.Count(string(text), `"gtid_set"`) >= 2, p.text()
	})
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 1 || !strings.Contains(p.text(), "goes on where it was") {
		t.Fatalf("interrupted verify: exit code %d\n%s", code, p.text())
	}
	s.Exec(t, "DELETE FROM app.hot WHERE id = 20; INSERT INTO app.hot VALUES (-5, 1)") // in parts that are done
	catchUp(t, lake, testenv.URL(s))
	v := verify(t, lake, testenv.URL(s), 0, hot...)
	if c := v.Tables[0].Compared; len(c) != 2 || c[0].Parts < 2 || c[1].Parts < 1 || v.Tables[0].Rows != 149994 {
		t.Errorf("after going on: %+v", v.Tables[0])
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, log := run(t, lake.env, verifyArgs(lake, testenv.URL(s), hot...)...); code != 1 || !strings.Contains(log, "version 0") {
		t.Errorf("with another file: exit code %d\n%s", code, log)
	}
}
