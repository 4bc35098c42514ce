package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Tokens are the bearer tokens that the service accepts (RFC 6750). They come from the command line or from a file with
// one in a line, which is read again when it changes: so tokens are exchanged without a restart. One that the file held
// once and does not any more has expired (419 in the protocol); any other is unknown (401).
type Tokens struct {
	fixed [][sha256.Size]byte
	file  string

	mu      sync.Mutex
	read    time.Time // the file's time of change when it was read
	size    int64
	now     [][sha256.Size]byte
	expired [][sha256.Size]byte
}

// NewTokens takes one token, or a file of them, or both. Without either it returns nil: then there is no authentication.
func NewTokens(token, file string) (*Tokens, error) {
	if token == "" && file == "" {
		return nil, nil
	}
	t := &Tokens{file: file}
	if token != "" {
		t.fixed = append(t.fixed, sha256.Sum256([]byte(token)))
	}
	if _, _, err := t.valid(); err != nil {
		return nil, err
	}
	return t, nil
}

// valid returns digests of the tokens that are valid and of those that were.
func (t *Tokens) valid() (valid, expired [][sha256.Size]byte, err error) {
	if t.file == "" {
		return t.fixed, nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.file)
	if err != nil {
		return nil, nil, fmt.Errorf("token file: %w", err)
	}
	if !info.ModTime().Equal(t.read) || info.Size() != t.size {
		text, err := os.ReadFile(t.file)
		if err != nil {
			return nil, nil, fmt.Errorf("token file: %w", err)
		}
		var now [][sha256.Size]byte
		for token := range strings.Lines(string(text)) {
			if token = strings.TrimSpace(token); token != "" {
				now = append(now, sha256.Sum256([]byte(token)))
			}
		}
		if len(now) == 0 && len(t.fixed) == 0 {
			return nil, nil, fmt.Errorf("token file %s: there is no token in it; put one in a line", t.file)
		}
		t.expired = append(t.expired, t.now...)
		t.now, t.read, t.size = now, info.ModTime(), info.Size()
	}
	return append(t.fixed[:len(t.fixed):len(t.fixed)], t.now...), t.expired[:len(t.expired):len(t.expired)], nil
}

// contains compares with all, in a time that does not depend on how much of one is right.
func contains(all [][sha256.Size]byte, token string) bool {
	digest := sha256.Sum256([]byte(token))
	found := 0
	for _, one := range all {
		found |= subtle.ConstantTimeCompare(one[:], digest[:])
	}
	return found == 1
}

func (t *Tokens) check(header string) error {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return &protocolError{http.StatusUnauthorized, "NotAuthorizedException", "this service wants a bearer token: configure the client with it"}
	}
	token = strings.TrimSpace(token)
	valid, expired, err := t.valid()
	switch {
	case err != nil:
		return &protocolError{http.StatusServiceUnavailable, "ServiceUnavailableException", "the service cannot read its tokens"}
	case contains(valid, token):
		return nil
	case contains(expired, token):
		return &protocolError{authenticationTimeout, "AuthenticationTimeoutException", "the bearer token has expired: configure the client with the new one"}
	}
	return &protocolError{http.StatusUnauthorized, "NotAuthorizedException", "the bearer token is not one of this service"}
}

// Admit reports whether a request brings a valid token; without tokens, each one is admitted.
func (t *Tokens) Admit(r *http.Request) bool {
	return t == nil || t.check(r.Header.Get("Authorization")) == nil
}

// Challenge is the WWW-Authenticate header of an answer to a request without a token.
const Challenge = `Bearer realm="tidemark"`

// authenticationTimeout is the protocol's status for credentials that have timed out; it is not in the HTTP standard.
const authenticationTimeout = 419

// guard lets through who has a token. A panic in a handler is answered like any other failure.
func (s *server) guard(tokens *Tokens, inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				s.fail(w, r, fmt.Errorf("%w: %v", errPanic, p))
			}
		}()
		if tokens != nil {
			if err := tokens.check(r.Header.Get("Authorization")); err != nil {
				w.Header().Set("WWW-Authenticate", Challenge)
				s.fail(w, r, err)
				return
			}
		}
		inner.ServeHTTP(w, r)
	})
}

var errPanic = errors.New("internal error")
