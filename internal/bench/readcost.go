package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// The queries: every column of all rows, and one row by its key.
const (
	scanQuery   = "SELECT count(*), sum(id), sum(a), sum(b), sum(c), sum(amount), sum(score), max(created), max(updated), sum(length(name)), sum(length(email)), sum(length(notes)), sum(length(doc)) FROM %s"
	lookupQuery = "SELECT a, amount, name FROM %s WHERE id = %d"
)

// How often they are timed: the least times, for so long; and with so many keys.
const (
	rounds   = 3
	roundsIn = 15 * time.Second
	lookups  = 12
)

// reader is an engine that the tables are read with.
type reader struct {
	name      string
	table     string // that updates stream into
	compacted string // the same, left alone since it was compacted
	query     func(ctx context.Context, sql string) ([][]string, error)
	scan, key float64 // seconds, of the compacted table
	worst     [2]float64
}

// readCost measures what readers pay for a table that updates stream into, next to what they pay for it freshly compacted: for a
// table of its own, by turns with the other, so that what else the machine does meets both alike.
//
// The ingest and the source are halted by a signal while the readers are timed: what is measured is the
// state of the table at that moment, not the share of the processor that other programs leave.
func (b *bench) readCost(ctx context.Context, o fireOptions) (err error) {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.grow(ctx, box, o.rows); err != nil {
		return err
	}
	target := []string{"--target-file-size", o.target}
	for _, lake := range []string{fireLake, freshLake} {
		if err := b.bring(ctx, lake, o.rows, target...); err != nil {
			return err
		}
	}
	readers, closeReaders, err := b.readers(ctx, box, o.alone)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeReaders()) }()
	fresh, err := b.bytes(ctx, freshLake)
	if err != nil {
		return err
	}
	if err := b.noiseOfLooks(ctx, readers, o.rows); err != nil {
		return err
	}
	if err := b.leastCost(ctx, readers, o.rows); err != nil {
		return err
	}
	fmt.Printf("freshly compacted: %.0f MiB", float64(fresh)/(1<<20))
	for _, r := range readers {
		fmt.Printf("; %s: scan %.2f s, lookup %.3f s", r.name, r.scan, r.key)
	}
	fmt.Print("\n")
	fmt.Printf("\nformat %d, %d rows; times next to the freshly compacted table:\n\n| updated | data files | rows masked | bytes in the bucket ", b.format, o.rows)
	for _, r := range readers {
		fmt.Printf("| %s scan | %s lookup ", r.name, r.name)
	}
	fmt.Println("|\n|---|---|---|---" + strings.Repeat("|---|---", len(readers)) + "|")

	f, err := b.follow(ctx, append(target, "--commit-interval", o.commit.String(), "--expire-after", "30s", "--keep-snapshots", "2", "--deleted-share", fmt.Sprint(o.share), "--max-small-files", fmt.Sprint(o.small))...)
	if err != nil {
		return err
	}
	u := b.update(ctx, o.rows, o.rate)
	defer func() { err = errors.Join(err, u.end()) }()
	most := int64(0)
	for {
		for look := time.Now().Add(o.every); time.Now().Before(look); {
			select {
			case err := <-f.ended:
				return f.failed(errors.Join(err, errors.New("ingest ended")))
			case <-time.After(time.Second):
			}
			bytes, err := b.bytes(ctx, fireLake)
			if err != nil {
				return err
			}
			most = max(most, bytes)
		}
		u.pause.Lock()
		err := b.lookUnderFire(ctx, f, readers, o.rows, fresh)
		u.pause.Unlock()
		if err != nil {
			return err
		}
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
	fmt.Printf("| bytes in the bucket, each second, times those before the updates | %.2f times | 2.5 |\n", float64(most)/float64(fresh))
	fmt.Printf("\n%d changes in %d commits, %d rewrites; written by commits %.0f MiB, by rewrites %.0f MiB: amplification %.1f\n", f.changes, f.commits, len(f.rewrites),
		float64(f.written)/(1<<20), float64(f.rewritten)/(1<<20), float64(f.written+f.rewritten)/float64(f.written))
	for _, line := range f.bad {
		fmt.Println("the log says:", line)
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	if err := b.bring(ctx, anewLake, o.rows, target...); err != nil { // for updates may pack worse than the rows before
		return err
	}
	anew, err := b.bytes(ctx, anewLake)
	if err != nil {
		return err
	}
	fmt.Printf("the same rows, compacted: %.0f MiB; bytes in the bucket, each second: at most %.2f times that, bound 2.5\n", float64(anew)/(1<<20), float64(most)/float64(anew))
	return nil
}

// noiseOfLooks times the two tables while they are the same.
func (b *bench) noiseOfLooks(ctx context.Context, readers []*reader, rows int) error {
	fmt.Print("\nthe same table twice:")
	return b.printLook(ctx, readers, rows)
}

// printLook ends a line with what each reader pays now.
func (b *bench) printLook(ctx context.Context, readers []*reader, rows int) error {
	err := b.look(ctx, readers, rows, func(r *reader, times [2]float64) {
		fmt.Printf(" %s: scan %.2f, lookup %.2f;", r.name, times[0], times[1])
	})
	fmt.Println()
	return err
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
	fmt.Printf("\nafter one commit of %d updates, times the compacted table:", updates)
	return b.printLook(ctx, readers, rows)
}

// lookUnderFire halts the ingest and prints a line of the table. The bucket had fresh bytes when all was compacted.
func (b *bench) lookUnderFire(ctx context.Context, f *follower, readers []*reader, rows int, fresh int64) (err error) {
	if err := f.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.cmd.Process.Signal(syscall.SIGCONT)) }()
	bytes, err := b.bytes(ctx, fireLake)
	if err != nil {
		return err
	}
	t, err := b.openTable(ctx)
	if err != nil {
		return err
	}
	changes := f.done()
	size := t.Size()
	fmt.Printf("| %.1f %% | %d | %.1f %% | %.2f ", 100*float64(changes)/float64(rows), size.DataFiles, 100*float64(size.DeletedRows)/float64(size.Rows+size.DeletedRows), float64(bytes)/float64(fresh))
	err = b.look(ctx, readers, rows, func(r *reader, times [2]float64) {
		for i, t := range times {
			r.worst[i] = max(r.worst[i], t)
			fmt.Printf("| %.2f ", t)
		}
	})
	fmt.Println("|")
	return err
}

// look times both queries with each reader and tells how many times as long they take as with the compacted table.
// The source, which goes on writing its dirty pages for long, is halted meanwhile.
func (b *bench) look(ctx context.Context, readers []*reader, rows int, found func(_ *reader, times [2]float64)) (err error) {
	if err := b.mysql.Pause(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.mysql.Resume()) }()
	for _, r := range readers {
		var scan, lookup, key, now float64
		if r.scan, scan, err = r.compare(ctx, roundsIn, func(table string) string { return fmt.Sprintf(scanQuery, table) }); err != nil {
			return err
		}
		r.key = 0
		for range lookups {
			id := 1 + rand.IntN(rows)
			if key, now, err = r.compare(ctx, roundsIn/lookups, func(table string) string { return fmt.Sprintf(lookupQuery, table, id) }); err != nil {
				return err
			}
			r.key, lookup = r.key+key/lookups, lookup+now/lookups
		}
		found(r, [2]float64{scan / r.scan, lookup / r.key})
	}
	return nil
}

// compare times a query on the compacted table and the other by turns and returns the least seconds of each.
func (r *reader) compare(ctx context.Context, atLeast time.Duration, sql func(table string) string) (compacted, now float64, err error) {
	compacted, now = math.Inf(1), math.Inf(1)
	began := time.Now()
	for i := 0; i < rounds || time.Since(began) < atLeast; i++ {
		for table, least := range map[string]*float64{r.compacted: &compacted, r.table: &now} { // in any order
			start := time.Now()
			if _, err := r.query(ctx, sql(table)); err != nil {
				return 0, 0, fmt.Errorf("%s: %s: %w", r.name, sql(table), err)
			}
			*least = min(*least, time.Since(start).Seconds())
		}
	}
	return compacted, now, nil
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
	scanOf := func(lake string) string { return "iceberg_scan('" + lake + "/" + fireTable.Path() + "')" }
	readers := []*reader{{name: "DuckDB", table: scanOf(fireLake), compacted: scanOf(freshLake), query: duck.Query}}
	if alone {
		return readers, closeAll, nil
	}
	trino, err := testenv.ShareTrino(ctx, box)
	if err != nil {
		return nil, closeAll, err
	}
	closers = append(closers, trino.Close)
	catalogs := map[string]string{}
	for i, lake := range []string{fireLake, freshLake} {
		name := fmt.Sprintf("bench_%d_%d", os.Getpid(), i)
		closeCatalog, err := b.serve(ctx, trino, name, lake)
		if err != nil {
			return nil, closeAll, err
		}
		closers = append(closers, closeCatalog)
		catalogs[lake] = name + ".bench.t"
	}
	return append(readers, &reader{name: "Trino", table: catalogs[fireLake], compacted: catalogs[freshLake], query: trino.Query}), closeAll, nil
}

// serve runs tidemark serve over a lake and makes it a catalog of Trino.
func (b *bench) serve(ctx context.Context, trino *server.Trino, name, lake string) (closeBoth func() error, err error) {
	address := make(chan string, 1)
	serve, err := b.startProcess(ctx, func(line map[string]any) {
		if a, ok := line["address"].(string); ok {
			select {
			case address <- a:
			default:
			}
		}
	}, b.lakeArgs(lake, "serve", "--listen", "127.0.0.1:0")...)
	if err != nil {
		return nil, err
	}
	select {
	case a := <-address:
		if err := trino.CreateCatalog(ctx, name, a, b.minio); err != nil {
			return nil, errors.Join(err, serve.stop())
		}
	case err := <-serve.ended:
		return nil, serve.failed(errors.Join(err, errors.New("serve ended")))
	}
	return func() error { return errors.Join(trino.DropCatalog(context.WithoutCancel(ctx), name), serve.stop()) }, nil
}
