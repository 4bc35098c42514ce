package store

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Tally is what was done to a store: how often each operation was called, and the bytes that went through it.
type Tally struct {
	Calls map[string]int64 // by operation: get, open, read, put, put-if-absent, create, write, close, list, list-dirs, delete
	Read  int64            // bytes
	Wrote int64            // bytes
}

// Counted is a store that counts its use. Make one with Count.
type Counted struct {
	inner       Store
	mu          sync.Mutex
	calls       map[string]int64
	read, wrote atomic.Int64
}

// Count wraps a store.
func Count(inner Store) *Counted { return &Counted{inner: inner, calls: map[string]int64{}} }

// Tally returns the counts so far.
func (c *Counted) Tally() Tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Tally{Calls: maps.Clone(c.calls), Read: c.read.Load(), Wrote: c.wrote.Load()}
}

// Unwrap returns the store that is counted.
func (c *Counted) Unwrap() Store { return c.inner }

func (c *Counted) count(op string) {
	c.mu.Lock()
	c.calls[op]++
	c.mu.Unlock()
}

func (c *Counted) Get(ctx context.Context, name string) ([]byte, error) {
	c.count("get")
	b, err := c.inner.Get(ctx, name)
	c.read.Add(int64(len(b)))
	return b, err
}

func (c *Counted) Open(ctx context.Context, name string) (Reader, error) {
	c.count("open")
	r, err := c.inner.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &countedReader{r, c}, nil
}

type countedReader struct {
	Reader
	c *Counted
}

func (r *countedReader) ReadAt(p []byte, off int64) (int, error) {
	r.c.count("read")
	n, err := r.Reader.ReadAt(p, off)
	r.c.read.Add(int64(n))
	return n, err
}

func (c *Counted) Put(ctx context.Context, name string, body []byte) error {
	c.count("put")
	c.wrote.Add(int64(len(body)))
	return c.inner.Put(ctx, name, body)
}

func (c *Counted) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	c.count("put-if-absent")
	c.wrote.Add(int64(len(body)))
	return c.inner.PutIfAbsent(ctx, name, body)
}

func (c *Counted) Create(ctx context.Context, name string) (Writer, error) {
	c.count("create")
	w, err := c.inner.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return &countedWriter{w, c}, nil
}

type countedWriter struct {
	Writer
	c *Counted
}

func (w *countedWriter) Write(p []byte) (int, error) {
	w.c.count("write")
	n, err := w.Writer.Write(p)
	w.c.wrote.Add(int64(n))
	return n, err
}

func (w *countedWriter) Close() error {
	w.c.count("close")
	return w.Writer.Close()
}

func (c *Counted) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	c.count("list")
	return c.inner.List(ctx, prefix)
}

func (c *Counted) ListDirs(ctx context.Context, prefix string) ([]string, error) {
	c.count("list-dirs")
	return c.inner.ListDirs(ctx, prefix)
}

func (c *Counted) Delete(ctx context.Context, names ...string) error {
	c.count("delete")
	return c.inner.Delete(ctx, names...)
}

func (c *Counted) URI(name string) string          { return c.inner.URI(name) }
func (c *Counted) Name(uri string) (string, error) { return c.inner.Name(uri) }

// Requests returns how many HTTP requests the S3 store under any wrappers has sent, by kind: GET, HEAD, LIST, PUT,
// POST (begin and end of a multipart upload, bulk delete), DELETE. Retries count. It is nil for a local store.
func Requests(s Store) map[string]int64 {
	for {
		switch t := s.(type) {
		case *S3:
			return t.requests.tally()
		case interface{ Unwrap() Store }:
			s = t.Unwrap()
		default:
			return nil
		}
	}
}

type requestCounter struct {
	next http.RoundTripper
	mu   sync.Mutex
	n    map[string]int64
}

func (c *requestCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := r.Method
	if kind == http.MethodGet && strings.Contains(r.URL.RawQuery, "list-type") {
		kind = "LIST"
	}
	c.mu.Lock()
	if c.n == nil {
		c.n = map[string]int64{}
	}
	c.n[kind]++
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

func (c *requestCounter) tally() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}
