package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/rest"
)

// serveSettings are who may reach the REST catalog, and how.
type serveSettings struct {
	address          string
	token, tokenFile string
	cert, key        string // files, PEM
	insecure         bool
}

func (s *serveSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.token, "token", "", "clients must send this `bearer token`; better in TIDEMARK_TOKEN, which no list of processes shows")
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
			l, err := a.openLake(c.Context(), true)
			if err != nil {
				return err
			}
			stop, err := a.startServer(c.Context(), s, l)
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
func (s serveSettings) validate(ctx context.Context) error {
	if (s.cert == "") != (s.key == "") {
		return usageError{errors.New("--tls-cert and --tls-key belong together: give both, or neither")}
	}
	if s.token != "" || s.tokenFile != "" || s.insecure {
		return nil
	}
	host, _, err := net.SplitHostPort(s.address)
	if err != nil {
		return usageError{fmt.Errorf("address %q: expected HOST:PORT: %w", s.address, err)}
	}
	local := false
	if ip := net.ParseIP(host); ip != nil {
		local = ip.IsLoopback()
	} else if host != "" {
		ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
		if err != nil {
			return usageError{fmt.Errorf("address %q: %w", s.address, err)}
		}
		local = len(ips) > 0
		for _, ip := range ips {
			local = local && ip.IP.IsLoopback()
		}
	}
	if !local {
		return usageError{fmt.Errorf("address %s can be reached from other machines, and there is no token: set TIDEMARK_TOKEN or --token-file, listen on 127.0.0.1, or say --insecure", s.address)}
	}
	return nil
}

// startServer serves the REST catalog in the background until stop is called.
func (a *app) startServer(ctx context.Context, s serveSettings, l *lake.Lake) (stop func() error, err error) {
	if err := s.validate(ctx); err != nil {
		return nil, err
	}
	tokens, err := rest.NewTokens(s.token, s.tokenFile)
	if err != nil {
		return nil, usageError{err}
	}
	scheme, config := "http", (*tls.Config)(nil)
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, usageError{fmt.Errorf("--tls-cert, --tls-key: %w", err)}
		}
		scheme, config = "https", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.address, err)
	}
	a.log.Info("serving the Iceberg REST catalog", "address", scheme+"://"+listener.Addr().String(), "authentication", tokens != nil)
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	server := &http.Server{
		Handler: rest.New(rest.Options{
			Catalog: l.Catalog, Readers: rest.S3{Endpoint: a.s3Endpoint, Region: a.s3Region, PathStyle: a.s3Endpoint != ""}, Tokens: tokens, Logger: a.log,
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
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
