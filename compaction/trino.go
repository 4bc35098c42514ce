package compaction

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/trinodb/trino-go-client/trino"
)

// TrinoConfig says how a Trino is reached.
type TrinoConfig struct {
	URI      string // https://trino.example:8443
	User     string // who runs the statements; default "tidemark"
	Password string // needs https; empty: none
	CAFile   string // PEM file with the authorities that vouch for the server; empty: the system's
	Catalog  string // name of the lake's catalog in Trino; default "lake"
	Timeout  time.Duration
}

// Trino rewrites with its `ALTER TABLE ... EXECUTE optimize`, one statement a group. In tables of format 3 rows keep their ids
// (since Trino 483); in tables with a sort order, as tidemark's have, rows are sorted by it. Trino's commit fails when a row
// of the files was deleted since it began to read them. How large its files become is Trino's own setting.
type Trino struct {
	db      *sql.DB
	catalog string
	timeout time.Duration
}

// Of requests to Trino.
const (
	trinoAnswers  = 10 * time.Second // how long a request is tried
	trinoMaxBytes = "1PB"            // optimize skips larger files, if they have no deletes: the files are named instead
)

// DefaultEngineTimeout is how long one rewrite of an engine may take.
const DefaultEngineTimeout = 2 * time.Hour

// NewTrino does not connect yet.
func NewTrino(c TrinoConfig) (*Trino, error) {
	uri, err := url.Parse(c.URI)
	if err != nil || uri.Host == "" || uri.Scheme != "http" && uri.Scheme != "https" {
		return nil, errors.New("the address of Trino: expected a URI like https://trino.example:8443")
	}
	if uri.User != nil {
		return nil, fmt.Errorf("the address of Trino, %s: user and password have settings of their own", uri.Redacted())
	}
	if c.Password != "" && uri.Scheme != "https" {
		return nil, fmt.Errorf("the address of Trino, %s: a password takes https", uri)
	}
	if c.User == "" {
		c.User = "tidemark"
	}
	if c.Catalog == "" {
		c.Catalog = "lake"
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultEngineTimeout
	}
	uri.User = url.User(c.User)
	if c.Password != "" {
		uri.User = url.UserPassword(c.User, c.Password)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the authorities of Trino: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("the authorities of Trino: %s has no PEM certificate", c.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	tries := trinoAnswers
	connector, err := trino.NewConnector(&trino.Config{
		ServerURI: uri.String(), Source: "tidemark", HTTPClient: &http.Client{Transport: transport}, RequestRetryTimeout: &tries, DisableExplicitPrepare: true,
	})
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(0)
	return &Trino{db: db, catalog: c.Catalog, timeout: c.Timeout}, nil
}

// Name implements Engine.
func (*Trino) Name() string { return "trino" }

// Statements implements Engine.
func (t *Trino) Statements(w Work) []string {
	var list []string
	for i := range w.Groups {
		var paths []string
		for j := range w.Groups[i].Files {
			paths = append(paths, literal(w.Groups[i].Files[j].Path))
		}
		list = append(list, fmt.Sprintf(`ALTER TABLE %s.%s.%s EXECUTE optimize(file_size_threshold => '%s') WHERE "$path" IN (%s)`,
			identifier(t.catalog), identifier(w.Table.DB), identifier(w.Table.Table), trinoMaxBytes, strings.Join(paths, ", ")))
	}
	return list
}

// Rewrite implements Engine. It ends with the first group that fails.
func (t *Trino) Rewrite(ctx context.Context, w Work) error {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return t.failed(err)
	}
	defer conn.Close()
	for _, statement := range t.Statements(w) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return t.failed(err)
		}
	}
	return nil
}

// failed classifies an error.
func (t *Trino) failed(err error) error {
	e := &EngineError{Engine: "Trino", Failure: Unreachable, Err: err}
	var answered *trino.ErrTrino
	var status *trino.ErrQueryFailed
	switch {
	case errors.As(err, &answered) && (answered.ErrorName == "ICEBERG_COMMIT_ERROR" || answered.ErrorName == "TRANSACTION_CONFLICT"):
		e.Failure = Overtaken
	case errors.As(err, &answered), errors.As(err, &status) && status.StatusCode/100 == 4:
		e.Failure = Refused
	}
	return e
}

// identifier quotes a name.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal quotes a text.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
