package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/tidemark/tidemark/lake/catalog"
)

// createTable makes a table, or with stage-create only tells what it would be: the client then writes its files and
// creates the table by a commit.
func (s *server) createTable(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Name       string                 `json:"name"`
		Location   string                 `json:"location"`
		Schema     *iceberg.Schema        `json:"schema"`
		Spec       *iceberg.PartitionSpec `json:"partition-spec"`
		Order      *table.SortOrder       `json:"write-order"`
		Stage      bool                   `json:"stage-create"`
		Properties iceberg.Properties     `json:"properties"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	if q.Name == "" || q.Schema == nil {
		return badRequest("a table needs a name and a schema")
	}
	id, base, err := s.vacant(r.Context(), pathName(r, "namespace"), q.Name)
	if err != nil {
		return err
	}
	location, err := s.location(base, q.Location)
	if err != nil {
		return err
	}
	order := table.UnsortedSortOrder
	if q.Order != nil {
		order = *q.Order
	}
	metadata, err := table.NewMetadata(q.Schema, q.Spec, order, location, q.Properties)
	if err != nil {
		return badRequest("create %s: %v", id, err)
	}
	if err := checkNewCheckpoint(metadata); err != nil {
		return err
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	if q.Stage {
		return answer(w, http.StatusOK, loaded{Metadata: text, Config: s.readers.tableConfig()})
	}
	return s.create(w, r, base, text)
}

// vacant finds the place of a table that is to be created. Its name is taken as it is written.
func (s *server) vacant(ctx context.Context, db, name string) (catalog.Identifier, *catalog.Version, error) {
	own, _, err := s.findDatabase(ctx, db)
	if err != nil {
		return catalog.Identifier{}, nil, err
	}
	id := catalog.Identifier{DB: own, Table: name}
	base, err := s.catalog.Vacant(ctx, id)
	if errors.Is(err, fs.ErrExist) {
		err = alreadyExists("Table already exists: %s.%s", db, name)
	}
	return id, base, err
}

// create creates a table at a vacant place, and answers.
func (s *server) create(w http.ResponseWriter, r *http.Request, base *catalog.Version, metadata []byte) error {
	v, err := s.swap(r.Context(), base, metadata)
	if isConflict(err) {
		return alreadyExists("Table already exists: %s: another writer created it just now", base.ID)
	}
	if err != nil {
		return err
	}
	return s.answerTable(w, v)
}

// swap is the catalog's Swap with an outcome that is looked up where it can be. Its error is in the protocol's terms, or
// a conflict.
func (s *server) swap(ctx context.Context, base *catalog.Version, metadata []byte) (*catalog.Version, error) {
	v, err := s.catalog.Swap(ctx, base, metadata)
	var unknown *catalog.OutcomeError
	if errors.As(err, &unknown) {
		applied, is, lookErr := s.catalog.Applied(context.WithoutCancel(ctx), unknown, metadata)
		switch {
		case lookErr != nil:
			return nil, outcomeUnknown("commit to %s: whether it was applied is unknown: %v", base.ID, errors.Join(err, lookErr))
		case !is:
			return nil, commitFailed("commit to %s: version %d is another's: %v", base.ID, unknown.N, err)
		}
		v, err = applied, nil
	}
	if err != nil {
		return nil, err
	}
	s.note(v)
	return v, nil
}

// location is where a table's data go, unless the client wants another place inside the lake: the table's own folder,
// or one beside it where there was a table of that name before, since that one may live on under another name.
func (s *server) location(base *catalog.Version, wanted string) (string, error) {
	if wanted == "" {
		own := s.catalog.Location(base.ID)
		if base.N > 0 {
			own += "-" + strings.ReplaceAll(uuid.NewString(), "-", "")
		}
		return own, nil
	}
	wanted = strings.TrimRight(wanted, "/")
	if _, err := s.catalog.Store().Name(wanted); err != nil {
		return "", badRequest("location of %s: %v", base.ID, err)
	}
	return wanted, nil
}

// registerTable makes a table of a metadata file that is in the lake. The file is copied to be a version of the table.
func (s *server) registerTable(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Name      string `json:"name"`
		Location  string `json:"metadata-location"`
		Overwrite bool   `json:"overwrite"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	if q.Name == "" || q.Location == "" {
		return badRequest("to register a table takes a name and a metadata-location")
	}
	ctx := r.Context()
	_, base, err := s.vacant(ctx, pathName(r, "namespace"), q.Name)
	if exists := new(protocolError); q.Overwrite && errors.As(err, &exists) && exists.status == http.StatusConflict {
		base, err = s.find(ctx, pathName(r, "namespace"), q.Name)
	}
	if err != nil {
		return err
	}
	text, err := s.readMetadata(ctx, q.Location)
	if err != nil {
		return err
	}
	return s.create(w, r, base, text)
}

// readMetadata reads a table metadata file that a client names.
func (s *server) readMetadata(ctx context.Context, uri string) ([]byte, error) {
	name, err := s.catalog.Store().Name(uri)
	if err != nil {
		return nil, badRequest("metadata-location: %v", err)
	}
	text, err := s.catalog.Store().Get(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, badRequest("metadata-location: there is no file %s", uri)
	}
	if err != nil {
		return nil, err
	}
	metadata, err := table.ParseMetadataBytes(text)
	if err != nil {
		return nil, badRequest("metadata-location: %s is not table metadata: %v", uri, err)
	}
	if _, err := s.catalog.Store().Name(metadata.Location()); err != nil {
		return nil, badRequest("metadata-location: %s: %v", uri, err)
	}
	return text, checkNewCheckpoint(metadata)
}

// parse is for metadata that lie in the lake.
func (s *server) parse(v *catalog.Version) (table.Metadata, error) {
	m, err := table.ParseMetadataBytes(v.Metadata)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.catalog.MetadataURI(v.ID, v.N), err)
	}
	return m, nil
}
