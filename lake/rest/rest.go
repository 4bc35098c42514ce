// Package rest serves the bucket catalog by the Iceberg REST protocol, for engines that want a service: Trino, Spark,
// PyIceberg, DuckDB (apache/iceberg, open-api/rest-catalog-open-api.yaml).
//
// In come HTTP requests; out go table metadata exactly as they lie in the lake, and commits: the client's requirements
// are checked against the newest version, its updates applied to it, and the result swapped in through the catalog,
// like tidemark's own commits. What must hold: an answer of 200 to a commit means that it is in the lake for good, 409
// that it is not, and everything else says which of the two or that it is unknown.
//
// Tables in a local folder have file:///absolute/path addresses. PyIceberg and DuckDB read them as they are; Trino needs
// fs.native-local.enabled=true and local.location=/ in its catalog, and all of them need the folder on their machine.
//
// rest.go        routes and what readers are told about the store
// find.go        names in the case of the source or of Trino
// namespaces.go  databases
// tables.go      listing, loading and creating tables
// commit.go      changing them
// answer.go      bodies and errors
package rest

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/tidemark/tidemark/lake/catalog"
)

// DefaultAddress is where the service listens unless told otherwise: it has no authentication, so on loopback.
const DefaultAddress = "127.0.0.1:8181"

// Options are the settings of the service.
type Options struct {
	Catalog *catalog.Bucket
	Readers S3           // handed to every client
	Logger  *slog.Logger // default slog.Default()
}

// S3 is how clients reach the objects of an S3 lake. They are told what is not zero. Leave the credentials empty unless
// everybody who can reach the service may have them: without, clients use their own.
type S3 struct {
	Endpoint  string // URL
	Region    string
	PathStyle bool

	AccessKey, SecretKey, SessionToken string
}

func (s S3) config() map[string]string {
	c := map[string]string{}
	set := func(value string, keys ...string) {
		for _, k := range keys {
			if value != "" {
				c[k] = value
			}
		}
	}
	set(s.Endpoint, "s3.endpoint")
	set(s.Region, "s3.region", "client.region")
	if s.PathStyle {
		set(strconv.FormatBool(s.PathStyle), "s3.path-style-access")
	}
	set(s.AccessKey, "s3.access-key-id")
	set(s.SecretKey, "s3.secret-access-key")
	set(s.SessionToken, "s3.session-token")
	return c
}

// tableConfig is what comes with each table. DuckDB takes it for the whole truth about S3, so that its own secret would
// not be used: nothing is said there unless credentials are.
func (s S3) tableConfig() map[string]string {
	if s.AccessKey == "" {
		return map[string]string{}
	}
	return s.config()
}

// server is the handler.
type server struct {
	catalog *catalog.Bucket
	readers S3
	log     *slog.Logger
	mux     *http.ServeMux
}

// Routes, as the protocol's config answer names them. The prefix it allows for is empty here.
const (
	namespaces = "/v1/namespaces"
	namespace  = namespaces + "/{namespace}"
	tables     = namespace + "/tables"
	oneTable   = tables + "/{table}"
)

// New returns the service's handler. Queries such as ?warehouse=, ?pageToken= and ?snapshots= are tolerated: there is
// one warehouse, lists come in one page, and all snapshots are sent. So is any Authorization header. Requests that a
// browser makes on behalf of another site are refused.
func New(o Options) http.Handler {
	s := &server{catalog: o.Catalog, readers: o.Readers, log: o.Logger, mux: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.Default()
	}
	var endpoints []string
	route := func(method, path string, h func(http.ResponseWriter, *http.Request) error) {
		endpoints = append(endpoints, method+" /v1/{prefix}"+path[len("/v1"):])
		s.handle(method+" "+path, h)
	}
	route("GET", namespaces, s.listNamespaces)
	route("POST", namespaces, s.createNamespace)
	route("GET", namespace, s.getNamespace)
	route("HEAD", namespace, s.getNamespace)
	route("GET", tables, s.listTables)
	route("POST", tables, s.createTable)
	route("GET", oneTable, s.loadTable)
	route("HEAD", oneTable, s.loadTable)
	route("POST", oneTable, s.commitTable)
	s.handle("GET /v1/config", func(w http.ResponseWriter, _ *http.Request) error {
		return answer(w, http.StatusOK, map[string]any{"defaults": s.readers.config(), "overrides": map[string]string{}, "endpoints": endpoints})
	})
	s.handle("/", func(_ http.ResponseWriter, r *http.Request) error {
		return &protocolError{http.StatusNotAcceptable, "UnsupportedOperationException", "tidemark serve does not support " + r.Method + " " + r.URL.Path}
	})
	return http.NewCrossOriginProtection().Handler(s.mux)
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

// body decodes a request's JSON body.
func body(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return badRequest("the body is not what this route takes: %v", err)
	}
	return nil
}
