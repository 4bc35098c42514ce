package rest

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
)

// commitTable applies a client's updates to the newest version (protocol, updateTable).
func (s *server) commitTable(w http.ResponseWriter, r *http.Request) error {
	var q commitRequest
	if err := body(r, &q); err != nil {
		return err
	}
	ctx := r.Context()
	for range attempts {
		base, metadata, err := s.prepare(ctx, pathName(r, "namespace"), pathName(r, "table"), &q)
		if err != nil {
			return err
		}
		v := base
		if metadata != nil {
			if v, err = s.swap(ctx, base, metadata); isConflict(err) {
				continue
			} else if err != nil {
				return err
			}
		}
		return s.answerTable(w, v)
	}
	return commitFailed("commit to %s.%s: %d other commits came between: try again", pathName(r, "namespace"), pathName(r, "table"), attempts)
}

// prepare finds the version that a commit means and derives the metadata that follow it: nil where nothing changes.
func (s *server) prepare(ctx context.Context, db, name string, q *commitRequest) (*catalog.Version, []byte, error) {
	if q.creates() {
		if len(q.Requirements) > 1 {
			return nil, nil, badRequest("commit to %s.%s: of a table that is to be created nothing else can be required", db, name)
		}
		id, base, err := s.vacant(ctx, db, name)
		if exists := new(protocolError); errors.As(err, &exists) && exists.status == http.StatusConflict {
			err = commitFailed("Requirement failed: table already exists: %s", id)
		}
		if err != nil {
			return nil, nil, err
		}
		metadata, err := s.first(id, q)
		return base, metadata, err
	}
	base, err := s.find(ctx, db, name)
	if err != nil {
		return nil, nil, err
	}
	metadata, err := s.next(base, q)
	return base, metadata, err
}

// commitRequest is the protocol's CommitTableRequest.
type commitRequest struct {
	Identifier   *identifier        `json:"identifier"`
	Requirements table.Requirements `json:"requirements"`
	Updates      table.Updates      `json:"updates"`

	format    int        // of a table that the commit creates
	snapshots []newState // that it adds
}

// newState is what has to be newer in an added snapshot than in the table (table spec, "Sequence Numbers", "Row Lineage").
type newState struct {
	Sequence   int64  `json:"sequence-number"`
	Parent     *int64 `json:"parent-snapshot-id"`
	FirstRowID *int64 `json:"first-row-id"`
}

// creates reports whether the commit is the second half of a staged creation.
func (q *commitRequest) creates() bool {
	return slices.ContainsFunc(q.Requirements, func(r table.Requirement) bool { return r.GetType() == "assert-create" })
}

// commitTransaction commits to several tables, to all or to none (protocol, commitTransaction; package catalog says how).
func (s *server) commitTransaction(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Changes []*commitRequest `json:"table-changes"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	if len(q.Changes) == 0 {
		return badRequest("a transaction needs table-changes")
	}
	for range attempts {
		changes, err := s.prepareAll(r.Context(), q.Changes)
		if err != nil {
			return err
		}
		versions, err := s.catalog.SwapAll(r.Context(), changes)
		switch {
		case err == nil:
			s.note(versions...)
			w.WriteHeader(http.StatusNoContent)
			return nil
		case !isConflict(err):
			return outcomeUnknown("%v", err)
		}
	}
	return commitFailed("commit to %d tables: %d other commits came between: try again", len(q.Changes), attempts)
}

// prepareAll prepares the changes of a transaction. A table of which it only requires something gets its own metadata
// again, so that what is required still holds when the others change.
func (s *server) prepareAll(ctx context.Context, requests []*commitRequest) ([]catalog.Change, error) {
	var changes []catalog.Change
	seen := map[catalog.Identifier]bool{}
	for _, q := range requests {
		if q == nil || q.Identifier == nil {
			return nil, badRequest("each of a transaction's table-changes needs an identifier")
		}
		db, name, err := q.Identifier.split()
		if err != nil {
			return nil, err
		}
		base, metadata, err := s.prepare(ctx, db, name, q)
		if err != nil {
			return nil, err
		}
		if seen[base.ID] {
			return nil, badRequest("%s is changed twice in one transaction", base.ID)
		}
		seen[base.ID] = true
		if metadata == nil {
			metadata = base.Metadata
		}
		changes = append(changes, catalog.Change{Base: base, Metadata: metadata})
	}
	return changes, nil
}
