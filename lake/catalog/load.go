package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"time"
)

// fresh is how long a version that was the newest needs only one look at its successor. It must stay far below keepAge:
// within it, no successor can have come and been removed again. It also bounds how long a table that somebody removed
// and made anew is taken for the old one.
const fresh = time.Minute

// stepLimit is how many versions past the hint are tried one by one before the folder is listed.
const stepLimit = 8

// Load returns the newest version; its error matches fs.ErrNotExist when there is no such table. A table that this
// process has loaded or committed within the last minute costs one request, others three: the hint, the version it
// names, and the absence of the one after.
func (b *Bucket) Load(ctx context.Context, id Identifier) (*Version, error) {
	b.mu.Lock()
	known := b.newest[id]
	b.mu.Unlock()
	if known != nil && b.since(known.confirmed) < fresh {
		return b.climb(ctx, known)
	}
	b.forget(id)
	n, err := b.readHint(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	if n > 0 {
		v, err := b.read(ctx, id, n)
		switch {
		case err == nil:
			return b.climb(ctx, v)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("load %s: %w", id, err)
		}
	}
	return b.search(ctx, id)
}

// climb goes from a version that exists to the newest.
func (b *Bucket) climb(ctx context.Context, v *Version) (*Version, error) {
	for range stepLimit {
		asked := b.clock()
		next, err := b.read(ctx, v.ID, v.N+1)
		if errors.Is(err, fs.ErrNotExist) {
			confirmed := *v
			confirmed.confirmed, confirmed.HintErr = asked, nil
			return b.remember(&confirmed), nil
		}
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", v.ID, err)
		}
		v = next
	}
	return b.search(ctx, v.ID)
}

// search lists the folder. The newest file can be removed before it is read only while others keep committing (see
// prune.go), so it soon ends.
func (b *Bucket) search(ctx context.Context, id Identifier) (*Version, error) {
	for range stepLimit {
		asked := b.clock()
		n, err := b.highest(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", id, err)
		}
		if n == 0 {
			return nil, fmt.Errorf("load %s: no table at %s: %w", id, b.Location(id), fs.ErrNotExist)
		}
		v, err := b.read(ctx, id, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", id, err)
		}
		v.confirmed = asked
		return b.remember(v), nil
	}
	return nil, fmt.Errorf("load %s: the metadata files at %s disappear as fast as they are found: is something deleting them?", id, b.Location(id))
}

// highest returns the greatest version in the folder, 0 for none.
func (b *Bucket) highest(ctx context.Context, id Identifier) (int, error) {
	highest := 0
	for o, err := range b.store.List(ctx, id.metadataDir()) {
		if err != nil {
			return 0, err
		}
		if n, ok := versionOf(path.Base(o.Name)); ok && o.Name == id.MetadataName(n) {
			highest = max(highest, n)
		}
	}
	return highest, nil
}

func (b *Bucket) read(ctx context.Context, id Identifier, n int) (*Version, error) {
	body, err := b.store.Get(ctx, id.MetadataName(n))
	if err != nil {
		return nil, err
	}
	return &Version{ID: id, N: n, Metadata: body}, nil
}

// readHint returns 0 for a hint that is absent or not a version.
func (b *Bucket) readHint(ctx context.Context, id Identifier) (int, error) {
	text, err := b.store.Get(ctx, id.hintName())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return 0, nil //nolint:nilerr // any program may have written it
	}
	return n, nil
}
