package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// The queries: all rows of columns of each kind, and one row by its key.
const (
	scanQuery   = "SELECT count(*), sum(a), sum(amount), sum(score), max(updated), sum(length(name)) FROM %s"
	lookupQuery = "SELECT a, amount, name FROM %s WHERE id = %d"
)

const scans, lookups = 5, 7

// reader is an engine that the tables are read with.
type reader struct {
	name  string
	table string
	query func(ctx context.Context, sql string) ([][]string, error)

	base, worst [2]float64 // seconds of the two queries; times
}

// readCost measures what readers pay for a table that updates stream into, next to what they pay for it freshly compacted.
//
// The ingest and the source are halted by a signal while the readers are timed: what is measured is the
// state of the table at that moment, not the share of the processor that other programs leave.
func (b *bench) readCost(ctx context.Context, o fireOptions) (err error) {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	target := []string{"--target-file-size", o.target} // by default small enough that the table has files that are full
	if err := b.fill(ctx, box, o.rows, target...); err != nil {
		return err
	}
	readers, closeReaders, err := b.readers(ctx, box, o.alone)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeReaders()) }()
	fresh, _, err := b.bytes(ctx)
	if err != nil {
		return err
	}
	if err := b.look(ctx, readers, o.rows, func(r *reader, seconds [2]float64) { r.base = seconds }); err != nil {
		return err
	}
	fmt.Printf("\nfreshly compacted: %.0f MiB", float64(fresh)/(1<<20))
	for _, r := range readers {
		fmt.Printf("; %s: scan %.2f s, lookup %.3f s", r.name, r.base[0], r.base[1])
	}
	fmt.Print("\n")
	if err := b.leastCost(ctx, readers, o.rows); err != nil {
		return err
	}
	fmt.Printf("\nformat %d, %d rows; times next to the freshly compacted table:\n\n| updated | data files | rows masked | bytes in the bucket ", b.format, o.rows)
	for _, r := range readers {
		fmt.Printf("| %s scan | %s lookup ", r.name, r.name)
	}
	fmt.Println("|\n|---|---|---|---" + strings.Repeat("|---|---", len(readers)) + "|")

	f, err := b.follow(ctx, append(target, "--commit-interval", "5s", "--expire-after", "30s", "--keep-snapshots", "5", "--deleted-share", fmt.Sprint(o.share), "--max-small-files", fmt.Sprint(o.small))...)
	if err != nil {
		return err
	}
	u := b.update(ctx, o.rows, o.rate)
	defer func() { err = errors.Join(err, u.end()) }()
	most := 0.0
	for {
		select {
		case err := <-f.ended:
			return f.failed(errors.Join(err, errors.New("ingest ended")))
		case <-time.After(o.every):
		}
		u.pause.Lock()
		share, err := b.lookUnderFire(ctx, f, readers, o.rows, fresh)
		u.pause.Unlock()
		if err != nil {
			return err
		}
		most = max(most, share)
		if float64(f.done()) >= o.churn*float64(o.rows) {
			break
		}
	}
	if err := errors.Join(u.end(), f.stop()); err != nil {
		return err
	}
	bound := map[int]float64{3: 1.3, 2: 2}[b.format]
	fmt.Println("\n| at worst | | bound |\n|---|---|---|")
	for _, r := range readers {
		fmt.Printf("| %s, full scan | %.2f times | %.1f |\n| %s, lookup by key | %.2f times | %.1f |\n", r.name, r.worst[0], bound, r.name, r.worst[1], bound)
	}
	fmt.Printf("| bytes in the bucket | %.2f times | 2.5 |\n", most)
	fmt.Printf("\n%d changes in %d commits, %d rewrites; written by commits %.0f MiB, by rewrites %.0f MiB: amplification %.1f\n", f.changes, f.commits, len(f.rewrites),
		float64(f.written)/(1<<20), float64(f.rewritten)/(1<<20), float64(f.written+f.rewritten)/float64(f.written))
	for _, line := range f.bad {
		fmt.Println("the log says:", line)
	}
	return b.settle(ctx)
}

// leastCost measures what readers pay for the least there can be: one commit of a few updates on the compacted table.
func (b *bench) leastCost(ctx context.Context, readers []*reader, rows int) error {
	const updates = 2000
	ids := make([]int, updates)
	for i := range ids {
		ids[i] = 1 + i*(rows/updates)
	}
	if err := b.mysql.Exec(ctx, updateOf(ids)); err != nil {
		return err
	}
	if _, _, err := b.tidemark(ctx, b.fireArgs("ingest", "--until", "caught-up", "--compact", "off", "--strict")...); err != nil {
		return err
	}
	fmt.Printf("after one commit of %d updates, times that:", updates)
	err := b.look(ctx, readers, rows, func(r *reader, seconds [2]float64) {
		fmt.Printf(" %s: scan %.2f, lookup %.2f;", r.name, seconds[0]/r.base[0], seconds[1]/r.base[1])
	})
	fmt.Println()
	return err
}

// lookUnderFire halts the ingest, prints a line of the table, and returns the bytes in the bucket as times of fresh.
func (b *bench) lookUnderFire(ctx context.Context, f *follower, readers []*reader, rows int, fresh int64) (share float64, err error) {
	if err := f.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.cmd.Process.Signal(syscall.SIGCONT)) }()
	bytes, _, err := b.bytes(ctx)
	if err != nil {
		return 0, err
	}
	_, t, err := b.openTable(ctx)
	if err != nil {
		return 0, err
	}
	changes := f.done()
	share, size := float64(bytes)/float64(fresh), t.Size()
	fmt.Printf("| %.0f %% | %d | %.0f %% | %.2f ", 100*float64(changes)/float64(rows), size.DataFiles, 100*float64(size.DeletedRows)/float64(size.Rows+size.DeletedRows), share)
	err = b.look(ctx, readers, rows, func(r *reader, seconds [2]float64) {
		for i := range seconds {
			times := seconds[i] / r.base[i]
			r.worst[i] = max(r.worst[i], times)
			fmt.Printf("| %.2f ", times)
		}
	})
	fmt.Println("|")
	return share, err
}

// bytes counts what is in the table's folder.
func (b *bench) bytes(ctx context.Context) (bytes int64, objects int, err error) {
	s, _, err := b.openTable(ctx)
	if err != nil {
		return 0, 0, err
	}
	for o, err := range s.List(ctx, fireTable.Path()+"/") {
		if err != nil {
			return 0, 0, err
		}
		bytes += o.Size
		objects++
	}
	return bytes, objects, nil
}

// look times both queries with each reader: the best of a few runs of the scan, and the mean over keys of the best lookup.
// The source, which goes on writing its dirty pages for long, is halted meanwhile.
func (b *bench) look(ctx context.Context, readers []*reader, rows int, found func(*reader, [2]float64)) (err error) {
	if err := b.mysql.Pause(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.mysql.Resume()) }()
	best := func(r *reader, sql string, runs int) (float64, error) {
		least := 0.0
		for i := range runs {
			began := time.Now()
			if _, err := r.query(ctx, sql); err != nil {
				return 0, fmt.Errorf("%s: %s: %w", r.name, sql, err)
			}
			if took := time.Since(began).Seconds(); i == 0 || took < least {
				least = took
			}
		}
		return least, nil
	}
	for _, r := range readers {
		var seconds [2]float64
		var err error
		if seconds[0], err = best(r, fmt.Sprintf(scanQuery, r.table), scans); err != nil {
			return err
		}
		for range lookups {
			one, err := best(r, fmt.Sprintf(lookupQuery, r.table, 1+rand.IntN(rows)), scans)
			if err != nil {
				return err
			}
			seconds[1] += one / lookups
		}
		found(r, seconds)
	}
	return nil
}

// readers starts DuckDB, which reads the bucket, and unless that is to be alone Trino, which reads through tidemark serve.
func (b *bench) readers(ctx context.Context, box *toolbox.Box, alone bool) (_ []*reader, closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() (err error) {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll())
		}
	}()
	interpreter, err := box.Python(ctx)
	if err != nil {
		return nil, closeAll, err
	}
	python, err := server.StartPython(ctx, interpreter)
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, python.Close)
	duck, err := python.DuckDB(ctx)
	if err != nil {
		return nil, closeAll, err
	}
	if err := duck.UseS3(ctx, b.minio.Endpoint[len("http://"):], b.minio.AccessKey, b.minio.SecretKey, b.minio.Region); err != nil {
		return nil, closeAll, err
	}
	readers := []*reader{{name: "DuckDB", table: "iceberg_scan('" + fireLake + "/" + fireTable.Path() + "')", query: duck.Query}}
	if alone {
		return readers, closeAll, nil
	}
	trino, err := testenv.ShareTrino(ctx, box)
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, trino.Close)
	address := make(chan string, 1)
	serve, err := b.startProcess(ctx, func(line map[string]any) {
		if a, ok := line["address"].(string); ok {
			select {
			case address <- a:
			default:
			}
		}
	}, b.fireArgs("serve", "--listen", "127.0.0.1:0")...)
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, serve.stop)
	name := fmt.Sprintf("bench_%d", os.Getpid())
	select {
	case a := <-address:
		if err := trino.CreateCatalog(ctx, name, a, b.minio); err != nil {
			return nil, closeAll, err
		}
	case err := <-serve.ended:
		return nil, closeAll, serve.failed(errors.Join(err, errors.New("serve ended")))
	}
	closers = append(closers, func() error { return trino.DropCatalog(context.WithoutCancel(ctx), name) })
	return append(readers, &reader{name: "Trino", table: name + ".bench.t", query: trino.Query}), closeAll, nil
}
