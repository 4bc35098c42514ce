package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// hintLimit is how long writing the hint may take once the commit is done, in spite of a context that has ended: a
// shutdown should leave the hint right. A try that hangs is given up after hintPatience; there are hintTries.
const (
	hintLimit    = 10 * time.Second
	hintPatience = 2 * time.Second
	hintTries    = 3
)

// Create makes a table with its first version. It fails with fs.ErrExist when there is one.
func (b *Bucket) Create(ctx context.Context, id Identifier, metadata []byte) (*Version, error) {
	asked := b.clock()
	// Version 1 of an old table may have been pruned, so its absence proves nothing.
	_, err := b.Load(ctx, id)
	if err == nil {
		return nil, fmt.Errorf("create %s: there is a table at %s: %w", id, b.Location(id), fs.ErrExist)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	v, err := b.publish(ctx, &Version{ID: id, confirmed: asked}, metadata)
	if errors.Is(err, ErrConflict) {
		return nil, fmt.Errorf("create %s: another writer created it just now: %w", id, fs.ErrExist)
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", id, err)
	}
	return v, nil
}

// Swap makes metadata the table's next version, provided that base is the newest. Its errors:
//
//   - ErrConflict: definitely not applied, base is not the newest any more. Load and decide again.
//   - anything else, a context that ended included: the outcome is unknown. Load, and look for your commit in it.
//
// A Swap of a base that was swapped before with an unknown outcome reports ErrConflict if that first one was applied:
// look first.
func (b *Bucket) Swap(ctx context.Context, base *Version, metadata []byte) (*Version, error) {
	v, err := b.publish(ctx, base, metadata)
	if err != nil {
		b.forget(base.ID)
		return nil, fmt.Errorf("commit version %d of %s: %w", base.N+1, base.ID, err)
	}
	return v, nil
}

func (b *Bucket) publish(ctx context.Context, base *Version, metadata []byte) (*Version, error) {
	id, n := base.ID, base.N+1
	begun := b.clock()
	err := b.store.PutIfAbsent(ctx, id.MetadataName(n), metadata)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %s is there", ErrConflict, b.MetadataURI(id, n))
	}
	if err != nil {
		return nil, err
	}
	if b.since(base.confirmed) >= sureFor {
		if err := b.takeBackIfPassed(ctx, id, n, begun); err != nil {
			return nil, err
		}
	}
	v := &Version{ID: id, N: n, Metadata: metadata, confirmed: begun}
	b.outdate(id, base.N)
	b.remember(v)
	return b.Point(ctx, v), nil
}

// Point makes the hint name a version that is committed, or what is newer. Create and Swap do so by themselves; it is
// for a Swap of unknown outcome that turned out to be applied. HintErr of what it returns says whether it went well.
func (b *Bucket) Point(ctx context.Context, v *Version) *Version {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hintLimit)
	defer cancel()
	point := func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, hintPatience)
		defer cancel()
		return struct{}{}, b.pointHint(ctx, v.ID, v.N)
	}
	if _, err := backoff.Retry(ctx, point, backoff.WithMaxTries(hintTries)); err != nil {
		noted := *v
		noted.HintErr = fmt.Errorf("version %d of %s is committed, but its version-hint.text is not up to date: %w", v.N, v.ID, err)
		return &noted
	}
	return v
}

// pointHint writes n, or what is newer, into the hint.
//
// Writers race: the one that committed n may write its hint after the one that committed n+1, and readers without a
// catalog would stay at n until the next commit. So each writer looks for n+1 after writing n, and writes again while
// there is one. The last write of all then finds nothing newer than what it wrote: had there been something, it would
// not be the last; and what comes later is followed by its own write.
func (b *Bucket) pointHint(ctx context.Context, id Identifier, n int) error {
	for {
		if err := b.store.Put(ctx, id.hintName(), []byte(strconv.Itoa(n))); err != nil {
			return err
		}
		newest := n
		for step := 0; ; step++ {
			if step == stepLimit {
				highest, err := b.highest(ctx, id)
				if err != nil {
					return err
				}
				newest = max(newest, highest)
				break
			}
			_, err := b.store.Get(ctx, id.MetadataName(newest+1))
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return err
			}
			newest++
		}
		if newest == n {
			return nil
		}
		n = newest
	}
}
