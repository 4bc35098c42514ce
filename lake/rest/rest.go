// Package rest serves the bucket catalog by the Iceberg REST protocol, for engines that want a service: Trino, Spark,
// PyIceberg, DuckDB (apache/iceberg, open-api/rest-catalog-open-api.yaml; "the protocol" below).
//
// In come HTTP requests; out go table metadata exactly as they lie in the lake, and commits: the client's requirements
// are checked against the newest version, its updates applied to it, and the result swapped in through the catalog,
// like tidemark's own commits. What must hold:
//
//   - An answer of 200 or 204 to a commit means that it is in the lake for good, 409 that it is not, and everything else
//     says which of the two or that it is unknown.
//   - No commit takes a table's checkpoint away or sets it back (checkpoint.go).
//
// Tables in a local folder have file:///absolute/path addresses. PyIceberg and DuckDB read them as they are; Trino needs
// fs.native-local.enabled=true and local.location=/ in its catalog, and all of them need the folder on their machine.
//
// rest.go        routes
// auth.go        tokens
// readers.go     what clients are told about the store
// find.go        names in the case of the source or of Trino
// page.go        lists in pages
// namespaces.go  databases
// tables.go      listing and loading tables
// create.go      creating and registering them
// drop.go        dropping and renaming them
// purge.go       removing the files of a dropped table
// commit.go      changing one table or several
// metadata.go    from requirements and updates to the next metadata
// checkpoint.go  what a commit must leave alone
// answer.go      bodies and errors
package rest

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/tidemark/tidemark/lake/catalog"
)

// DefaultAddress is where the service listens unless told otherwise.
const DefaultAddress = "127.0.0.1:8181"

// Options are the settings of the service.
type Options struct {
	Catalog *catalog.Bucket
	Readers S3           // handed to every client
	Tokens  *Tokens      // who may use the service; nil: everybody who can reach it
	Logger  *slog.Logger // default slog.Default()
}

// server is the handler.
type server struct {
	catalog   *catalog.Bucket
	readers   S3
	log       *slog.Logger
	mux       *http.ServeMux
	endpoints []string
}

// Routes, as the protocol's config answer names them. The prefix it allows for is empty here.
const (
	namespaces = "/v1/namespaces"
	namespace  = namespaces + "/{namespace}"
	tables     = namespace + "/tables"
	oneTable   = tables + "/{table}"
)

// New returns the service's handler. There is one warehouse, so ?warehouse= may say anything. Requests that a browser
// makes on behalf of another site are refused.
func New(o Options) http.Handler {
	s := &server{catalog: o.Catalog, readers: o.Readers, log: o.Logger, mux: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.route("GET", namespaces, s.listNamespaces)
	s.route("POST", namespaces, s.createNamespace)
	s.route("GET", namespace, s.getNamespace)
	s.route("HEAD", namespace, s.getNamespace)
	s.route("DELETE", namespace, s.dropNamespace)
	s.route("POST", namespace+"/properties", s.changeNamespace)
	s.route("GET", tables, s.listTables)
	s.route("POST", tables, s.createTable)
	s.route("POST", namespace+"/register", s.registerTable)
	s.route("GET", oneTable, s.loadTable)
	s.route("HEAD", oneTable, s.loadTable)
	s.route("POST", oneTable, s.commitTable)
	s.route("DELETE", oneTable, s.dropTable)
	s.route("POST", oneTable+"/unregister", s.unregisterTable)
	s.route("POST", oneTable+"/metrics", s.takeMetrics)
	s.route("POST", "/v1/tables/rename", s.renameTable)
	s.route("POST", "/v1/transactions/commit", s.commitTransaction)
	s.handle("GET /v1/config", s.config)
	s.handle("/", func(_ http.ResponseWriter, r *http.Request) error {
		return &protocolError{http.StatusNotAcceptable, "UnsupportedOperationException", "tidemark serve does not support " + r.Method + " " + r.URL.Path}
	})
	sites := http.NewCrossOriginProtection()
	sites.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &protocolError{http.StatusForbidden, "ForbiddenException", "a browser sent this on behalf of another site"})
	}))
	return sites.Handler(s.guard(o.Tokens, s.mux))
}

// route is handle for an endpoint that the config answer lists.
func (s *server) route(method, path string, h func(http.ResponseWriter, *http.Request) error) {
	s.endpoints = append(s.endpoints, method+" /v1/{prefix}"+path[len("/v1"):])
	s.handle(method+" "+path, h)
}

// maxBody bounds a request's body in bytes.
const maxBody = 64 << 20

func (s *server) handle(pattern string, h func(http.ResponseWriter, *http.Request) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// config is the first thing a client asks for (protocol, CatalogConfig). Which routes there are is said, so that clients do
// not try others.
func (s *server) config(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, map[string]any{"defaults": s.readers.config(), "overrides": map[string]string{}, "endpoints": s.endpoints})
}

// body decodes a request's JSON body.
func body(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return badRequest("the body is not what this route takes: %v", err)
	}
	return nil
}

// takeMetrics takes a client's report on a scan or a commit, and leaves it at that: tidemark does not keep them.
func (s *server) takeMetrics(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Type string `json:"report-type"`
	}
	if err := body(r, &q); err != nil {
		return err
	}
	if q.Type == "" {
		return badRequest("a metrics report needs a report-type")
	}
	v, err := s.findTable(r)
	if err != nil {
		return err
	}
	s.log.Debug("metrics report", "table", v.ID.String(), "type", q.Type)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// isConflict says that a catalog operation was definitely not applied because another came first.
func isConflict(err error) bool { return errors.Is(err, catalog.ErrConflict) }
