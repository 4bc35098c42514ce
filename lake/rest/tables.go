package rest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
)

func (s *server) listTables(w http.ResponseWriter, r *http.Request) error {
	db, _, err := s.findDatabase(r.Context(), pathName(r, "namespace"))
	if err != nil {
		return absent(err, noSuchNamespace)
	}
	ids, err := s.catalog.TablesIn(r.Context(), db)
	if err != nil {
		return err
	}
	type name struct {
		Namespace []string `json:"namespace"`
		Name      string   `json:"name"`
	}
	list := []name{}
	for _, id := range ids {
		list = append(list, name{[]string{id.DB}, id.Table})
	}
	return answer(w, http.StatusOK, map[string]any{"identifiers": list})
}

// loaded is the protocol's LoadTableResult. The metadata are the bytes in the lake, unknown fields included.
type loaded struct {
	Location string            `json:"metadata-location,omitempty"`
	Metadata json.RawMessage   `json:"metadata"`
	Config   map[string]string `json:"config"`
}

func (s *server) loadTable(w http.ResponseWriter, r *http.Request) error {
	v, err := s.findTable(r.Context(), pathName(r, "namespace"), pathName(r, "table"))
	if err != nil {
		return absent(err, noSuchTable)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return answer(w, http.StatusOK, s.loaded(v))
}

func (s *server) loaded(v *catalog.Version) loaded {
	return loaded{s.catalog.MetadataURI(v.ID, v.N), v.Metadata, s.readers.tableConfig()}
}

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
	db, _, err := s.findDatabase(r.Context(), pathName(r, "namespace"))
	if err != nil {
		return absent(err, noSuchNamespace)
	}
	id := catalog.Identifier{DB: db, Table: q.Name}
	location, err := s.location(id, q.Location)
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
	text, err := json.Marshal(metadata)
	if err != nil {
		return err
	}
	if q.Stage {
		if _, err := s.catalog.Load(r.Context(), id); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = alreadyExists(errors.New("table " + id.String() + " exists"))
			}
			return err
		}
		return answer(w, http.StatusOK, loaded{Metadata: text, Config: s.readers.tableConfig()})
	}
	v, err := s.catalog.Create(r.Context(), id, text)
	if errors.Is(err, fs.ErrExist) {
		return alreadyExists(err)
	}
	if err != nil {
		return s.undecided(r.Context(), id, 1, text, err, w)
	}
	s.note(v)
	return answer(w, http.StatusOK, s.loaded(v))
}

// location is where a table's data go: the table's own folder, unless the client wants another one inside the lake.
func (s *server) location(id catalog.Identifier, wanted string) (string, error) {
	if wanted == "" {
		return s.catalog.Location(id), nil
	}
	wanted = strings.TrimRight(wanted, "/")
	if _, err := s.catalog.Store().Name(wanted); err != nil {
		return "", badRequest("location of %s: %v", id, err)
	}
	return wanted, nil
}

// note logs a commit whose hint could not be written.
func (s *server) note(v *catalog.Version) {
	if v.HintErr != nil {
		s.log.Warn("readers that use no catalog are a version behind", "table", v.ID.String(), "error", v.HintErr)
	}
}
