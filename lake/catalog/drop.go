package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The end of a table is a version of its own: the next metadata file holds a mark instead of metadata. So dropping is a
// compare-and-swap like any commit. A commit that was under way loses or comes first, a writer that slept finds its place
// taken, and a table made anew under the name goes on with the numbers. The mark is never removed by this package.

// endMark begins the body of the version that ends a table. Readers that use no catalog do not take it for metadata.
var endMark = []byte(`{"tidemark-dropped":`)

func isEnd(body []byte) bool { return bytes.HasPrefix(body, endMark) }

// end is the body of a table's last version; why is for people.
func (b *Bucket) end(why string) []byte {
	text, err := json.Marshal(map[string]string{"why": why, "time": b.clock().UTC().Format(time.RFC3339)})
	if err != nil {
		panic(err) // two strings
	}
	return append(append(bytes.Clone(endMark), text...), '}')
}

// Drop ends a table, provided that base is its newest version. Its files stay, metadata included. Errors are those of
// Swap.
func (b *Bucket) Drop(ctx context.Context, base *Version, why string) error {
	// Without a hint first: a crash in between leaves a table that its next commit shows to readers without a catalog
	// again, not one that they go on to see.
	if err := b.store.Delete(ctx, base.ID.hintName()); err != nil {
		return fmt.Errorf("drop %s: %w", base.ID, err)
	}
	v, err := b.publish(ctx, base, b.end(why))
	if err == nil {
		return v.HintErr
	}
	b.forget(base.ID)
	var unknown *OutcomeError
	switch {
	case errors.As(err, &unknown):
		// Ended by this call or by another: it comes to the same.
		if newest, lookErr := b.newestVersion(context.WithoutCancel(ctx), base.ID); lookErr == nil && newest.dropped {
			return b.Point(ctx, newest).HintErr
		}
	case errors.Is(err, ErrConflict):
		if newest, lookErr := b.newestVersion(ctx, base.ID); lookErr == nil {
			b.Point(ctx, newest)
		}
	}
	return fmt.Errorf("drop %s: %w", base.ID, err)
}

// Erase overwrites the metadata files of a table that was dropped, so that their content is gone while their names stay
// taken (prune.go says why they must). It fails when the table is there again.
func (b *Bucket) Erase(ctx context.Context, id Identifier) error {
	newest, err := b.newestVersion(ctx, id)
	if err != nil {
		return fmt.Errorf("erase %s: %w", id, err)
	}
	if !newest.dropped {
		return fmt.Errorf("erase %s: %w", id, fs.ErrExist)
	}
	old, err := b.oldVersions(ctx, newest)
	if err != nil {
		return fmt.Errorf("erase %s: %w", id, err)
	}
	for _, o := range old {
		if err := b.store.Put(ctx, id.MetadataName(o.n), newest.Metadata); err != nil {
			return fmt.Errorf("erase %s: %w", id, err)
		}
	}
	return nil
}
