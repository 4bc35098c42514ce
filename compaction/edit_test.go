package compaction

import (
	"bytes"
	"encoding/json"
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
