package catalog

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"
)

// Old metadata files may be removed, but a name that becomes free again is a trap: a writer that slept on version N
// while others went on to N+200 and removed N+1 would create N+1 without resistance and believe that it committed.
// Three rules together close it:
//
//   - A version is removed only when it has been out of date for keepAge (Prune).
//   - Versions are removed one by one, oldest first, and only when the hint has passed them, so that those that are
//     left have no gap and no hint points to a removed one for long.
//   - A writer whose base was last seen to be the newest longer than sureFor ago lists the folder after creating its
//     version, and takes it back when it was passed by (takeBackIfPassed).
//
// sureFor is so much shorter than keepAge that clocks need not agree: each duration is measured on one clock.
const (
	keepAge = time.Hour
	sureFor = 15 * time.Minute
)

// pruneBatch bounds how many versions one Prune removes.
const pruneBatch = 64

// outdated is a version and when it was replaced, or first seen to be.
type outdated struct {
	n  int
	at time.Time
}

// outdate notes that this process replaced version n.
func (b *Bucket) outdate(id Identifier, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if list, begun := b.prune[id]; begun && n > 0 {
		b.prune[id] = append(list, outdated{n, b.clock()})
	}
}

// Prune removes metadata files of versions before newest.N-keep that were replaced more than an hour ago, a few at a
// time. It costs a listing the first time for a table in a process, and no request when there is nothing to remove.
// What other writers replace meanwhile is left to the next process.
func (b *Bucket) Prune(ctx context.Context, newest *Version, keep int) (removed int, err error) {
	id := newest.ID
	b.mu.Lock()
	list, begun := b.prune[id]
	b.mu.Unlock()
	if !begun {
		if list, err = b.oldVersions(ctx, newest); err != nil {
			return 0, fmt.Errorf("prune %s: %w", id, err)
		}
		b.mu.Lock()
		b.prune[id] = list
		b.mu.Unlock()
	}
	due := 0
	for due < min(len(list), pruneBatch) && list[due].n < newest.N-keep && b.clock().Sub(list[due].at) >= keepAge {
		due++
	}
	if due == 0 {
		return 0, nil
	}
	hint, err := b.readHint(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("prune %s: %w", id, err)
	}
	for _, o := range list[:due] {
		if o.n >= hint {
			break
		}
		if err = b.store.Delete(ctx, id.MetadataName(o.n)); err != nil {
			err = fmt.Errorf("prune %s: %w", id, err)
			break
		}
		removed++
	}
	b.mu.Lock()
	b.prune[id] = b.prune[id][removed:]
	b.mu.Unlock()
	return removed, err
}

// PruneOnly is true: see above.
func (b *Bucket) PruneOnly() bool { return true }

// oldVersions lists the versions before newest, oldest first. They were replaced some time before now.
func (b *Bucket) oldVersions(ctx context.Context, newest *Version) ([]outdated, error) {
	list := []outdated{}
	for o, err := range b.store.List(ctx, newest.ID.metadataDir()) {
		if err != nil {
			return nil, err
		}
		if n, ok := versionOf(path.Base(o.Name)); ok && n < newest.N && o.Name == newest.ID.MetadataName(n) {
			list = append(list, outdated{n, b.clock()})
		}
	}
	slices.SortFunc(list, func(a, b outdated) int { return a.n - b.n })
	return list, nil
}

// takeBackIfPassed looks whether version n, which this process just created, has the place of one that was removed: if
// so it removes it and returns ErrConflict. Its rightful successor, if there is one already, is no older than it; the
// successor of a removed version is missing, or older by keepAge.
func (b *Bucket) takeBackIfPassed(ctx context.Context, id Identifier, n int, begun time.Time) error {
	highest := 0
	times := map[int]time.Time{}
	for o, err := range b.store.List(ctx, id.metadataDir()) {
		if err != nil {
			return fmt.Errorf("created %s, but cannot make sure that it is the newest: %w", b.MetadataURI(id, n), err)
		}
		if k, ok := versionOf(path.Base(o.Name)); ok && o.Name == id.MetadataName(k) {
			highest = max(highest, k)
			times[k] = o.ModTime
		}
	}
	ours, there := times[n]
	successor, followed := times[n+1]
	switch {
	case there && (highest == n || followed && ours.Sub(successor) < keepAge/2):
		return nil
	case !there || b.since(begun) >= keepAge/2:
		return fmt.Errorf("created %s, but so long ago that it cannot be told whether others went on from it", b.MetadataURI(id, n))
	}
	if err := b.store.Delete(ctx, id.MetadataName(n)); err != nil {
		return fmt.Errorf("remove %s, made by a writer that slept while version %d came: %w", b.MetadataURI(id, n), highest, err)
	}
	return fmt.Errorf("%w: version %d", ErrConflict, highest)
}
