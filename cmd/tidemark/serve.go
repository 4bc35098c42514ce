package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemark/tidemark/internal/config"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
)

// serveSettings are who may reach the REST catalog, and how.
type serveSettings struct {
	address          string
	token, tokenFile string
	cert, key        string // files, PEM
	insecure         bool

	plain bool // tokens go over the network unencrypted
}

func (s *serveSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.token, "token", "", "clients must send this `bearer token`; better in TIDEMARK_SERVE_TOKEN, which no list of processes shows")
	config.Variable(f, "token", "TIDEMARK_SERVE_TOKEN")
	f.StringVar(&s.tokenFile, "token-file", "", "read bearer tokens from this `file`, one in a line; it is read again when it changes")
	f.StringVar(&s.cert, "tls-cert", "", "serve HTTPS with the certificate chain in this PEM `file`")
	f.StringVar(&s.key, "tls-key", "", "and the private key in this PEM `file`")
	f.BoolVar(&s.insecure, "insecure", false, "without a token, let others than this machine in as well: whoever reaches the address can then change and drop tables")
}

func (a *app) serveCommand() *cobra.Command {
	var s serveSettings
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the lake as an Iceberg REST catalog",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.validate(c.Context()); err != nil {
				return err
			}
			if a.catalog != "bucket" {
				return usageError{fmt.Errorf("serve makes a REST catalog of the bucket catalog; with --catalog %s, let engines ask that one", kindOf(a.catalog))}
			}
			l, err := a.openLake(c.Context(), true)
			if err != nil {
				return err
			}
			stop, err := a.startServer(c.Context(), &s, l, nil)
			if err != nil {
				return err
			}
			<-c.Context().Done()
			return stop()
		},
	}
	a.lakeFlags(c.Flags())
	c.Flags().StringVar(&s.address, "listen", rest.DefaultAddress, "`address` to listen on")
	s.flags(c.Flags())
	return c
}

// validate refuses settings that would leave the lake open.
func (s *serveSettings) validate(ctx context.Context) error {
	if (s.cert == "") != (s.key == "") {
		return usageError{errors.New("--tls-cert and --tls-key belong together: give both, or neither")}
	}
	token := s.token != "" || s.tokenFile != ""
	if s.insecure && token {
		return usageError{errors.New("--insecure lets clients in without a token, and there is one: leave either out")}
	}
	local, err := loopback(ctx, s.address)
	if err != nil {
		return usageError{fmt.Errorf("address %q: %w", s.address, err)}
	}
	if !local && !token && !s.insecure {
		return usageError{fmt.Errorf("address %s can be reached from other machines, and there is no token: set TIDEMARK_SERVE_TOKEN or --token-file, listen on 127.0.0.1, or say --insecure", s.address)}
	}
	s.plain = !local && token && s.cert == ""
	return nil
}

// loopback reports whether nobody but this machine can reach what listens on an address.
func loopback(ctx context.Context, address string) (bool, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("expected HOST:PORT: %w", err)
	}
	if host == "" {
		return false, nil
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(ips, func(ip net.IPAddr) bool { return !ip.IP.IsLoopback() }), nil
}

// kindOf is the name of a catalog without its address, which may hold a password.
func kindOf(name string) string {
	kind, _, _ := strings.Cut(name, ":")
	return kind
}

// startServer serves in the background, until stop is called, the REST catalog over a lake whose catalog is the bucket, and the
// pages of a pipeline where there is one.
func (a *app) startServer(ctx context.Context, s *serveSettings, l *lake.Lake, pages http.Handler) (stop func() error, err error) {
	if err := s.validate(ctx); err != nil {
		return nil, err
	}
	tokens, err := rest.NewTokens(s.token, s.tokenFile)
	if err != nil {
		return nil, usageError{err}
	}
	scheme, secure := "http", (*tls.Config)(nil)
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, usageError{fmt.Errorf("--tls-cert, --tls-key: %w", err)}
		}
		scheme, secure = "https", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.address, err)
	}
	bucket, isBucket := l.Catalog.(*catalog.Bucket)
	what := "serving the Iceberg REST catalog"
	if !isBucket {
		what = "serving /metrics and /healthz"
	}
	a.log.Info(what, "authentication", tokens != nil, "address", scheme+"://"+listener.Addr().String())
	if s.plain {
		a.log.Warn("tokens go over the network in clear text: whoever listens there can use them; give --tls-cert and --tls-key, or put a proxy with TLS before it")
	}
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	mux := http.NewServeMux()
	if isBucket {
		mux.Handle("/", rest.New(rest.Options{
			Catalog: bucket, Readers: rest.S3{Endpoint: a.s3Endpoint, Region: a.s3Region, PathStyle: a.s3Endpoint != ""}, Tokens: tokens, Logger: a.log,
		}))
	}
	if pages != nil {
		pages = guarded(tokens, pages)
		mux.Handle("/metrics", pages)
		mux.Handle("/healthz", pages)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if serveErr := <-done; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}, nil
}

// guarded is for the pages of a pipeline. Where there are tokens, a request without one does not see the metrics, and of the
// health only the status: a load balancer needs no more, and the text names servers.
func guarded(tokens *rest.Tokens, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case tokens.Admit(r):
			pages.ServeHTTP(w, r)
		case r.URL.Path == "/healthz":
			pages.ServeHTTP(statusOnly{w}, r)
		default:
			w.Header().Set("WWW-Authenticate", rest.Challenge)
			http.Error(w, "this page wants a bearer token", http.StatusUnauthorized)
		}
	})
}

// statusOnly drops the body of an answer.
type statusOnly struct{ http.ResponseWriter }

func (statusOnly) Write(text []byte) (int, error) { return len(text), nil }
