package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// ends runs ingest to its end and demands an exit code and texts in what it says.
func ends(t *testing.T, p *tidemark, code int, texts ...string) {
	t.Helper()
	if got := p.wait(); got != code {
		t.Errorf("exit code %d, want %d:\n%s", got, code, p.text())
	}
	for _, want := range texts {
		if !strings.Contains(p.text(), want) {
			t.Errorf("it does not say %q:\n%s", want, p.text())
		}
	}
	if strings.Contains(p.text(), server.Password) {
		t.Errorf("it tells the password:\n%s", p.text())
	}
}

func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tidemark.yaml")
	if err := os.WriteFile(file, []byte("lake: file://"+dir+"\ncomit-interval: 3s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := "mysql://tide@127.0.0.1:1/"
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no source":       {[]string{"ingest", "--lake", "file://" + dir, "--start", "earliest"}, "--source is missing"},
		"no lake":         {[]string{"ingest", "--source", source, "--start", "earliest"}, "--lake is missing"},
		"bad source":      {[]string{"ingest", "--source", "postgres://x", "--lake", "file://" + dir, "--start", "earliest"}, "mysql://"},
		"bad start":       {[]string{"ingest", "--source", source, "--lake", "file://" + dir, "--start", "yesterday"}, "yesterday"},
		"bad gtid":        {[]string{"ingest", "--source", source, "--lake", "file://" + dir, "--start", "gtid:abc:1"}, "abc"},
		"bad format":      {[]string{"ingest", "--source", source, "--lake", "file://" + dir, "--start", "earliest", "--format-version", "4"}, "2 or 3"},
		"bad memory":      {[]string{"ingest", "--source", source, "--lake", "file://" + dir, "--start", "earliest", "--memory", "lots"}, "512MiB"},
		"bad processors":  {[]string{"ingest", "--source", source, "--lake", "file://" + dir, "--start", "earliest", "--compact-cpu", "-1"}, "--compact-cpu -1: expected more than 0"},
		"unknown flag":    {[]string{"ingest", "--sauce", "x"}, "--sauce"},
		"unknown command": {[]string{"ingst"}, "ingst"},
		"unknown key":     {[]string{"ingest", "-c", file, "--source", source, "--start", "earliest"}, file + `:2: unknown key "comit-interval"; did you mean "commit-interval"?`},
	} {
		t.Run(name, func(t *testing.T) { ends(t, start(t, nil, c.args...), 2, c.says) })
	}
}

func TestLakeNotWritable(t *testing.T) {
	t.Run("a file in the way", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		lake := &place{args: []string{"--lake", "file://" + file + "/lake"}}
		ends(t, startIngest(t, lake, "mysql://tide:x@127.0.0.1:1/"), 1, file)
	})
	t.Run("no such bucket", func(t *testing.T) {
		lake := minioLake(t)
		lake.args[1] = "s3://no-such-bucket/lake"
		ends(t, startIngest(t, lake, "mysql://tide:x@127.0.0.1:1/"), 1, "no-such-bucket")
	})
	t.Run("wrong key", func(t *testing.T) {
		lake := minioLake(t)
		lake.env = []string{"AWS_ACCESS_KEY_ID=" + lake.bucket.AccessKey, "AWS_SECRET_ACCESS_KEY=not-the-secret", "AWS_REGION=us-east-1"}
		p := startIngest(t, lake, "mysql://tide:x@127.0.0.1:1/")
		ends(t, p, 1, lake.bucket.Name)
		if strings.Contains(p.text(), "not-the-secret") {
			t.Error("it tells the secret key")
		}
	})
}

// TestNoServerReachable: a start waits with back-off, since a server may come back, says why, and ends when told to, or by
// itself when nothing came of it.
func TestNoServerReachable(t *testing.T) {
	const nobody = "mysql://tide:x@127.0.0.1:1,127.0.0.1:2/"
	p := startIngest(t, localLake(t), nobody)
	p.waitForLog("127.0.0.1:1")
	p.waitForLog("unreachable")
	p.stop()
	ends(t, startIngest(t, localLake(t), nobody, "--wait-for-server", "300ms"), 3, "127.0.0.1:1", "127.0.0.1:2", "unreachable", "connection refused")
}

func TestWrongPassword(t *testing.T) {
	s := testenv.MySQL(t)
	ends(t, startIngest(t, localLake(t), "mysql://tide:wrong-secret@"+s.Addr()+"/"), 1, "Access denied", s.Addr())
}

func TestMissingPrivilege(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema, "CREATE USER reader IDENTIFIED BY 'reader-pw'; GRANT SELECT ON app.* TO reader")
	ends(t, startIngest(t, localLake(t), "mysql://reader:reader-pw@"+s.Addr()+"/"), 1, "REPLICATION SLAVE", s.Addr())
}

func TestRowFormatNotRow(t *testing.T) {
	s := testenv.MySQL(t, testenv.Args("--binlog-format=STATEMENT"))
	s.Exec(t, "SET SESSION binlog_format = 'ROW'; "+schema)
	ends(t, startIngest(t, localLake(t), testenv.URL(s)), 3, "binlog_format", "STATEMENT", s.Addr())
}

func TestRowImageNotFull(t *testing.T) {
	s := testenv.MySQL(t, testenv.Args("--binlog-row-image=MINIMAL"))
	s.Exec(t, schema)
	ends(t, startIngest(t, localLake(t), testenv.URL(s)), 3, "binlog_row_image", "MINIMAL", s.Addr())
}

// TestPurged: what the lake needs is gone from the server; the missing transactions are named.
func TestPurged(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	s.Exec(t, "UPDATE app.hot SET n = 1; UPDATE app.hot SET n = 2")
	s.Purge(t)
	s.Exec(t, "UPDATE app.hot SET n = 3")
	ends(t, startIngest(t, lake, testenv.URL(s)), 3, "purged", s.UUID(), s.Addr())
}

// TestDiverged: the only server left lacks transactions that the lake has.
func TestDiverged(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	s.Exec(t, "RESET BINARY LOGS AND GTIDS")
	ends(t, startIngest(t, lake, testenv.URL(s)), 3, "diverged", s.UUID(), s.Addr())
}

// TestOtherPipeline: a table has one owner.
func TestOtherPipeline(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	ends(t, startIngest(t, lake, testenv.URL(s), "--pipeline", "other"), 4, "app.", `belongs to the pipeline "tidemark"`, "--pipeline")
}

// TestErrantReplica: a replica with a transaction of its own is passed over, and named.
func TestErrantReplica(t *testing.T) {
	cluster := testenv.Topology(t, 2)
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	errant := cluster.Replicas[0]
	errant.Exec(t, "UPDATE app.hot SET n = 99 WHERE id = 1")
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(errant, cluster.Replicas[1], cluster.Primary))
	equal(t, cluster.Primary, lake.byDuckDB(t))
	_, out, log := run(t, lake.env, append([]string{"doctor", "--source", testenv.URL(cluster.Servers()...), "--tables", "app.*"}, lake.args...)...)
	for _, want := range []string{"diverged", errant.UUID()} {
		if !strings.Contains(out+log, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out+log)
		}
	}
}

// TestBehind: the only server reachable lags behind the lake; ingest waits and says so, and goes on when it catches up.
func TestBehind(t *testing.T) {
	cluster := testenv.Topology(t, 1)
	cluster.Primary.Exec(t, schema)
	cluster.Sync(t)
	replica := cluster.Replicas[0]
	replica.Exec(t, "STOP REPLICA")
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 5 WHERE id = 1")
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(cluster.Primary))
	ends(t, startIngest(t, lake, testenv.URL(replica), "--wait-for-server", "300ms"), 3, "behind", replica.Addr(), cluster.Primary.UUID())
	p := startIngest(t, lake, testenv.URL(replica))
	p.waitForLog("behind")
	replica.Exec(t, "START REPLICA")
	cluster.Primary.Exec(t, "UPDATE app.hot SET n = 6 WHERE id = 1")
	want := cluster.Primary.Executed(t)
	until(t, "the replica's changes are committed", func() (bool, string) {
		return lake.checkpoints(t)["hot"].Checkpoint.GTIDSet == want, p.text()
	})
	p.stop()
	equal(t, cluster.Primary, lake.byDuckDB(t))
}

// TestFiltered: a replica that does not apply a followed table's changes looks complete, and must not serve.
func TestFiltered(t *testing.T) {
	primary := testenv.MySQL(t)
	filtered := testenv.MySQL(t, testenv.Args("--replicate-ignore-table=app.hot"))
	filtered.Follow(t, primary)
	primary.Exec(t, schema)
	filtered.WaitFor(t, primary.Executed(t))
	ends(t, startIngest(t, localLake(t), testenv.URL(filtered)), 3, "filtered", "app.hot", filtered.Addr())
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(filtered, primary))
	equal(t, primary, lake.byDuckDB(t))
}
