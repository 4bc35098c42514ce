// Command bench measures what tidemark is judged by, in one run, on servers of its own: how fast it catches up with a
// history of row changes in MinIO, and the limits next to it on the same machine at the same time: the raw network dump,
// decoding alone, Parquet encoding alone. Then how fast verify compares the outcome with the source, and several hundred small
// commits to show that their cost stays flat.
//
// Absolute figures of a shared machine mean little: the ratios are what to keep.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/ingest/verify"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
	"github.com/tidemark/tidemark/merge"
)

func main() {
	inserts := flag.Int("inserts", 2_000_000, "rows inserted")
	changes := flag.Int("changes", 2_000_000, "row changes after them")
	commits := flag.Int("commits", 500, "small commits")
	profile := flag.String("profile", "", "write a CPU profile of the catch-up to this file")
	loadProfile := flag.String("load-profile", "", "write a CPU profile of the initial load to this file")
	format := flag.Int("format-version", 3, "Iceberg format version")
	only := flag.String("only", "", "measure a long part instead, alone: load (the initial load), readcost (what readers pay while updates stream in), beside (ingest while all is compacted), worn (compaction of a table whose rows were updated all over) or engines (who compacts faster, tidemark or Trino)")
	rounds := flag.Int("rounds", 5, "times that the load is measured, with -only load")
	var f fireOptions
	flag.IntVar(&f.rows, "rows", 20_000_000, "rows of the table, with -only")
	flag.IntVar(&f.rate, "rate", 20_000, "updates a second that are sent, with -only readcost")
	flag.IntVar(&f.coming, "coming", 0, "updates a second that come in meanwhile, instead of waiting in the binary log, with -only beside")
	flag.Float64Var(&f.share, "deleted-share", 0.2, "the ingest's --deleted-share, with -only readcost")
	flag.IntVar(&f.small, "max-small-files", 0, "the ingest's --max-small-files, with -only readcost")
	flag.BoolVar(&f.alone, "duckdb-alone", false, "leave Trino out, whose compilers and collectors go on beside DuckDB, with -only readcost")
	flag.StringVar(&f.target, "target-file-size", "256MiB", "the ingest's and the compaction's --target-file-size, with -only readcost")
	flag.Float64Var(&f.churn, "churn", 0.5, "updates, as a share of the rows, with -only readcost")
	flag.DurationVar(&f.every, "every", 20*time.Second, "time between looks, with -only readcost")
	flag.DurationVar(&f.commit, "commit-interval", 10*time.Second, "the ingest's --commit-interval, with -only readcost")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	b := &bench{profile: *profile, loadProfile: *loadProfile, format: *format}
	run := func() error { return b.run(ctx, *inserts, *changes, *commits, 0) }
	switch *only {
	case "":
	case "readcost":
		run = func() error { return b.readCost(ctx, f) }
	case "load":
		run = func() error { return b.onlyLoads(ctx, f.rows, *rounds) }
	case "beside":
		run = func() error { return b.beside(ctx, f) }
	case "worn":
		run = func() error { return b.worn(ctx, f) }
	case "engines":
		run = func() error { return b.run(ctx, *inserts, *changes, *commits, f.rows) }
	default:
		fmt.Fprintf(os.Stderr, "bench: -only %q: expected load, readcost, beside, worn or engines\n", *only)
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	mysql   *server.MySQL
	minio   *server.MinIO
	profile string

	loadProfile string
	format      int
	history     history
}

// start starts the servers, MySQL with a buffer pool of so many MiB.
func (b *bench) start(ctx context.Context, box *toolbox.Box, pool int) error {
	tools, err := box.MySQL(ctx)
	if err != nil {
		return err
	}
	program, err := box.MinIO(ctx)
	if err != nil {
		return err
	}
	if b.mysql, err = server.StartMySQL(ctx, tools, server.MySQLOptions{BufferPoolMiB: pool}); err != nil {
		return err
	}
	if b.minio, err = server.StartMinIO(ctx, program, server.MinIOOptions{}); err != nil {
		return err
	}
	if err := b.minio.MakeBucket("bench"); err != nil {
		return err
	}
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": b.minio.AccessKey, "AWS_SECRET_ACCESS_KEY": b.minio.SecretKey, "AWS_REGION": b.minio.Region} {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	fmt.Printf("%s, %d CPUs, %s; noise before: %s\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), noise())
	return nil
}

// stop ends the servers that were started.
func (b *bench) stop() {
	if b.minio != nil {
		b.minio.Close()
	}
	if b.mysql != nil {
		b.mysql.Close()
	}
}

// run measures everything but the long parts; with engines, only who compacts a table of so many rows faster.
func (b *bench) run(ctx context.Context, inserts, changes, commits, engines int) error {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.start(ctx, box, 2048); err != nil {
		return err
	}
	began := time.Now()
	if _, err := writeInserts(ctx, b.mysql, inserts); err != nil {
		return err
	}
	if b.history, err = writeChanges(ctx, b.mysql, inserts, changes); err != nil {
		return err
	}
	total := b.history.inserts + b.history.changes
	fmt.Printf("history: %d inserts, %d changes (50 %% update, 30 %% insert, 20 %% delete) in transactions of 200 to 500 rows, written in %.0f s\n\n", inserts, b.history.changes, time.Since(began).Seconds())

	if engines > 0 {
		return b.engines(ctx, box, engines)
	}
	raw, err := b.dump(ctx, func(*source.Transaction) error { return nil })
	if err != nil {
		return err
	}
	raw.print("raw network dump", total)
	decoding, err := b.decode(ctx)
	if err != nil {
		return err
	}
	decoding.print("decoding alone, network included", total)
	encoding, encoded, err := b.encode(ctx)
	if err != nil {
		return err
	}
	encoding.print("Parquet encoding alone", encoded)
	catchUp, err := b.catchUp(ctx)
	if err != nil {
		return err
	}
	catchUp.print("catch-up into MinIO", total)
	fmt.Printf("  peak memory %.0f MiB; CPU: %.2f of raw dump + decoding + encoding\n", float64(catchUp.peak)/(1<<20), catchUp.cpu.Seconds()/(decoding.cpu.Seconds()+encoding.cpu.Seconds()))
	perCPU := float64(total) / catchUp.cpu.Seconds()
	fmt.Printf("  against the best open peers, per CPU second: %.1f times 34,000, %.1f times 24,000\n\n", perCPU/34_000, perCPU/24_000)
	if err := b.loads(ctx, loadRounds); err != nil {
		return err
	}
	rows, verifying, err := b.verify(ctx)
	if err != nil {
		return err
	}
	verifying.print("verify, both sides read", rows)
	fmt.Printf("  peak memory %.0f MiB\n\n", float64(verifying.peak)/(1<<20))
	if err := b.smallCommits(ctx, commits); err != nil {
		return err
	}
	fmt.Println("noise after:", noise())
	return nil
}

// cost is what a measured part took.
type cost struct {
	wall, cpu time.Duration
	peak      int64 // bytes, of a process of its own
}

func (c cost) print(what string, n int) {
	fmt.Printf("%-34s %9d  %6.2f s wall  %6.2f s CPU  %10.0f /s  %10.0f /CPU s\n", what, n, c.wall.Seconds(), c.cpu.Seconds(), float64(n)/c.wall.Seconds(), float64(n)/c.cpu.Seconds())
}

func measure(f func() error) (cost, error) {
	runtime.GC()
	cpu, began := cpuTime(), time.Now()
	err := f()
	return cost{wall: time.Since(began), cpu: cpuTime() - cpu}, err
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// noise times a fixed loop a few times: on a quiet machine the spread is a few percent.
func noise() string {
	var times []float64
	for range 9 {
		began := time.Now()
		x := uint64(1)
		for range 50_000_000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
		if x == 0 {
			fmt.Print()
		}
		times = append(times, time.Since(began).Seconds()*1000)
	}
	slices.Sort(times)
	return fmt.Sprintf("a fixed loop takes %.0f to %.0f ms, median %.0f", times[0], times[len(times)-1], times[len(times)/2])
}

func (b *bench) source() source.Config {
	return source.Config{Hosts: []string{b.mysql.Addr()}, User: server.User, Password: server.Password, Pipeline: "bench"}
}

// dump reads the whole history.
func (b *bench) dump(ctx context.Context, take func(*source.Transaction) error) (cost, error) {
	state, err := source.Probe(ctx, b.source(), b.mysql.Addr())
	if err != nil {
		return cost{}, err
	}
	return measure(func() error {
		stream, err := source.Dial(ctx, b.source(), b.mysql.Addr(), checkpoint.Set{})
		if err != nil {
			return err
		}
		defer stream.Close()
		var have checkpoint.Set
		for !have.Contains(state.Executed) {
			tx, err := stream.Next(ctx)
			if err != nil {
				return err
			}
			if tx == nil {
				continue
			}
			if err := take(tx); err != nil {
				return err
			}
			if tx.Last {
				have.Add(tx.GTID)
			}
		}
		return nil
	})
}

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Insert(merge.Key, []byte, int)                    {}
func (discard) Update(merge.Key, []byte, merge.Key, []byte, int) {}
func (discard) Delete(merge.Key, []byte)                         {}

// batchRows is how many rows the measured parts hold at a time.
const batchRows = 256 << 10

// rows decodes the whole history and hands on a record batch now and then.
func (b *bench) rows(ctx context.Context, use func(arrow.RecordBatch) error) (cost, error) {
	var plan *decode.Plan
	var d *decode.Decoder
	return b.dump(ctx, func(tx *source.Transaction) error {
		for _, e := range tx.Events {
			if e.Rows == nil {
				continue
			}
			if d == nil {
				var err error
				if plan, err = decode.NewPlan(e.Rows.Table); err != nil {
					return err
				}
				d = decode.NewDecoder(memory.DefaultAllocator, plan)
			}
			if err := d.Rows(e.Rows.Kind, e.Rows.Before, e.Rows.After, e.Rows.Body, discard{}); err != nil {
				return err
			}
			if d.Len() >= batchRows {
				rec := d.Flush()
				err := use(rec)
				rec.Release()
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (b *bench) decode(ctx context.Context) (cost, error) {
	return b.rows(ctx, func(arrow.RecordBatch) error { return nil })
}

// encode writes the rows of the history to Parquet in a local folder, and measures only that.
func (b *bench) encode(ctx context.Context) (c cost, rows int, err error) {
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return c, 0, err
	}
	defer os.RemoveAll(dir)
	s, err := store.OpenLocal(dir)
	if err != nil {
		return c, 0, err
	}
	l := &lake.Lake{Store: s, Catalog: catalog.NewBucket(s)}
	var t *lake.Table
	_, err = b.rows(ctx, func(rec arrow.RecordBatch) error {
		if t == nil {
			if t, err = lake.Create(ctx, l, catalog.Identifier{DB: "bench", Table: "t"}, rec.Schema(), []int{0}, lake.CreateOptions{FormatVersion: 3}); err != nil {
				return err
			}
		}
		one, err := measure(func() error {
			w, err := t.NewFileWriter(ctx)
			if err != nil {
				return err
			}
			w.Expect(rec.NumRows())
			for from := int64(0); from < rec.NumRows(); from += 16 << 10 {
				part := rec.NewSlice(from, min(rec.NumRows(), from+16<<10))
				err := w.Write(part)
				part.Release()
				if err != nil {
					return err
				}
			}
			_, err = w.Close()
			return err
		})
		rows += int(rec.NumRows())
		c.wall += one.wall
		c.cpu += one.cpu
		return err
	})
	return c, rows, err
}

// catchUp runs the program itself over the whole history.
func (b *bench) catchUp(ctx context.Context) (cost, error) {
	root, err := toolbox.ModuleRoot()
	if err != nil {
		return cost{}, err
	}
	args := []string{
		"ingest", "--source", "mysql://" + server.User + "@" + b.mysql.Addr() + "/", "--lake", "s3://bench/lake", "--s3-endpoint", b.minio.Endpoint,
		"--tables", "bench.*", "--start", "earliest", "--until", "caught-up", "--commit-interval", "10s", "--format-version", fmt.Sprint(b.format), "--compact", "off",
	}
	if b.profile != "" {
		args = append(args, "--cpu-profile", b.profile)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "tidemark"), args...)
	cmd.Env = append(os.Environ(), "TIDEMARK_SOURCE_PASSWORD="+server.Password)
	var log bytes.Buffer
	cmd.Stderr = &log
	_, c, err := spend(cmd)
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "committed") {
			fmt.Print("  ", line)
		}
	}
	return c, err
}

// spend runs a command to its end and returns what it printed, and what it cost.
func spend(cmd *exec.Cmd) ([]byte, cost, error) {
	var out, log bytes.Buffer
	cmd.Stdout = &out
	if cmd.Stderr == nil {
		cmd.Stderr = &log
	}
	began := time.Now()
	err := cmd.Start()
	if err == nil {
		peak := server.WatchPeak(cmd.Process.Pid)
		err = cmd.Wait()
		if c := (cost{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak()}); err == nil {
			return out.Bytes(), c, nil
		}
	}
	return nil, cost{}, fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args[:2], " "), err, out.String(), log.String())
}

// verify runs the program itself to compare the lake with the source.
func (b *bench) verify(ctx context.Context) (rows int, c cost, err error) {
	root, err := toolbox.ModuleRoot()
	if err != nil {
		return 0, c, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "tidemark"), "verify", "--source", "mysql://"+server.User+"@"+b.mysql.Addr()+"/", "--lake", "s3://bench/lake",
		"--s3-endpoint", b.minio.Endpoint, "--tables", "bench.*", "--parallel", "2", "--json")
	cmd.Env = append(os.Environ(), "TIDEMARK_SOURCE_PASSWORD="+server.Password)
	cmd.Stderr = os.Stderr
	out, c, err := spend(cmd)
	if err != nil {
		return 0, c, err
	}
	var report verify.Report
	if err := json.Unmarshal(out, &report); err != nil {
		return 0, c, err
	}
	for _, t := range report.Tables {
		rows += int(t.Rows)
	}
	return rows, c, nil
}

// smallCommits makes n commits of one update each to a table of its own and compares early with late ones.
func (b *bench) smallCommits(ctx context.Context, n int) error {
	if err := b.mysql.Exec(ctx, "CREATE DATABASE small; CREATE TABLE small.t (id INT NOT NULL PRIMARY KEY, n INT NOT NULL); INSERT INTO small.t WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<1000) SELECT i, 0 FROM s"); err != nil {
		return err
	}
	s, err := store.Open(ctx, "s3://bench/small", store.S3Options{Endpoint: b.minio.Endpoint})
	if err != nil {
		return err
	}
	counted := store.Count(s)
	filter, err := source.ParseFilter("small.*")
	if err != nil {
		return err
	}
	session, err := b.mysql.Session(ctx, "small")
	if err != nil {
		return err
	}
	defer session.Close()
	running, stop := context.WithCancel(ctx)
	defer stop()
	committed := make(chan time.Duration)
	done := make(chan error, 1)
	go func() {
		done <- ingest.Run(running, ctx, ingest.Options{
			Source: b.source(), Tables: filter, Lake: &lake.Lake{Store: counted, Catalog: catalog.NewBucket(counted)}, Start: ingest.Start{Kind: ingest.StartEarliest},
			CommitInterval: time.Millisecond, FormatVersion: b.format, Logger: quiet(),
			Observer: func(e ingest.Event) {
				if c, ok := e.(ingest.Commit); ok {
					committed <- c.Duration
				}
			},
		})
	}()
	var times []time.Duration
	var requests []int64
	for i := range n {
		select {
		case d := <-committed:
			times = append(times, d)
			requests = append(requests, total(store.Requests(counted)))
		case err := <-done:
			return fmt.Errorf("ingest ended: %w", err)
		}
		if err := session.Exec(fmt.Sprintf("UPDATE t SET n = n + 1 WHERE id = %d", 1+i%1000)); err != nil {
			return err
		}
	}
	go func() {
		for range committed {
		}
	}()
	stop()
	if err := <-done; err != nil {
		return err
	}
	early, late := median(times[5:15]), median(times[n-10:])
	fmt.Printf("commit 10: %s, commit %d: %s (medians of ten commits around them), ratio %.2f; %.1f requests a commit to the object store\n",
		early.Round(10*time.Microsecond), n, late.Round(10*time.Microsecond), late.Seconds()/early.Seconds(), float64(requests[n-1]-requests[9])/float64(n-10))
	return nil
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
