package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/tidemark/tidemark/compaction"
)

// trinoPassword is where Trino's password may stand, since the list of processes shows flags.
const trinoPassword = "TIDEMARK_COMPACTION_TRINO_PASSWORD"

// engineSettings say who rewrites the data files of large tables.
type engineSettings struct {
	engine, fallback string
	largeBytes       string
	largeRows        int64
	timeout          time.Duration

	trino        compaction.TrinoConfig
	passwordFile string
	sparkCatalog string
	sparkSubmit  string
}

func (s *engineSettings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.engine, "compaction-engine", "tidemark", "who rewrites the data files of large tables, if the rewrite is large too: `tidemark, trino or spark`")
	f.StringVar(&s.largeBytes, "compaction-large-bytes", "10GiB", "a table is large when its data files have so many `bytes`")
	f.Int64Var(&s.largeRows, "compaction-large-rows", 0, "or so `many` live rows; 0: rows do not matter")
	f.StringVar(&s.fallback, "compaction-fallback", "tidemark", "who does it while the engine fails: `tidemark or nobody`")
	f.DurationVar(&s.timeout, "compaction-timeout", compaction.DefaultEngineTimeout, "how long one rewrite of an engine may take")
	f.StringVar(&s.trino.URI, "compaction-trino-uri", "", "Trino's `URI`, such as https://trino.example:8443")
	f.StringVar(&s.trino.User, "compaction-trino-user", "tidemark", "`user` that the statements run as")
	f.StringVar(&s.passwordFile, "compaction-trino-password-file", "", "read the user's password from this `file` (or set "+trinoPassword+")")
	f.StringVar(&s.trino.CAFile, "compaction-trino-ca", "", "PEM `file` with the authorities that vouch for Trino; default: the system's")
	f.StringVar(&s.trino.Catalog, "compaction-trino-catalog", "lake", "`name` of the lake's catalog in Trino")
	f.StringVar(&s.sparkCatalog, "compaction-spark-catalog", "lake", "`name` of the lake's catalog in Spark")
	f.StringVar(&s.sparkSubmit, "compaction-spark-submit", "", "`command` that runs the statement added to it, such as 'spark-sql -e'; without, the statement is printed for you to run")
}

// open makes the engine ready. It does not connect.
func (s *engineSettings) open() (compaction.Outside, error) {
	o := compaction.Outside{LargeRows: s.largeRows}
	bytes, err := humanize.ParseBytes(s.largeBytes)
	if err != nil || bytes == 0 {
		return o, usageError{fmt.Errorf("--compaction-large-bytes %q: expected a size like 10GiB", s.largeBytes)}
	}
	o.LargeBytes = int64(bytes)
	switch s.fallback {
	case "tidemark", "nobody":
		o.Wait = s.fallback == "nobody"
	default:
		return o, usageError{fmt.Errorf("--compaction-fallback %q: expected tidemark or nobody", s.fallback)}
	}
	if s.timeout <= 0 {
		return o, usageError{fmt.Errorf("--compaction-timeout %s: it has to be more than nothing", s.timeout)}
	}
	switch s.engine {
	case "tidemark":
	case "trino":
		if s.trino.URI == "" {
			return o, usageError{errors.New("--compaction-engine trino: --compaction-trino-uri is missing")}
		}
		s.trino.Timeout, s.trino.Password = s.timeout, os.Getenv(trinoPassword)
		if s.passwordFile != "" {
			text, err := os.ReadFile(s.passwordFile)
			if err != nil {
				return o, usageError{fmt.Errorf("--compaction-trino-password-file: %w", err)}
			}
			s.trino.Password = strings.TrimRight(string(text), "\r\n")
		}
		if o.Engine, err = compaction.NewTrino(s.trino); err != nil {
			return o, usageError{err}
		}
	case "spark":
		o.Engine = compaction.NewSpark(compaction.SparkConfig{Catalog: s.sparkCatalog, Submit: strings.Fields(s.sparkSubmit), Timeout: s.timeout})
	default:
		return o, usageError{fmt.Errorf("--compaction-engine %q: expected tidemark, trino or spark", s.engine)}
	}
	if err := o.Validate(); err != nil {
		return o, usageError{err}
	}
	return o, nil
}
