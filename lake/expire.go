package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// ExpireOptions say which snapshots are old. The zero value stands for the defaults.
type ExpireOptions struct {
	Age  time.Duration // younger ones stay; default 24 hours
	Keep int           // so many of each branch stay, counted from its head, whatever their age; default 20
	Now  time.Time     // default: the clock
}

// Expired is what Expire removed.
type Expired struct {
	Snapshots int
	Files     int // of all kinds: data, deletes, manifests, manifest lists, statistics
}

// Expire removes old snapshots from the metadata, in one commit, and then deletes the files that only they needed. What
// stays, whatever its age: what a branch or tag refers to; of each branch the newest ones, and those back to the one that
// holds its checkpoint, for without them the position would be lost. Files that cannot be deleted, and those of a crash
// between commit and deletion, are orphans from then on.
//
// Errors are those of Replace, except ErrStale; an error after the commit comes together with what was done.
func (t *Table) Expire(ctx context.Context, o ExpireOptions) (Expired, error) {
	if o.Age == 0 {
		o.Age = 24 * time.Hour
	}
	if o.Keep == 0 {
		o.Keep = 20
	}
	if o.Now.IsZero() {
		o.Now = t.lake.now()
	}
	gone, err := t.expire(ctx, o)
	if err != nil || len(gone) == 0 {
		return Expired{}, err
	}
	done := Expired{Snapshots: len(gone)}
	done.Files, err = t.deleteUnneeded(ctx, gone)
	if err != nil {
		return done, fmt.Errorf("%s: %d snapshots are expired, but not all their files deleted: %w", t.id, len(gone), err)
	}
	return done, nil
}

// expire commits, and returns the snapshots that are gone.
func (t *Table) expire(ctx context.Context, o ExpireOptions) ([]expiredSnapshot, error) {
	tried := map[int64]expiredSnapshot{}
	var last error
	for range attempts {
		if t.pipeline != "" {
			if err := t.fenced(); err != nil {
				return nil, err
			}
		}
		doc, gone, err := t.without(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.id, err)
		}
		if len(gone) == 0 {
			return t.confirmed(tried)
		}
		for _, s := range gone {
			tried[s.ID] = s
		}
		updated := max(t.lake.now().UnixMilli(), t.updated+1)
		if err := errors.Join(doc.logVersion(t.version.URI), doc.set("last-updated-ms", updated)); err != nil {
			return nil, fmt.Errorf("%s: %w", t.id, err)
		}
		version, err := t.lake.Catalog.Swap(ctx, t.version, doc.bytes())
		if err == nil {
			if err := t.take(version, &staged{doc: doc, updated: updated, sequence: t.sequence, nextRowID: t.nextRowID}); err != nil {
				return nil, err
			}
			return t.confirmed(tried)
		}
		last = err
		if ctx.Err() != nil {
			return nil, err
		}
		// Lost or unknown: look. Snapshots that were to expire and are not there any more have expired.
		newest, lerr := t.lake.Catalog.Load(ctx, t.id)
		if lerr != nil {
			return nil, fmt.Errorf("%s: %w", t.id, errors.Join(err, lerr))
		}
		if newest.URI == t.version.URI {
			continue
		}
		fresh, lerr := load(ctx, t.lake, newest, t.branch)
		if lerr != nil {
			return nil, errors.Join(err, lerr)
		}
		if fresh.snapshot != t.snapshot {
			return nil, fmt.Errorf("%s: %w", t.id, ErrSnapshotChanged)
		}
		t.version, t.doc, t.sequence, t.nextRowID, t.updated = fresh.version, fresh.doc, fresh.sequence, fresh.nextRowID, fresh.updated
		t.record, t.hasRecord = fresh.record, fresh.hasRecord
	}
	return nil, fmt.Errorf("%s: expiring snapshots failed %d times, the last time: %w", t.id, attempts, last)
}

// confirmed returns those of the tried snapshots that the table does not have any more.
func (t *Table) confirmed(tried map[int64]expiredSnapshot) ([]expiredSnapshot, error) {
	var there []snapshotJSON
	if err := t.doc.get("snapshots", &there); err != nil {
		return nil, err
	}
	for _, s := range there {
		delete(tried, s.ID)
	}
	var gone []expiredSnapshot
	for _, s := range tried {
		gone = append(gone, s)
	}
	return gone, nil
}

// expiredSnapshot is a snapshot that leaves, with the statistics files that were its.
type expiredSnapshot struct {
	snapshotJSON
	statistics []string // URIs
}

// without returns the metadata without the snapshots that are old, and those.
func (t *Table) without(o ExpireOptions) (*document, []expiredSnapshot, error) {
	var raw []json.RawMessage // to be written back as they are, whatever else they hold
	var snapshots []snapshotJSON
	if err := errors.Join(t.doc.get("snapshots", &snapshots), t.doc.get("snapshots", &raw)); err != nil {
		return nil, nil, err
	}
	keep, err := t.needed(snapshots, o)
	if err != nil {
		return nil, nil, err
	}
	var gone []expiredSnapshot
	stay := []json.RawMessage{}
	for i, s := range snapshots {
		if keep[s.ID] || s.Time > o.Now.Add(-o.Age).UnixMilli() {
			stay = append(stay, raw[i])
			keep[s.ID] = true
		} else {
			gone = append(gone, expiredSnapshot{snapshotJSON: s})
		}
	}
	if len(gone) == 0 {
		return nil, nil, nil
	}
	doc := t.doc.clone()
	// The log is to have no gap: it begins behind the last entry whose snapshot is gone (table spec, "snapshot-log").
	type logged struct {
		ID   int64 `json:"snapshot-id"`
		Time int64 `json:"timestamp-ms"`
	}
	var log []logged
	kept := []logged{}
	if err := doc.get("snapshot-log", &log); err != nil {
		return nil, nil, err
	}
	for _, e := range log {
		if kept = append(kept, e); !keep[e.ID] {
			kept = kept[:0]
		}
	}
	err = errors.Join(doc.set("snapshots", stay), doc.set("snapshot-log", kept))
	for _, key := range []string{"statistics", "partition-statistics"} {
		err = errors.Join(err, dropStatistics(doc, key, gone))
	}
	return doc, gone, err
}

// dropStatistics takes the statistics of expired snapshots out of the metadata.
func dropStatistics(doc *document, key string, gone []expiredSnapshot) error {
	var raw []json.RawMessage
	kept := []json.RawMessage{}
	var list []struct {
		Snapshot int64  `json:"snapshot-id"`
		Path     string `json:"statistics-path"`
	}
	if err := errors.Join(doc.get(key, &list), doc.get(key, &raw)); err != nil || len(list) == 0 {
		return err
	}
	for i, s := range list {
		if at := slices.IndexFunc(gone, func(g expiredSnapshot) bool { return g.ID == s.Snapshot }); at >= 0 {
			gone[at].statistics = append(gone[at].statistics, s.Path)
		} else {
			kept = append(kept, raw[i])
		}
	}
	return doc.set(key, kept)
}

// needed returns the snapshots that stay whatever their age.
func (t *Table) needed(snapshots []snapshotJSON, o ExpireOptions) (map[int64]bool, error) {
	byID := map[int64]*snapshotJSON{}
	for i := range snapshots {
		byID[snapshots[i].ID] = &snapshots[i]
	}
	refs := map[string]struct {
		ID   int64  `json:"snapshot-id"`
		Type string `json:"type"`
		Keep int    `json:"min-snapshots-to-keep"`
		Age  int64  `json:"max-snapshot-age-ms"`
	}{}
	if err := t.doc.get("refs", &refs); err != nil {
		return nil, err
	}
	properties, err := t.doc.properties()
	if err != nil {
		return nil, err
	}
	property, hasProperty, err := propertyRecord(properties)
	if err != nil {
		return nil, err
	}
	keep := map[int64]bool{t.snapshot: true}
	for _, ref := range refs {
		keep[ref.ID] = true
		if ref.Type == "tag" {
			continue
		}
		count, age := max(o.Keep, ref.Keep), max(o.Age, time.Duration(ref.Age)*time.Millisecond)
		recorded := false // a checkpoint was passed
		n := 0
		for s := byID[ref.ID]; s != nil; s = byID[s.Parent] {
			if n < count || !recorded || s.Time > o.Now.Add(-age).UnixMilli() {
				keep[s.ID] = true
			}
			n++
			_, has := s.Summary[checkpoint.Key]
			recorded = recorded || has || hasProperty && property.SnapshotID == s.ID
		}
	}
	return keep, nil
}
