package rest

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidemark/tidemark/lake/catalog"
)

// Names keep the case of the source, and a lake can have both X and x. Trino asks for all names in lower case (unless
// iceberg.rest-catalog.case-insensitive-name-matching is set). So a name that is not there as it is written is taken
// for the one that differs from it in case only, if there is exactly one.

// identifier is a table's name in bodies (protocol, TableIdentifier).
type identifier struct {
	Namespace []string `json:"namespace"`
	Name      string   `json:"name"`
}

func (i identifier) split() (db, name string, err error) {
	if len(i.Namespace) != 1 || i.Namespace[0] == "" || i.Name == "" {
		return "", "", badRequest("table %q.%q: expected a namespace of one level and a name", strings.Join(i.Namespace, "."), i.Name)
	}
	return i.Namespace[0], i.Name, nil
}

// findDatabase returns a database's own name and properties.
func (s *server) findDatabase(ctx context.Context, asked string) (string, map[string]string, error) {
	properties, err := s.catalog.Database(ctx, asked)
	if !errors.Is(err, fs.ErrNotExist) {
		return asked, properties, err
	}
	names, listErr := s.catalog.Databases(ctx)
	if listErr != nil {
		return "", nil, listErr
	}
	name, ok := onlyFold(asked, names, func(n string) string { return n })
	if !ok {
		return "", nil, noNamespace(err, asked)
	}
	properties, err = s.catalog.Database(ctx, name)
	return name, properties, noNamespace(err, asked)
}

// findTable returns the newest version of the table in the request's path; its ID tells the table's own name.
func (s *server) findTable(r *http.Request) (*catalog.Version, error) {
	return s.find(r.Context(), pathName(r, "namespace"), pathName(r, "table"))
}

func (s *server) find(ctx context.Context, db, asked string) (*catalog.Version, error) {
	v, err := s.catalog.Load(ctx, catalog.Identifier{DB: db, Table: asked})
	var missing *catalog.MissingError
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, &missing) {
		return v, noTable(err, db, asked)
	}
	own, _, dbErr := s.findDatabase(ctx, db)
	var none *protocolError
	if errors.As(dbErr, &none) {
		return nil, noTable(err, db, asked)
	}
	if dbErr != nil {
		return nil, dbErr
	}
	ids, listErr := s.catalog.TablesIn(ctx, own)
	if listErr != nil {
		return nil, listErr
	}
	id, ok := onlyFold(asked, ids, func(id catalog.Identifier) string { return id.Table })
	if !ok {
		return nil, noTable(err, db, asked)
	}
	v, err = s.catalog.Load(ctx, id)
	return v, noTable(err, db, asked)
}

// onlyFold returns the one of all whose name equals asked, or else the only one that does so but for case.
func onlyFold[T any](asked string, all []T, name func(T) string) (found T, ok bool) {
	n := 0
	for _, one := range all {
		if name(one) == asked {
			return one, true
		}
		if strings.EqualFold(name(one), asked) {
			found = one
			n++
		}
	}
	return found, n == 1
}

// pathName is a name in the request's path. Java's clients encode it like a form, with + for a blank; all others write
// %20, and all write %2B for a plus: so a bare + can only be a blank.
func pathName(r *http.Request, key string) string {
	segments := strings.Split(r.URL.EscapedPath(), "/") // "", v1, namespaces, {namespace}, tables, {table}
	i := map[string]int{"namespace": 3, "table": 5}[key]
	if i < len(segments) {
		if name, err := url.QueryUnescape(segments[i]); err == nil {
			return name
		}
	}
	return r.PathValue(key)
}
