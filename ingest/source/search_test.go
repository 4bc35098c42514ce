package source

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

// mark is where a server's log stood at a moment.
type mark struct {
	file     string
	offset   uint64
	executed checkpoint.Set
	at       time.Time // on the server's clock
}

func markOf(t testing.TB, s *testenv.Server) mark {
	t.Helper()
	var m mark
	row := s.Query(t, "SHOW BINARY LOG STATUS")[0]
	m.file = row[0]
	_, err := fmt.Sscan(row[1], &m.offset)
	require.NoError(t, err)
	m.executed = set(s.Executed(t))
	m.at = clockOf(t, s)
	return m
}

// clockOf is the server's time.
func clockOf(t testing.TB, s *testenv.Server) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05.999999", s.Query(t, "SELECT CAST(NOW(6) AS CHAR)")[0][0])
	require.NoError(t, err)
	return at
}

func stateOf(t testing.TB, cfg Config, s *testenv.Server) State {
	t.Helper()
	state, err := Probe(t.Context(), cfg, s.Addr())
	require.NoError(t, err)
	return state
}

// A file and an offset become the GTID set of all that lies before, in any kind of log.
func TestAtPlace(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"OFF", "ON"} {
		t.Run("compression "+compression, func(t *testing.T) {
			t.Parallel()
			p := testenv.MySQL(t, testenv.Args("--binlog-transaction-compression="+compression))
			cfg := config(t, p)
			var marks []mark
			for _, sql := range []string{
				"CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY, s VARCHAR(20))", "INSERT INTO d.a VALUES (1,'x'),(2,'y')",
				"FLUSH BINARY LOGS", "BEGIN; UPDATE d.a SET s='z'; DELETE FROM d.a; COMMIT", "SET GTID_NEXT='AUTOMATIC:t1'; INSERT INTO d.a VALUES (3,'x')",
				"FLUSH BINARY LOGS", "FLUSH BINARY LOGS", "CREATE TABLE d.b AS SELECT * FROM d.a", "XA START 'q'; INSERT INTO d.a VALUES (4,'x'); XA END 'q'; XA PREPARE 'q'; XA COMMIT 'q'",
			} {
				p.Exec(t, sql)
				marks = append(marks, markOf(t, p))
			}
			state := stateOf(t, cfg, p)
			for _, m := range marks {
				at, err := AtPlace(t.Context(), cfg, state, m.file, m.offset)
				require.NoError(t, err)
				assert.Equal(t, m.executed.String(), at.Set.String(), "%s:%d", m.file, m.offset)
				assert.Equal(t, checkpoint.Place{Server: state.UUID, File: m.file, Offset: m.offset, Begun: at.Place.Begun}, at.Place)
				assert.False(t, at.Anonymous)

				// Read on from there, the rest comes, and nothing else.
				s, err := DialAt(t.Context(), cfg, p.Addr(), at.Place)
				require.NoError(t, err)
				reached := at.Set.Clone()
				if all := set(p.Executed(t)); !reached.Equal(all) {
					gather(t, s, &reached, all)
				}
				s.Close()
			}
			// The head of a file, and the end of one that is not the last.
			at, err := AtPlace(t.Context(), cfg, state, "bin.000002", 4)
			require.NoError(t, err)
			assert.Equal(t, marks[1].executed.String(), at.Set.String())
			size := p.Query(t, "SHOW BINARY LOGS")[0][1]
			var end uint64
			_, err = fmt.Sscan(size, &end)
			require.NoError(t, err)
			at, err = AtPlace(t.Context(), cfg, state, "bin.000001", end)
			require.NoError(t, err)
			assert.Equal(t, marks[1].executed.String(), at.Set.String())

			var wrong *PlaceError
			_, err = AtPlace(t.Context(), cfg, state, marks[1].file, marks[1].offset-1)
			require.ErrorAs(t, err, &wrong)
			assert.Contains(t, err.Error(), fmt.Sprintf("the boundary before it is %s:%d", marks[0].file, marks[0].offset))
			_, err = AtPlace(t.Context(), cfg, state, marks[1].file, 1<<40)
			require.ErrorAs(t, err, &wrong)
			assert.Contains(t, err.Error(), "bytes only")
			_, err = AtPlace(t.Context(), cfg, state, "bin.000099", 4)
			require.ErrorAs(t, err, &wrong)
			assert.Contains(t, err.Error(), "it has bin.000001 to bin.000004")
		})
	}
}

// A place is refused when the file of its name is another one: the server's logs were reset.
func TestAPlaceInAFileThatIsGone(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	cfg := config(t, p)
	p.Exec(t, "CREATE DATABASE d")
	m := markOf(t, p)
	at, err := AtPlace(t.Context(), cfg, stateOf(t, cfg, p), m.file, m.offset)
	require.NoError(t, err)
	before := clockOf(t, p)
	eventually(t, "a second passes", 5*time.Second, func() bool { return clockOf(t, p).Unix() > before.Unix() })
	p.Exec(t, "RESET BINARY LOGS AND GTIDS; CREATE DATABASE e; CREATE DATABASE f")
	_, err = DialAt(t.Context(), cfg, p.Addr(), at.Place)
	assert.Equal(t, KindDiverged, Classify(err), "%v", err)
	assert.Contains(t, err.Error(), "the server was reset")
	at.Place.Offset = 1 << 20
	_, err = DialAt(t.Context(), cfg, p.Addr(), at.Place)
	assert.Equal(t, KindDiverged, Classify(err), "%v", err)
	at.Place.File = "bin.000007"
	_, err = DialAt(t.Context(), cfg, p.Addr(), at.Place)
	assert.Equal(t, KindPurged, Classify(err), "%v", err)
}

// A time becomes the GTID set that the servers had then, on the primary and on a replica that applied it later.
func TestAtTime(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 1)
	p, r := cluster.Primary, cluster.Replicas[0]
	p.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY)")
	cluster.Sync(t)
	r.Exec(t, "STOP REPLICA SQL_THREAD") // what follows is applied late, and keeps its times
	var marks []mark
	for i := range 12 {
		if i%4 == 3 {
			p.Exec(t, "FLUSH BINARY LOGS")
		}
		p.Exec(t, fmt.Sprintf("INSERT INTO d.a VALUES (%d)", i))
		marks = append(marks, markOf(t, p))
	}
	r.Exec(t, "START REPLICA SQL_THREAD")
	cluster.Sync(t)
	all, err := ParseFilter("*.*")
	require.NoError(t, err)
	for _, s := range cluster.Servers() {
		cfg := config(t, s)
		states := ProbeAll(t.Context(), cfg)
		for _, m := range marks {
			at, host, err := AtTime(t.Context(), cfg, states, all, m.at)
			require.NoError(t, err)
			assert.Equal(t, s.Addr(), host)
			assert.Equal(t, m.executed.String(), at.Set.String(), "%s at %s", s.Addr(), m.at)
		}
		at, _, err := AtTime(t.Context(), cfg, states, all, time.Now().Add(time.Hour))
		require.NoError(t, err)
		assert.Equal(t, p.Executed(t), at.Set.String(), "no further than the end")
	}
}

// The servers' logs are looked through in turn; when none reaches back far enough, it is told how far they do.
func TestAtTimeTooOld(t *testing.T) {
	t.Parallel()
	cluster := testenv.Topology(t, 1)
	p, r := cluster.Primary, cluster.Replicas[0]
	p.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (id INT PRIMARY KEY)")
	cluster.Sync(t)
	m := markOf(t, p)
	p.Exec(t, "INSERT INTO d.a VALUES (1)")
	cluster.Sync(t)
	r.Purge(t)
	all, err := ParseFilter("*.*")
	require.NoError(t, err)
	cfg := config(t, r, p)
	at, host, err := AtTime(t.Context(), cfg, ProbeAll(t.Context(), cfg), all, m.at)
	require.NoError(t, err)
	assert.Equal(t, p.Addr(), host, "the replica, asked first, has purged it")
	assert.Equal(t, m.executed.String(), at.Set.String())

	_, _, err = AtTime(t.Context(), cfg, ProbeAll(t.Context(), cfg), all, m.at.Add(-time.Hour))
	var old *TooOldError
	require.ErrorAs(t, err, &old)
	require.Len(t, old.Hosts, 2)
	for _, reach := range old.Hosts {
		assert.WithinDuration(t, m.at, reach.From, time.Minute)
	}
	assert.Contains(t, err.Error(), "has events from "+old.Hosts[0].From.Format(time.RFC3339))

	// The user may not list the files.
	p.Exec(t, "CREATE USER least IDENTIFIED BY 'x'; GRANT REPLICATION SLAVE, SELECT ON *.* TO least")
	least := config(t, p)
	least.User, least.Password = "least", "x"
	_, _, err = AtTime(t.Context(), least, ProbeAll(t.Context(), least), all, m.at)
	require.ErrorAs(t, err, &old)
	assert.Contains(t, err.Error(), "REPLICATION CLIENT")
}
