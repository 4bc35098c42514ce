package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/internal/config"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog/open"
	"github.com/tidemark/tidemark/lake/store"
)

// app holds the settings that several commands share.
type app struct {
	out, errOut io.Writer
	log         *slog.Logger
	bar         *loadBar // nil without a terminal

	configFile string
	logFormat  string
	logLevel   slog.Level
	json       bool

	source       string
	passwordFile string
	tables       string
	pipeline     string
	serverIDs    string
	fallback     time.Duration

	lake       string
	catalog    string
	s3Endpoint string
	s3Region   string
}

func newRoot(out, errOut io.Writer) *cobra.Command {
	a := &app{out: out, errOut: errOut}
	root := &cobra.Command{
		Use:           "tidemark",
		Short:         "MySQL into an Iceberg lake: exact, portable, plain",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&a.configFile, "config", "c", "", "read settings from this YAML `file`; flags and TIDEMARK_* variables beat it")
	flags.StringVar(&a.logFormat, "log-format", "text", "log as `text or json`")
	flags.TextVar(&a.logLevel, "log-level", slog.LevelInfo, "log at this `level` and above: debug, info, warn, error")
	root.AddCommand(a.ingestCommand(), a.loadCommand(), a.doctorCommand(), a.statusCommand(), a.verifyCommand(), a.compactCommand(), a.serveCommand(), a.checkpointCommand(), versionCommand(out))
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		known := pflag.NewFlagSet("every command", pflag.ContinueOnError)
		addFlags(known, root)
		if err := config.Apply(c.Flags(), known, a.configFile, os.LookupEnv); err != nil {
			return err
		}
		return a.startLog()
	}
	return root
}

// addFlags adds the flags of a command and all below it.
func addFlags(to *pflag.FlagSet, c *cobra.Command) {
	to.AddFlagSet(c.Flags())
	to.AddFlagSet(c.PersistentFlags())
	for _, child := range c.Commands() {
		addFlags(to, child)
	}
}

func (a *app) startLog() error {
	options := &slog.HandlerOptions{Level: a.logLevel}
	out := a.errOut
	if a.bar = newLoadBar(a.errOut); a.bar != nil {
		out = a.bar
	}
	switch a.logFormat {
	case "text":
		a.log = slog.New(slog.NewTextHandler(out, options))
	case "json":
		a.log = slog.New(slog.NewJSONHandler(out, options))
	default:
		return usageError{fmt.Errorf("--log-format %q: expected text or json", a.logFormat)}
	}
	slog.SetDefault(a.log)
	return nil
}

func (a *app) sourceFlags(f *pflag.FlagSet) {
	f.StringVar(&a.source, "source", "", "`mysql://USER[:PASSWORD]@HOST:PORT[,HOST:PORT...]/[?tls=off|preferred|required|verify-ca|verify-full]`")
	f.StringVar(&a.passwordFile, "source-password-file", "", "read the source's password from this `file` (or set TIDEMARK_SOURCE_PASSWORD)")
	f.StringVar(&a.tables, "tables", "*.*", "tables to follow: `globs` like 'shop.*,!shop.secret'")
	f.StringVar(&a.pipeline, "pipeline", "tidemark", "`name` of the pipeline: its identity for the source and in checkpoints")
	f.DurationVar(&a.fallback, "fallback-interval", source.DefaultFallback, "where transactions have no GTIDs: `how long` before a position's time its place on another server is looked for")
	f.StringVar(&a.serverIDs, "server-ids", "", "`range` like 5000-5999 to draw our replica server id from")
}

func (a *app) lakeFlags(f *pflag.FlagSet) {
	f.StringVar(&a.lake, "lake", "", "where the tables live: `file:///path or s3://bucket/prefix`")
	f.StringVar(&a.catalog, "catalog", "bucket", "`catalog` of the tables: bucket (the lake itself), rest:URL, sql:URL, glue: or hive:URL")
	f.StringVar(&a.s3Endpoint, "s3-endpoint", "", "`URL` of an S3-compatible store such as MinIO; default: Amazon S3")
	f.StringVar(&a.s3Region, "s3-region", "", "`region` of the bucket (default AWS_REGION, else us-east-1)")
}

// showLoads makes loads show their progress: on a terminal by a bar, else in the log.
func (a *app) showLoads(o *ingest.Options) {
	if a.bar == nil {
		return
	}
	o.QuietLoads = true
	observer := o.Observer
	o.Observer = func(e ingest.Event) {
		a.bar.observe(e)
		if observer != nil {
			observer(e)
		}
	}
}

// openSource reads the replica list.
func (a *app) openSource() (source.Config, source.Filter, error) {
	if a.source == "" {
		return source.Config{}, source.Filter{}, usageError{errors.New("--source is missing: mysql://USER@HOST:PORT[,HOST:PORT...]/")}
	}
	cfg, err := source.ParseURL(a.source)
	if err != nil {
		return cfg, source.Filter{}, usageError{err}
	}
	switch {
	case a.passwordFile != "":
		text, err := os.ReadFile(a.passwordFile)
		if err != nil {
			return cfg, source.Filter{}, usageError{fmt.Errorf("--source-password-file: %w", err)}
		}
		cfg.Password = strings.TrimRight(string(text), "\r\n")
	case os.Getenv("TIDEMARK_SOURCE_PASSWORD") != "":
		cfg.Password = os.Getenv("TIDEMARK_SOURCE_PASSWORD")
	}
	if a.serverIDs != "" {
		if _, err := fmt.Sscanf(a.serverIDs, "%d-%d", &cfg.ServerIDMin, &cfg.ServerIDMax); err != nil || cfg.ServerIDMin == 0 || cfg.ServerIDMax < cfg.ServerIDMin {
			return cfg, source.Filter{}, usageError{fmt.Errorf("--server-ids %q: expected a range like 5000-5999", a.serverIDs)}
		}
	}
	filter, err := source.ParseFilter(a.tables)
	if err != nil {
		return cfg, filter, usageError{fmt.Errorf("--tables: %w", err)}
	}
	if a.fallback <= 0 {
		return cfg, filter, usageError{fmt.Errorf("--fallback-interval %s: it has to be more than nothing", a.fallback)}
	}
	cfg.Pipeline, cfg.Logger, cfg.FallbackInterval = a.pipeline, a.log, a.fallback
	return cfg, filter, nil
}

// openLake opens the lake and its catalog, having made sure that a store that is the catalog can commit.
func (a *app) openLake(ctx context.Context, write bool) (*lake.Lake, error) {
	if a.lake == "" {
		return nil, usageError{errors.New("--lake is missing: file:///path or s3://bucket/prefix")}
	}
	s, err := store.Open(ctx, a.lake, store.S3Options{Endpoint: a.s3Endpoint, Region: a.s3Region})
	if err != nil {
		return nil, err
	}
	if write && a.catalog == "bucket" {
		if err := store.CheckConditionalPut(ctx, s); err != nil {
			return nil, err
		}
	}
	c, err := open.Catalog(ctx, a.catalog, s, open.Secrets{
		Token: os.Getenv("TIDEMARK_CATALOG_TOKEN"), Credential: os.Getenv("TIDEMARK_CATALOG_CREDENTIAL"), Password: os.Getenv("TIDEMARK_CATALOG_PASSWORD"),
	})
	var usage *open.UsageError
	switch {
	case errors.As(err, &usage):
		return nil, usageError{fmt.Errorf("--catalog: %w", err)}
	case err != nil:
		return nil, fmt.Errorf("--catalog: %w", err)
	}
	return &lake.Lake{Store: s, Catalog: c, Logger: a.log}, nil
}
