package sqlcatalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // registers the driver

	"github.com/tidemark/tidemark/lake/catalog/pointer"
)

var _ pointer.Service = (*Service)(nil)

// Options of a catalog in a database.
type Options struct {
	Password string // where the URL has none
}

// DefaultName is the catalog's name where the URL has none.
const DefaultName = "tidemark"

// dialect is in what databases differ.
type dialect struct {
	tableOptions string
	numbered     bool // placeholders are $1, $2
	open         func(u *url.URL) (*sql.DB, error)
}

var dialects = map[string]dialect{
	"sqlite":     {open: openSQLite},
	"postgresql": {numbered: true, open: openPostgreSQL},
	"postgres":   {numbered: true, open: openPostgreSQL},
	"mysql":      {tableOptions: " DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", open: openMySQL},
}

// AddressError says that a database's URL is not one.
type AddressError struct{ Text string }

func (e *AddressError) Error() string { return e.Text }

// Open connects to sqlite:///path, postgresql://user@host:port/database or mysql://user@host:port/database, and makes the
// catalog's tables where they are missing. The parameter catalog is the catalog's name: what other programs call it. It fails
// with *AddressError for what is none of these.
func Open(ctx context.Context, text string, o Options) (*Service, error) {
	u, err := url.Parse(text)
	if err != nil { // whose text may hold a password
		return nil, &AddressError{"the catalog database's URL cannot be read: expected sqlite:///path, postgresql://USER@HOST:PORT/DATABASE or mysql://USER@HOST:PORT/DATABASE, with %XX for special characters"}
	}
	d, ok := dialects[u.Scheme]
	if !ok {
		return nil, &AddressError{fmt.Sprintf("a catalog database of the kind %q: known are sqlite:///path, postgresql://USER@HOST:PORT/DATABASE and mysql://USER@HOST:PORT/DATABASE", u.Scheme)}
	}
	if _, has := u.User.Password(); !has && o.Password != "" && u.User != nil {
		u.User = url.UserPassword(u.User.Username(), o.Password)
	}
	s := &Service{name: DefaultName, url: shown(u)}
	if query := u.Query(); query.Has("catalog") {
		s.name = query.Get("catalog")
		query.Del("catalog")
		u.RawQuery = query.Encode()
	}
	if s.db, err = d.open(u); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(8)
	s.db.SetConnMaxIdleTime(time.Minute)
	err = s.db.PingContext(ctx)
	if err != nil {
		err = s.failed("connect", err)
	} else {
		err = s.prepare(ctx, d)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// shown is a URL for people: without the password, which may be among the parameters too.
func shown(u *url.URL) string {
	bare := *u
	bare.RawQuery = ""
	return bare.Redacted()
}

// openSQLite waits for other programs' locks instead of failing at once.
func openSQLite(u *url.URL) (*sql.DB, error) {
	if u.Path == "" || u.Host != "" {
		return nil, &AddressError{fmt.Sprintf("%s: expected sqlite:///path/of/the/file", shown(u))}
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: u.Path, RawQuery: "_pragma=busy_timeout(20000)&_txlock=immediate"}).String())
}

func openPostgreSQL(u *url.URL) (*sql.DB, error) {
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, &AddressError{fmt.Sprintf("%s: expected postgresql://USER@HOST:PORT/DATABASE, with sslmode and other parameters of libpq", shown(u))}
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // one message a statement, and nothing kept that a pooler would mix up
	return stdlib.OpenDB(*cfg), nil
}

func openMySQL(u *url.URL) (*sql.DB, error) {
	db := strings.TrimPrefix(u.Path, "/")
	if u.Host == "" || db == "" || u.User == nil {
		return nil, &AddressError{fmt.Sprintf("%s: expected mysql://USER@HOST:PORT/DATABASE", shown(u))}
	}
	host := u.Host
	if u.Port() == "" {
		host += ":3306"
	}
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName, cfg.User, cfg.Timeout = "tcp", host, db, u.User.Username(), 10*time.Second
	cfg.Passwd, _ = u.User.Password()
	cfg.InterpolateParams = true    // one message a statement
	cfg.Logger = &mysql.NopLogger{} // what it would print is in the errors
	for key := range u.Query() {
		if key != "tls" {
			return nil, &AddressError{fmt.Sprintf("%s: unknown parameter %q: tls=true|skip-verify|preferred|false is known", shown(u), key)}
		}
		cfg.TLSConfig = u.Query().Get(key)
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, &AddressError{fmt.Sprintf("%s: %v", shown(u), err)}
	}
	return sql.OpenDB(connector), nil
}
