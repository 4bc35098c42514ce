package store

import (
	"bytes"
	"container/list"
	"context"
	"strings"
	"sync"
)

// Cached keeps small immutable objects in memory: the manifests and manifest lists (.avro) of snapshots, which never
// change once written and are read at every commit. Everything else passes through. Make one with Cache.
type Cached struct {
	Store
	limit int64

	mu    sync.Mutex
	size  int64 // bytes of all bodies
	byUse *list.List
	items map[string]*list.Element // of *cachedObject
}

type cachedObject struct {
	name string
	body []byte
}

// Cache wraps a store with a cache of at most limit bytes; the least recently used objects make room.
func Cache(inner Store, limit int64) *Cached {
	return &Cached{Store: inner, limit: limit, byUse: list.New(), items: map[string]*list.Element{}}
}

// Unwrap returns the store behind the cache.
func (c *Cached) Unwrap() Store { return c.Store }

// immutable reports whether an object is written once under a name that is never used again.
func immutable(name string) bool { return strings.HasSuffix(name, ".avro") }

// Get returns the object from memory or from the store. The caller must not change it.
func (c *Cached) Get(ctx context.Context, name string) ([]byte, error) {
	if !immutable(name) {
		return c.Store.Get(ctx, name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if e := c.items[name]; e != nil {
		c.byUse.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*cachedObject).body, nil
	}
	c.mu.Unlock()
	body, err := c.Store.Get(ctx, name)
	if err == nil {
		c.keep(name, body)
	}
	return body, err
}

// Open serves a cached kind of object from memory.
func (c *Cached) Open(ctx context.Context, name string) (Reader, error) {
	if !immutable(name) {
		return c.Store.Open(ctx, name)
	}
	body, err := c.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	return memoryReader{bytes.NewReader(body)}, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// Put keeps what it wrote: the next commit reads it.
func (c *Cached) Put(ctx context.Context, name string, body []byte) error {
	err := c.Store.Put(ctx, name, body)
	if err == nil && immutable(name) {
		c.keep(name, bytes.Clone(body))
	}
	return err
}

// Delete forgets the objects too.
func (c *Cached) Delete(ctx context.Context, names ...string) error {
	c.mu.Lock()
	for _, name := range names {
		if e := c.items[name]; e != nil {
			c.drop(e)
		}
	}
	c.mu.Unlock()
	return c.Store.Delete(ctx, names...)
}

func (c *Cached) keep(name string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int64(len(body)) > c.limit/4 {
		return // it would push out all others
	}
	if e := c.items[name]; e != nil {
		c.drop(e)
	}
	c.items[name] = c.byUse.PushFront(&cachedObject{name, body})
	c.size += int64(len(body))
	for c.size > c.limit {
		c.drop(c.byUse.Back())
	}
}

func (c *Cached) drop(e *list.Element) {
	o := c.byUse.Remove(e).(*cachedObject)
	delete(c.items, o.name)
	c.size -= int64(len(o.body))
}
