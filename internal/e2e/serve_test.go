package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestServeRefusesToBeOpen: without a token nobody but this machine is let in, unless that is asked for.
func TestServeRefusesToBeOpen(t *testing.T) {
	lake := localLake(t)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source := []string{"ingest", "--source", "mysql://tide@127.0.0.1:1/", "--start", "earliest"}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"every address":             {[]string{"serve", "--listen", "0.0.0.0:0"}, "TIDEMARK_SERVE_TOKEN"},
		"every address, IPv6":       {[]string{"serve", "--listen", "[::]:0"}, "TIDEMARK_SERVE_TOKEN"},
		"no host":                   {[]string{"serve", "--listen", ":0"}, "--token-file"},
		"inside ingest":             {append(source, "--serve", "0.0.0.0:0"), "--insecure"},
		"no port":                   {[]string{"serve", "--listen", "127.0.0.1"}, "HOST:PORT"},
		"a certificate alone":       {[]string{"serve", "--tls-cert", empty}, "--tls-key"},
		"a certificate that is not": {[]string{"serve", "--listen", "127.0.0.1:0", "--tls-cert", empty, "--tls-key", empty}, "--tls-cert"},
		"no such token file":        {[]string{"serve", "--listen", "127.0.0.1:0", "--token-file", dir + "/none"}, dir + "/none"},
		"no token in the file":      {[]string{"serve", "--listen", "127.0.0.1:0", "--token-file", empty}, "no token in it"},
		"insecure with a token":     {[]string{"serve", "--insecure", "--token", catalogToken}, "--insecure"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, nil, append(c.args, lake.args...)...)
			ends(t, p, 2, c.says)
			if strings.Contains(p.text(), catalogToken) {
				t.Errorf("it tells the token:\n%s", p.text())
			}
		})
	}
	t.Run("insecure", func(t *testing.T) {
		p := start(t, nil, append([]string{"serve", "--listen", "0.0.0.0:0", "--insecure"}, lake.args...)...)
		p.served()
		p.stop()
	})
	t.Run("with a token in clear text", func(t *testing.T) {
		p := start(t, []string{"TIDEMARK_SERVE_TOKEN=" + catalogToken}, append([]string{"serve", "--listen", "0.0.0.0:0"}, lake.args...)...)
		p.served()
		p.waitForLog("clear text")
		p.stop()
	})
}

// certificate makes a certificate for 127.0.0.1 that is its own authority, in PEM files.
func certificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// TestServeTLSAndTokens serves with a certificate and a file of tokens: PyIceberg gets in with the one and the other, nobody
// without, tokens are exchanged while it runs, and the log tells none of them.
func TestServeTLSAndTokens(t *testing.T) {
	lake := localLake(t)
	cert, key := certificate(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-" + catalogToken + "\n")
	p := start(t, nil, append([]string{"serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--token-file", tokens, "--tls-cert", cert, "--tls-key", key}, lake.args...)...)
	address := p.served()
	if !strings.HasPrefix(address, "https://") {
		t.Fatalf("it serves at %s", address)
	}
	python := func(token, code string) any {
		t.Helper()
		return testenv.PyIceberg(t, fmt.Sprintf(`
import os
import pyarrow as pa
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would beat the catalog's setting
    os.environ.pop(name, None)
try:
    c = catalog(%q, token=%q, ssl={"cabundle": %q})
    schema = pa.schema([pa.field("id", pa.int64())])
%s
except Exception as e:
    result = type(e).__name__`, address, token, cert, code))
	}
	same := func(what string, got any, want string) {
		t.Helper()
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s\n%s", what, got, want, p.text())
		}
	}
	same("the token", python("first-"+catalogToken, `
    c.create_namespace("db")
    t = c.create_table("db.t", schema)
    t.append(pa.Table.from_pylist([{"id": 7}], schema=schema))
    result = t.scan().to_arrow()["id"].to_pylist()`), "[7]")
	same("a wrong one", python("wrong-"+catalogToken, `    result = "let in"`), "UnauthorizedError")
	write("first-" + catalogToken + "\nsecond-" + catalogToken + "\n")
	same("the new one", python("second-"+catalogToken, `    result = [t[1] for t in c.list_tables("db")]`), "[t]")
	write("second-" + catalogToken + "\n")
	same("the old one", python("first-"+catalogToken, `    result = "let in"`), "AuthorizationExpiredError")
	same("PyIceberg without the authority", testenv.PyIceberg(t, fmt.Sprintf(`
try:
    catalog(%q, token="second-%s")
    result = "let in"
except Exception as e:
    result = type(e).__name__`, address, catalogToken)), "SSLError")
	p.stop()
	if strings.Contains(p.text(), catalogToken) {
		t.Errorf("the log tells a token:\n%s", p.text())
	}
	if !strings.Contains(p.text(), "status=401") {
		t.Errorf("the log at level debug should have the refusals:\n%s", p.text())
	}
}

// TestPagesWithToken: where there is a token, the metrics want it, and the health check tells only its status without.
func TestPagesWithToken(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema)
	lake := localLake(t)
	lake.env = []string{"TIDEMARK_SERVE_TOKEN=" + catalogToken}
	p := startIngest(t, lake, testenv.URL(s), "--serve", "127.0.0.1:0", "--log-level", "debug")
	address := p.served()
	p.waitForLog("committed")
	for path, want := range map[string]string{"/v1/config": "NotAuthorizedException", "/metrics": "bearer token", "/healthz": ""} {
		code, text := page(t, address, path)
		wanted := http.StatusUnauthorized
		if path == "/healthz" {
			wanted = http.StatusOK
		}
		if code != wanted || !strings.Contains(text, want) || want == "" && text != "" {
			t.Errorf("%s without the token: %d %q", path, code, text)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+catalogToken)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
		if err != nil || answer.StatusCode != http.StatusOK || len(body) < 10 {
			t.Errorf("%s with the token: %s %s, %v", path, answer.Status, body, err)
		}
	}
	p.stop()
	if strings.Contains(p.text(), catalogToken) {
		t.Errorf("the log tells the token:\n%s", p.text())
	}
}
