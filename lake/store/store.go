// Package store is the lake's object store: one small interface over a local folder or an S3 bucket.
//
// Everything above it names objects by slash-separated paths below the lake's root; only URI and Name know where
// that root is. What must hold: an object appears whole or not at all, PutIfAbsent has exactly one winner, and
// what was acknowledged is read by everyone from then on.
package store

import (
	"context"
	"io"
	"iter"
	"time"
)

// Store is one lake root.
//
// An absent object is reported as an error that matches fs.ErrNotExist. Any other error leaves the outcome of a
// write unknown: the caller must look before it repeats anything that is not idempotent. An *AccessError is one that a
// person has to mend.
type Store interface {
	// Get returns the whole object. The caller must not change it: it may be kept in a cache.
	Get(ctx context.Context, name string) ([]byte, error)
	// Open returns the object for ranged reads. That it is absent may be reported only by the first read.
	Open(ctx context.Context, name string) (Reader, error)
	// Put creates or replaces the object atomically.
	Put(ctx context.Context, name string, body []byte) error
	// PutIfAbsent creates the object, or fails with fs.ErrExist when there is one already. Of any number of
	// racing callers exactly one succeeds.
	PutIfAbsent(ctx context.Context, name string, body []byte) error
	// Create returns a streaming writer. Nothing is visible before its Close returns nil.
	Create(ctx context.Context, name string) (Writer, error)
	// List yields every object whose name begins with prefix, which is empty or ends in a slash, in name order.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// ListDirs returns the names, without slash, of the folders directly below prefix.
	ListDirs(ctx context.Context, prefix string) ([]string, error)
	// Delete removes objects; one that is absent is no error.
	Delete(ctx context.Context, names ...string) error
	// URI is the absolute address of a name, as written into table metadata.
	URI(name string) string
	// Name is the inverse of URI. It fails for an address outside the root.
	Name(uri string) (string, error)
}

// Reader reads ranges of one immutable object.
type Reader interface {
	io.ReaderAt
	io.Closer
	// Size is the object's length in bytes.
	Size() int64
}

// Writer writes one object from front to back.
type Writer interface {
	io.Writer
	// Close publishes the object.
	Close() error
	// Abort drops what was written. After Close it does nothing.
	Abort() error
}

// Info describes one listed object.
type Info struct {
	Name    string
	Size    int64 // bytes
	ModTime time.Time
}
