package compaction

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
)

// edit changes the table's metadata as another program would.
func (b *bench) edit(change func(meta map[string]any)) {
	b.t.Helper()
	v, err := b.lake.Catalog.Load(b.t.Context(), id)
	b.must(err)
	meta := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(v.Metadata))
	d.UseNumber() // snapshot ids do not fit a float64
	b.must(d.Decode(&meta))
	change(meta)
	text, err := json.Marshal(meta)
	b.must(err)
	_, err = b.lake.Catalog.Swap(b.t.Context(), v, text)
	b.must(err)
}

type ctx = context.Context

// newCancelled returns a context that has ended.
func newCancelled(t *testing.T) (context.Context, context.CancelFunc) {
	c, cancel := context.WithCancel(t.Context())
	cancel()
	return c, cancel
}

// snapshots returns the ids of the snapshots in the metadata.
func (b *bench) snapshots() map[int64]bool {
	b.t.Helper()
	v, err := b.lake.Catalog.Load(b.t.Context(), id)
	b.must(err)
	var meta struct {
		Snapshots []struct {
			ID int64 `json:"snapshot-id"`
		}
	}
	b.must(json.Unmarshal(v.Metadata, &meta))
	out := map[int64]bool{}
	for _, s := range meta.Snapshots {
		out[s.ID] = true
	}
	return out
}
