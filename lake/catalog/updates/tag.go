package updates

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/apache/iceberg-go"

	"github.com/tidemark/tidemark/lake/catalog"
)

// writerTag refers to an empty snapshot that is in nobody's history. Each commit of properties alone puts another in its
// place, so that a commit that was made without knowing of it fails, as it does where whole metadata files are swapped. Without
// it two writers could raise the epoch at once and both take the table for theirs, and a writer that was replaced could
// still write its position over its successor's.
const writerTag = "tidemark_writer"

// moveTag adds to a commit what moves the tag. It returns the manifest list of the snapshot that leaves, if there is one.
func (c *Catalog) moveTag(ctx context.Context, id catalog.Identifier, d *diff) (old string, err error) {
	var format int
	var sequence, nextRow, updated int64
	if err := errors.Join(get(d.base["format-version"], &format), get(d.base["last-sequence-number"], &sequence), get(d.base["next-row-id"], &nextRow),
		get(d.base["last-updated-ms"], &updated)); err != nil {
		return "", fmt.Errorf("table metadata: %w", err)
	}
	snapshot := rand.Int64N(1<<62) + 1
	var list bytes.Buffer
	var w *iceberg.ManifestListWriter
	if format >= 3 {
		w, err = iceberg.NewManifestListWriterV3(&list, snapshot, sequence+1, nextRow, nil)
	} else {
		w, err = iceberg.NewManifestListWriterV2(&list, snapshot, sequence+1, nil)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return "", fmt.Errorf("the manifest list of an empty snapshot: %w", err)
	}
	name := fmt.Sprintf("%s/metadata/snap-%d-writer.avro", id.Path(), snapshot)
	if err := c.store.Put(ctx, name, list.Bytes()); err != nil {
		return "", err
	}
	fields := update{
		"snapshot-id": snapshot, "sequence-number": sequence + 1, "timestamp-ms": max(time.Now().UnixMilli(), updated), "manifest-list": c.store.URI(name),
		"summary": map[string]string{"operation": "append", "tidemark": "empty: its id stands for the table's properties"}, "schema-id": d.base["current-schema-id"],
	}
	if format >= 3 {
		fields["first-row-id"], fields["added-rows"] = nextRow, 0
	}
	d.add("add-snapshot", update{"snapshot": fields})
	d.add("set-snapshot-ref", update{"ref-name": writerTag, "type": "tag", "snapshot-id": snapshot})
	before := d.refs[writerTag]["snapshot-id"]
	if before == nil {
		return "", nil
	}
	d.last = append(d.last, update{"action": "remove-snapshots", "snapshot-ids": []json.RawMessage{before}})
	snapshots, err := byID(d.base["snapshots"], "snapshot-id")
	if err != nil {
		return "", err
	}
	var gone struct {
		List string `json:"manifest-list"`
	}
	return gone.List, get(snapshots[string(before)], &gone)
}
