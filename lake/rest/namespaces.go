package rest

import (
	"errors"
	"io/fs"
	"maps"
	"net/http"

	"github.com/tidemark/tidemark/lake/catalog"
)

// listNamespaces lists the databases. They do not nest.
func (s *server) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	list := [][]string{}
	if parent := r.URL.Query().Get("parent"); parent != "" {
		if _, _, err := s.findDatabase(r.Context(), parent); err != nil {
			return absent(err, noSuchNamespace)
		}
		return answer(w, http.StatusOK, map[string]any{"namespaces": list})
	}
	names, err := s.catalog.Databases(r.Context())
	if err != nil {
		return err
	}
	for _, n := range names {
		list = append(list, []string{n})
	}
	return answer(w, http.StatusOK, map[string]any{"namespaces": list})
}

// properties are a database's own and its location, below which clients put new tables.
func (s *server) properties(db string, own map[string]string) map[string]string {
	p := map[string]string{"location": s.catalog.Store().URI(catalog.Folder(db))}
	maps.Copy(p, own)
	return p
}

func (s *server) getNamespace(w http.ResponseWriter, r *http.Request) error {
	asked := pathName(r, "namespace")
	db, own, err := s.findDatabase(r.Context(), asked)
	if err != nil {
		return absent(err, noSuchNamespace)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return answer(w, http.StatusOK, map[string]any{"namespace": []string{asked}, "properties": s.properties(db, own)})
}

func (s *server) createNamespace(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Namespace  []string          `json:"namespace"`
		Properties map[string]string `json:"properties"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	if len(q.Namespace) != 1 || q.Namespace[0] == "" {
		return badRequest("namespace %q: a namespace is one database, they do not nest", q.Namespace)
	}
	if l := q.Properties["location"]; l != "" {
		if _, err := s.catalog.Store().Name(l); err != nil {
			return badRequest("location: %v", err)
		}
	}
	db := q.Namespace[0]
	if err := s.catalog.CreateDatabase(r.Context(), db, q.Properties); errors.Is(err, fs.ErrExist) {
		return alreadyExists(err)
	} else if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"namespace": q.Namespace, "properties": s.properties(db, q.Properties)})
}
