package restcatalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/cenkalti/backoff/v5"
)

// Error is a catalog's answer that is not a success. It matches fs.ErrNotExist for 404 and fs.ErrExist for 409.
type Error struct {
	Method, URL string
	Status      int
	Type        string // the catalog's word for it
	Text        string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Type != "" || e.Text != "" {
		text += ": " + strings.TrimPrefix(e.Type+": "+e.Text, ": ")
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		text += ": set TIDEMARK_CATALOG_TOKEN or TIDEMARK_CATALOG_CREDENTIAL to what the catalog gave you, or have it grant more"
	}
	return text
}

// Is names the errors on which callers decide.
func (e *Error) Is(target error) bool {
	return e.Status == http.StatusNotFound && target == fs.ErrNotExist || e.Status == http.StatusConflict && target == fs.ErrExist
}

// reads is how often a request that changes nothing is sent, when the server or the way to it fails.
const reads = 4

// get asks for something, again where that may help.
func (s *Service) get(ctx context.Context, path string, answer any) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.send(ctx, http.MethodGet, path, nil, answer)
		var refused *Error
		if errors.As(err, &refused) && refused.Status < 500 && refused.Status != http.StatusTooManyRequests {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxTries(reads))
	return err
}

// send makes one request. It is repeated only when the catalog refused the token, which it does before anything else.
func (s *Service) send(ctx context.Context, method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	for try := 0; ; try++ {
		token, err := s.auth.get(ctx, s.client)
		if err != nil {
			return err
		}
		err = s.once(ctx, method, path, token, text, answer)
		var refused *Error
		if try == 0 && errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == 419) && s.auth.expire(token) {
			continue
		}
		return err
	}
}

// errorLimit bounds what is read of an answer that is none.
const errorLimit = 64 << 10

func (s *Service) once(ctx context.Context, method, path, token string, body []byte, answer any) (err error) {
	url := s.base + path
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode/100 != 2 {
		refused := &Error{Method: method, URL: url, Status: response.StatusCode}
		text, _ := io.ReadAll(io.LimitReader(response.Body, errorLimit))
		var told struct {
			Error struct{ Message, Type string }
		}
		if json.Unmarshal(text, &told) == nil {
			refused.Type, refused.Text = told.Error.Type, told.Error.Message
		}
		return refused
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s %s: the answer: %w", method, url, err)
	}
	return nil
}
