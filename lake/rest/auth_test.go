package rest_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
	"github.com/tidemark/tidemark/lake/store"
)

func guarded(t *testing.T, tokens *rest.Tokens) *service {
	t.Helper()
	s, err := store.OpenLocal(t.TempDir())
	check(t, err)
	return &service{handler: rest.New(rest.Options{Catalog: catalog.NewBucket(s), Tokens: tokens})}
}

func (s *service) expect(t *testing.T, authorization string, status int, exception string) {
	t.Helper()
	for _, path := range []string{"/v1/config", "/v1/namespaces", "/v1/nonsense"} {
		want, kindWanted := status, exception
		if path == "/v1/nonsense" && status == 200 {
			want, kindWanted = 406, "UnsupportedOperationException"
		}
		got, answer := s.call(t, "GET", path, nil, "Authorization", authorization)
		if got != want || kindWanted != "" && kind(answer) != kindWanted {
			t.Errorf("%s with %q: %d %v, want %d %s", path, authorization, got, answer, want, kindWanted)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	if tokens, err := rest.NewTokens("", ""); tokens != nil || err != nil {
		t.Errorf("without tokens: %v, %v", tokens, err)
	}
	tokens, err := rest.NewTokens("s3cret", "")
	check(t, err)
	s := guarded(t, tokens)
	s.expect(t, "Bearer s3cret", 200, "")
	s.expect(t, "bearer  s3cret ", 200, "")
	for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer None", "Bearer s3cre", "Bearer s3crett", "Basic s3cret", "s3cret"} {
		s.expect(t, wrong, 401, "NotAuthorizedException")
	}
	if _, answer := s.send(t, "GET", "/v1/config"); answer.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	if status, answer := s.call(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}}); status != 401 {
		t.Errorf("a change without token: %d %v", status, answer)
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	if _, err := rest.NewTokens("", file); err == nil {
		t.Error("a file that is not there was accepted")
	}
	at := time.Now()
	write := func(text string) {
		check(t, os.WriteFile(file, []byte(text), 0o600))
		at = at.Add(time.Second)
		check(t, os.Chtimes(file, at, at))
	}
	write("\n \n")
	if _, err := rest.NewTokens("", file); err == nil {
		t.Error("a file without tokens was accepted")
	}
	write("old\n other\r\n\n")
	tokens, err := rest.NewTokens("", file)
	check(t, err)
	s := guarded(t, tokens)
	s.expect(t, "Bearer old", 200, "")
	s.expect(t, "Bearer other", 200, "")
	s.expect(t, "Bearer new", 401, "NotAuthorizedException")
	write("new\nother\n")
	s.expect(t, "Bearer new", 200, "")
	s.expect(t, "Bearer other", 200, "")
	s.expect(t, "Bearer old", 419, "AuthenticationTimeoutException")
	check(t, os.Remove(file))
	s.expect(t, "Bearer new", 503, "ServiceUnavailableException")
}

// TestEnginesWithToken lets every engine in with a token, PyIceberg over TLS, and none without.
func TestEnginesWithToken(t *testing.T) {
	t.Parallel()
	tokens, err := rest.NewTokens("s3cret", "")
	check(t, err)
	s, err := store.OpenLocal(t.TempDir() + "/lake")
	check(t, err)
	handler := rest.New(rest.Options{Catalog: catalog.NewBucket(s), Tokens: tokens})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	authority := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))

	got := testenv.PyIceberg(t, fmt.Sprintf(`
import os
import pyarrow as pa
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would beat the catalog's setting
    os.environ.pop(name, None)
c = catalog(%q, token="s3cret", ssl={"cabundle": %q})
c.create_namespace("db")
schema = pa.schema([pa.field("id", pa.int64())])
c.create_table("db.t", schema).append(pa.Table.from_pylist([{"id": 7}], schema=schema))
try:
    catalog(%q, token="wrong", ssl={"cabundle": %q})
    result = "let in"
except Exception as e:
    result = type(e).__name__
`, secure.URL, authority, secure.URL, authority))
	same(t, "PyIceberg with a wrong token", got, "UnauthorizedError")

	duck := testenv.DuckDB(t)
	duck.Query(t, "CREATE SECRET lake_token (TYPE iceberg, TOKEN 's3cret')")
	duck.Query(t, fmt.Sprintf("ATTACH '' AS lake (TYPE iceberg, ENDPOINT '%s', SECRET lake_token)", plain.URL))
	same(t, "DuckDB", duck.Query(t, "SELECT * FROM lake.db.t"), "[[7]]")
	if _, err := testenv.DuckDB(t).TryQuery(t.Context(), fmt.Sprintf("ATTACH '' AS lake (TYPE iceberg, ENDPOINT '%s', AUTHORIZATION_TYPE 'none')", plain.URL)); err == nil {
		t.Error("DuckDB got in without a token")
	}

	trino := testenv.Trino(t)
	name := fmt.Sprintf("guarded_%d", os.Getpid())
	create := `CREATE CATALOG %s USING iceberg WITH ("iceberg.catalog.type"='rest', "iceberg.rest-catalog.uri"='%s', ` +
		`"fs.native-local.enabled"='true', "local.location"='/', "iceberg.rest-catalog.security"='OAUTH2', "iceberg.rest-catalog.oauth2.token"='%s')`
	trino.Query(t, fmt.Sprintf(create, name, plain.URL, "s3cret"))
	same(t, "Trino", trino.Query(t, "SELECT * FROM "+name+".db.t"), "[[7]]")
	trino.Query(t, "DROP CATALOG "+name)

	answer, err := http.Get(plain.URL + "/v1/config")
	check(t, err)
	check(t, answer.Body.Close())
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", answer.Status)
	}
}
