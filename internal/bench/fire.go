package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// fireOptions are those of the parts in which updates spread over all keys stream into a large table.
type fireOptions struct {
	rows   int
	rate   int // updates a second
	coming int // the same beside a compaction; 0: they wait
	churn  float64
	share  float64 // of deleted rows from which on a file is rewritten
	small  int     // files that may be left unmerged
	target string  // size of a data file
	alone  bool    // DuckDB without Trino
	every  time.Duration
	commit time.Duration // interval between commits
}

// The lake that changes come to, one with the same table that is loaded, compacted, and left alone, and one with the rows as they are in the end.
const fireLake, freshLake, anewLake = "s3://bench/fire", "s3://bench/fresh", "s3://bench/anew"

var fireTable = catalog.Identifier{DB: "bench", Table: "t"}

// fill makes the source's table, loads it into the lake, and compacts it.
func (b *bench) fill(ctx context.Context, box *toolbox.Box, n int) error {
	if err := b.grow(ctx, box, n); err != nil {
		return err
	}
	return b.bring(ctx, fireLake, n)
}

// bring loads the table of n rows into a lake and compacts it there, with more arguments. What was before that is not kept.
func (b *bench) bring(ctx context.Context, lake string, n int, more ...string) error {
	for _, args := range [][]string{b.lakeArgs(lake, "load", more...), b.lakeArgs(lake, "compact", append(more, "--expire-after", "1ms", "--keep-snapshots", "1")...)} {
		out, c, err := b.tidemark(ctx, args...)
		if err != nil {
			return err
		}
		c.print("tidemark "+args[0], n)
		fmt.Printf("  peak memory %.0f MiB\n%s", float64(c.peak)/(1<<20), out)
	}
	return nil
}

// grow starts the servers and makes the source's table with the ids 1..n, past the binary log.
func (b *bench) grow(ctx context.Context, box *toolbox.Box, n int) error {
	if err := b.start(ctx, box, max(1024, n/4000)); err != nil {
		return err
	}
	began := time.Now()
	if err := b.mysql.Exec(ctx, table); err != nil {
		return err
	}
	const sessions, each = 2, 10_000
	g, running := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range sessions {
		g.Go(func() error {
			session, err := b.mysql.Session(running, "bench")
			if err != nil {
				return err
			}
			defer session.Close()
			if err := session.Exec("SET sql_log_bin = 0", fmt.Sprintf("SET cte_max_recursion_depth = %d", each)); err != nil {
				return err
			}
			for running.Err() == nil {
				from := int(next.Add(each)) - each + 1
				if from > n {
					return nil
				}
				if err := session.Exec(insert(from, min(n, from+each-1))); err != nil {
					return err
				}
			}
			return running.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Printf("%d rows in the source after %.0f s\n", n, time.Since(began).Seconds())
	return nil
}

// fireArgs are the arguments of a command on the table of these parts.
func (b *bench) fireArgs(command string, more ...string) []string {
	return b.lakeArgs(fireLake, command, more...)
}

func (b *bench) lakeArgs(lake, command string, more ...string) []string {
	args := []string{command, "--lake", lake, "--s3-endpoint", b.minio.Endpoint, "--log-format", "json"}
	if command != "serve" {
		args = append(args, "--tables", "bench.t")
	}
	if command != "serve" && command != "compact" {
		args = append(args, "--source", "mysql://"+server.User+"@"+b.mysql.Addr()+"/")
	}
	if command == "load" {
		args = append(args, "--format-version", fmt.Sprint(b.format))
	}
	return append(args, more...)
}

func (b *bench) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	root, err := toolbox.ModuleRoot()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "tidemark"), args...)
	cmd.Env = append(os.Environ(), "TIDEMARK_SOURCE_PASSWORD="+server.Password)
	return cmd, nil
}

// settle lets an ingest read the rest of the binary log, and compares all rows of source and lake.
func (b *bench) settle(ctx context.Context) error {
	if _, _, err := b.tidemark(ctx, b.fireArgs("ingest", "--until", "caught-up", "--compact", "off", "--strict")...); err != nil {
		return err
	}
	began := time.Now()
	if out, _, err := b.tidemark(ctx, b.fireArgs("verify", "--parallel", "2")...); err != nil {
		return fmt.Errorf("source and lake differ: %w\n%s", err, out)
	}
	fmt.Printf("\ntidemark verify: all rows of source and lake are equal (%.0f s)\n", time.Since(began).Seconds())
	return nil
}

// openTable opens the table of these parts.
func (b *bench) openTable(ctx context.Context) (*lake.Table, error) {
	s, err := store.Open(ctx, fireLake, store.S3Options{Endpoint: b.minio.Endpoint})
	if err != nil {
		return nil, err
	}
	return lake.Open(ctx, &lake.Lake{Store: s, Catalog: catalog.NewBucket(s), Logger: quiet()}, fireTable)
}

// bytes counts what is in the table's folder of a lake.
func (b *bench) bytes(ctx context.Context, lake string) (bytes int64, err error) {
	s, err := store.Open(ctx, lake, store.S3Options{Endpoint: b.minio.Endpoint})
	if err != nil {
		return 0, err
	}
	for o, err := range s.List(ctx, fireTable.Path()+"/") {
		if err != nil {
			return 0, err
		}
		bytes += o.Size
	}
	return bytes, nil
}

// process is a tidemark that runs beside what is measured. Its log is read as it comes.
type process struct {
	cmd   *exec.Cmd
	ended chan error
	note  func(line map[string]any) // told of each line of the log, by one goroutine

	mu   sync.Mutex
	tail []string // of the log
}

func (b *bench) startProcess(ctx context.Context, note func(map[string]any), args ...string) (*process, error) {
	cmd, err := b.command(ctx, args...)
	if err != nil {
		return nil, err
	}
	logs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan error, 1), note: note}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.read(logs)
		p.ended <- cmd.Wait()
	}()
	return p, nil
}

func (p *process) read(logs io.Reader) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line = map[string]any{"level": "ERROR", "msg": lines.Text()}
		}
		p.mu.Lock()
		p.tail = append(p.tail[max(0, len(p.tail)-20):], lines.Text())
		p.mu.Unlock()
		p.note(line)
	}
}

// stop lets the process commit and end.
func (p *process) stop() error {
	if err := errors.Join(p.cmd.Process.Signal(syscall.SIGCONT), p.cmd.Process.Signal(syscall.SIGTERM)); err != nil {
		return err
	}
	return p.failed(<-p.ended)
}

func (p *process) failed(err error) error {
	if err == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Errorf("tidemark: %w; the end of its log:\n%s", err, strings.Join(p.tail, "\n"))
}

// follower is an ingest, with what its log told so far.
type follower struct {
	*process
	mu        sync.Mutex
	commits   int
	changes   int64   // committed
	written   int64   // bytes of data files of commits
	rewritten int64   // bytes of data files of rewrites
	rewrites  []int64 // rows dropped by each
	bad       []string
	last      time.Time // of the last commit
}

func (b *bench) follow(ctx context.Context, more ...string) (*follower, error) {
	f := &follower{}
	var err error
	f.process, err = b.startProcess(ctx, f.line, b.fireArgs("ingest", append([]string{"--strict"}, more...)...)...)
	return f, err
}

func (f *follower) line(line map[string]any) {
	number := func(key string) int64 { n, _ := line[key].(float64); return int64(n) }
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case line["level"] == "WARN" || line["level"] == "ERROR" || line["msg"] == "a rewrite came too late and was dropped":
		f.bad = append(f.bad, fmt.Sprint(line))
	case line["msg"] == "committed":
		f.commits++
		f.last = time.Now()
		f.changes += number("changes")
		f.written += number("bytes")
	case line["msg"] == "compacted":
		f.rewritten += number("bytes out")
		f.rewrites = append(f.rewrites, number("dropped rows"))
	}
}

func (f *follower) done() (changes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// updates are sent to the source at a rate, spread over all keys, until they are stopped.
type updates struct {
	pause  sync.RWMutex          // held for writing while none may be sent
	sent   atomic.Int64          // rows
	failed atomic.Pointer[error] // what ended a session
	end    func() error
}

func updateOf(ids []int) string {
	return "UPDATE bench.t SET a = a + 1, amount = amount + 0.5, name = CONCAT('changed-', id), score = score / 2 WHERE id IN " + list(ids)
}

// update begins to send updates of 500 rows each, of four columns.
func (b *bench) update(ctx context.Context, rows, perSecond int) *updates {
	const sessions, size = 4, 500
	u := &updates{}
	running, cancel := context.WithCancel(ctx)
	limit := rate.NewLimiter(rate.Limit(perSecond), max(size, perSecond/2))
	var g errgroup.Group
	for w := range sessions {
		g.Go(func() error {
			session, err := b.mysql.Session(ctx, "bench")
			if err != nil {
				return err
			}
			defer session.Close()
			rng := rand.New(rand.NewPCG(uint64(w), 17))
			ids := make([]int, size)
			for limit.WaitN(running, size) == nil {
				ids = ids[:size]
				for i := range ids { // each session has keys of its own: no deadlocks
					ids[i] = 1 + w + sessions*rng.IntN((rows-w)/sessions)
				}
				slices.Sort(ids)
				ids = slices.Compact(ids)
				u.pause.RLock()
				err := session.Exec(updateOf(ids))
				u.pause.RUnlock()
				if err != nil {
					u.failed.Store(&err)
					return err
				}
				u.sent.Add(int64(len(ids)))
			}
			return nil
		})
	}
	u.end = sync.OnceValue(func() error {
		cancel()
		return cmp.Or(g.Wait(), ctx.Err())
	})
	return u
}
