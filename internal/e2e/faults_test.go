package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// TestEveryStoreOperationFails lets every operation on the store, each in turn, fail before its effect, fail after it, and
// hang without and with it, while a pipeline runs. Whatever fails, the pipeline goes on by itself, and in the end the lake
// equals the source.
func TestEveryStoreOperationFails(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprint("v", format), func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, "CREATE DATABASE app; CREATE TABLE app.hot (id INT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)")
			s.Exec(t, "INSERT INTO app.hot VALUES (1,0),(2,0),(3,0),(4,0),(5,0)")
			first := s.Executed(t)
			s.Exec(t, "UPDATE app.hot SET n = n + 1 WHERE id < 3; DELETE FROM app.hot WHERE id = 4", "UPDATE app.hot SET id = 40 WHERE id = 5")
			want := fmt.Sprint(s.Query(t, "SELECT id, n FROM app.hot ORDER BY id"))
			duck := testenv.DuckDB(t)

			faulty, dir := faultyLake(t)
			if err := follow(t.Context(), s, faulty, format, first, io.Discard); err != nil {
				t.Fatal(err)
			}
			operations := fault.Each(faulty.Events())
			if rows := rowsIn(t.Context(), duck, dir); rows != want {
				t.Fatalf("without a fault the lake has %s, want %s", rows, want)
			}
			if len(operations) < 20 {
				t.Fatalf("only %d operations were seen", len(operations))
			}
			var struck atomic.Int64
			var g errgroup.Group
			g.SetLimit(24) // most of the time is spent hanging
			for _, mode := range fault.Modes() {
				for _, plan := range operations {
					plan.Mode = mode
					faulty, dir := faultyLake(t)
					g.Go(func() error {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						faulty.Set(plan)
						var log bytes.Buffer
						if err := follow(ctx, s, faulty, format, first, &log); err != nil {
							t.Errorf("%s: %v\n%s", plan, err, &log)
							return nil
						}
						struck.Add(int64(faulty.Struck()))
						if rows := rowsIn(t.Context(), duck, dir); rows != want {
							t.Errorf("%s: the lake has %s, want %s\n%s", plan, rows, want, &log)
						}
						return nil
					})
				}
			}
			_ = g.Wait()
			t.Logf("%d operations, %d faults struck", len(operations), struck.Load())
			if int(struck.Load()) < 3*len(operations) {
				t.Errorf("only %d faults struck", struck.Load())
			}
		})
	}
}

func faultyLake(t *testing.T) (*fault.Faulty, string) {
	t.Helper()
	dir := t.TempDir()
	local, err := store.OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fault.Store(local), dir
}

// follow ingests up to a first GTID set, and then, as a new process would, to the end.
func follow(ctx context.Context, s *testenv.Server, files *fault.Faulty, format int, first string, log io.Writer) error {
	logger := slog.New(slog.NewTextHandler(log, nil))
	filter, err := source.ParseFilter("app.*")
	if err != nil {
		return err
	}
	for _, until := range []string{"gtid:" + first, "caught-up"} {
		end, err := ingest.ParseUntil(until)
		if err != nil {
			return err
		}
		err = ingest.Run(ctx, ctx, ingest.Options{
			Source: source.Config{Hosts: []string{s.Addr()}, User: server.User, Password: server.Password},
			Lake:   &lake.Lake{Store: files, Catalog: catalog.NewBucket(files), Logger: logger},
			Tables: filter, Start: ingest.Start{Kind: ingest.StartEarliest}, Until: end, CommitInterval: 50 * time.Millisecond,
			StoreTimeout: 250 * time.Millisecond, FormatVersion: format, Logger: logger,
		})
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("until %s: %w", until, err)
		}
	}
	return nil
}

// rowsIn returns what DuckDB reads in a lake, or why it cannot.
func rowsIn(ctx context.Context, duck *testenv.Duck, dir string) string {
	rows, err := duck.TryQuery(ctx, "SELECT id, n FROM iceberg_scan('"+dir+"/app/hot') ORDER BY id")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(rows)
}
