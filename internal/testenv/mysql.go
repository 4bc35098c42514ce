package testenv

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// waitLimit is how long WaitFor waits before it fails the test.
const waitLimit = time.Minute

// Server is a MySQL server that ends with its test. Its methods end the test when they fail; those of the embedded server return
// errors and take a context.
type Server struct{ *server.MySQL }

// Option changes how a MySQL server is set up.
type Option func(*server.MySQLOptions)

// Args adds mysqld options, such as "--binlog-row-image=MINIMAL". They win over the defaults.
func Args(args ...string) Option {
	return func(o *server.MySQLOptions) { o.Args = append(o.Args, args...) }
}

// BufferPool sets the size of InnoDB's buffer pool, 128 MiB by default.
func BufferPool(mebibytes int) Option {
	return func(o *server.MySQLOptions) { o.BufferPoolMiB = mebibytes }
}

// ReadOnly sets super_read_only. In Topology it is for the replicas alone.
func ReadOnly() Option {
	return func(o *server.MySQLOptions) { o.ReadOnly = true }
}

// MySQL starts a server with empty binary logs and the user tide (server.User, server.Password).
func MySQL(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, err := startMySQL(t, opts)
	check(t, err)
	return s
}

func startMySQL(t testing.TB, opts []Option) (*Server, error) {
	tools, err := tool((*toolbox.Box).MySQL)
	if err != nil {
		return nil, err
	}
	var o server.MySQLOptions
	for _, opt := range opts {
		opt(&o)
	}
	my, err := server.StartMySQL(t.Context(), tools, o)
	if err != nil {
		return nil, err
	}
	closeWith(t, func() error {
		if t.Failed() {
			t.Logf("mysqld on port %d, the end of its log:\n%s", my.Port, my.Log())
		}
		return my.Close()
	})
	return &Server{my}, nil
}

// Cluster is a source and its replicas.
type Cluster struct {
	Primary  *Server
	Replicas []*Server
}

// Topology starts a primary and replicas that follow it by GTID. Options are for all of them, ReadOnly for the replicas.
func Topology(t testing.TB, replicas int, opts ...Option) *Cluster {
	t.Helper()
	servers := make([]*Server, replicas+1)
	var starting errgroup.Group
	for i := range servers {
		starting.Go(func() (err error) {
			own := opts
			if i == 0 {
				own = append(append([]Option{}, opts...), func(o *server.MySQLOptions) { o.ReadOnly = false })
			}
			servers[i], err = startMySQL(t, own)
			return err
		})
	}
	check(t, starting.Wait())
	for _, replica := range servers[1:] {
		replica.Follow(t, servers[0])
	}
	return &Cluster{Primary: servers[0], Replicas: servers[1:]}
}

// Servers is all of them, the primary first.
func (c *Cluster) Servers() []*Server { return append([]*Server{c.Primary}, c.Replicas...) }

// Sync waits until every replica has what the primary has now, and returns that GTID set.
func (c *Cluster) Sync(t testing.TB) string {
	t.Helper()
	set := c.Primary.Executed(t)
	for _, replica := range c.Replicas {
		replica.WaitFor(t, set)
	}
	return set
}

// AddReplica starts a server that follows of by GTID.
func AddReplica(t testing.TB, of *Server, opts ...Option) *Server {
	t.Helper()
	s := MySQL(t, opts...)
	s.Follow(t, of)
	return s
}

// URL is the source URL of tidemark for these servers, in this order, as user tide.
func URL(servers ...*Server) string {
	hosts := ""
	for i, s := range servers {
		if i > 0 {
			hosts += ","
		}
		hosts += s.Addr()
	}
	return fmt.Sprintf("mysql://%s:%s@%s/", server.User, server.Password, hosts)
}

// Follow makes s a replica of source, by GTID.
func (s *Server) Follow(t testing.TB, source *Server) {
	t.Helper()
	check(t, s.Replicate(t.Context(), source.MySQL))
}

// FollowByFile makes s a replica of source, by file and offset, from the beginning of its log.
func (s *Server) FollowByFile(t testing.TB, source *Server) {
	t.Helper()
	check(t, s.ReplicateByFile(t.Context(), source.MySQL, "bin.000001", 4))
}

// Coordinates is where the server's binary log ends.
func (s *Server) Coordinates(t testing.TB) (file string, offset uint64) {
	t.Helper()
	file, offset, err := s.MySQL.Coordinates(t.Context())
	check(t, err)
	return file, offset
}

// CatchUp waits until a replica has applied all that its source has now, with GTIDs or without.
func (s *Server) CatchUp(t testing.TB, source *Server) {
	t.Helper()
	file, offset := source.Coordinates(t)
	check(t, s.WaitForFile(t.Context(), file, offset, waitLimit))
}

// Exec runs statements as root in one session. Each text may hold several, separated by semicolons.
func (s *Server) Exec(t testing.TB, texts ...string) {
	t.Helper()
	check(t, s.MySQL.Exec(t.Context(), texts...))
}

// Query runs one statement as root and returns its rows in the normal form (server.Null).
func (s *Server) Query(t testing.TB, sql string) [][]string {
	t.Helper()
	rows, err := s.MySQL.Query(t.Context(), sql)
	check(t, err)
	return rows
}

// Session is a connection of its own, as root, closed with the test.
func (s *Server) Session(t testing.TB, db string) *server.Session {
	t.Helper()
	c, err := s.MySQL.Session(t.Context(), db)
	check(t, err)
	t.Cleanup(func() {
		// The server may be gone by design of the test, and with it the connection.
		_ = c.Close()
	})
	return c
}

// Executed is the server's GTID set, on one line.
func (s *Server) Executed(t testing.TB) string {
	t.Helper()
	set, err := s.MySQL.Executed(t.Context())
	check(t, err)
	return set
}

// WaitFor waits until the server has executed the GTID set.
func (s *Server) WaitFor(t testing.TB, gtidSet string) {
	t.Helper()
	check(t, s.MySQL.WaitFor(t.Context(), gtidSet, waitLimit))
}

// Purge removes all binary logs but a new, empty one.
func (s *Server) Purge(t testing.TB) {
	t.Helper()
	check(t, s.MySQL.Purge(t.Context()))
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	check(t, s.MySQL.Kill())
}

// Stop shuts the server down cleanly.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	check(t, s.MySQL.Stop())
}

// Start starts the server again after Kill or Stop, on the same port and data.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	check(t, s.MySQL.Start(t.Context()))
}

// Pause freezes the server (SIGSTOP).
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	check(t, s.MySQL.Pause())
}

// Resume lets it go on.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	check(t, s.MySQL.Resume())
}

// Proxy puts a network that can break in front of the server: connect to its Addr instead of the server's.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	p, err := server.StartProxy(s.Addr())
	check(t, err)
	closeWith(t, p.Close)
	return &Proxy{p}
}

// Proxy is a TCP proxy that ends with its test.
type Proxy struct{ *server.Proxy }

// Cut breaks all connections and refuses new ones.
func (p *Proxy) Cut(t testing.TB) {
	t.Helper()
	check(t, p.Proxy.Cut())
}

// Blackhole keeps and accepts connections, and lets nothing pass.
func (p *Proxy) Blackhole(t testing.TB) {
	t.Helper()
	check(t, p.Proxy.Blackhole())
}

// Heal forwards again.
func (p *Proxy) Heal(t testing.TB) {
	t.Helper()
	check(t, p.Proxy.Heal())
}

// Retarget breaks all connections and leads new ones to another server.
func (p *Proxy) Retarget(t testing.TB, to *Server) {
	t.Helper()
	check(t, p.Proxy.Retarget(to.Addr()))
}
