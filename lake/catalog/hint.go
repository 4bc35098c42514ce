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

// Point makes the hint name a version that is committed, or what is newer. Create and Swap do so by themselves; it is
// for a Swap of unknown outcome that turned out to be applied. HintErr of what it returns says whether it went well.
func (b *Bucket) Point(ctx context.Context, v *Version) *Version {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hintLimit)
	defer cancel()
	point := func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, hintPatience)
		defer cancel()
		return struct{}{}, b.pointHint(ctx, v.ID, v.N, v.dropped)
	}
	if _, err := backoff.Retry(ctx, point, backoff.WithMaxTries(hintTries)); err != nil {
		noted := *v
		noted.HintErr = fmt.Errorf("version %d of %s is committed, but its version-hint.text is not up to date: %w", v.N, v.ID, err)
		return &noted
	}
	return v
}

// pointHint writes n, or what is newer, into the hint. The hint of a table that has ended is its absence.
//
// Writers race: the one that committed n may write its hint after the one that committed n+1, and readers without a
// catalog would stay at n until the next commit. So each writer looks for n+1 after writing n, and writes again while
// there is one. The last write of all then finds nothing newer than what it wrote: had there been something, it would
// not be the last; and what comes later is followed by its own write.
func (b *Bucket) pointHint(ctx context.Context, id Identifier, n int, dropped bool) error {
	for {
		var err error
		if dropped {
			err = b.store.Delete(ctx, id.hintName())
		} else {
			err = b.store.Put(ctx, id.hintName(), []byte(strconv.Itoa(n)))
		}
		if err != nil {
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
				v, err := b.read(ctx, id, newest)
				if err != nil {
					return err
				}
				dropped = v.dropped
				break
			}
			v, err := b.read(ctx, id, newest+1)
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return err
			}
			newest, dropped = newest+1, v.dropped
		}
		if newest == n {
			return nil
		}
		n = newest
	}
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
