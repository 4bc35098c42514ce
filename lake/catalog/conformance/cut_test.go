package conformance

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// cutter is a way to a service on which, once it is armed, answers do not come through: at the first byte of one the connection
// ends. What was asked for has been done by then.
type cutter struct {
	listener net.Listener
	target   string
	armed    atomic.Bool
	cuts     atomic.Int64
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t testing.TB, target string) *cutter {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	c := &cutter{listener: l, target: target}
	c.serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			c.serving.Go(func() { c.forward(client) })
		}
	})
	t.Cleanup(func() {
		check(t, l.Close())
		c.mu.Lock()
		for _, conn := range c.conns {
			_ = conn.Close() // again, for most
		}
		c.mu.Unlock()
		c.serving.Wait()
	})
	return c
}

func (c *cutter) forward(client net.Conn) {
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", c.target)
	if err != nil {
		_ = client.Close() // as a network would
		return
	}
	c.mu.Lock()
	c.conns = append(c.conns, client, server)
	c.mu.Unlock()
	pipe := func(to, from net.Conn, answers bool) {
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 && answers && c.armed.CompareAndSwap(true, false) {
				c.cuts.Add(1)
				break
			}
			if n > 0 {
				if _, werr := to.Write(buf[:n]); werr != nil {
					break
				}
			}
			if err != nil {
				break
			}
		}
		_, _ = client.Close(), server.Close() // the second time they say that they are closed
	}
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client, false) })
	pipe(client, server, true)
	both.Wait()
}

// armedSwaps lets the answer to each swap get lost.
type armedSwaps struct {
	catalog.Catalog
	cut *cutter
}

func (a *armedSwaps) Swap(ctx context.Context, base *catalog.Version, metadata []byte) (*catalog.Version, error) {
	a.cut.armed.Store(true)
	defer a.cut.armed.Store(false)
	return a.Catalog.Swap(ctx, base, metadata)
}

// caseLostAnswers: a commit whose answer does not come through is found to have been done, and is done once.
func caseLostAnswers(t *testing.T, w *world) {
	cut := newCutter(t, w.address)
	l := w.lake(t)
	l.Catalog = &armedSwaps{w.openAt(t, cut.listener.Addr().String()), cut}
	b := newTable(t, w, l, 3)
	const commits = 6
	for n := range int64(commits) {
		file := b.write(n)
		commit := lake.Commit{Add: []*lake.NewFile{file}, Record: b.record()}
		if err := b.table.Commit(t.Context(), commit); err != nil {
			t.Fatalf("commit %d: %v", n, err)
		}
		r := b.record()
		if err := b.table.SetCheckpoint(t.Context(), r); err != nil {
			t.Fatalf("position %d: %v", n, err)
		}
		b.positioned(r)
	}
	if got := cut.cuts.Load(); got < 2*commits {
		t.Fatalf("only %d connections were cut", got)
	}
	b.rows(0, 1, 2, 3, 4, 5)
	if got := b.snapshots(); got != commits {
		t.Errorf("%d snapshots of %d commits", got, commits)
	}
}

// caseLostAnswerOfAnother: where another commit came on top before the writer could look, it is told so, and finds its own
// below.
func caseLostAnswerOfAnother(t *testing.T, w *world) {
	cut := newCutter(t, w.address)
	l := w.lake(t)
	other := newTable(t, w, l, 3)
	way := &overtaken{armedSwaps: armedSwaps{w.openAt(t, cut.listener.Addr().String()), cut}}
	b := &bench{TB: t, w: w, lake: &lake.Lake{Store: l.Store, Catalog: way, Logger: l.Logger}}
	b.reopen()
	check(t, b.table.Claim(t.Context(), "p", 1))
	way.then = func() {
		other.reopen()
		check(t, other.table.Claim(t.Context(), "p", 1))
		other.commit(other.write(2))
	}
	err := b.table.Commit(t.Context(), lake.Commit{Add: []*lake.NewFile{b.write(1)}, Record: b.record()})
	if !errors.Is(err, lake.ErrSnapshotChanged) {
		t.Fatalf("a commit with another on top of it: %v", err)
	}
	b.rows(1, 2)
}

// overtaken has something happen after a swap whose answer was lost.
type overtaken struct {
	armedSwaps
	then func()
}

func (o *overtaken) Swap(ctx context.Context, base *catalog.Version, metadata []byte) (*catalog.Version, error) {
	_, err := o.armedSwaps.Swap(ctx, base, metadata)
	if then := o.then; then != nil {
		o.then = nil
		then()
	}
	if err == nil { // package pointer looks by itself, before we get here
		err = errors.New("the answer was lost")
	}
	return nil, err
}

func newCommitID() string { return uuid.NewString() }
