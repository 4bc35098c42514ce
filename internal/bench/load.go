package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// loadWorkers is how many connections read the table, in both measurements.
const loadWorkers = 4

// loadRounds is how often the load is measured beside everything else.
const loadRounds = 3

// onlyLoads measures the initial load of a table of so many rows.
func (b *bench) onlyLoads(ctx context.Context, rows, rounds int) error {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.grow(ctx, box, rows); err != nil {
		return err
	}
	if err := b.loads(ctx, rounds); err != nil {
		return err
	}
	fmt.Println("noise after:", noise())
	return nil
}

// loads measures a client that throws the rows of the table away, and the initial load into MinIO over as many connections:
// by turns, so that what else the machine does meets both alike, and after a first read that warms the server up.
func (b *bench) loads(ctx context.Context, rounds int) error {
	if err := b.calm(ctx); err != nil {
		return err
	}
	if _, _, err := b.discardRows(ctx); err != nil {
		return err
	}
	var raws, loads []cost
	var ratios []float64
	var rows int64
	for round := range rounds {
		n, raw, err := b.discardRows(ctx)
		if err != nil {
			return err
		}
		source, bucket := server.CPU(b.mysql.Pid()), server.CPU(b.minio.Pid())
		load, err := b.load(ctx, fmt.Sprintf("s3://bench/loaded%d", round))
		if err != nil {
			return err
		}
		source, bucket = server.CPU(b.mysql.Pid())-source, server.CPU(b.minio.Pid())-bucket
		rows, raws, loads, ratios = n, append(raws, raw), append(loads, load), append(ratios, raw.wall.Seconds()/load.wall.Seconds())
		fmt.Printf("  round %d: rows thrown away %.2f s, load %.2f s, ratio %.2f; CPU meanwhile: tidemark %.2f s, MySQL %.2f s, MinIO %.2f s\n",
			round+1, raw.wall.Seconds(), load.wall.Seconds(), ratios[round], load.cpu.Seconds(), source.Seconds(), bucket.Seconds())
	}
	quickest := func(list []cost) cost {
		return slices.MinFunc(list, func(a, b cost) int { return cmp.Compare(a.wall, b.wall) })
	}
	raw, load := quickest(raws), quickest(loads)
	slices.Sort(ratios)
	raw.print(fmt.Sprintf("rows thrown away, %d connections", loadWorkers), int(rows))
	load.print(fmt.Sprintf("initial load into MinIO, %d conn.", loadWorkers), int(rows))
	fmt.Printf("  peak memory %.0f MiB; the quickest load reached %.2f of the speed of the quickest throwing away; by rounds %.2f to %.2f, median %.2f\n",
		float64(load.peak)/(1<<20), raw.wall.Seconds()/load.wall.Seconds(), ratios[0], ratios[len(ratios)-1], ratios[len(ratios)/2])
	fmt.Printf("  against the best open peer, per CPU second: %.1f times 33,000\n\n", float64(rows)/load.cpu.Seconds()/33_000)
	return nil
}

// calm waits until the source has written what was changed before, and purged it: on two processors that would be measured too.
func (b *bench) calm(ctx context.Context) error {
	const atMost, look, idle = 2 * time.Minute, time.Second, 50 * time.Millisecond
	for began := time.Now(); time.Since(began) < atMost; {
		before := server.CPU(b.mysql.Pid())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		if server.CPU(b.mysql.Pid())-before < idle {
			return nil
		}
	}
	fmt.Println("  the source is still busy with itself: the load's figures are worth less")
	return nil
}

// discardRows reads the table by ranges, over several connections, and does nothing with the rows.
func (b *bench) discardRows(ctx context.Context) (rows int64, c cost, err error) {
	counts := make([]int64, loadWorkers)
	c, err = measure(func() error {
		conn, err := snapshot.Open(ctx, b.source(), b.mysql.Addr())
		if err != nil {
			return err
		}
		defer conn.Close()
		table, err := snapshot.Describe(ctx, conn, "bench", "t")
		if err != nil {
			return err
		}
		ranges := snapshot.NewRanges(table, 200_000, nil)
		g, ctx := errgroup.WithContext(ctx)
		parts := make(chan snapshot.Range)
		for i := range loadWorkers {
			g.Go(func() error {
				conn, err := snapshot.Open(ctx, b.source(), b.mysql.Addr())
				if err != nil {
					return err
				}
				defer conn.Close()
				r := snapshot.NewReader(memory.DefaultAllocator, conn, table)
				defer r.Close(ctx)
				for part := range parts {
					if err := r.Start(ctx, part); err != nil {
						return err
					}
					n, err := r.Discard(ctx)
					if err != nil {
						return err
					}
					counts[i] += n
				}
				return nil
			})
		}
		g.Go(func() error {
			defer close(parts)
			for {
				part, ok, err := ranges.Next(ctx, conn)
				if err != nil || !ok {
					return err
				}
				select {
				case parts <- part:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		return g.Wait()
	})
	for _, n := range counts {
		rows += n
	}
	return rows, c, err
}

// load runs the program itself: a load, and the end of it once the table is live.
func (b *bench) load(ctx context.Context, lake string) (cost, error) {
	root, err := toolbox.ModuleRoot()
	if err != nil {
		return cost{}, err
	}
	args := []string{
		"load", "--source", "mysql://" + server.User + "@" + b.mysql.Addr() + "/", "--lake", lake, "--s3-endpoint", b.minio.Endpoint,
		"--tables", "bench.t", "--format-version", fmt.Sprint(b.format), "--load-workers", fmt.Sprint(loadWorkers),
	}
	if b.loadProfile != "" {
		args = append(args, "--cpu-profile", b.loadProfile)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "tidemark"), args...)
	cmd.Env = append(os.Environ(), "TIDEMARK_SOURCE_PASSWORD="+server.Password)
	_, c, err := spend(cmd)
	return c, err
}
