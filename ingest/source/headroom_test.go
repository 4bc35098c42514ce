package source

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

// ends begins a new binary log file as if it were some time ago: the head of a file has the session's time.
func ends(t *testing.T, s *testenv.Server, ago time.Duration) {
	t.Helper()
	s.Exec(t, fmt.Sprintf("SET timestamp = UNIX_TIMESTAMP() - %d; FLUSH BINARY LOGS", int(ago.Seconds())))
}

// lastFile is the name of the file that is written to.
func lastFile(t *testing.T, s *testenv.Server) string {
	t.Helper()
	rows := s.Query(t, "SHOW BINARY LOG STATUS")
	return rows[0][0]
}

func TestHeadroom(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	p := testenv.MySQL(t) // keeps its log for 30 days
	cfg := config(t, p)
	var rooms Headrooms
	measure := func(c Config, position string, since time.Time) (Headroom, bool) {
		s, err := Probe(t.Context(), c, p.Addr())
		require.NoError(t, err)
		h, ok, err := rooms.Of(t.Context(), c, s, set(position), since)
		require.NoError(t, err)
		return h, ok
	}
	p.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)")
	// Five files, of which each has one transaction; the first four ended 20, 15, 10 and 5 days ago.
	positions, files := []string{p.Executed(t)}, []string{}
	for i, ago := range []time.Duration{20 * day, 15 * day, 10 * day, 5 * day} {
		p.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d)", i))
		files = append(files, lastFile(t, p))
		positions = append(positions, p.Executed(t))
		ends(t, p, ago)
	}
	p.Exec(t, "INSERT INTO shop.orders VALUES (9)")
	positions = append(positions, p.Executed(t))

	for i, want := range []time.Duration{10 * day, 15 * day, 20 * day, 25 * day} {
		h, ok := measure(cfg, positions[i], time.Time{})
		require.True(t, ok)
		assert.Equal(t, files[i], h.File)
		assert.Equal(t, "binlog_expire_logs_seconds", h.Limit)
		assert.True(t, h.Within(want+time.Hour) && !h.Within(want-day), "%s is left of %s", h, want)
	}
	for _, position := range positions[4:] {
		h, ok := measure(cfg, position, time.Time{})
		require.True(t, ok)
		assert.Equal(t, Headroom{Left: 30 * day, File: lastFile(t, p), Limit: "binlog_expire_logs_seconds"}, h, "the file that is written to begins to age now")
	}

	// Without a look at the files: nothing that is lacking is younger than the position.
	p.Exec(t, "CREATE USER least IDENTIFIED BY 'x'; GRANT REPLICATION SLAVE ON *.* TO least")
	least := cfg
	least.User, least.Password = "least", "x"
	h, ok := measure(least, positions[2], time.Now().Add(-11*day))
	require.True(t, ok)
	assert.Empty(t, h.File)
	assert.True(t, h.Within(19*day+time.Hour) && !h.Within(18*day), h.String())
	_, ok = measure(least, positions[2], time.Time{})
	assert.False(t, ok, "nothing to go by")
	h, ok = measure(least, p.Executed(t), time.Time{})
	assert.True(t, ok && h.Left == 30*day, "nothing is lacking")

	p.Exec(t, "SET GLOBAL binlog_expire_logs_auto_purge = OFF")
	h, _ = measure(cfg, positions[1], time.Time{})
	assert.Equal(t, Headroom{Forever: true}, h)
	p.Exec(t, "SET GLOBAL binlog_expire_logs_auto_purge = ON", fmt.Sprintf("PURGE BINARY LOGS TO '%s'", files[2]))
	h, _ = measure(cfg, positions[1], time.Time{})
	assert.True(t, h.Gone, h.String())
	h, ok = measure(cfg, positions[2], time.Time{})
	assert.True(t, ok && h.File == files[2], "the first that is left")

	gone := State{Host: "127.0.0.1:1", GTIDMode: "ON", Retention: time.Hour}
	_, _, err := rooms.Of(t.Context(), cfg, gone, checkpoint.Set{}, time.Time{})
	assert.Equal(t, KindNetwork, Classify(err))
}

// TestHeadroomHolds: a server with a short retention purges what a position lacks, and not before the time told.
func TestHeadroomHolds(t *testing.T) {
	t.Parallel()
	const keeps = 4 * time.Second
	p := testenv.MySQL(t, testenv.Args(fmt.Sprintf("--binlog-expire-logs-seconds=%d", int(keeps.Seconds()))))
	cfg := config(t, p)
	position := set(p.Executed(t))
	p.Exec(t, "CREATE DATABASE shop", "FLUSH BINARY LOGS")
	var rooms Headrooms
	var earliest time.Time // that it may be purged
	require.Eventually(t, func() bool {
		s, err := Probe(t.Context(), cfg, p.Addr())
		require.NoError(t, err)
		h, ok, err := rooms.Of(t.Context(), cfg, s, position, time.Time{})
		require.NoError(t, err)
		require.True(t, ok)
		if h.Gone {
			return true
		}
		assert.LessOrEqual(t, h.Left, keeps)
		earliest = time.Now().Add(h.Left)
		p.Exec(t, "FLUSH BINARY LOGS") // when a server looks for what to purge
		return false
	}, time.Minute, 50*time.Millisecond)
	assert.WithinRange(t, time.Now(), earliest.Add(-time.Second), earliest.Add(10*time.Second), "the server's clock has whole seconds")
}

// TestHeadroomDisturbsNoStream: the head of a file is read while a stream of the same pipeline goes on.
func TestHeadroomDisturbsNoStream(t *testing.T) {
	t.Parallel()
	p := testenv.MySQL(t)
	p.Exec(t, "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)")
	cfg := config(t, p)
	cfg.ServerIDMin, cfg.ServerIDMax = 77, 77 // the probe has no other to draw
	early := p.Executed(t)
	s, err := Dial(t.Context(), cfg, p.Addr(), set(early))
	require.NoError(t, err)
	defer s.Close()
	n := Inspector{Config: cfg, Schema: true}
	for i := range 3 {
		p.Exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d); FLUSH BINARY LOGS", i))
		v := n.Inspect(t.Context(), checkpoint.At(set(early)))[0]
		assert.Equal(t, CanServe, v.Kind)
		require.NotNil(t, v.Details.Headroom, strings.Join(v.Warnings, "; "))
		assert.Equal(t, i+1, int(v.Details.Extra.Count()))
		assert.Equal(t, 1, v.Details.Tables)
		assert.NotNil(t, next(t, s), "the stream goes on")
	}
}

func TestHeadroomBySize(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	files := []logFile{{"bin.1", 100}, {"bin.2", 100}, {"bin.3", 100}, {"bin.4", 50}}
	for _, c := range []struct {
		what   string
		needed int
		state  State
		want   Headroom
	}{
		{"150 bytes in 100 s; 750 of room", 1, State{SpaceLimit: 1000}, Headroom{Left: 500 * time.Second, File: "bin.2", Limit: "binlog_space_limit"}},
		{"full", 0, State{SpaceLimit: 350}, Headroom{File: "bin.1", Limit: "binlog_space_limit"}},
		{"two files in 100 s; room for three", 1, State{FilesLimit: 6}, Headroom{Left: 150 * time.Second, File: "bin.2", Limit: "max_binlog_files"}},
		{"the file that is written to", 3, State{SpaceLimit: 1000}, Headroom{Left: 1900 * time.Second, File: "bin.4", Limit: "binlog_space_limit"}},
		{"time comes first", 1, State{SpaceLimit: 1000, Retention: 300 * time.Second}, Headroom{Left: 200 * time.Second, File: "bin.2", Limit: "binlog_expire_logs_seconds"}},
		{"size comes first", 1, State{SpaceLimit: 1000, Retention: 900 * time.Second}, Headroom{Left: 500 * time.Second, File: "bin.2", Limit: "binlog_space_limit"}},
		{"overdue", 1, State{Retention: 50 * time.Second}, Headroom{File: "bin.2", Limit: "binlog_expire_logs_seconds"}},
	} {
		got := retained{files: files, needed: c.needed, since: now.Add(-100 * time.Second), now: now}.headroom(c.state)
		assert.Equal(t, c.want, got, c.what)
	}
}

func TestNeededFile(t *testing.T) {
	t.Parallel()
	for n := 1; n < 40; n++ {
		for want := -1; want < n; want++ {
			asked := 0
			got, err := neededFile(n, func(i int) (bool, error) {
				asked++
				return i <= want, nil
			})
			require.NoError(t, err)
			assert.Equal(t, want, got, "of %d files", n)
			assert.LessOrEqual(t, asked, 7)
		}
	}
	_, err := neededFile(9, func(i int) (bool, error) { return false, context.Canceled })
	assert.ErrorIs(t, err, context.Canceled)
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		30 * 24 * time.Hour: "30 days", 719*time.Hour + 59*time.Minute: "29 days 23 h", 47 * time.Hour: "47 h", 90 * time.Minute: "1 h 30 min", 61 * time.Second: "1 min 1 s", 0: "0 s",
	} {
		assert.Equal(t, want, Span(d))
	}
}
