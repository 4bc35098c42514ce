package rest

import (
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/lake/catalog"
)

// listNamespaces lists the databases. They do not nest.
func (s *server) listNamespaces(w http.ResponseWriter, r *http.Request) error {
	p, err := pageOf(r)
	if err != nil {
		return err
	}
	list := [][]string{}
	if parent := r.URL.Query().Get("parent"); parent != "" {
		if _, _, err := s.findDatabase(r.Context(), parent); err != nil {
			return err
		}
		return answer(w, http.StatusOK, map[string]any{"namespaces": list})
	}
	names, err := s.catalog.Databases(r.Context())
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n <= p.after && p.after != "" })
	names, next := cut(p, names, strings.Clone)
	for _, n := range names {
		list = append(list, []string{n})
	}
	return answer(w, http.StatusOK, map[string]any{"namespaces": list, "next-page-token": next})
}

// location is the property that names the folder below which clients put new tables.
const location = "location"

// properties are a database's own and its location.
func (s *server) properties(db string, own map[string]string) map[string]string {
	p := map[string]string{location: s.catalog.Store().URI(catalog.Folder(db))}
	maps.Copy(p, own)
	return p
}

func (s *server) getNamespace(w http.ResponseWriter, r *http.Request) error {
	asked := pathName(r, "namespace")
	db, own, err := s.findDatabase(r.Context(), asked)
	if err != nil {
		return err
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
	if err := s.checkProperties(q.Properties); err != nil {
		return err
	}
	db := q.Namespace[0]
	if err := s.catalog.CreateDatabase(r.Context(), db, q.Properties); errors.Is(err, fs.ErrExist) {
		return alreadyExists("Namespace already exists: %s", db)
	} else if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"namespace": q.Namespace, "properties": s.properties(db, q.Properties)})
}

func (s *server) checkProperties(properties map[string]string) error {
	if l := properties[location]; l != "" {
		if _, err := s.catalog.Store().Name(l); err != nil {
			return badRequest("location: %v", err)
		}
	}
	return nil
}

// changeNamespace sets and removes properties.
func (s *server) changeNamespace(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Removals []string          `json:"removals"`
		Updates  map[string]string `json:"updates"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	for _, k := range q.Removals {
		if _, both := q.Updates[k]; both {
			return &protocolError{http.StatusUnprocessableEntity, "UnprocessableEntityException", "property " + k + " is both updated and removed"}
		}
	}
	if err := s.checkProperties(q.Updates); err != nil {
		return err
	}
	db, _, err := s.findDatabase(r.Context(), pathName(r, "namespace"))
	if err != nil {
		return err
	}
	updated, removed, missing := slices.Sorted(maps.Keys(q.Updates)), []string{}, []string{}
	err = s.catalog.ChangeDatabase(r.Context(), db, func(p map[string]string) {
		removed, missing = removed[:0], missing[:0]
		for _, k := range q.Removals {
			if _, there := p[k]; there {
				removed = append(removed, k)
			} else {
				missing = append(missing, k)
			}
			delete(p, k)
		}
		maps.Copy(p, q.Updates)
	})
	if err != nil {
		return noNamespace(err, db)
	}
	if updated == nil {
		updated = []string{}
	}
	return answer(w, http.StatusOK, map[string]any{"updated": updated, "removed": removed, "missing": missing})
}

func (s *server) dropNamespace(w http.ResponseWriter, r *http.Request) error {
	asked := pathName(r, "namespace")
	db, _, err := s.findDatabase(r.Context(), asked)
	if err != nil {
		return err
	}
	switch err := s.catalog.DropDatabase(r.Context(), db); {
	case errors.Is(err, catalog.ErrNotEmpty):
		return &protocolError{http.StatusConflict, "NamespaceNotEmptyException", "Namespace " + asked + " is not empty: it has tables"}
	case isConflict(err):
		return &protocolError{http.StatusConflict, "NamespaceNotEmptyException", "Namespace " + asked + " was changed just now: try again"}
	case err != nil:
		return noNamespace(err, asked)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
