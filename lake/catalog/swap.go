package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// OutcomeError says that it is not known whether a version was created.
type OutcomeError struct {
	ID  Identifier
	N   int
	Err error
}

func (e *OutcomeError) Error() string {
	return fmt.Sprintf("commit version %d of %s: %v", e.N, e.ID, e.Err)
}

func (e *OutcomeError) Unwrap() error { return e.Err }

// Create makes a table with its first version. It fails with fs.ErrExist when there is one. Of a table that was dropped
// before, the numbers go on.
func (b *Bucket) Create(ctx context.Context, id Identifier, metadata []byte) (*Version, error) {
	base, err := b.Vacant(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := b.publish(ctx, base, metadata)
	if errors.Is(err, ErrConflict) {
		return nil, fmt.Errorf("create %s: another writer created it just now: %w", id, fs.ErrExist)
	}
	if err != nil {
		b.forget(id)
		return nil, fmt.Errorf("create %s: %w", id, err)
	}
	return v, nil
}

// Vacant returns what a table that is not there is created on, by Swap or SwapAll. It fails with fs.ErrExist when the
// table is there. Version 0 means that there never was one.
func (b *Bucket) Vacant(ctx context.Context, id Identifier) (*Version, error) {
	v, err := b.newestVersion(ctx, id)
	var missing *MissingError
	switch {
	case errors.As(err, &missing):
		return &Version{ID: id, dropped: true, confirmed: b.clock()}, nil
	case err != nil:
		return nil, fmt.Errorf("create %s: %w", id, err)
	case !v.dropped:
		return nil, fmt.Errorf("create %s: there is a table at %s: %w", id, b.Location(id), fs.ErrExist)
	}
	return v, nil
}

// Swap makes metadata the table's next version, provided that base is the newest. Its errors:
//
//   - ErrConflict: definitely not applied, base is not the newest any more. Load and decide again.
//   - anything else, a context that ended included: the outcome is unknown. Load, and look for your commit in it.
//
// A Swap of a base that was swapped before with an unknown outcome reports ErrConflict if that first one was applied:
// look first (Applied).
func (b *Bucket) Swap(ctx context.Context, base *Version, metadata []byte) (*Version, error) {
	v, err := b.publish(ctx, base, metadata)
	if err != nil {
		b.forget(base.ID)
		return nil, fmt.Errorf("commit version %d of %s: %w", base.N+1, base.ID, err)
	}
	return v, nil
}

// publish creates the version after base, and points the hint to it.
func (b *Bucket) publish(ctx context.Context, base *Version, metadata []byte) (*Version, error) {
	if base.reserved != nil {
		// Whoever comes first decides: a transaction that has not done so yet has lost.
		decision, err := b.decide(ctx, base.reserved.ID, aborted)
		if err != nil {
			return nil, err
		}
		if decision == committed {
			return nil, fmt.Errorf("%w: a transaction has changed it", ErrConflict)
		}
	}
	v, err := b.place(ctx, base, metadata)
	if err != nil {
		return nil, err
	}
	return b.Point(ctx, v), nil
}

// place creates the version after base.
func (b *Bucket) place(ctx context.Context, base *Version, metadata []byte) (*Version, error) {
	id, n := base.ID, base.N+1
	begun := b.clock()
	err := b.store.PutIfAbsent(ctx, id.MetadataName(n), metadata)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %s is there", ErrConflict, b.MetadataURI(id, n))
	}
	if err != nil {
		return nil, &OutcomeError{id, n, err}
	}
	if b.since(base.confirmed) >= sureFor {
		if err := b.takeBackIfPassed(ctx, id, n, begun); errors.Is(err, ErrConflict) {
			return nil, err
		} else if err != nil {
			return nil, &OutcomeError{id, n, err}
		}
	}
	v := &Version{ID: id, N: n, URI: b.MetadataURI(id, n), Metadata: metadata, confirmed: begun, dropped: isEnd(metadata)}
	if v.reserved, err = parseReservation(metadata); err != nil {
		return nil, err
	}
	if v.reserved != nil {
		v.Metadata, v.dropped = v.reserved.before, isEnd(v.reserved.before)
	}
	b.outdate(id, base.N)
	return b.remember(v), nil
}

// Applied looks what became of a Create, Swap or Drop that failed with an *OutcomeError: whether the version that it was
// to create is there with that content. Its own error means that this is still not known.
func (b *Bucket) Applied(ctx context.Context, unknown *OutcomeError, metadata []byte) (*Version, bool, error) {
	newest, err := b.newestVersion(ctx, unknown.ID)
	switch {
	case err != nil:
		return nil, false, err
	case newest.N < unknown.N:
		// The request may still be on its way.
		return nil, false, fmt.Errorf("version %d is not there yet", unknown.N)
	}
	v, err := b.read(ctx, unknown.ID, unknown.N)
	if err != nil {
		return nil, false, err
	}
	if !bytes.Equal(v.Metadata, metadata) || v.reserved != nil {
		return nil, false, nil
	}
	v.confirmed = newest.confirmed
	return b.Point(ctx, v), true, nil
}
