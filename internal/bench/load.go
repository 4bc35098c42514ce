package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// loadWorkers is how many connections read the table, in both measurements.
const loadWorkers = 4

// loads measures the initial load of the table into MinIO, and a client that throws the rows away over as many connections.
// Each is done twice, and the better one counts: the first read of a table warms the server up.
func (b *bench) loads(ctx context.Context) error {
	better := func(f func() (int64, cost, error)) (rows int64, best cost, err error) {
		for i := range 2 {
			n, c, err := f()
			if err != nil {
				return 0, c, err
			}
			if rows = n; i == 0 || c.wall < best.wall {
				best = c
			}
		}
		return rows, best, nil
	}
	rows, raw, err := better(func() (int64, cost, error) { return b.discardRows(ctx) })
	if err != nil {
		return err
	}
	raw.print(fmt.Sprintf("rows thrown away, %d connections", loadWorkers), int(rows))
	round := 0
	_, load, err := better(func() (int64, cost, error) {
		round++
		c, err := b.load(ctx, fmt.Sprintf("s3://bench/loaded%d", round))
		return rows, c, err
	})
	if err != nil {
		return err
	}
	load.print(fmt.Sprintf("initial load into MinIO, %d conn.", loadWorkers), int(rows))
	fmt.Printf("  peak memory %.0f MiB; %.2f of the speed of rows thrown away; against the best open peer, per CPU second: %.1f times 33,000\n\n",
		float64(load.peak)/(1<<20), raw.wall.Seconds()/load.wall.Seconds(), float64(rows)/load.cpu.Seconds()/33_000)
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
