package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
)

// TLSMode says how a connection is protected.
type TLSMode string

// The modes of --source ...?tls=; the names are those of the mysql client's --ssl-mode, shortened.
const (
	TLSOff        TLSMode = "off"
	TLSPreferred  TLSMode = "preferred"   // TLS where the server has it, unverified
	TLSRequired   TLSMode = "required"    // TLS, unverified
	TLSVerifyCA   TLSMode = "verify-ca"   // the certificate comes from CAFile's (or the system's) authorities
	TLSVerifyFull TLSMode = "verify-full" // ... and names the host
)

// Config says which servers to read from, and how.
type Config struct {
	Hosts    []string // "host:port", in order of preference among equals
	User     string
	Password string
	TLS      TLSMode // default TLSPreferred
	CAFile   string  // PEM file for TLSVerifyCA and TLSVerifyFull; default: the system's authorities

	// Pipeline is our identity: from its name comes the replica UUID that we show to servers. A server ends an older
	// connection with the same UUID, so a connection of ours that died without the server noticing cannot stand in our
	// way; and two readers of one name end each other's connections in turn.
	Pipeline    string
	ServerIDMin uint32 // range that a replica server id is drawn from for each connection;
	ServerIDMax uint32 // default 1,000,000,000 to 1,999,999,999

	HeartbeatPeriod time.Duration // of an idle server; default 1s
	ReadTimeout     time.Duration // silence after which a server counts as stalled; default 3 heartbeats
	ConnectTimeout  time.Duration // for connection and log-in, and again for all questions of a probe; default 2s

	// FallbackInterval is how long before a position's time its place on another server is looked for, where transactions
	// have no GTIDs. Default 60s.
	FallbackInterval time.Duration

	// Wanted says whether a table's rows are delivered; those of others are dropped as they come. It is asked once for
	// each table definition in the log. Nil: all are.
	Wanted func(db, table string) bool
	// MaxBuffered is how many bytes of row images of one transaction are held; a larger one is delivered in parts.
	// Default 64 MiB.
	MaxBuffered int

	Logger *slog.Logger // default slog.Default()
}

// DefaultFallback is the default of Config.FallbackInterval.
const DefaultFallback = time.Minute

// ensureDefaults returns the configuration with what is zero filled in.
func (c Config) ensureDefaults() Config {
	if c.TLS == "" {
		c.TLS = TLSPreferred
	}
	if c.Pipeline == "" {
		c.Pipeline = "tidemark"
	}
	if c.ServerIDMin == 0 {
		c.ServerIDMin, c.ServerIDMax = 1_000_000_000, 1_999_999_999
	}
	c.ServerIDMax = max(c.ServerIDMax, c.ServerIDMin)
	if c.HeartbeatPeriod == 0 {
		c.HeartbeatPeriod = time.Second
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 3 * c.HeartbeatPeriod
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	if c.FallbackInterval == 0 {
		c.FallbackInterval = DefaultFallback
	}
	if c.Wanted == nil {
		c.Wanted = func(string, string) bool { return true }
	}
	if c.MaxBuffered == 0 {
		c.MaxBuffered = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// String returns the configuration as a URL, without the password.
func (c Config) String() string {
	u := url.URL{Scheme: "mysql", Host: strings.Join(c.Hosts, ","), Path: "/"}
	switch {
	case c.Password != "":
		u.User = url.UserPassword(c.User, "xxxxx")
	case c.User != "":
		u.User = url.User(c.User)
	}
	q := url.Values{}
	if c.TLS != "" {
		q.Set("tls", string(c.TLS))
	}
	if c.CAFile != "" {
		q.Set("tls-ca", c.CAFile)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// GoString keeps the password out of %#v.
func (c Config) GoString() string { return "source.Config(" + c.String() + ")" }

// LogValue keeps the password out of structured logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// ReplicaUUID returns the UUID that we show to servers, made from the pipeline's name (RFC 9562, version 5).
func (c Config) ReplicaUUID() string {
	name := c.Pipeline
	if name == "" {
		name = "tidemark"
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("tidemark:pipeline:"+name)).String()
}

// drawServerID returns a server id of the range, other than taken.
func (c Config) drawServerID(taken ...uint32) uint32 {
	for range 64 {
		id := c.ServerIDMin + uint32(rand.Uint64N(uint64(c.ServerIDMax-c.ServerIDMin)+1))
		free := true
		for _, t := range taken {
			free = free && id != t
		}
		if free {
			return id
		}
	}
	return c.ServerIDMin // a range of one number, and it is taken: the server will say so
}

// ParseURL reads mysql://USER[:PASSWORD]@HOST:PORT[,HOST:PORT...]/[?tls=MODE][&tls-ca=FILE]. The port may be left out
// (3306), IPv6 addresses stand in brackets, and reserved characters of user and password are percent-encoded. Its
// errors never contain the password.
func ParseURL(text string) (Config, error) {
	const form = "expected mysql://USER[:PASSWORD]@HOST:PORT[,HOST:PORT...]/[?tls=off|preferred|required|verify-ca|verify-full]"
	rest, ok := strings.CutPrefix(text, "mysql://")
	if !ok {
		return Config{}, fmt.Errorf("source URL does not begin with mysql://: %s", form)
	}
	rest, query, _ := strings.Cut(rest, "?")
	// The last @ ends the password, so that one inside it does no harm; the path comes after it.
	var c Config
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		rest = rest[at+1:]
		var err, perr error
		c.User, err = url.PathUnescape(user)
		c.Password, perr = url.PathUnescape(password)
		if err != nil || perr != nil {
			return Config{}, errors.New("source URL: user or password has a % that is not followed by two hexadecimal digits: write it as %25")
		}
	}
	if c.User == "" {
		return Config{}, fmt.Errorf("source URL names no user: %s", form)
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if path != "" {
		return Config{}, fmt.Errorf("source URL ends in the path /%s: databases and tables are chosen with --tables", path)
	}
	for h := range strings.SplitSeq(hosts, ",") {
		addr, err := ParseHost(strings.TrimSpace(h))
		if err != nil {
			return Config{}, fmt.Errorf("source URL: %w", err)
		}
		c.Hosts = append(c.Hosts, addr)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, fmt.Errorf("source URL: %w", err)
	}
	for key := range values {
		switch key {
		case "tls":
			c.TLS = TLSMode(values.Get(key))
		case "tls-ca":
			c.CAFile = values.Get(key)
		default:
			return Config{}, fmt.Errorf("source URL has the unknown parameter %q: known are tls and tls-ca", key)
		}
	}
	switch c.TLS {
	case "", TLSOff, TLSPreferred, TLSRequired, TLSVerifyCA, TLSVerifyFull:
		return c, nil
	}
	return Config{}, fmt.Errorf("source URL: tls=%s: expected off, preferred, required, verify-ca or verify-full", c.TLS)
}

// ParseHost reads HOST:PORT; the port may be left out (3306), and an IPv6 address stands in brackets.
func ParseHost(text string) (string, error) {
	if text == "" {
		return "", errors.New("a host is missing")
	}
	host, port := text, "3306"
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	} else if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		host = text[1 : len(text)-1]
	} else if strings.Contains(text, ":") {
		return "", fmt.Errorf("host %q: expected HOST:PORT, an IPv6 address as [::1]:3306", text)
	}
	if host == "" {
		return "", fmt.Errorf("host %q names no host", text)
	}
	if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
		return "", fmt.Errorf("host %q: %q is not a port", text, port)
	}
	return net.JoinHostPort(host, port), nil
}

// tlsConfig returns nil for no TLS.
func (c Config) tlsConfig(host string) (*tls.Config, error) {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return nil, fmt.Errorf("host %q: %w", host, err)
	}
	t := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	switch c.TLS {
	case TLSOff:
		return nil, nil
	case TLSPreferred, TLSRequired:
		t.InsecureSkipVerify = true
		return t, nil
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the certificate authorities: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", c.CAFile)
		}
	}
	if c.TLS == TLSVerifyCA {
		t.InsecureSkipVerify = true // of the host name; the chain is verified here
		roots := t.RootCAs
		t.VerifyConnection = func(s tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, cert := range s.PeerCertificates[1:] {
				between.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			return err
		}
	}
	return t, nil
}
