package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
)

// commitAttempts bounds how often a commit is tried again on a newer version. Each try checks the requirements anew, so
// none of them overwrites what came between.
const commitAttempts = 10

type commitRequest struct {
	Requirements table.Requirements `json:"requirements"`
	Updates      table.Updates      `json:"updates"`
	format       int                // of a table that the commit creates
}

func (q *commitRequest) UnmarshalJSON(text []byte) error {
	type plain commitRequest
	if err := json.Unmarshal(text, (*plain)(q)); err != nil {
		return err
	}
	var formats struct {
		Updates []struct {
			Format int `json:"format-version"`
		} `json:"updates"`
	}
	if err := json.Unmarshal(text, &formats); err != nil {
		return err
	}
	q.format = table.DefaultFormatVersion
	for _, u := range formats.Updates {
		if u.Format != 0 {
			q.format = u.Format
		}
	}
	return nil
}

// commitTable applies a client's updates to the newest version.
func (s *server) commitTable(w http.ResponseWriter, r *http.Request) error {
	var q commitRequest
	if err := body(r, &q); err != nil {
		return err
	}
	ctx := r.Context()
	id, err := s.commitTarget(ctx, pathName(r, "namespace"), pathName(r, "table"), &q)
	if err != nil {
		return err
	}
	for range commitAttempts {
		base, err := s.catalog.Load(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			base, err = nil, nil
		}
		if err != nil {
			return err
		}
		text, err := s.next(id, base, &q)
		if err != nil {
			return err
		}
		var v *catalog.Version
		n := 1
		if base == nil {
			v, err = s.catalog.Create(ctx, id, text)
		} else if n = base.N + 1; len(q.Updates) == 0 {
			v = base
		} else {
			v, err = s.catalog.Swap(ctx, base, text)
		}
		switch {
		case errors.Is(err, catalog.ErrConflict), errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return s.undecided(ctx, id, n, text, err, w)
		}
		s.note(v)
		return answer(w, http.StatusOK, s.loaded(v))
	}
	return commitFailed("commit to %s: %d other commits came between: try again", id, commitAttempts)
}

// creates reports whether the commit is the second half of a staged creation.
func (q *commitRequest) creates() bool {
	return slices.ContainsFunc(q.Requirements, func(r table.Requirement) bool { return r.GetType() == "assert-create" })
}

// commitTarget is the table that a commit means. One that is to be created is meant exactly.
func (s *server) commitTarget(ctx context.Context, db, name string, q *commitRequest) (catalog.Identifier, error) {
	if q.creates() {
		db, _, err := s.findDatabase(ctx, db)
		return catalog.Identifier{DB: db, Table: name}, absent(err, noSuchNamespace)
	}
	v, err := s.findTable(ctx, db, name)
	if err != nil {
		return catalog.Identifier{}, absent(err, noSuchTable)
	}
	return v.ID, nil
}

func commitFailed(format string, args ...any) error {
	return &protocolError{http.StatusConflict, "CommitFailedException", fmt.Sprintf(format, args...)}
}

// next derives the metadata that follow base, which is nil for a table that is to be created.
func (s *server) next(id catalog.Identifier, base *catalog.Version, q *commitRequest) ([]byte, error) {
	var current table.Metadata
	creates := q.creates()
	if base != nil {
		var err error
		if current, err = table.ParseMetadataBytes(base.Metadata); err != nil {
			return nil, fmt.Errorf("%s: %w", s.catalog.MetadataURI(id, base.N), err)
		}
	}
	for _, requirement := range q.Requirements {
		if base == nil && !creates {
			break
		}
		if err := requirement.Validate(current); err != nil {
			return nil, commitFailed("commit to %s: %v", id, err)
		}
	}
	if base == nil {
		if !creates {
			return nil, noSuchTable(fmt.Errorf("commit to %s: there is no such table", id))
		}
		return s.first(id, q)
	}
	next, err := table.UpdateTableMetadata(current, q.Updates, s.catalog.MetadataURI(id, base.N))
	if err != nil {
		return nil, badRequest("commit to %s: %v", id, err)
	}
	if _, err := s.catalog.Store().Name(next.Location()); err != nil {
		return nil, badRequest("commit to %s: location: %v", id, err)
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
	for _, u := range q.Updates {
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
	return json.Marshal(m)
}

// keepUnknown carries over the top-level fields of the old metadata that iceberg-go does not know: those of a later
// version of the format, or of another program.
func keepUnknown(old, next []byte) ([]byte, error) {
	var before, after map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(old, &before), json.Unmarshal(next, &after)); err != nil {
		return nil, err
	}
	changed := false
	for k, v := range before {
		if _, there := after[k]; !there && !knownField(k) {
			after[k], changed = v, true
		}
	}
	if !changed {
		return next, nil
	}
	return json.Marshal(after)
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

// undecided looks what became of a commit whose outcome the catalog does not know, and answers if that tells.
func (s *server) undecided(ctx context.Context, id catalog.Identifier, n int, text []byte, cause error, w http.ResponseWriter) error {
	v, err := s.catalog.Load(context.WithoutCancel(ctx), id)
	for err == nil && v.N > n { // others went on from it, or from another's
		var body []byte
		if body, err = s.catalog.Store().Get(context.WithoutCancel(ctx), id.MetadataName(n)); err == nil {
			v = &catalog.Version{ID: id, N: n, Metadata: body}
		}
	}
	switch {
	case err == nil && v.N == n && bytes.Equal(v.Metadata, text):
		return answer(w, http.StatusOK, s.loaded(v))
	case err == nil && v.N == n:
		return commitFailed("commit to %s: version %d is another's: %v", id, n, cause)
	}
	return &protocolError{http.StatusInternalServerError, "CommitStateUnknownException", fmt.Sprintf("commit to %s: whether it was applied is unknown: %v", id, cause)}
}
