// Package restcatalog speaks to a catalog that serves the Iceberg REST protocol (apache/iceberg,
// open-api/rest-catalog-open-api.yaml): its config, namespaces, and tables with their commits.
//
// It asks for no more than that, so that a client of the few routes takes the place of one with all of them and the
// libraries of a cloud. Files are read and written by package store, with credentials of its own; those that a catalog hands out
// are not used. What must hold: only requests that change nothing are repeated.
//
// restcatalog.go  what package updates needs
// request.go      one request and its answer
// token.go        who we are
package restcatalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/catalog/updates"
)

// Options of a REST catalog.
type Options struct {
	Token      string // bearer token
	Credential string // ID:SECRET, or SECRET: exchanged for a token where there is none
}

// Service is a REST catalog. It is safe for concurrent use.
type Service struct {
	client *http.Client
	base   string // up to and without /v1
	prefix string // after /v1, empty or with a slash before it
	auth   authority
}

var _ updates.Service = (*Service)(nil)

// requestLimit bounds one request. After it, the outcome of a commit is unknown.
const requestLimit = time.Minute

// AddressError says that an address is not one of a REST catalog.
type AddressError struct{ Text string }

func (e *AddressError) Error() string { return e.Text }

// Open asks the catalog at a URL for its configuration. Parameters of the URL: warehouse, which names one of several catalogs of
// a server; scope and oauth2-server-uri, where a credential is to be exchanged for a token. It fails with *AddressError for
// what is no such URL.
func Open(ctx context.Context, text string, o Options) (*Service, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, &AddressError{"the REST catalog's address cannot be read: expected http://HOST:PORT/PATH or https://HOST:PORT/PATH, with ?warehouse=NAME where it wants one"}
	}
	if u.User != nil {
		return nil, &AddressError{"a REST catalog takes no user and password in its address: set TIDEMARK_CATALOG_TOKEN or TIDEMARK_CATALOG_CREDENTIAL"}
	}
	query := u.Query()
	u.RawQuery = "" // what errors show must not hold what somebody took for a parameter
	for key := range query {
		if key != "warehouse" && key != "scope" && key != "oauth2-server-uri" {
			return nil, &AddressError{fmt.Sprintf("%s: unknown parameter %q: warehouse, scope and oauth2-server-uri are known", u, key)}
		}
	}
	s := &Service{client: &http.Client{Timeout: requestLimit}, base: strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), "/v1")}
	s.auth = authority{token: o.Token, credential: o.Credential, scope: query.Get("scope"), uri: query.Get("oauth2-server-uri")}
	if s.auth.uri == "" {
		s.auth.uri = s.base + "/v1/oauth/tokens"
	}
	var config struct{ Defaults, Overrides map[string]string }
	path := "/v1/config"
	if w := query.Get("warehouse"); w != "" {
		path += "?warehouse=" + url.QueryEscape(w)
	}
	if err := s.get(ctx, path, &config); err != nil {
		return nil, fmt.Errorf("the REST catalog's configuration: %w", err)
	}
	setting := func(key string) string {
		if v := config.Overrides[key]; v != "" {
			return v
		}
		return config.Defaults[key]
	}
	if uri := setting("uri"); uri != "" {
		s.base = strings.TrimSuffix(uri, "/")
	}
	if prefix := setting("prefix"); prefix != "" {
		s.prefix = "/" + escape(prefix)
	}
	return s, nil
}

// escape writes a name as a segment of a path. Blanks and plus signs are taken for each other by some servers.
func escape(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

func (s *Service) tables(db string) string {
	return "/v1" + s.prefix + "/namespaces/" + escape(db) + "/tables"
}

func (s *Service) table(id catalog.Identifier) string {
	return s.tables(id.DB) + "/" + escape(id.Table)
}

// pages bounds a listing, for servers that go on for ever.
const pages = 100_000

// Tables returns the tables of all namespaces of one level.
func (s *Service) Tables(ctx context.Context) ([]catalog.Identifier, error) {
	var ids []catalog.Identifier
	err := s.list(ctx, "/v1"+s.prefix+"/namespaces", func(page listing) error {
		for _, ns := range page.Namespaces {
			if len(ns) != 1 {
				continue
			}
			err := s.list(ctx, s.tables(ns[0]), func(page listing) error {
				for _, t := range page.Identifiers {
					ids = append(ids, catalog.Identifier{DB: ns[0], Table: t.Name})
				}
				return nil
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // dropped since
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return ids, nil
}

type listing struct {
	Namespaces  [][]string `json:"namespaces"`
	Identifiers []struct {
		Name string `json:"name"`
	} `json:"identifiers"`
	Next string `json:"next-page-token"`
}

// list asks for all pages. The first request says that pages are welcome.
func (s *Service) list(ctx context.Context, path string, each func(listing) error) error {
	token := ""
	for range pages {
		var page listing
		if err := s.get(ctx, path+"?pageToken="+url.QueryEscape(token), &page); err != nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
		if token = page.Next; token == "" {
			return nil
		}
	}
	return fmt.Errorf("%s%s: the list does not end", s.base, path)
}

// loaded is the answer that has a table.
type loaded struct {
	Location string          `json:"metadata-location"`
	Metadata json.RawMessage `json:"metadata"`
}

func (l *loaded) version(id catalog.Identifier) (*catalog.Version, error) {
	if l.Location == "" || len(l.Metadata) == 0 {
		return nil, fmt.Errorf("the catalog's answer about %s has no metadata or no metadata-location", id)
	}
	return &catalog.Version{ID: id, URI: l.Location, Metadata: l.Metadata}, nil
}

// Load returns the newest version.
func (s *Service) Load(ctx context.Context, id catalog.Identifier) (*catalog.Version, error) {
	var answer loaded
	if err := s.get(ctx, s.table(id)+"?snapshots=all", &answer); err != nil {
		return nil, err
	}
	return answer.version(id)
}

// Create makes a table, and its namespace where that is missing.
func (s *Service) Create(ctx context.Context, id catalog.Identifier, metadata *updates.Document) (*catalog.Version, error) {
	m := *metadata
	properties := map[string]string{}
	if err := json.Unmarshal(m["properties"], &properties); err != nil {
		return nil, err
	}
	properties["format-version"] = string(m["format-version"])
	request := map[string]any{"name": id.Table, "location": m["location"], "stage-create": false, "properties": properties}
	for key, list := range map[string][3]string{
		"schema": {"schemas", "schema-id", "current-schema-id"}, "partition-spec": {"partition-specs", "spec-id", "default-spec-id"},
		"write-order": {"sort-orders", "order-id", "default-sort-order-id"},
	} {
		var err error
		if request[key], err = current(m, list[0], list[1], list[2]); err != nil {
			return nil, err
		}
	}
	var answer loaded
	err := s.send(ctx, http.MethodPost, s.tables(id.DB), request, &answer)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.send(ctx, http.MethodPost, "/v1"+s.prefix+"/namespaces", map[string]any{"namespace": []string{id.DB}, "properties": map[string]string{}}, nil)
		if err == nil || errors.Is(err, fs.ErrExist) {
			err = s.send(ctx, http.MethodPost, s.tables(id.DB), request, &answer)
		}
	}
	if err != nil {
		return nil, err
	}
	return answer.version(id)
}

// current finds the element of a list that a field of the metadata names.
func current(m updates.Document, list, key, field string) (json.RawMessage, error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(m[list], &elements); err != nil {
		return nil, fmt.Errorf("table metadata: %s: %w", list, err)
	}
	for _, text := range elements {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			return nil, fmt.Errorf("table metadata: %s: %w", list, err)
		}
		if string(fields[key]) == string(m[field]) {
			return text, nil
		}
	}
	return nil, fmt.Errorf("table metadata: %s has no %s %s", list, key, m[field])
}

// Commit sends requirements and updates.
func (s *Service) Commit(ctx context.Context, id catalog.Identifier, c *updates.Commit) (*catalog.Version, error) {
	request := map[string]any{
		"identifier": map[string]any{"namespace": []string{id.DB}, "name": id.Table}, "requirements": c.Requirements, "updates": c.Updates,
	}
	var answer loaded
	err := s.send(ctx, http.MethodPost, s.table(id), request, &answer)
	if errors.Is(err, fs.ErrExist) { // 409 means here that a requirement was not met
		return nil, fmt.Errorf("%w: %w", catalog.ErrConflict, err)
	}
	if err != nil {
		return nil, err
	}
	return answer.version(id)
}

// Drop takes a table out.
func (s *Service) Drop(ctx context.Context, id catalog.Identifier) error {
	return s.send(ctx, http.MethodDelete, s.table(id)+"?purgeRequested=false", nil, nil)
}
