package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// fresh is how long a version that was the newest needs only one look at its successor. It must stay far below keepAge:
// within it, no successor can have come and been removed again. It also bounds how long a table that somebody removed
// and made anew is taken for the old one.
const fresh = time.Minute

// stepLimit is how many versions past the hint are tried one by one before the folder is listed.
const stepLimit = 8

// MissingError says that the hint names a version, but no version is there: somebody deleted metadata files.
type MissingError struct {
	ID  Identifier
	URI string // of the version that the hint names
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is damaged: its version hint names %s, which is not there, nor is any other version", e.ID, e.URI)
}

// Unwrap makes the table count as absent.
func (e *MissingError) Unwrap() error { return fs.ErrNotExist }

// Load returns the newest version; its error matches fs.ErrNotExist when there is no such table, and is a *MissingError
// when there should be one. A table that this process has loaded or committed within the last minute costs one request,
// others three: the hint, the version it names, and the absence of the one after. A transaction that was decided but not
// carried out is carried out.
func (b *Bucket) Load(ctx context.Context, id Identifier) (*Version, error) {
	v, err := b.newestVersion(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", id, err)
	}
	if v.dropped {
		return nil, fmt.Errorf("load %s: no table at %s: %w", id, b.Location(id), fs.ErrNotExist)
	}
	return v, nil
}

// newestVersion returns the newest version, be it the end of the table, or version 0 of a table that never was.
func (b *Bucket) newestVersion(ctx context.Context, id Identifier) (*Version, error) {
	for range stepLimit {
		v, err := b.find(ctx, id)
		if err != nil || v.reserved == nil {
			return v, err
		}
		decision, err := b.decision(ctx, v.reserved.ID)
		if err != nil || decision == undecided {
			return v, err
		}
		if _, err := b.settle(ctx, v, decision); err != nil && !errors.Is(err, ErrConflict) {
			return nil, err
		}
	}
	return nil, errors.New("it is changed faster than it can be read")
}

func (b *Bucket) find(ctx context.Context, id Identifier) (*Version, error) {
	b.mu.Lock()
	known := b.newest[id]
	b.mu.Unlock()
	if known != nil && b.since(known.confirmed) < fresh {
		return b.climb(ctx, known)
	}
	b.forget(id)
	n, err := b.readHint(ctx, id)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		v, err := b.read(ctx, id, n)
		switch {
		case err == nil:
			newest, err := b.climb(ctx, v)
			if err == nil && newest.dropped && newest.reserved == nil {
				b.Point(ctx, newest) // who dropped it died before it could remove the hint
			}
			return newest, err
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	v, err := b.search(ctx, id)
	if err == nil && v.N == 0 && n > 0 {
		return nil, &MissingError{id, b.MetadataURI(id, n)}
	}
	return v, err
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
			return nil, err
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
			return nil, err
		}
		if n == 0 {
			return &Version{ID: id, dropped: true, confirmed: asked}, nil
		}
		v, err := b.read(ctx, id, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		v.confirmed = asked
		return b.remember(v), nil
	}
	return nil, fmt.Errorf("the metadata files at %s disappear as fast as they are found: is something deleting them?", b.Location(id))
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
	v := &Version{ID: id, N: n, URI: b.MetadataURI(id, n), Metadata: body}
	if v.reserved, err = parseReservation(body); err != nil {
		return nil, fmt.Errorf("%s: %w", b.MetadataURI(id, n), err)
	}
	if v.reserved != nil {
		v.Metadata = v.reserved.before
	}
	v.dropped = isEnd(v.Metadata)
	return v, nil
}
