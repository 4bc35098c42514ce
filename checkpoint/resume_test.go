package checkpoint_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
)

func id(text string) [16]byte {
	u, err := checkpoint.ParseUUID(text)
	if err != nil {
		panic(err)
	}
	return u
}

func server(name, uuid, executed, purged string, role checkpoint.Role, sources ...string) checkpoint.Server {
	s := checkpoint.Server{Name: name, UUID: id(uuid), Executed: set(executed), Purged: set(purged), Role: role}
	for _, u := range sources {
		s.Sources = append(s.Sources, id(u))
	}
	return s
}

func TestResume(t *testing.T) {
	const primary, replica, unknown = checkpoint.RolePrimary, checkpoint.RoleReplica, checkpoint.RoleUnknown
	type want struct {
		kind    checkpoint.Kind
		missing string
	}
	for name, tt := range map[string]struct {
		position string
		servers  []checkpoint.Server
		want     []want
	}{
		"all good": {
			a + ":1-5",
			[]checkpoint.Server{server("p", a, a+":1-9", "", primary), server("r", b, a+":1-5", a+":1-3", replica, a)},
			[]want{{checkpoint.OK, ""}, {checkpoint.OK, ""}},
		},
		"a lagging replica": {
			a + ":1-8",
			[]checkpoint.Server{server("p", a, a+":1-9", "", primary), server("r", b, a+":1-5", "", replica, a)},
			[]want{{checkpoint.OK, ""}, {checkpoint.Behind, a + ":6-8"}},
		},
		"a replica whose source purged what it lacks": {
			a + ":1-8",
			[]checkpoint.Server{server("p", a, a+":1-9", a+":1-6", primary), server("r", b, a+":1-5", "", replica, a)},
			[]want{{checkpoint.OK, ""}, {checkpoint.Diverged, a + ":6"}},
		},
		"a chain": {
			a + ":1-8",
			[]checkpoint.Server{server("p", a, a+":1-9", "", primary), server("m", b, a+":1-6", "", replica, a), server("r", c, a+":1-5", "", replica, b)},
			[]want{{checkpoint.OK, ""}, {checkpoint.Behind, a + ":7-8"}, {checkpoint.Behind, a + ":6-8"}},
		},
		"purged": {
			a + ":1-2",
			[]checkpoint.Server{server("p", a, a+":1-9", a+":1-4", primary)},
			[]want{{checkpoint.Purged, a + ":3-4"}},
		},
		"an errant transaction was read from a replica": {
			a + ":1-5," + b + ":1",
			[]checkpoint.Server{server("p", a, a+":1-9", "", primary), server("r1", b, a+":1-9,"+b+":1", "", replica, a), server("r2", c, a+":1-9", "", replica, a)},
			[]want{{checkpoint.Diverged, b + ":1"}, {checkpoint.OK, ""}, {checkpoint.Diverged, b + ":1"}},
		},
		"restored from a backup": {
			a + ":1-9",
			[]checkpoint.Server{server("p", a, a+":1-5", "", primary)},
			[]want{{checkpoint.Diverged, a + ":6-9"}},
		},
		"read before it was executed": {
			a + ":1-9",
			[]checkpoint.Server{committing(server("p", a, a+":1-7", "", primary), a+":8-9"), server("r", b, a+":1-7", "", replica, a)},
			[]want{{checkpoint.Behind, a + ":8-9"}, {checkpoint.Behind, a + ":8-9"}},
		},
		"restored, replication not visible": {
			a + ":1-9," + b + ":1-3",
			[]checkpoint.Server{server("p", a, a+":1-5", "", unknown)},
			[]want{{checkpoint.Diverged, a + ":6-9"}},
		},
		"lost in a failover": {
			a + ":1-9",
			[]checkpoint.Server{server("new", b, a+":1-7,"+b+":1", "", primary), server("r", c, a+":1-7", "", replica, b)},
			[]want{{checkpoint.Diverged, a + ":8-9"}, {checkpoint.Diverged, a + ":8-9"}},
		},
		"the source does not answer": {
			a + ":1-9",
			[]checkpoint.Server{server("r", b, a+":1-7", "", replica, a)},
			[]want{{checkpoint.Behind, a + ":8-9"}},
		},
		"a ring": {
			a + ":1-9," + c + ":1",
			[]checkpoint.Server{server("x", a, a+":1-9", "", replica, b), server("y", b, a+":1-7", "", replica, a)},
			[]want{{checkpoint.Diverged, c + ":1"}, {checkpoint.Diverged, c + ":1"}},
		},
		"two sources": {
			a + ":1-2," + b + ":1-2",
			[]checkpoint.Server{server("p", a, a+":1-2", "", primary), server("q", b, b+":1-2", "", primary), server("r", c, a+":1", "", replica, a, b)},
			[]want{{checkpoint.Diverged, b + ":1-2"}, {checkpoint.Diverged, a + ":1-2"}, {checkpoint.Behind, a + ":2," + b + ":1-2"}},
		},
		"another tag is another history": {
			a + ":x:1",
			[]checkpoint.Server{server("p", a, a+":1-2", "", primary)},
			[]want{{checkpoint.Diverged, a + ":x:1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i, got := range checkpoint.Resume(set(tt.position), tt.servers) {
				assert.Equal(t, tt.want[i].kind.String(), got.Kind.String(), tt.servers[i].Name)
				assert.Equal(t, tt.want[i].missing, got.Missing.String(), tt.servers[i].Name)
			}
		})
	}
}

// The fourteen hours of a known incident: the position held only what was read since the start, not what lay before.
func TestResumeGuessesWhichSetWasMeant(t *testing.T) {
	p := server("p", a, a+":1-39000000", a+":1-38823122", checkpoint.RolePrimary)
	got := checkpoint.Resume(set(a+":38952437-38961148"), []checkpoint.Server{p})[0]
	assert.Equal(t, checkpoint.Purged, got.Kind)
	assert.Equal(t, a+":1-38823122", got.Missing.String())
	assert.Equal(t, a+":1-38961148", got.Meant.String())
	p.Executed = set(a + ":1-38823122:38952437-38961148")
	got = checkpoint.Resume(set(a+":38952437-38961148"), []checkpoint.Server{p})[0]
	assert.Equal(t, p.Executed.String(), got.Meant.String(), "no more than the server ever had")
	assert.True(t, checkpoint.Resume(set(a+":1-2"), []checkpoint.Server{p})[0].Meant.IsEmpty())
}

func TestErrant(t *testing.T) {
	got := checkpoint.Errant([]checkpoint.Server{
		server("p", a, a+":1-9", "", checkpoint.RolePrimary),
		server("r1", b, a+":1-11,"+b+":1-2", "", checkpoint.RoleReplica, a),
		server("r2", c, a+":1-8,"+b+":1,"+c+":4", "", checkpoint.RoleUnknown),
	})
	assert.Equal(t, []string{"", b + ":2", ""}, []string{got[0].String(), got[1].String(), got[2].String()})
}

// committing is a server with transactions that its binary log has and gtid_executed has not yet.
func committing(s checkpoint.Server, owned string) checkpoint.Server {
	s.Owned = set(owned)
	return s
}

func TestParseOwned(t *testing.T) {
	got, err := checkpoint.ParseOwned(a + ":23#4:24#5:30#7,\n" + b + ":1#9")
	require.NoError(t, err)
	assert.Equal(t, a+":23-24:30,"+b+":1", got.String())
	got, err = checkpoint.ParseOwned("")
	require.NoError(t, err)
	assert.True(t, got.IsEmpty())
}
