package server

import (
	"errors"
	"io"
	"net"
	"sync"
)

// Proxy forwards TCP connections to a server, until told to behave like a broken network. Its address stays the same.
type Proxy struct {
	addr string
	port *Port

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while cut
	conns    map[net.Conn]struct{}
	open     chan struct{} // closed while bytes may pass
	passing  bool
	serving  sync.WaitGroup
}

// StartProxy listens on a free port and forwards to target (host:port).
func StartProxy(target string) (*Proxy, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	open := make(chan struct{})
	close(open)
	p := &Proxy{target: target, addr: loopback(port.Number), port: port, conns: map[net.Conn]struct{}{}, open: open, passing: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p, p.listen()
}

// Addr is where to connect: host:port.
func (p *Proxy) Addr() string { return p.addr }

// Port is the number in Addr.
func (p *Proxy) Port() int { return p.port.Number }

// Cut breaks all connections and refuses new ones.
func (p *Proxy) Cut() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut()
}

// Blackhole keeps connections and accepts new ones, and lets no byte pass in either direction: what a lost route looks like.
func (p *Proxy) Blackhole() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.passing {
		p.passing, p.open = false, make(chan struct{})
	}
	return p.listen()
}

// Heal forwards again. Bytes held back by Blackhole pass now, as a network's would.
func (p *Proxy) Heal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass()
	return p.listen()
}

// Retarget breaks all connections and forwards new ones to another server: what a host name does that moves.
func (p *Proxy) Retarget(target string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cut(); err != nil {
		return err
	}
	p.target = target
	p.pass()
	return p.listen()
}

// Connections is the number of clients connected now.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close breaks everything and waits until nothing of the proxy runs.
func (p *Proxy) Close() error {
	p.mu.Lock()
	err := p.cut()
	p.pass()
	p.mu.Unlock()
	p.serving.Wait()
	return errors.Join(err, p.port.Release())
}

func (p *Proxy) pass() {
	if !p.passing {
		p.passing = true
		close(p.open)
	}
}

func (p *Proxy) listen() error {
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	p.serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // the listener was closed by cut
			}
			p.serving.Go(func() { p.forward(client, l) })
		}
	})
	return nil
}

func (p *Proxy) cut() error {
	var errs []error
	if p.listener != nil {
		errs = append(errs, p.listener.Close())
		p.listener = nil
	}
	for c := range p.conns {
		if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	clear(p.conns)
	return errors.Join(errs...)
}

// forward serves one client until either side ends. A server that refuses is a client that is closed.
func (p *Proxy) forward(client net.Conn, accepted net.Listener) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		_ = client.Close() // nothing was promised on it
		return
	}
	p.mu.Lock()
	if p.listener != accepted { // cut between accept and here
		p.mu.Unlock()
		_, _ = client.Close(), server.Close()
		return
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()

	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			p.copy(way[1], way[0])
			_, _ = client.Close(), server.Close() // a second close reports the first
		})
	}
	both.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

func (p *Proxy) copy(to io.Writer, from io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			open := p.open
			p.mu.Unlock()
			<-open
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
