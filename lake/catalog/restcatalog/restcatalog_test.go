package restcatalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/catalog/restcatalog"
	"github.com/tidemark/tidemark/lake/catalog/updates"
)

var id = catalog.Identifier{DB: "shop", Table: "orders"}

// script is a catalog that answers as it is told, and notes what it was asked. Real catalogs are in the conformance suite: this is
// for what they cannot be made to do.
type script struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []string
	answers map[string][]answer // by method and path; the last one goes on
}

type answer struct {
	status int
	body   any
}

const token = "Bearer issued-1"

func newScript(t *testing.T, answers map[string][]answer) *script {
	t.Helper()
	s := &script{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		route := r.Method + " " + r.URL.EscapedPath()
		if err := r.ParseForm(); err == nil && r.URL.Path == "/v1/oauth/tokens" {
			route += " " + r.PostForm.Get("client_id") + " " + r.PostForm.Get("client_secret") + " " + r.PostForm.Get("scope")
		} else if q := r.URL.Query().Get("warehouse"); q != "" {
			route += " " + q
		}
		s.asked = append(s.asked, strings.TrimSpace(route+" "+r.Header.Get("Authorization")))
		list := s.answers[route]
		if len(list) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if len(list) > 1 {
			s.answers[route] = list[1:]
		}
		w.WriteHeader(list[0].status)
		if err := json.NewEncoder(w).Encode(list[0].body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

type object = map[string]any

var (
	table  = object{"metadata-location": "s3://lake/m.json", "metadata": object{"format-version": 3}}
	config = map[string][]answer{"GET /v1/config": {{200, object{}}}}
)

func with(more map[string][]answer) map[string][]answer {
	for k, v := range config {
		if more[k] == nil {
			more[k] = v
		}
	}
	return more
}

func (s *script) demand(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(s.asked, "\n"), strings.Join(want, "\n"))
	}
}

// TestCredential: it is exchanged for a token, again when that is refused, and what was refused is asked for again.
func TestCredential(t *testing.T) {
	s := newScript(t, map[string][]answer{
		"POST /v1/oauth/tokens me s3cret ROLE:ALL": {{200, object{"access_token": "issued-1", "expires_in": 3600}}, {200, object{"access_token": "issued-2"}}},
		"GET /v1/config a b":                       {{200, object{"defaults": object{"prefix": "unused"}, "overrides": object{"prefix": "a b"}}}},
		"GET /v1/a%20b/namespaces/shop/tables/orders": {
			{401, object{"error": object{"type": "NotAuthorizedException", "message": "expired"}}}, {200, table},
		},
	})
	c, err := restcatalog.Open(t.Context(), s.URL+"/v1/?warehouse=a+b&scope=ROLE:ALL", restcatalog.Options{Credential: "me:s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.Load(t.Context(), id)
	if err != nil || v.URI != "s3://lake/m.json" || string(v.Metadata) != `{"format-version":3}` {
		t.Errorf("%+v, %v", v, err)
	}
	s.demand(t, "POST /v1/oauth/tokens me s3cret ROLE:ALL", "GET /v1/config a b "+token, "GET /v1/a%20b/namespaces/shop/tables/orders "+token,
		"POST /v1/oauth/tokens me s3cret ROLE:ALL", "GET /v1/a%20b/namespaces/shop/tables/orders Bearer issued-2")
}

// TestRefused: a wrong token is refused once, and no error tells it.
func TestRefused(t *testing.T) {
	s := newScript(t, map[string][]answer{"GET /v1/config": {{403, object{"error": object{"type": "ForbiddenException", "message": "not you"}}}}})
	_, err := restcatalog.Open(t.Context(), s.URL, restcatalog.Options{Token: "s3cret"})
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "not you") || !strings.Contains(err.Error(), "TIDEMARK_CATALOG_TOKEN") {
		t.Error(err)
	}
	s.demand(t, "GET /v1/config Bearer s3cret")
	s = newScript(t, map[string][]answer{"POST /v1/oauth/tokens me s3cret catalog": {{401, object{}}}})
	_, err = restcatalog.Open(t.Context(), s.URL, restcatalog.Options{Credential: "me:s3cret"})
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

// TestRepeats: questions are asked again when the server fails, commits never.
func TestRepeats(t *testing.T) {
	const path = "/v1/namespaces/shop/tables/orders"
	busy := answer{503, object{"error": object{"type": "ServiceUnavailableException", "message": "later"}}}
	s := newScript(t, with(map[string][]answer{"GET " + path: {busy, {200, table}}, "POST " + path: {busy, {409, object{}}, {400, object{}}, {200, object{}}}}))
	c, err := restcatalog.Open(t.Context(), s.URL, restcatalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(t.Context(), id); err != nil {
		t.Error(err)
	}
	for _, want := range []struct {
		text     string
		conflict bool
	}{{"503", false}, {"409", true}, {"400", false}, {"no metadata", false}} {
		_, err := c.Commit(t.Context(), id, &updates.Commit{})
		if err == nil || errors.Is(err, catalog.ErrConflict) != want.conflict || !strings.Contains(err.Error(), want.text) {
			t.Errorf("commit: %v, want %s, conflict %v", err, want.text, want.conflict)
		}
	}
	if _, err := c.Load(t.Context(), catalog.Identifier{DB: "shop", Table: "none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	get, post := "GET "+path, "POST "+path
	s.demand(t, "GET /v1/config", get, get, post, post, post, post, "GET /v1/namespaces/shop/tables/none")
}

// TestPages: lists come in pages, of databases as of tables; databases within databases are not MySQL's.
func TestPages(t *testing.T) {
	tables := func(next string, names ...string) object {
		var list []object
		for _, n := range names {
			list = append(list, object{"namespace": []string{"shop"}, "name": n})
		}
		return object{"identifiers": list, "next-page-token": next}
	}
	s := newScript(t, with(map[string][]answer{
		"GET /v1/namespaces":             {{200, object{"namespaces": [][]string{{"gone"}, {"a", "b"}}, "next-page-token": "2"}}, {200, object{"namespaces": [][]string{{"shop"}}}}},
		"GET /v1/namespaces/shop/tables": {{200, tables("x", "b", "a")}, {200, tables("", "c")}},
	}))
	c, err := restcatalog.Open(t.Context(), s.URL, restcatalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := c.Tables(t.Context())
	if got := fmt.Sprint(ids); err != nil || got != "[shop.b shop.a shop.c]" {
		t.Errorf("%s, %v", got, err)
	}
}
