package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

func dial(t testing.TB, cfg Config, host string, from checkpoint.Set) *Stream {
	t.Helper()
	s, err := Dial(t.Context(), cfg, host, from)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// What is written and what comes, in every way of ending a transaction.
func TestTransactions(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"OFF", "ON"} {
		t.Run("compression "+compression, func(t *testing.T) {
			t.Parallel()
			p := testenv.MySQL(t, testenv.Args("--binlog-transaction-compression="+compression))
			p.Exec(t, `CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, s VARCHAR(20)); CREATE TABLE d.b (id INT PRIMARY KEY, j JSON);
				CREATE TABLE d.secret (id INT PRIMARY KEY); CREATE TABLE d.m (id INT PRIMARY KEY) ENGINE=MyISAM`)
			from := set(p.Executed(t))
			cfg := config(t, p)
			cfg.Wanted = func(_, table string) bool { return table != "secret" }
			s := dial(t, cfg, p.Addr(), from)
			reached := from.Clone()
			for _, tt := range []struct{ sql, want string }{
				{"INSERT INTO d.a VALUES (1,'x'),(2,'y')", "insert a;"},
				{"BEGIN; INSERT INTO d.a VALUES (3,'z'); UPDATE d.a SET s='q' WHERE id<3; DELETE FROM d.a WHERE id=3; INSERT INTO d.b VALUES (1,'{}'); COMMIT", "insert a;update a;delete a;insert b;"},
				{"UPDATE d.a x JOIN d.b y ON x.id=y.id SET x.s='j', y.j='[1]'", "update b;update a;"},
				{"BEGIN; INSERT INTO d.a VALUES (9,'z'); ROLLBACK", ""},
				{"BEGIN; INSERT INTO d.a VALUES (4,'z'); SAVEPOINT x; INSERT INTO d.a VALUES (5,'z'); ROLLBACK TO x; INSERT INTO d.a VALUES (6,'z'); COMMIT", "insert a;insert a;"},
				{"INSERT INTO d.secret VALUES (1)", "-"},
				{"BEGIN; INSERT INTO d.secret VALUES (2); INSERT INTO d.a VALUES (7,'z'); COMMIT", "insert a;"},
				{"INSERT INTO d.m VALUES (1)", "insert m;"},
				{"USE d; ALTER TABLE d.a ADD COLUMN t INT", "ALTER TABLE d.a ADD COLUMN t INT;"},
				{"INSERT INTO d.a VALUES (8,'z',1)", "insert a;"},
				{"CREATE TABLE d.c (PRIMARY KEY (id)) AS SELECT id FROM d.a WHERE id=8", "CREATE TABLE;insert c;"},
				{"SET binlog_format=STATEMENT; UPDATE d.a SET t=2 WHERE id=8; SET binlog_format=ROW", "UPDATE d.a SET t=2 WHERE id=8;"},
				{"SET binlog_row_value_options=PARTIAL_JSON; UPDATE d.b SET j=JSON_SET(j,'$[0]',2) WHERE id=1; SET binlog_row_value_options=''", "? PARTIAL_UPDATE_ROWS d.b;"},
				{"SET gtid_next='AUTOMATIC:tag_1'; INSERT INTO d.a VALUES (10,'z',1); SET gtid_next=AUTOMATIC", "insert a;"},
				{"XA START 'x1','b',7; INSERT INTO d.a VALUES (20,'z',1); XA END 'x1','b',7; XA PREPARE 'x1','b',7", ""},
				{"INSERT INTO d.a VALUES (21,'z',1)", "insert a;"},
				{"XA COMMIT 'x1','b',7", "insert a;"},
				{"XA START 'x2'; INSERT INTO d.a VALUES (22,'z',1); XA END 'x2'; XA PREPARE 'x2'; XA ROLLBACK 'x2'", "-"},
				{"XA START 'x3'; INSERT INTO d.a VALUES (23,'z',1); XA END 'x3'; XA COMMIT 'x3' ONE PHASE", "insert a;"},
				{"TRUNCATE d.c", "TRUNCATE d.c;"},
				{"DROP TABLE d.c", "DROP TABLE;"},
			} {
				began := time.Now()
				p.Exec(t, tt.sql)
				if tt.want == "" { // nothing is complete yet
					continue
				}
				var got string
				until := set(p.Executed(t)).Subtract(s.Pending())
				var all []*Transaction
				for !reached.Contains(until.Subtract(s.Pending())) {
					all = append(all, next(t, s))
					tx := all[len(all)-1]
					require.True(t, tx.First && tx.Last && !tx.Anonymous)
					reached.Add(tx.GTID)
					for _, g := range tx.Also {
						reached.Add(g)
					}
				}
				for _, tx := range all {
					got += describe(tx)
					assert.WithinRange(t, tx.Time, began.Add(-time.Second), time.Now().Add(time.Second), tt.sql)
					assert.NotZero(t, tx.Position)
					assert.True(t, strings.HasPrefix(tx.File, "bin"), tx.File)
				}
				if strings.HasPrefix(got, "CREATE TABLE") {
					got = "CREATE TABLE;" + got[strings.LastIndex(got, ";insert")+1:]
				}
				if strings.HasPrefix(got, "DROP TABLE") {
					got = "DROP TABLE;"
				}
				if strings.HasPrefix(tt.want, "?") {
					assert.Contains(t, got, "? PARTIAL_UPDATE_ROWS", tt.sql)
					continue
				}
				assert.Equal(t, strings.TrimPrefix(tt.want, "-"), got, tt.sql)
			}
			assert.True(t, reached.Equal(set(p.Executed(t))), "every GTID came: %s", reached)
			assert.Contains(t, reached.String(), "tag_1")

			// A prepared XA transaction is held back, over a reconnect too, and its commit brings both GTIDs.
			p.Exec(t, "XA START 'y'; INSERT INTO d.a VALUES (40,'z',1); XA END 'y'; XA PREPARE 'y'; INSERT INTO d.a VALUES (41,'z',1)")
			require.Equal(t, "insert a;", describe(next(t, s)))
			require.Equal(t, uint64(1), s.Pending().Count())
			after := set(p.Executed(t)).Subtract(s.Pending())
			s.Close()
			s = dial(t, cfg, p.Addr(), after)
			p.Exec(t, "XA COMMIT 'y'")
			tx := next(t, s)
			assert.Equal(t, "insert a;", describe(tx))
			assert.Len(t, tx.Also, 1)
			assert.True(t, s.Pending().IsEmpty())

			// Its commit alone does not tell which rows it changed.
			p.Exec(t, "XA START 'z'; INSERT INTO d.a VALUES (50,'z',1); XA END 'z'; XA PREPARE 'z'")
			s.Close()
			s = dial(t, cfg, p.Addr(), set(p.Executed(t)))
			p.Exec(t, "XA COMMIT 'z'")
			assert.Contains(t, describe(next(t, s)), "? XA COMMIT")
		})
	}
}

func TestRowImages(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	p.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, v INT)")
	from := set(p.Executed(t))
	s := dial(t, config(t, p), p.Addr(), from)
	p.Exec(t, "INSERT INTO d.a VALUES (1,NULL),(2,7)", "UPDATE d.a SET v=8 WHERE id=2", "DELETE FROM d.a WHERE id=1")
	insert, update, del := next(t, s).Events[0].Rows, next(t, s).Events[0].Rows, next(t, s).Events[0].Rows
	assert.Equal(t, replication.EnumRowsEventTypeInsert, insert.Kind)
	assert.Equal(t, []byte{2, 1, 0, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0}, insert.Body)
	assert.Nil(t, insert.Before)
	assert.Equal(t, byte(3), insert.After[0]&3)
	assert.Equal(t, replication.EnumRowsEventTypeUpdate, update.Kind)
	assert.Equal(t, []byte{0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0}, update.Body)
	assert.Equal(t, byte(3), update.Before[0]&update.After[0]&3)
	assert.Equal(t, []byte{2, 1, 0, 0, 0}, del.Body)
	assert.Equal(t, byte(3), del.Before[0]&3)
	assert.Nil(t, del.After)
	assert.Same(t, insert.Table, del.Table, "one description, one pointer")
	assert.Equal(t, []string{"id", "v"}, insert.Table.ColumnNameString())
}

// ids returns the keys of the inserts into a table with one BIGINT column.
func ids(txs []*Transaction) []int64 {
	var all []int64
	for _, tx := range txs {
		for _, e := range tx.Events {
			if e.Rows == nil {
				continue
			}
			for b := e.Rows.Body; len(b) > 0; b = b[9:] {
				all = append(all, int64(binary.LittleEndian.Uint64(b[1:])))
			}
		}
	}
	return all
}

// One reader over a list of servers that die under it: every transaction once, and in order.
func TestNothingIsLostOrDoubledAcrossServers(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 2, testenv.ReadOnly())
	p := cluster.Primary
	p.Exec(t, "CREATE DATABASE d; CREATE TABLE d.k (id BIGINT PRIMARY KEY)")
	reached := set(cluster.Sync(t))
	cfg := config(t, cluster.Servers()...)
	cfg.HeartbeatPeriod = 200 * time.Millisecond

	var last atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	session := p.Session(t, "d")
	wg.Go(func() {
		r := rand.New(rand.NewPCG(1, 1))
		for id := int64(1); !stop.Load(); {
			var values []string
			for range 1 + r.IntN(50) {
				values = append(values, fmt.Sprintf("(%d)", id))
				id++
			}
			if err := session.Exec("INSERT INTO k VALUES " + strings.Join(values, ",")); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			last.Store(id - 1)
		}
	})
	defer wg.Wait()
	defer stop.Store(true)

	var got []int64
	used := map[string]bool{}
	var slowest time.Duration
	for _, breakIt := range []func(s *testenv.Server, stream *Stream){
		func(s *testenv.Server, _ *Stream) { s.Kill(t) },
		func(_ *testenv.Server, stream *Stream) { stream.Close() },
		func(s *testenv.Server, _ *Stream) { s.Pause(t) },
		func(_ *testenv.Server, stream *Stream) { stream.Close() },
		nil,
	} {
		var stream *Stream
		began := time.Now()
		eventually(t, "another server", 15*time.Second, func() bool {
			v, err := Choose(t.Context(), cfg, ProbeAll(t.Context(), cfg), reached, Filter{}, "")
			if err != nil {
				require.True(t, CanPass(err), "%v", err)
				return false
			}
			stream, err = Dial(t.Context(), cfg, v.Host, reached)
			require.True(t, err == nil || IsStreamError(err), "%v", err)
			return err == nil
		})
		used[stream.Server()] = true
		var server *testenv.Server
		for _, s := range cluster.Servers() {
			if s.Addr() == stream.Server() {
				server = s
			}
		}
		read := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			tx, err := stream.Next(ctx)
			if err == nil && tx != nil {
				require.True(t, tx.First && tx.Last)
				require.False(t, reached.ContainsGTID(tx.GTID))
				reached.Add(tx.GTID)
				got = append(got, ids([]*Transaction{tx})...)
			}
			return err
		}
		require.NoError(t, read())
		slowest = max(slowest, time.Since(began))
		for target := last.Load() + 200; last.Load() < target || len(got) < int(target); {
			require.NoError(t, read())
		}
		if breakIt == nil {
			stop.Store(true)
			wg.Wait()
			for until := set(p.Executed(t)); !reached.Contains(until); {
				require.NoError(t, read())
			}
			stream.Close()
			break
		}
		broken := time.Now()
		breakIt(server, stream)
		for err := error(nil); err == nil; {
			if err = read(); err != nil {
				assert.Contains(t, []Kind{KindNetwork, KindStall, KindShutdown, KindCanceled}, Classify(err), "%v", err)
			}
		}
		assert.Less(t, time.Since(broken), 3*time.Second, "noticed")
	}
	assert.Len(t, used, 3, "all three served in turn: two broke")
	want := make([]int64, last.Load())
	for i := range want {
		want[i] = int64(i + 1)
	}
	assert.True(t, slices.Equal(want, got), "%d ids written, %d read", len(want), len(got))
	t.Logf("%d rows, slowest change of server %s", len(got), slowest)
}

func TestAnOlderConnectionOfOursIsEvicted(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	cfg := config(t, p)
	dumps := func() string {
		return p.Query(t, "SELECT COUNT(*) FROM performance_schema.processlist WHERE command LIKE 'Binlog Dump%'")[0][0]
	}
	// Our side of the first is gone, and the server does not know.
	proxy := p.Proxy(t)
	dial(t, cfg, proxy.Addr(), checkpoint.Set{})
	proxy.Blackhole(t)
	require.Equal(t, "1", dumps())
	second := dial(t, cfg, p.Addr(), checkpoint.Set{})
	eventually(t, "one dump thread", 5*time.Second, func() bool { return dumps() == "1" })
	p.Exec(t, "CREATE DATABASE x")
	assert.Equal(t, "CREATE DATABASE x;", describe(next(t, second)))

	// A third ends the second, and the second learns why.
	third := dial(t, cfg, p.Addr(), checkpoint.Set{})
	var err error
	for err == nil {
		_, err = second.Next(t.Context())
	}
	assert.Equal(t, KindCollision, Classify(err), "%v", err)
	assert.Contains(t, err.Error(), "--pipeline")
	assert.True(t, IsStreamError(err) && CanPass(err))
	next(t, third)

	// Another pipeline is another reader.
	other := cfg
	other.Pipeline += " other"
	next(t, dial(t, other, p.Addr(), checkpoint.Set{}))
	p.Exec(t, "CREATE DATABASE y")
	assert.Equal(t, "CREATE DATABASE y;", describe(next(t, third)))
}

func TestServerIDCollision(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	p.Exec(t, "CREATE DATABASE x")
	cfg := config(t, p)
	cfg.ServerIDMin, cfg.ServerIDMax = 70, 71
	ours := dial(t, cfg, p.Addr(), checkpoint.Set{})
	next(t, ours)
	// A reader of the old kind, known by its server id alone.
	old, err := cfg.ensureDefaults().connect(t.Context(), p.Addr())
	require.NoError(t, err)
	defer old.close()
	_, err = old.Execute("SET @source_binlog_checksum='CRC32', @master_binlog_checksum='CRC32'")
	require.NoError(t, err)
	require.NoError(t, register(old, ours.ServerID()))
	require.NoError(t, requestDump(old, ours.ServerID(), checkpoint.Set{}))
	p.Exec(t, "CREATE DATABASE y")
	// Whether the server takes the two for one differs between versions. If it does, it ends ours and says so; the next
	// connection draws a number anew. If not, ours goes on.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for tx := (*Transaction)(nil); tx == nil && err == nil; {
		tx, err = ours.Next(ctx)
	}
	if err != nil {
		require.Equal(t, KindCollision, Classify(err), "%v", err)
	}
	ids := map[uint32]bool{}
	for range 20 {
		ids[cfg.drawServerID()] = true
	}
	assert.Len(t, ids, 2)
}

func TestHeartbeatAndStall(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	cfg := config(t, p)
	cfg.HeartbeatPeriod = 100 * time.Millisecond
	s := dial(t, cfg, p.Addr(), set(p.Executed(t)))
	tx, err := s.Next(t.Context())
	require.NoError(t, err)
	require.Nil(t, tx, "a heartbeat")
	assert.WithinDuration(t, time.Now(), s.Heartbeat().At, time.Second)
	assert.NotEmpty(t, s.Heartbeat().File)
	assert.Equal(t, p.UUID(), s.ServerUUID())

	p.Pause(t)
	began := time.Now()
	for err == nil {
		_, err = s.Next(t.Context())
	}
	assert.Equal(t, KindStall, Classify(err), "%v", err)
	assert.Less(t, time.Since(began), 2*time.Second)
	_, again := s.Next(t.Context())
	assert.Equal(t, err, again, "the end stays the end")
	v := Judge(ProbeAll(t.Context(), Config{Hosts: cfg.Hosts, User: cfg.User, Password: cfg.Password, ConnectTimeout: 300 * time.Millisecond}), checkpoint.Set{}, Filter{}, nil)[0]
	assert.Equal(t, KindStall, v.Fault, v.Reason)
	p.Resume(t)

	// Ended by our own side.
	cfg.HeartbeatPeriod = 10 * time.Second
	s = dial(t, cfg, p.Addr(), set(p.Executed(t)))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = s.Next(ctx)
	assert.Equal(t, KindCanceled, Classify(err))
	require.ErrorIs(t, err, context.Canceled)
	s = dial(t, cfg, p.Addr(), set(p.Executed(t)))
	time.AfterFunc(50*time.Millisecond, s.Close)
	_, err = s.Next(t.Context())
	assert.Equal(t, KindCanceled, Classify(err))
	assert.False(t, IsStreamError(err))

	// Ended by the server.
	cfg.HeartbeatPeriod = time.Second
	s = dial(t, cfg, p.Addr(), set(p.Executed(t)))
	p.Exec(t, "KILL "+p.Query(t, "SELECT id FROM performance_schema.processlist WHERE command LIKE 'Binlog Dump%'")[0][0])
	_, err = untilError(t, s)
	assert.Contains(t, []Kind{KindShutdown, KindNetwork}, Classify(err), "%v", err)
	assert.True(t, IsStreamError(err))
}

const wideRows = `CREATE DATABASE d; CREATE TABLE d.w (id BIGINT PRIMARY KEY, s VARCHAR(1000)); SET SESSION cte_max_recursion_depth=1000000`

func TestALargeTransactionComesInParts(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"OFF", "ON"} {
		t.Run("compression "+compression, func(t *testing.T) {
			t.Parallel()
			p := testenv.MySQL(t, testenv.Args("--binlog-transaction-compression="+compression))
			p.Exec(t, wideRows)
			cfg := config(t, p)
			cfg.MaxBuffered = 1 << 20
			from := set(p.Executed(t))
			p.Exec(t, "SET SESSION cte_max_recursion_depth=1000000; INSERT INTO d.w WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i+1 FROM n WHERE i<30000) SELECT i, REPEAT('x',500) FROM n",
				"INSERT INTO d.w VALUES (0,'')")
			s := dial(t, cfg, p.Addr(), from)
			rows, parts := 0, 0
			for {
				tx := next(t, s)
				assert.Equal(t, parts == 0, tx.First)
				assert.LessOrEqual(t, tx.Size, cfg.MaxBuffered+16<<10, "bounded")
				for _, e := range tx.Events {
					rows += bytes.Count(e.Rows.Body, bytes.Repeat([]byte("x"), 500))
				}
				parts++
				if tx.Last {
					break
				}
			}
			assert.Equal(t, 30000, rows)
			assert.Greater(t, parts, 10)
			tx := next(t, s)
			assert.True(t, tx.First && tx.Last)

			// The connection is cut in the middle: the receiver is told, and gets it again.
			proxy := p.Proxy(t)
			s = dial(t, cfg, proxy.Addr(), from)
			first := next(t, s)
			require.True(t, first.First && !first.Last)
			p.Kill(t)
			var err error
			for err == nil {
				tx, err = s.Next(t.Context())
				if tx != nil && tx.Last {
					break // all of it was on the way already
				}
			}
			if err != nil {
				var cut *CutError
				require.ErrorAs(t, err, &cut)
				assert.Equal(t, first.GTID, cut.GTID)
				assert.True(t, IsStreamError(err))
			}
			p.Start(t)
			s = dial(t, cfg, p.Addr(), from)
			again := next(t, s)
			assert.Equal(t, first.GTID, again.GTID)
			assert.True(t, again.First)
		})
	}
}
