package rest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/tidemark/tidemark/lake/catalog"
)

// attempts bounds how often something is tried again on a newer version. A commit checks its requirements anew each time,
// so none of them overwrites what came between.
const attempts = 20

// dropTable drops a table, and with purgeRequested removes its files.
func (s *server) dropTable(w http.ResponseWriter, r *http.Request) error {
	purge := false
	if text := r.URL.Query().Get("purgeRequested"); text != "" {
		var err error
		if purge, err = strconv.ParseBool(text); err != nil {
			return badRequest("purgeRequested=%s: expected true or false", text)
		}
	}
	v, err := s.end(r, "dropped")
	if err != nil {
		return err
	}
	if purge {
		if err := s.purge(r.Context(), v); err != nil {
			return fmt.Errorf("%s is dropped, but not all of its files could be removed: %w", v.ID, err)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unregisterTable drops a table whose files are to be registered elsewhere, and tells its last metadata.
func (s *server) unregisterTable(w http.ResponseWriter, r *http.Request) error {
	v, err := s.end(r, "unregistered")
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"metadata-location": s.catalog.MetadataURI(v.ID, v.N), "metadata": s.loaded(v).Metadata})
}

// end drops the table in the request's path and returns its last version.
func (s *server) end(r *http.Request, why string) (*catalog.Version, error) {
	for range attempts {
		v, err := s.findTable(r)
		if err != nil {
			return nil, err
		}
		if err := s.catalog.Drop(r.Context(), v, why); err == nil || !isConflict(err) {
			return v, err
		}
	}
	return nil, &protocolError{http.StatusServiceUnavailable, "ServiceUnavailableException", fmt.Sprintf("%d other commits came between: try again", attempts)}
}

// renameTable gives a table another name, in one step for all who use a catalog. Its files, its location among them, stay
// where they are.
func (s *server) renameTable(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Source      identifier `json:"source"`
		Destination identifier `json:"destination"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	db, name, err := q.Source.split()
	if err != nil {
		return err
	}
	toDB, toName, err := q.Destination.split()
	if err != nil {
		return err
	}
	ctx := r.Context()
	for range attempts {
		from, err := s.find(ctx, db, name)
		if err != nil {
			return err
		}
		id, to, err := s.vacant(ctx, toDB, toName)
		if err != nil {
			return err
		}
		versions, err := s.catalog.SwapAll(ctx, []catalog.Change{{Base: from, Why: "renamed to " + id.String()}, {Base: to, Metadata: from.Metadata}})
		switch {
		case err == nil:
			s.note(versions...)
			w.WriteHeader(http.StatusNoContent)
			return nil
		case errors.Is(err, fs.ErrExist):
			return alreadyExists("Table already exists: %s", id)
		case !isConflict(err):
			return outcomeUnknown("rename %s to %s: %v", from.ID, id, err)
		}
	}
	return &protocolError{http.StatusServiceUnavailable, "ServiceUnavailableException", fmt.Sprintf("%d other commits came between: try again", attempts)}
}
