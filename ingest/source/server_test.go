package source

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var set = checkpoint.MustParseSet

func config(t testing.TB, servers ...*testenv.Server) Config {
	t.Helper()
	c, err := ParseURL(testenv.URL(servers...))
	require.NoError(t, err)
	c.Pipeline = t.Name()
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	return c
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s", what, limit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func verdictOf(verdicts []Verdict, s *testenv.Server) Verdict {
	for _, v := range verdicts {
		if v.Host == s.Addr() {
			return v
		}
	}
	return Verdict{}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 1, testenv.ReadOnly())
	p, r := cluster.Primary, cluster.Replicas[0]
	p.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); CREATE TABLE shop.tmp (id INT PRIMARY KEY)")
	cluster.Sync(t)
	states := ProbeAll(t.Context(), config(t, p, r))
	for i, s := range []*testenv.Server{p, r} {
		got := states[i]
		require.NoError(t, got.Err)
		assert.Equal(t, s.UUID(), got.UUIDString())
		assert.Equal(t, "ON", got.GTIDMode)
		assert.Equal(t, "ROW", got.Format)
		assert.Equal(t, "FULL", got.RowImage)
		assert.Equal(t, "FULL", got.Metadata)
		assert.True(t, got.LogBin && got.LogReplica && got.Usable())
		assert.NotZero(t, got.ServerID)
		assert.Equal(t, 30*24*time.Hour, got.Retention)
		assert.True(t, got.Executed.Equal(set(p.Executed(t))))
		assert.NoError(t, got.MayDump)
		assert.Empty(t, got.NotSeen)
	}
	assert.Equal(t, checkpoint.RolePrimary, states[0].Role)
	assert.Equal(t, checkpoint.RoleReplica, states[1].Role)
	assert.Equal(t, [][16]byte{states[0].UUID}, states[1].Sources)
	assert.True(t, states[1].Running && states[1].ReadOnly && states[1].Lag != nil)

	f, err := ParseFilter("shop.*,!shop.tmp")
	require.NoError(t, err)
	tables, err := Tables(t.Context(), config(t, p, r), states, f)
	require.NoError(t, err)
	assert.Equal(t, []TableName{{"shop", "orders"}}, tables)
	assert.True(t, Reached(states).Equal(set(p.Executed(t))))
	assert.True(t, Oldest(states).IsEmpty())

	v, err := Choose(t.Context(), config(t, p, r), states, checkpoint.Set{}, Filter{}, "")
	require.NoError(t, err)
	assert.Equal(t, r.Addr(), v.Host, "a replica before the primary")
	v, err = Choose(t.Context(), config(t, p, r), states, checkpoint.Set{}, Filter{}, p.Addr())
	require.NoError(t, err)
	assert.Equal(t, p.Addr(), v.Host, "the current one while it is good")
}

func TestVerdictsOnTheTopology(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 2)
	p, r1, r2 := cluster.Primary, cluster.Replicas[0], cluster.Replicas[1]
	cfg := config(t, p, r1, r2)
	judge := func(position string) []Verdict {
		return Judge(ProbeAll(t.Context(), cfg), set(position), Filter{}, nil)
	}
	p.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1)")
	early := cluster.Sync(t)
	p.Exec(t, "INSERT INTO shop.orders VALUES (2)")
	cluster.Sync(t)

	// Purged on one replica.
	r1.Purge(t)
	verdicts := judge(early)
	v := verdictOf(verdicts, r1)
	assert.Equal(t, Purged, v.Kind)
	assert.Equal(t, set(p.Executed(t)).Subtract(set(early)).String(), v.Missing.String())
	assert.Contains(t, v.Advice, p.Addr())
	assert.Equal(t, CanServe, verdictOf(verdicts, p).Kind)
	_, err := Dial(t.Context(), cfg, r1.Addr(), set(early))
	assert.Equal(t, KindPurged, Classify(err), "%v", err)
	only, err := Pick(verdicts, set(early), r1.Addr())
	require.NoError(t, err)
	assert.Equal(t, r2.Addr(), only.Host)

	// Behind: the other replica's applier is stopped.
	r2.Exec(t, "STOP REPLICA SQL_THREAD")
	p.Exec(t, "INSERT INTO shop.orders VALUES (3)")
	verdicts = judge(p.Executed(t))
	v = verdictOf(verdicts, r2)
	assert.Equal(t, Behind, v.Kind)
	assert.Contains(t, v.Reason, "1 transaction ")
	assert.Contains(t, v.Reason, "does not run")
	var none *NoServerError
	_, err = Pick([]Verdict{v, verdictOf(judge(early), r1)}, set(early), "")
	require.ErrorAs(t, err, &none)
	assert.True(t, none.Temporary() && CanPass(err) && !none.Exact(), "wait for the one that is behind")
	r2.Exec(t, "START REPLICA SQL_THREAD")
	cluster.Sync(t)

	// Errant: a transaction of a replica's own. Read from there, nobody else can go on.
	r2.Exec(t, "SET GLOBAL super_read_only=0; SET GLOBAL read_only=0; INSERT INTO shop.orders VALUES (99)")
	verdicts = judge(p.Executed(t))
	v = verdictOf(verdicts, r2)
	assert.Equal(t, Diverged, v.Kind)
	assert.Equal(t, 1, int(v.Errant.Count()))
	assert.Contains(t, v.Reason, "errant")
	chosen, err := Pick(verdicts, set(p.Executed(t)), "")
	require.NoError(t, err)
	assert.Equal(t, r1.Addr(), chosen.Host, "not the one with the errant transaction")
	verdicts = judge(r2.Executed(t))
	for _, s := range []*testenv.Server{p, r1} {
		v = verdictOf(verdicts, s)
		assert.Equal(t, Diverged, v.Kind)
		assert.Contains(t, v.Reason, r2.UUID())
		assert.Contains(t, v.Advice, r2.Addr())
	}
	_, err = Pick([]Verdict{verdictOf(verdicts, p), verdictOf(verdicts, r1)}, set(r2.Executed(t)), "")
	require.ErrorAs(t, err, &none)
	assert.True(t, none.Exact() && !none.Temporary())
	assert.Contains(t, err.Error(), "diverged")

	// The server lacks transactions it committed itself.
	beyond := set(p.Executed(t)).Union(set(p.UUID() + ":1-1000000"))
	v = verdictOf(judge(beyond.String()), p)
	assert.Equal(t, Diverged, v.Kind)
	assert.Contains(t, v.Reason, "restored")
	_, err = Dial(t.Context(), cfg, p.Addr(), beyond)
	assert.Equal(t, KindDiverged, Classify(err), "%v", err)
}

func TestVerdictsOnSettings(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 1)
	p, r := cluster.Primary, cluster.Replicas[0]
	p.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)")
	cluster.Sync(t)
	cfg := config(t, p, r)
	filter, err := ParseFilter("shop.*")
	require.NoError(t, err)
	judge := func() Verdict {
		states := ProbeAll(t.Context(), cfg)
		return verdictOf(Judge(states, checkpoint.Set{}, filter, nil), r)
	}
	require.Equal(t, CanServe, judge().Kind)

	r.Exec(t, "STOP REPLICA; CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB=(shop); START REPLICA")
	v := judge()
	assert.Equal(t, Filtered, v.Kind)
	assert.Contains(t, v.Reason, "replicate-ignore-db=shop")
	r.Exec(t, "STOP REPLICA; CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB=(), REPLICATE_WILD_DO_TABLE=('crm.%'); START REPLICA")
	v = judge()
	assert.Equal(t, Filtered, v.Kind)
	assert.Contains(t, v.Reason, "replicate-wild-do-table=crm.%")
	r.Exec(t, "STOP REPLICA; CHANGE REPLICATION FILTER REPLICATE_WILD_DO_TABLE=('shop.%'); START REPLICA")
	assert.Equal(t, CanServe, judge().Kind)

	// With the tables known, a filter that hides none of them is a warning.
	r.Exec(t, "STOP REPLICA; CHANGE REPLICATION FILTER REPLICATE_WILD_DO_TABLE=(), REPLICATE_IGNORE_TABLE=(shop.tmp); START REPLICA")
	assert.Equal(t, Filtered, judge().Kind)
	chosen, err := Choose(t.Context(), cfg, ProbeAll(t.Context(), cfg), checkpoint.Set{}, filter, "")
	require.NoError(t, err)
	assert.Equal(t, r.Addr(), chosen.Host, Table(Judge(ProbeAll(t.Context(), cfg), checkpoint.Set{}, filter, []TableName{{"shop", "orders"}})))
	assert.Contains(t, strings.Join(chosen.Warnings, " "), "replicate-ignore-table")
	r.Exec(t, "STOP REPLICA; CHANGE REPLICATION FILTER REPLICATE_IGNORE_TABLE=(); START REPLICA")

	r.Exec(t, "STOP REPLICA; SET GLOBAL binlog_format=STATEMENT")
	v = judge()
	assert.Equal(t, WrongSettings, v.Kind)
	assert.Contains(t, v.Reason, "STATEMENT")
	r.Exec(t, "SET GLOBAL binlog_format=ROW; SET GLOBAL binlog_row_image=MINIMAL")
	v = judge()
	assert.Equal(t, WrongSettings, v.Kind)
	assert.Contains(t, v.Reason, "MINIMAL")
	r.Exec(t, "SET GLOBAL binlog_row_image=FULL; SET GLOBAL binlog_row_metadata=MINIMAL; SET GLOBAL binlog_row_value_options=PARTIAL_JSON")
	v = judge()
	assert.Equal(t, CanServe, v.Kind)
	assert.Contains(t, strings.Join(v.Warnings, " "), "binlog_row_metadata")
	assert.Contains(t, strings.Join(v.Warnings, " "), "PARTIAL_JSON")
}

func TestBinlogFilterHidesDownstreamToo(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t, testenv.Args("--binlog-ignore-db=shop"))
	r := testenv.AddReplica(t, p, testenv.Args("--log-replica-updates=OFF"))
	cfg := config(t, p, r)
	states := ProbeAll(t.Context(), cfg)
	shop, err := ParseFilter("shop.*")
	require.NoError(t, err)
	crm, err := ParseFilter("crm.*")
	require.NoError(t, err)
	verdicts := Judge(states, checkpoint.Set{}, shop, nil)
	assert.Equal(t, Filtered, verdictOf(verdicts, p).Kind)
	assert.Equal(t, WrongSettings, verdictOf(verdicts, r).Kind)
	assert.Contains(t, verdictOf(verdicts, r).Reason, "log_replica_updates")
	assert.Equal(t, CanServe, verdictOf(Judge(states, checkpoint.Set{}, crm, nil), p).Kind)

	states[1].LogReplica = true
	v := verdictOf(Judge(states, checkpoint.Set{}, shop, nil), r)
	assert.Equal(t, Filtered, v.Kind)
	assert.Contains(t, v.Reason, p.Addr())
}

func TestAccess(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	p.Exec(t, "CREATE USER nothing IDENTIFIED BY 'x'; CREATE USER least IDENTIFIED BY 'x'; GRANT REPLICATION SLAVE ON *.* TO least")
	cfg := config(t, p)
	as := func(user, password string) Config {
		c := cfg
		c.User, c.Password = user, password
		return c
	}
	judge := func(c Config) Verdict {
		return Judge(ProbeAll(t.Context(), c), checkpoint.Set{}, Filter{}, nil)[0]
	}
	v := judge(as("tide", "wrong-password"))
	assert.Equal(t, Unreachable, v.Kind)
	assert.Equal(t, KindAuth, v.Fault)
	assert.NotContains(t, v.Reason, "wrong-password")
	_, err := Pick([]Verdict{v}, checkpoint.Set{}, "")
	assert.False(t, CanPass(err))
	var none *NoServerError
	require.ErrorAs(t, err, &none)
	assert.False(t, none.Exact(), "a wrong password says nothing about positions")

	v = judge(as("nothing", "x"))
	assert.Equal(t, Unreachable, v.Kind)
	assert.Equal(t, KindPrivilege, v.Fault)
	assert.Contains(t, v.Advice, "REPLICATION SLAVE")
	_, err = Dial(t.Context(), as("nothing", "x"), p.Addr(), checkpoint.Set{})
	assert.Contains(t, []Kind{KindPrivilege, KindAuth}, Classify(err), "%v", err)

	v = judge(as("least", "x"))
	assert.Equal(t, CanServe, v.Kind)
	assert.Len(t, v.State.NotSeen, 4)
	assert.Contains(t, strings.Join(v.Warnings, " "), "REPLICATION CLIENT")
	s, err := Dial(t.Context(), as("least", "x"), p.Addr(), checkpoint.Set{})
	require.NoError(t, err, "REPLICATION SLAVE is all that a stream takes")
	s.Close()

	gone := cfg
	gone.Hosts = []string{"127.0.0.1:1", "no-such-host.invalid:3306"}
	for _, v := range Judge(ProbeAll(t.Context(), gone), checkpoint.Set{}, Filter{}, nil) {
		assert.Equal(t, Unreachable, v.Kind)
		assert.Equal(t, KindNetwork, v.Fault, v.Reason)
	}
	_, err = Choose(t.Context(), gone, ProbeAll(t.Context(), gone), checkpoint.Set{}, Filter{}, "")
	assert.True(t, CanPass(err))

	proxy := p.Proxy(t)
	hung := cfg
	hung.Hosts, hung.ConnectTimeout = []string{proxy.Addr()}, 300*time.Millisecond
	proxy.Blackhole(t)
	v = judge(hung)
	assert.Contains(t, []Kind{KindStall, KindNetwork}, v.Fault, v.Reason)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	cfg := config(t, p)
	ca := p.DataDir() + "/ca.pem"
	_, err := os.Stat(ca)
	require.NoError(t, err)
	for _, tt := range []struct {
		mode TLSMode
		ca   string
		want Kind
	}{
		{TLSOff, "", KindNone}, // full authentication over plain text, with the server's public key
		{TLSPreferred, "", KindNone},
		{TLSRequired, "", KindNone},
		{TLSVerifyCA, ca, KindNone},
		{TLSVerifyCA, "", KindTLS},
		{TLSVerifyFull, ca, KindTLS}, // the server's own certificate does not name the host
		{TLSVerifyFull, "/does/not/exist", KindTLS},
	} {
		c := cfg
		c.TLS, c.CAFile = tt.mode, tt.ca
		p.Exec(t, "FLUSH PRIVILEGES") // empties the server's cache of log-ins
		s, err := Dial(t.Context(), c, p.Addr(), checkpoint.Set{})
		assert.Equal(t, tt.want, Classify(err), "%s %s: %v", tt.mode, tt.ca, err)
		if err == nil {
			p.Exec(t, "CREATE DATABASE IF NOT EXISTS x")
			next(t, s)
			s.Close()
		}
	}
}

// next returns the next transaction, past heartbeats.
func next(t testing.TB, s *Stream) *Transaction {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		tx, err := s.Next(ctx)
		require.NoError(t, err)
		if tx != nil {
			return tx
		}
	}
}

// gather reads until the set is reached, and returns the transactions; parts are joined.
func gather(t testing.TB, s *Stream, reached *checkpoint.Set, until checkpoint.Set) []*Transaction {
	t.Helper()
	var all []*Transaction
	for !reached.Contains(until) {
		tx := next(t, s)
		all = append(all, tx)
		if tx.Last {
			require.False(t, reached.ContainsGTID(tx.GTID), "%s came twice", tx.GTID)
			reached.Add(tx.GTID)
			for _, g := range tx.Also {
				reached.Add(g)
			}
		}
	}
	return all
}

// describe writes a transaction's events in short.
func describe(tx *Transaction) string {
	var b strings.Builder
	for _, e := range tx.Events {
		switch {
		case e.Rows != nil:
			fmt.Fprintf(&b, "%s %s;", strings.ToLower(e.Rows.Kind.String()), e.Rows.Table.Table)
		case e.Query != nil:
			fmt.Fprintf(&b, "%s;", e.Query.SQL)
		default:
			fmt.Fprintf(&b, "? %s %s.%s;", e.Other.Name, e.Other.DB, e.Other.Table)
		}
	}
	return b.String()
}
