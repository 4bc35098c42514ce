// Package e2e proves tidemark from outside: the real program against real servers, read by the real readers.
//
// workload_test.go  random transactions
// load_test.go      tables loaded while they change
// harness_test.go   running the program, comparing lake and source
// proof_test.go     kills, stalls, cuts and faults under load; in the end the lake equals the source
// errors_test.go    every refusal, by exit code and text
// cases_test.go     one behaviour a test
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// program is the built tidemark.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "tidemark-e2e-")
	if err == nil {
		program = filepath.Join(dir, "tidemark")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", program, "../../cmd/tidemark").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build tidemark:", err)
		os.Exit(1)
	}
	testenv.Main(m)
}

// place is a lake under test.
type place struct {
	uri    string
	args   []string // flags that name it
	env    []string
	bucket *testenv.Bucket // nil for a local folder
}

func localLake(t testing.TB) *place {
	dir := filepath.Join(t.TempDir(), "lake")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &place{uri: "file://" + dir, args: []string{"--lake", "file://" + dir}}
}

func minioLake(t testing.TB) *place {
	b := testenv.MinIO(t)
	uri := b.URI("lake")
	return &place{uri: uri, args: []string{"--lake", uri, "--s3-endpoint", b.Endpoint}, env: b.Env(), bucket: b}
}

// path is how DuckDB names a table.
func (p *place) path(table string) string {
	return strings.TrimPrefix(p.uri, "file://") + "/app/" + table
}

// duck opens a DuckDB that can read the lake.
func (p *place) duck(t testing.TB) *testenv.Duck {
	d := testenv.DuckDB(t)
	if p.bucket != nil {
		d.UseBucket(t, p.bucket)
	}
	return d
}

// tidemark is a running program.
type tidemark struct {
	peak   func() int64 // the largest resident memory, in bytes, once it has ended
	t      testing.TB
	cmd    *exec.Cmd
	exited chan struct{}

	mu       sync.Mutex
	out, log bytes.Buffer
}

// locked lets a process write into a buffer that the test reads.
type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// start runs the program in the background; it dies with the test.
func start(t testing.TB, env []string, args ...string) *tidemark {
	t.Helper()
	p := &tidemark{t: t, cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = locked{&p.mu, &p.out}, locked{&p.mu, &p.log}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.peak = server.WatchPeak(p.cmd.Process.Pid)
	go func() {
		defer close(p.exited)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Errorf("wait for tidemark: %v", err)
		}
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && p.cmd.ProcessState.ExitCode() != 0 {
			t.Logf("tidemark %s\n%s", strings.Join(args, " "), p.text())
		}
	})
	return p
}

// startIngest starts `tidemark ingest` into a lake.
func startIngest(t testing.TB, lake *place, source string, args ...string) *tidemark {
	t.Helper()
	all := append([]string{"ingest", "--source", source, "--tables", "app.*,!app.ignored", "--start", "earliest", "--commit-interval", "200ms"}, lake.args...)
	return start(t, lake.env, append(all, args...)...)
}

// run runs the program to its end and returns its exit code, output and log.
func run(t testing.TB, env []string, args ...string) (code int, out, log string) {
	t.Helper()
	p := start(t, env, args...)
	code = p.wait()
	return code, p.out.String(), p.log.String()
}

// catchUp ingests until the lake has what the source has now.
func catchUp(t testing.TB, lake *place, source string, args ...string) {
	t.Helper()
	if p := startIngest(t, lake, source, append(args, "--until", "caught-up")...); p.wait() != 0 {
		t.Fatalf("ingest --until caught-up: exit code %d\n%s", p.wait(), p.text())
	}
}

// patience is how long anything may take before the test gives up on it.
const patience = time.Minute

// wait returns the exit code.
func (p *tidemark) wait() int {
	p.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.t.Fatalf("tidemark did not end within %s\n%s", patience, p.text())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *tidemark) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal tidemark: %v", err)
	}
}

func (p *tidemark) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// stop asks for a clean end and demands exit code 0.
func (p *tidemark) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Fatalf("stopped tidemark: exit code %d\n%s", code, p.text())
	}
}

func (p *tidemark) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String() + p.out.String()
}

// waitForLog waits until the log has a text.
func (p *tidemark) waitForLog(want string) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("the log says %q", want), func() (bool, string) {
		text := p.text()
		select {
		case <-p.exited:
			if !strings.Contains(p.text(), want) {
				p.t.Fatalf("tidemark ended without saying %q:\n%s", want, text)
			}
		default:
		}
		return strings.Contains(text, want), text
	})
}

// until waits for a condition, asking often.
func until(t testing.TB, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		good, seen := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is not true that %s:\n%s", patience, what, seen)
		}
		<-tick.C
	}
}

// record is one table of `tidemark checkpoint show --json`.
type record struct {
	Table      string `json:"table"`
	Checkpoint struct {
		Pipeline   string          `json:"pipeline"`
		Epoch      int64           `json:"epoch"`
		GTIDSet    string          `json:"gtid_set"`
		ServerUUID string          `json:"server_uuid"`
		State      string          `json:"state"`
		File       string          `json:"file"`
		Position   uint64          `json:"position"`
		Anonymous  bool            `json:"anonymous"`
		Time       string          `json:"time"`
		Note       string          `json:"note"`
		Load       json.RawMessage `json:"load"`
	} `json:"checkpoint"`
}

// checkpoints returns the recorded positions by table name.
func (p *place) checkpoints(t testing.TB) map[string]record {
	t.Helper()
	code, out, log := run(t, p.env, append([]string{"checkpoint", "show", "--json"}, p.args...)...)
	if code != 0 {
		t.Fatalf("checkpoint show: exit code %d\n%s", code, log)
	}
	var list []record
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("checkpoint show: %v\n%s", err, out)
	}
	m := map[string]record{}
	for _, r := range list {
		m[strings.TrimPrefix(r.Table, "app.")] = r
	}
	return m
}

// query reads rows of a table of one side, in the normal form; sql has %s for the table.
type query func(t testing.TB, table, sql string) [][]string

func (p *place) byDuckDB(t testing.TB) query {
	d := p.duck(t)
	return func(t testing.TB, table, sql string) [][]string {
		return d.Query(t, fmt.Sprintf(sql, "iceberg_scan('"+p.path(table)+"')"))
	}
}

// byTrino reads through `tidemark serve`.
func (p *place) byTrino(t testing.TB) query {
	trino := testenv.Trino(t)
	catalog := trino.Catalog(t, p.serve(t), p.bucket)
	return func(t testing.TB, table, sql string) [][]string {
		return trino.Query(t, fmt.Sprintf(sql, catalog+".app."+table))
	}
}

// serve starts `tidemark serve` and returns its address.
func (p *place) serve(t testing.TB) string {
	t.Helper()
	return start(t, p.env, append([]string{"serve", "--listen", "127.0.0.1:0"}, p.args...)...).served()
}

// served waits until the program says where it serves the catalog.
func (p *tidemark) served() (address string) {
	p.t.Helper()
	until(p.t, "it says where it listens", func() (bool, string) {
		text := p.text()
		if _, after, ok := strings.Cut(text, "address=http"); ok {
			rest, _, _ := strings.Cut(after, "\n")
			address = "http" + rest
		}
		return address != "", text
	})
	return address
}

// equal demands that every table of the lake has exactly the rows of the source, which must not change meanwhile.
func equal(t testing.TB, source *testenv.Server, read query) {
	t.Helper()
	equalTables(t, source, read, tables)
}

// equalTables is equal for tables of a name and the columns that order them.
func equalTables(t testing.TB, source *testenv.Server, read query, tables map[string]string) {
	t.Helper()
	for table, order := range tables {
		columns := source.Query(t, fmt.Sprintf("SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position SEPARATOR ', ') FROM information_schema.columns WHERE table_schema = 'app' AND table_name = '%s'", table))[0][0]
		sql := "SELECT " + columns + " FROM %s ORDER BY " + order
		want := source.Query(t, fmt.Sprintf(sql, "app."+table))
		got := read(t, table, sql)
		// Collations order text differently: compare as sets of rows.
		sortRows(want)
		sortRows(got)
		if i, differ := difference(want, got); differ {
			t.Errorf("%s: %d rows in the source, %d in the lake; the first difference in sorted row %d:\n source %q\n lake   %q", table, len(want), len(got), i, at(want, i), at(got, i))
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func sortRows(rows [][]string) { slices.SortFunc(rows, slices.Compare[[]string]) }

func difference(a, b [][]string) (int, bool) {
	for i := range max(len(a), len(b)) {
		if !slices.Equal(at(a, i), at(b, i)) {
			return i, true
		}
	}
	return 0, false
}

func at(rows [][]string, i int) []string {
	if i < len(rows) {
		return rows[i]
	}
	return nil
}

// background runs the workload on a server until the returned function is called.
func background(t testing.TB, w *workload, s *testenv.Server) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx, t, s)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}
