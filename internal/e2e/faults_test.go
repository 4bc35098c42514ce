package e2e

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

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
			follow(t, s, faulty, format, first)
			operations := fault.Each(faulty.Events())
			if rows := rowsIn(t, duck, dir); rows != want {
				t.Fatalf("without a fault the lake has %s, want %s", rows, want)
			}
			if len(operations) < 20 {
				t.Fatalf("only %d operations were seen", len(operations))
			}
			struck := 0
			for _, mode := range fault.Modes() {
				for _, plan := range operations {
					plan.Mode = mode
					faulty, dir := faultyLake(t)
					faulty.Set(plan)
					follow(t, s, faulty, format, first)
					struck += faulty.Struck()
					if rows := rowsIn(t, duck, dir); rows != want {
						t.Errorf("%s: the lake has %s, want %s", plan, rows, want)
					}
				}
			}
			t.Logf("%d operations, %d faults struck", len(operations), struck)
			if struck < 3*len(operations) {
				t.Errorf("only %d faults struck", struck)
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
func follow(t *testing.T, s *testenv.Server, files *fault.Faulty, format int, first string) {
	t.Helper()
	filter, err := source.ParseFilter("app.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, until := range []string{"gtid:" + first, "caught-up"} {
		end, err := ingest.ParseUntil(until)
		if err != nil {
			t.Fatal(err)
		}
		err = ingest.Run(t.Context(), t.Context(), ingest.Options{
			Source: source.Config{Hosts: []string{s.Addr()}, User: server.User, Password: server.Password},
			Lake:   &lake.Lake{Store: files, Catalog: catalog.NewBucket(files), Logger: slog.New(slog.DiscardHandler)},
			Tables: filter, Start: ingest.Start{Kind: ingest.StartEarliest}, Until: end, CommitInterval: 50 * time.Millisecond,
			StoreTimeout: 250 * time.Millisecond, FormatVersion: format, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatalf("until %s: %v", until, err)
		}
	}
}

func rowsIn(t *testing.T, duck *testenv.Duck, dir string) string {
	t.Helper()
	return strings.TrimSpace(fmt.Sprint(duck.Query(t, "SELECT id, n FROM iceberg_scan('"+dir+"/app/hot') ORDER BY id")))
}
