package verify_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/compaction"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/ingest/verify"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// hundred is a table of 4,000 rows in the lake, and one of 50.
func hundred(t *testing.T) *world {
	w := newWorld(t)
	w.exec(numbers+"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); CREATE TABLE u (id VARCHAR(10) PRIMARY KEY, n INT)", "INSERT INTO d.t SELECT i, CONCAT('value ', i) FROM aside.n",
		"INSERT INTO d.u SELECT CONCAT('k', i), i FROM aside.n WHERE i < 50")
	w.catchUp()
	return w
}

// TestConnectionLost cuts all connections again and again while rows are read: what was compared stays, the rest is compared
// after it.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	proxy := w.server.Proxy(t)
	w.hosts = []string{proxy.Addr()}
	cuts, next := 0, int64(500)
	report, err := w.verify(verify.Options{RangeRows: 100, PartRows: 500, Parallel: 2, Progress: func(p verify.Progress) {
		if p.Rows >= next {
			cuts++
			next += 1100
			proxy.Cut(t)
			proxy.Heal(t)
		}
	}})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.GreaterOrEqual(t, cuts, 3)
	assert.EqualValues(t, 4000, report.Tables[0].Rows)
}

// TestFilesRemoved expires snapshots and removes the files of the one that is being compared: the rest is compared at a
// newer one.
func TestFilesRemoved(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	w.exec("UPDATE d.t SET v = 'new' WHERE id % 2 = 0")
	w.catchUp()
	id := catalog.Identifier{DB: "d", Table: "t"}
	removed := false
	report, err := w.verify(verify.Options{RangeRows: 100, PartRows: 500, Parallel: 1, Progress: func(p verify.Progress) {
		if p.Rows < 1000 || removed {
			return
		}
		removed = true
		o := compaction.PassOptions{Expire: lake.ExpireOptions{Age: time.Nanosecond, Keep: 1}}
		o.EnsureDefaults()
		r, err := compaction.Pass(t.Context(), w.lake, id, o)
		require.NoError(t, err)
		require.NotEmpty(t, r.String())
	}})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.True(t, removed)
	assert.EqualValues(t, 4000, report.Tables[0].Rows)
	assert.Len(t, report.Tables[0].Compared, 2, "%+v", report.Tables[0])
}

// interrupted runs until so many parts are in the file.
func (w *world) interrupted(file string, parts int) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	_, err := w.verifyUntil(ctx, verify.Options{Memory: 64 << 10, State: file, Parallel: 1, Progress: func(verify.Progress) {
		if text, err := os.ReadFile(file); err == nil && strings.Count(string(text), "gtid_set") == parts {
			cancel()
		}
	}})
	require.ErrorIs(w.t, err, context.Canceled)
}

// TestGoesOnInShares interrupts the comparison of a table that cannot be divided by numbers, twice.
func TestGoesOnInShares(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(numbers + "CREATE TABLE t (id VARCHAR(20) PRIMARY KEY); INSERT INTO t SELECT CONCAT('k', i, '-', j) FROM aside.n, (SELECT 1 AS j UNION SELECT 2 UNION SELECT 3) AS more")
	w.catchUp()
	file := filepath.Join(t.TempDir(), "progress")
	w.interrupted(file, 2)
	w.interrupted(file, 4)
	report := w.found(verify.Options{Memory: 64 << 10, State: file}, map[string][]string{})
	assert.EqualValues(t, 12000, report.Tables[0].Rows)
	assert.Equal(t, 6, report.Tables[0].Compared[0].Parts)
	require.NoFileExists(t, file)

	require.NoError(t, os.WriteFile(file, []byte(`{"version": 1, "lake": "file:///elsewhere/"}`), 0o600))
	_, err := w.verify(verify.Options{State: file})
	var state *verify.StateError
	require.ErrorAs(t, err, &state)
}

// TestGoesOnWithOtherBounds interrupts the comparison between two shares of a part, whose bounds are others when it goes on: its
// shares are compared anew.
func TestGoesOnWithOtherBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(numbers + "CREATE TABLE t (id INT, b INT, PRIMARY KEY (id, b)); INSERT INTO t SELECT 0, i FROM aside.n; INSERT INTO t SELECT 5, i FROM aside.n WHERE i < 100")
	w.catchUp()
	file := filepath.Join(t.TempDir(), "progress")
	w.interrupted(file, 2) // all before 0, and the first share of 0 to 5
	w.exec("INSERT INTO d.t SELECT 3, i FROM aside.n")
	w.catchUp()
	report := w.found(verify.Options{Memory: 64 << 10, State: file}, map[string][]string{})
	assert.EqualValues(t, 8100, report.Tables[0].Rows)
}

// TestOwnedTransactions compares while XA transactions are prepared, a transaction is open, and a GTID is reserved: none of
// it is seen, and nothing waits for it.
func TestOwnedTransactions(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	xa, open, owner := w.server.Session(t, "d"), w.server.Session(t, "d"), w.server.Session(t, "d")
	require.NoError(t, xa.Exec("XA START 'x'; UPDATE t SET v = 'prepared' WHERE id = 5; INSERT INTO u VALUES ('xa', 1); XA END 'x'; XA PREPARE 'x'"))
	require.NoError(t, open.Exec("BEGIN; DELETE FROM t WHERE id = 6"))
	executed := w.server.Executed(t)
	w.exec("UPDATE d.t SET v = 'seen' WHERE id = 7")
	require.NoError(t, owner.Exec(fmt.Sprintf("SET GTID_NEXT = '%s:987654'", executed[:36]), "BEGIN; UPDATE t SET v = 'reserved' WHERE id = 8"))
	began := time.Now()
	report := w.found(verify.Options{}, map[string][]string{})
	assert.Less(t, time.Since(began), 20*time.Second)
	assert.EqualValues(t, 1, report.Tables[0].Touched)
	require.NoError(t, errors.Join(xa.Exec("XA COMMIT 'x'"), open.Exec("COMMIT"), owner.Exec("COMMIT; SET GTID_NEXT = 'AUTOMATIC'")))
	report = w.found(verify.Options{}, map[string][]string{})
	assert.EqualValues(t, 4, report.Tables[0].Touched)
	w.catchUp()
	report = w.found(verify.Options{}, map[string][]string{})
	assert.EqualValues(t, 0, report.Tables[0].Touched)
}

// TestCannotCompare says what stands in the way of a comparison, table by table.
func TestCannotCompare(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	report := func() map[string]verify.TableReport {
		t.Helper()
		r, err := w.verify(verify.Options{})
		require.NoError(t, err)
		require.False(t, r.Equal)
		m := map[string]verify.TableReport{}
		for _, table := range r.Tables {
			m[strings.TrimPrefix(table.Table, "d.")] = table
		}
		return m
	}
	w.exec("USE d; CREATE TABLE late (id INT PRIMARY KEY)")
	r := report()
	assert.Equal(t, verify.NotInLake, r["late"].Result)
	assert.Equal(t, verify.Equal, r["t"].Result)
	assert.NotZero(t, r["t"].Behind)

	w.exec("ALTER TABLE d.t ADD COLUMN w INT", "DROP TABLE d.u")
	r = report()
	assert.Contains(t, r["t"].Error, `the lake has no column "w"`)
	assert.Contains(t, r["u"].Error, "has no table d.u")

	w.server.Purge(t)
	r = report()
	assert.Contains(t, r["t"].Error, "purged")
	f, err := source.ParseFilter("typo.*")
	require.NoError(t, err)
	_, err = verify.Run(t.Context(), verify.Options{Source: w.source(), Tables: f, Lake: w.lake})
	require.ErrorContains(t, err, "typo.*")
	w.hosts = []string{"127.0.0.1:1"}
	_, err = w.verify(verify.Options{})
	var none *source.NoServerError
	require.ErrorAs(t, err, &none)
	assert.True(t, none.Temporary())
}

// TestWait lets the lake reach what the source has at the start.
func TestWait(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	w.exec("UPDATE d.t SET v = 'waited for' WHERE id < 10")
	done := make(chan struct{})
	var report *verify.Report
	go func() {
		defer close(done)
		report, _ = w.verify(verify.Options{Wait: time.Minute})
	}()
	w.catchUp()
	<-done
	for _, table := range report.Tables {
		assert.EqualValues(t, 0, table.Behind, table.Table)
		assert.EqualValues(t, 0, table.Touched, table.Table)
		assert.Equal(t, verify.Equal, table.Result, table.Table)
	}
}

// TestRate reads no faster than it may.
func TestRate(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	began := time.Now()
	report, err := w.verify(verify.Options{Rate: 2000})
	require.NoError(t, err)
	require.True(t, report.Equal)
	assert.Greater(t, time.Since(began), 2*time.Second, "4,050 rows")
}

// TestSecondServer compares with a replica, and goes on with the other server when that one dies.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 1)
	w := newWorld(t)
	w.server, w.hosts = cluster.Primary, []string{cluster.Primary.Addr(), cluster.Replicas[0].Addr()}
	w.exec(numbers+"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO d.t SELECT i, CONCAT('value ', i) FROM aside.n")
	w.catchUp()
	cluster.Sync(t)
	killed := false
	report, err := w.verify(verify.Options{RangeRows: 100, PartRows: 500, Parallel: 1, Progress: func(p verify.Progress) {
		if p.Rows > 1500 && !killed {
			killed = true
			cluster.Replicas[0].Kill(t)
		}
	}})
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Len(t, report.Tables[0].Compared, 2)
	assert.Equal(t, w.hosts[1], report.Tables[0].Compared[0].Server)
	assert.Equal(t, w.hosts[0], report.Tables[0].Compared[1].Server)
	assert.EqualValues(t, 4000, report.Tables[0].Rows)
}

// TestPositionsThatDoNotTell: what a table's record says besides the GTID set counts.
func TestPositionsThatDoNotTell(t *testing.T) {
	t.Parallel()
	w := hundred(t)
	for want, change := range map[string]func(r *checkpoint.Record){
		"transactions have no GTIDs": func(r *checkpoint.Record) { r.Anonymous = true },
		"ahead of its position":      func(r *checkpoint.Record) { r.Replay = &checkpoint.Replay{GTIDSet: r.GTIDSet} },
		"being loaded":               func(r *checkpoint.Record) { r.State = checkpoint.StateLoading },
		"":                           func(*checkpoint.Record) {},
	} {
		lt, err := lake.Open(t.Context(), w.lake, catalog.Identifier{DB: "d", Table: "u"})
		require.NoError(t, err)
		record, ok := lt.Checkpoint()
		require.True(t, ok)
		record.Anonymous, record.Replay, record.State = false, nil, checkpoint.StateLive
		change(&record)
		record.Epoch, err = lt.RaiseEpoch(t.Context(), record.Pipeline)
		require.NoError(t, err)
		record.Commit = uuid.NewString()
		require.NoError(t, lt.SetCheckpoint(t.Context(), record))
		report, err := w.verify(verify.Options{})
		require.NoError(t, err)
		require.Len(t, report.Tables, 2)
		assert.Equal(t, verify.Equal, report.Tables[0].Result)
		if want == "" {
			assert.True(t, report.Equal, report.Tables[1].Error)
		} else {
			assert.Contains(t, report.Tables[1].Error, want)
		}
	}
}
