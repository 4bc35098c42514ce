package restcatalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// authority has the bearer token: the one that was given, or the one that a credential was exchanged for (RFC 6749, "Client
// Credentials Grant").
type authority struct {
	token      string
	credential string
	scope      string
	uri        string // where to exchange

	mu      sync.Mutex
	issued  string
	expires time.Time
}

// early is how long before its end a token is exchanged for a new one, and lifetime how long one is kept of which the server
// does not say.
const (
	early    = time.Minute
	lifetime = time.Hour
)

// get returns a token, empty where none is configured.
func (a *authority) get(ctx context.Context, client *http.Client) (string, error) {
	if a.token != "" || a.credential == "" {
		return a.token, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.issued != "" && time.Now().Before(a.expires) {
		return a.issued, nil
	}
	answer, err := a.exchange(ctx, client)
	if err != nil {
		return "", fmt.Errorf("exchange TIDEMARK_CATALOG_CREDENTIAL for a token at %s: %w", a.uri, err)
	}
	left := lifetime
	if answer.ExpiresIn > 0 {
		left = time.Duration(answer.ExpiresIn) * time.Second
	}
	a.issued, a.expires = answer.Token, time.Now().Add(max(left-early, left/2))
	return a.issued, nil
}

// expire forgets a token that was refused, and reports whether there may be another.
func (a *authority) expire(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" || a.credential == "" {
		return false
	}
	if a.issued == token {
		a.issued = ""
	}
	return true
}

type tokenAnswer struct {
	Token     string `json:"access_token"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

func (a *authority) exchange(ctx context.Context, client *http.Client) (answer tokenAnswer, err error) {
	id, secret, both := strings.Cut(a.credential, ":")
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"catalog"}}
	if a.scope != "" {
		form.Set("scope", a.scope)
	}
	if both {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	} else {
		form.Set("client_secret", a.credential)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.uri, strings.NewReader(form.Encode()))
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(response.Body, errorLimit))
	if err != nil {
		return answer, err
	}
	if response.StatusCode/100 != 2 {
		return answer, &Error{Method: http.MethodPost, URL: a.uri, Status: response.StatusCode}
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Token == "" {
		return answer, errors.New("the answer has no access_token")
	}
	return answer, nil
}
