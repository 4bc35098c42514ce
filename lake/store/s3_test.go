package store_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/store"
)

// between puts a proxy before MinIO. meet gets each request; when it returns false the proxy has nothing more to do.
func between(t *testing.T, opt store.S3Options, meet func(http.ResponseWriter, *http.Request, http.Handler) bool) *store.S3 {
	t.Helper()
	b := testenv.MinIO(t)
	target, err := url.Parse(b.Endpoint)
	check(t, err)
	// The Host header is part of the signature, so it must pass unchanged.
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", target.Host, r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if meet(w, r, pass) {
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	opt.Endpoint, opt.Region, opt.AccessKey, opt.SecretKey = server.URL, b.Region, b.AccessKey, b.SecretKey
	s, err := store.OpenS3(t.Context(), b.Name, "", opt)
	check(t, err)
	return s
}

func TestS3Access(t *testing.T) {
	t.Parallel()
	b := testenv.MinIO(t)
	good := store.S3Options{Endpoint: b.Endpoint, AccessKey: b.AccessKey, SecretKey: b.SecretKey}
	const secret = "a-secret-nobody-should-see"
	for _, c := range []struct {
		name, bucket, reason string
		change               func(*store.S3Options)
	}{
		{"no such bucket", "no-such-bucket", "no such bucket", func(*store.S3Options) {}},
		{"unknown key", b.Name, "bad credentials", func(o *store.S3Options) { o.AccessKey, o.SecretKey = "unknown", secret }},
		{"wrong secret", b.Name, "bad credentials", func(o *store.S3Options) { o.SecretKey = secret }},
	} {
		opt := good
		c.change(&opt)
		s, err := store.OpenS3(t.Context(), c.bucket, "", opt)
		check(t, err)
		err = store.CheckConditionalPut(t.Context(), s)
		var access *store.AccessError
		if !errors.As(err, &access) || access.Reason != c.reason || !strings.Contains(err.Error(), "s3://"+c.bucket) || access.Advice == "" {
			t.Errorf("%s: %v", c.name, err)
		}
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), b.SecretKey) {
			t.Errorf("%s: the error shows a secret: %v", c.name, err)
		}
		if _, err := s.Get(t.Context(), "x"); errors.Is(err, fs.ErrNotExist) || !errors.As(err, &access) {
			t.Errorf("%s: Get says %v", c.name, err)
		}
	}
	_, err := store.OpenS3(t.Context(), b.Name, "", store.S3Options{Endpoint: "http://user:" + secret + "@host:1"})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("credentials in the endpoint: %v", err)
	}
}

func TestS3CredentialsFromEnvironment(t *testing.T) {
	b := testenv.MinIO(t)
	for _, v := range b.Env() {
		k, v, _ := strings.Cut(v, "=")
		t.Setenv(k, v)
	}
	t.Setenv("AWS_ENDPOINT_URL", b.Endpoint)
	s, err := store.Open(t.Context(), b.URI("p/"), store.S3Options{})
	check(t, err)
	check(t, store.CheckConditionalPut(t.Context(), s))
	if s.URI("x") != b.URI("p")+"/x" {
		t.Errorf("URI: %s", s.URI("x"))
	}

	// The same from the shared files.
	for _, v := range b.Env() {
		k, _, _ := strings.Cut(v, "=")
		t.Setenv(k, "")
	}
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/credentials", []byte("[lake]\naws_access_key_id = "+b.AccessKey+"\naws_secret_access_key = "+b.SecretKey+"\n"), 0o600))
	check(t, os.WriteFile(dir+"/config", []byte("[profile lake]\nregion = "+b.Region+"\n"), 0o600))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", dir+"/credentials")
	t.Setenv("AWS_CONFIG_FILE", dir+"/config")
	t.Setenv("AWS_PROFILE", "lake")
	s, err = store.Open(t.Context(), b.URI("q"), store.S3Options{})
	check(t, err)
	check(t, store.CheckConditionalPut(t.Context(), s))
}

func TestStoreWithoutConditionalPut(t *testing.T) {
	t.Parallel()
	s := between(t, store.S3Options{}, func(w http.ResponseWriter, r *http.Request, pass http.Handler) bool {
		if r.Method != http.MethodPut {
			return true
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`) // as servers do that do not know the header
		return false
	})
	err := store.CheckConditionalPut(t.Context(), s)
	if !errors.Is(err, store.ErrNoConditionalPut) || !strings.Contains(err.Error(), "MinIO") {
		t.Errorf("got %v", err)
	}
}

func TestSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	check(t, err)
	defer l.Close()
	opt := store.S3Options{Endpoint: "http://" + l.Addr().String(), AccessKey: "a", SecretKey: "b", Timeout: 50 * time.Millisecond, Attempts: 2}
	s, err := store.OpenS3(t.Context(), "bucket", "", opt)
	check(t, err)
	for op, err := range map[string]error{
		"Put":         s.Put(t.Context(), "x", []byte("x")),
		"PutIfAbsent": s.PutIfAbsent(t.Context(), "x", []byte("x")),
		"Get":         func() error { _, err := s.Get(t.Context(), "x"); return err }(),
		"Open":        func() error { _, err := s.Open(t.Context(), "x"); return err }(),
		"Delete":      s.Delete(t.Context(), "x", "y"),
		"ListDirs":    func() error { _, err := s.ListDirs(t.Context(), ""); return err }(),
		"Create": func() error {
			w, err := s.Create(t.Context(), "x")
			check(t, err)
			_, err = w.Write(make([]byte, 20<<20))
			return errors.Join(err, w.Abort())
		}(),
	} {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if err := s.PutIfAbsent(t.Context(), "x", nil); !errors.Is(err, store.ErrOutcomeUnknown) || errors.Is(err, fs.ErrExist) {
		t.Errorf("PutIfAbsent: %v, want that the outcome is unknown", err)
	}
}

// TestLostAnswers lets requests have their effect and loses the answer, as a network does.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	var lose atomic.Int64
	var kind atomic.Value
	kind.Store("")
	s := between(t, store.S3Options{Timeout: 5 * time.Second}, func(_ http.ResponseWriter, r *http.Request, pass http.Handler) bool {
		if k := kind.Load().(string); k == "" || !strings.HasPrefix(r.Method+" "+r.URL.RequestURI(), k) || lose.Add(-1) < 0 {
			return true
		}
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler) // cuts the connection
	})
	arm := func(k string, n int64) { lose.Store(n); kind.Store(k) }
	ctx := t.Context()

	arm("PUT", 1)
	check(t, s.Put(ctx, "put", []byte("1")))
	arm("GET", 1)
	b, err := s.Get(ctx, "put")
	if err != nil || string(b) != "1" {
		t.Errorf("Get: %q, %v", b, err)
	}

	// Ours is there, but nothing proves that it is ours: unknown, never "somebody else's".
	arm("PUT", 1)
	err = s.PutIfAbsent(ctx, "absent", []byte("ours"))
	if !errors.Is(err, store.ErrOutcomeUnknown) || errors.Is(err, fs.ErrExist) {
		t.Errorf("PutIfAbsent after a lost answer: %v", err)
	}
	// What is there is plainly another's: certain.
	arm("PUT", 1)
	if err = s.PutIfAbsent(ctx, "absent", []byte("theirs")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("PutIfAbsent over another's: %v", err)
	}

	w, err := s.Create(ctx, "big")
	check(t, err)
	_, err = w.Write(make([]byte, 17<<20))
	check(t, err)
	arm("POST", 1) // the completion
	check(t, w.Close())
	if r, err := s.Open(ctx, "big"); err != nil || r.Size() != 17<<20 {
		t.Errorf("after a lost completion: %v", err)
	}
	arm("DELETE", 1)
	check(t, s.Delete(ctx, "big"))
	arm("POST", 1)
	check(t, s.Delete(ctx, "put", "absent"))
}

func TestServerRefusesDamage(t *testing.T) {
	t.Parallel()
	s := between(t, store.S3Options{Attempts: 1}, func(_ http.ResponseWriter, r *http.Request, pass http.Handler) bool {
		if r.Method == http.MethodPut {
			_, _ = io.ReadFull(r.Body, make([]byte, 1))
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("!"), r.Body))
		}
		return true
	})
	if err := s.Put(t.Context(), "x", []byte("hello")); err == nil {
		t.Error("a damaged body was taken")
	}
	w, err := s.Create(t.Context(), "y")
	check(t, err)
	_, err = w.Write(make([]byte, 9<<20))
	if err := errors.Join(err, w.Close()); err == nil {
		t.Error("a damaged part was taken")
	}
}
