package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/rest"
)

func (a *app) serveCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the lake as an Iceberg REST catalog",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := a.openLake(c.Context(), true)
			if err != nil {
				return err
			}
			stop, err := a.startServer(listen, l, nil)
			if err != nil {
				return err
			}
			<-c.Context().Done()
			return stop()
		},
	}
	a.lakeFlags(c.Flags())
	c.Flags().StringVar(&listen, "listen", rest.DefaultAddress, "`address` to listen on; there is no authentication yet, so keep it on a trusted network")
	return c
}

// startServer serves the REST catalog in the background until stop is called, and the pages of a pipeline where there is
// one.
func (a *app) startServer(address string, l *lake.Lake, pages http.Handler) (stop func() error, err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", rest.New(rest.Options{
		Catalog: l.Catalog, Readers: rest.S3{Endpoint: a.s3Endpoint, Region: a.s3Region, PathStyle: a.s3Endpoint != ""}, Logger: a.log,
	}))
	if pages != nil {
		mux.Handle("/metrics", pages)
		mux.Handle("/healthz", pages)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	a.log.Info("serving the Iceberg REST catalog", "address", "http://"+listener.Addr().String())
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
