// Package catalog is the bucket catalog: which metadata file is a table's newest, kept in the lake itself.
//
// In come table metadata (metadata.json, as bytes; this package does not look into them) and the version they replace.
// Out comes <db>/<table>/metadata/vN.metadata.json, created only if nobody has created it, and then version-hint.text
// with N in it, without newline, for readers that know no service (DuckDB's iceberg_scan on the table's path).
//
// What must hold:
//
//   - The versions of a table form one line: vN+1 was derived from vN. The exclusive creation of vN+1 is the commit.
//
//   - Acknowledged is durable: no version that was acknowledged as committed is ever replaced or passed by.
//
//   - The hint is only a hint. A crash between the two leaves it behind by one, a failure longer; Load finds the newest
//     version all the same. It is never trusted to exist, to be current or to point to a file.
//
//   - A version number is never used twice, by whatever a table of that name is dropped and made again: the end of a table is
//     a version too (drop.go). So a writer that slept finds its place taken.
//
// names.go        databases and tables as folders
// load.go         finding the newest version
// swap.go         committing the next one
// hint.go         version-hint.text
// drop.go         ending a table
// transaction.go  committing to several tables at once
// prune.go        removing old metadata files, and why that needs care
// list.go         which databases and tables there are
// database.go     making, changing and dropping databases
//
// The packages below keep the same promises with a service beside the lake: interface.go has what lake, ingest and compaction need
// of any catalog.
package catalog

import (
	"errors"
	"sync"
	"time"

	"github.com/tidemark/tidemark/lake/store"
)

// ErrConflict means that a Swap was definitely not applied, because its base is no longer the newest version.
var ErrConflict = errors.New("the table has a newer version")

// Version is one immutable state of a table.
type Version struct {
	ID       Identifier
	N        int    // 1 for the first; of the bucket catalog alone
	URI      string // of the metadata file; no two versions have the same
	Metadata []byte // not to be changed

	// HintErr is set by Create and Swap when the commit is done but version-hint.text could not be written. The table
	// is sound; readers without a catalog see the version before until the next commit.
	HintErr error

	// confirmed is a moment at which this was the newest version.
	confirmed time.Time

	dropped  bool         // the version ends the table
	reserved *reservation // the version holds the place for a transaction; Metadata are those before it
}

// Bucket is the catalog of one lake. It is safe for concurrent use, and any number of processes may use the same lake.
type Bucket struct {
	store store.Store
	clock func() time.Time

	mu     sync.Mutex
	newest map[Identifier]*Version   // as this process last saw them
	prune  map[Identifier][]outdated // see prune.go
}

// NewBucket returns the catalog of the lake in s.
func NewBucket(s store.Store) *Bucket { return NewBucketAt(s, time.Now) }

// NewBucketAt is NewBucket with a clock.
func NewBucketAt(s store.Store, clock func() time.Time) *Bucket {
	return &Bucket{store: s, clock: clock, newest: map[Identifier]*Version{}, prune: map[Identifier][]outdated{}}
}

var _ Catalog = (*Bucket)(nil)

// Store returns the lake's store.
func (b *Bucket) Store() store.Store { return b.store }

// Location is the URI of a table's folder.
func (b *Bucket) Location(id Identifier) string { return b.store.URI(id.Path()) }

// MetadataURI is the address of one version's file.
func (b *Bucket) MetadataURI(id Identifier, n int) string { return b.store.URI(id.MetadataName(n)) }

// remember keeps v as the newest version seen, unless a newer one is known.
func (b *Bucket) remember(v *Version) *Version {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.newest[v.ID]; old == nil || old.N <= v.N {
		b.newest[v.ID] = v
	}
	return v
}

// since is how long ago t was, by the clock that says more: the monotonic one stands still while a machine sleeps, and
// the wall clock can be set.
func (b *Bucket) since(t time.Time) time.Duration {
	now := b.clock()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

func (b *Bucket) forget(id Identifier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.newest, id)
}
