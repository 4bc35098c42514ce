package verify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/verify"
	"github.com/tidemark/tidemark/internal/testenv"
)

// hammer changes rows by several connections at once, most of all a few hot ones, until stop is called.
func hammer(t *testing.T, s *testenv.Server) (stop func() int) {
	const sessions = 6
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	made := make([]int, sessions)
	for i := range sessions {
		session := s.Session(t, "d")
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 5))
			for ctx.Err() == nil {
				key := r.IntN(4000)
				if r.IntN(2) == 0 {
					key = r.IntN(20)
				}
				sql := []string{
					fmt.Sprintf("UPDATE t SET v = CONCAT('v', %d) WHERE id = %d", made[i], key),
					fmt.Sprintf("DELETE FROM t WHERE id = %d", key),
					fmt.Sprintf("REPLACE INTO t VALUES (%d, 'new %d')", key, made[i]),
					fmt.Sprintf("UPDATE IGNORE t SET id = id + 1 WHERE id = %d", key),
					fmt.Sprintf("INSERT INTO t VALUES (%d, 'odd') ON DUPLICATE KEY UPDATE v = v", key),
					fmt.Sprintf("BEGIN; UPDATE t SET v = 'one' WHERE id = %d; UPDATE t SET v = 'two' WHERE id = %[1]d; DELETE FROM t WHERE id = %d; COMMIT", key, key+1),
				}[r.IntN(6)]
				if err := session.Exec(sql); err != nil && ctx.Err() == nil && !deadlock(err) {
					t.Error(err)
					return
				}
				made[i]++
			}
		})
	}
	once := sync.OnceValue(func() (n int) {
		cancel()
		wg.Wait()
		for _, m := range made {
			n += m
		}
		return n
	})
	t.Cleanup(func() { once() })
	return once
}

// TestUnderLoad compares again and again while six connections change few keys as fast as they can, with an ingest beside it
// and then without: nothing is reported that was not planted, and what was planted is found, hot keys included.
func TestUnderLoad(t *testing.T) {
	w := newWorld(t, testenv.Args("--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2"))
	w.exec(numbers+"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO d.t SELECT i, CONCAT('value ', i) FROM aside.n")
	w.catchUp()
	stop := hammer(t, w.server)
	ctx, end := context.WithCancel(t.Context())
	ingesting := make(chan error, 1)
	go func() {
		ingesting <- ingest.Run(ctx, context.WithoutCancel(ctx), ingest.Options{
			Source: w.source(), Tables: w.filter(), Lake: w.lake, Start: ingest.Start{Kind: ingest.StartEarliest}, CommitInterval: 150 * time.Millisecond, Logger: quiet(),
		})
	}()
	touched, sets := int64(0), map[string]bool{}
	compare := func(runs int, want map[string][]string) {
		t.Helper()
		for i := range runs {
			report := w.found(verify.Options{Parallel: 1 + i%4, RangeRows: []int{50, 400, 5000}[i%3], PartRows: []int{5000, 1000}[i%2]}, want)
			touched += report.Tables[0].Touched
			for _, c := range report.Tables[0].Compared {
				sets[c.GTIDSet] = true
			}
		}
	}
	compare(20, map[string][]string{})
	assert.Greater(t, len(sets), 5, "positions")
	end()
	require.NoError(t, <-ingesting)
	compare(5, map[string][]string{})
	// From here on the lake stays where it is; the hot keys are changed many times after that, and some are gone.
	var planted []string
	w.edit("t", func(e *edit) {
		keys := e.keys()
		for key := range 20 {
			if name := fmt.Sprint(key); slices.Contains(keys, name) && len(planted) < 3 {
				e.put(e.remove(name), "v", flip)
				planted = append(planted, "changed ("+name+"): v")
			}
		}
		row, _, _ := e.row(keys[len(keys)/2])
		e.put(row, "id", number("90000"))
		planted = append(planted, "extra (90000)")
	})
	compare(10, map[string][]string{"t": planted})
	n := stop()
	t.Logf("%d transactions, %d keys compared by the binary log", n, touched)
	assert.Greater(t, touched, int64(1000))
	w.edit("t", func(e *edit) { e.remove("90000") })
	compare(1, map[string][]string{"t": planted[:len(planted)-1]})
}

// deadlock reports whether the server chose a transaction as the victim.
func deadlock(err error) bool {
	var my *mysql.MyError
	return errors.As(err, &my) && my.Code == mysql.ER_LOCK_DEADLOCK
}
