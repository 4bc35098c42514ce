package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
)

func (q *commitRequest) UnmarshalJSON(text []byte) error {
	type plain commitRequest
	if err := json.Unmarshal(text, (*plain)(q)); err != nil {
		return err
	}
	var known struct {
		Updates []struct {
			Format   int       `json:"format-version"`
			Snapshot *newState `json:"snapshot"`
		} `json:"updates"`
	}
	if err := json.Unmarshal(text, &known); err != nil {
		return err
	}
	q.format = table.DefaultFormatVersion
	for _, u := range known.Updates {
		if u.Format != 0 {
			q.format = u.Format
		}
		if u.Snapshot != nil {
			q.snapshots = append(q.snapshots, *u.Snapshot)
		}
	}
	return nil
}

// failures are the words in which a requirement's failure is reported, which are those of the reference implementation
// (apache/iceberg, UpdateRequirement).
var failures = map[string]string{
	"assert-create":                     "table already exists",
	"assert-table-uuid":                 "UUID does not match",
	"assert-ref-snapshot-id":            "branch or tag has changed",
	"assert-last-assigned-field-id":     "last assigned field id changed",
	"assert-current-schema-id":          "current schema changed",
	"assert-last-assigned-partition-id": "last assigned partition id changed",
	"assert-default-spec-id":            "default partition spec changed",
	"assert-default-sort-order-id":      "default sort order changed",
}

// require checks a commit's requirements.
func (q *commitRequest) require(id catalog.Identifier, current table.Metadata) error {
	for _, requirement := range q.Requirements {
		if err := requirement.Validate(current); err != nil {
			_, detail, _ := strings.Cut(err.Error(), ": ")
			return commitFailed("Requirement failed: %s: %s: %s", failures[requirement.GetType()], id, detail)
		}
	}
	if current.Version() == 1 {
		return nil
	}
	// Another branch may have got a snapshot since: the requirements hold, but the client has to make its own anew.
	for _, s := range q.snapshots {
		if s.Parent != nil && s.Sequence <= current.LastSequenceNumber() {
			return commitFailed("Validation failed, please retry: commit to %s: sequence number %d is not above %d", id, s.Sequence, current.LastSequenceNumber())
		}
		if current.Version() >= 3 && s.FirstRowID != nil && *s.FirstRowID < current.NextRowID() {
			return commitFailed("Validation failed, please retry: commit to %s: first-row-id %d is below %d", id, *s.FirstRowID, current.NextRowID())
		}
	}
	return nil
}

// next derives the metadata that follow base; nil when the commit only requires something.
func (s *server) next(base *catalog.Version, q *commitRequest) ([]byte, error) {
	current, err := s.parse(base)
	if err != nil {
		return nil, err
	}
	if err := q.require(base.ID, current); err != nil || len(q.Updates) == 0 {
		return nil, err
	}
	uri := s.catalog.MetadataURI(base.ID, base.N)
	next, err := table.UpdateTableMetadata(current, q.Updates, uri)
	if err != nil {
		return nil, badRequest("commit to %s: %v", base.ID, err)
	}
	if _, err := s.catalog.Store().Name(next.Location()); err != nil {
		return nil, badRequest("commit to %s: location: %v", base.ID, err)
	}
	if err := keepKey(current, next); err != nil {
		return nil, fmt.Errorf("commit to %s: %w", base.ID, err)
	}
	repair, err := keepCheckpoint(current, next)
	if err != nil {
		return nil, fmt.Errorf("commit to %s: %w", base.ID, err)
	}
	if repair != nil {
		if next, err = table.UpdateTableMetadata(current, append(q.Updates[:len(q.Updates):len(q.Updates)], repair), uri); err != nil {
			return nil, fmt.Errorf("commit to %s: %w", base.ID, err)
		}
	}
	text, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	return keepUnknown(base.Metadata, text)
}

// first builds the metadata of a table that was staged.
func (s *server) first(id catalog.Identifier, q *commitRequest) ([]byte, error) {
	b, err := table.NewMetadataBuilder(q.format)
	if err == nil {
		err = table.NewSetLocationUpdate(s.catalog.Location(id)).Apply(b)
	}
	for _, u := range schemaFirst(q.Updates) {
		if err == nil {
			err = u.Apply(b)
		}
	}
	var m table.Metadata
	if err == nil {
		m, err = b.Build()
	}
	if err == nil {
		_, err = s.catalog.Store().Name(m.Location())
	}
	if err != nil {
		return nil, badRequest("create %s: %v", id, err)
	}
	if err := checkNewCheckpoint(m); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// schemaFirst orders the updates that make a table: specs and orders are bound to the current schema, which DuckDB sets last.
func schemaFirst(updates table.Updates) table.Updates {
	isSchema := func(u table.Update) int {
		if u.Action() == table.UpdateAddSchema || u.Action() == table.UpdateSetCurrentSchema {
			return 0
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(updates), func(a, b table.Update) int { return isSchema(a) - isSchema(b) })
}

// keepUnknown carries over what iceberg-go does not know of the old metadata: fields of a later version of the format, or
// of another program. At the top level these are fields whose absence means nothing; what never changes once it is
// there (snapshots, schemas, specs, orders) is taken over as it was written.
func keepUnknown(old, next []byte) ([]byte, error) {
	var before, after map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(old, &before), json.Unmarshal(next, &after)); err != nil {
		return nil, err
	}
	for k, v := range before {
		if _, there := after[k]; !there && !knownField(k) {
			after[k] = v
		}
	}
	if string(before["format-version"]) == string(after["format-version"]) {
		for list, key := range map[string]string{"snapshots": "snapshot-id", "schemas": "schema-id", "partition-specs": "spec-id", "sort-orders": "order-id"} {
			text, err := keepElements(before[list], after[list], key)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", list, err)
			}
			if text != nil {
				after[list] = text
			}
		}
	}
	return json.Marshal(after)
}

// keepElements replaces those elements of a list that were there before by what was there. Nil means no change.
func keepElements(before, after json.RawMessage, key string) (json.RawMessage, error) {
	if before == nil || after == nil {
		return nil, nil
	}
	var was, is []json.RawMessage
	if err := errors.Join(json.Unmarshal(before, &was), json.Unmarshal(after, &is)); err != nil {
		return nil, err
	}
	old := map[string]json.RawMessage{}
	for _, text := range was {
		id, err := idOf(text, key)
		if err != nil {
			return nil, err
		}
		old[id] = text
	}
	for i, text := range is {
		id, err := idOf(text, key)
		if err != nil {
			return nil, err
		}
		if text := old[id]; text != nil {
			is[i] = text
		}
	}
	return json.Marshal(is)
}

func idOf(text json.RawMessage, key string) (string, error) {
	var fields map[string]json.RawMessage
	err := json.Unmarshal(text, &fields)
	return string(fields[key]), err
}

// knownField reports whether iceberg-go writes a field of table metadata when it has a value (Iceberg specification,
// "Table Metadata Fields"): its absence then means something.
func knownField(k string) bool {
	switch k {
	case "format-version", "table-uuid", "location", "last-updated-ms", "last-column-id", "schemas", "schema", "current-schema-id",
		"partition-specs", "partition-spec", "default-spec-id", "last-partition-id", "properties", "snapshots", "current-snapshot-id",
		"snapshot-log", "metadata-log", "sort-orders", "default-sort-order-id", "refs", "statistics", "partition-statistics",
		"encryption-keys", "last-sequence-number", "next-row-id":
		return true
	}
	return false
}
