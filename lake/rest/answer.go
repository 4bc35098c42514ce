package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// protocolError is an error in the protocol's own terms (protocol, ErrorModel).
type protocolError struct {
	status int
	kind   string // the exception's name, by which clients choose their own
	text   string
}

func (e *protocolError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &protocolError{http.StatusBadRequest, "BadRequestException", fmt.Sprintf(format, args...)}
}

func alreadyExists(format string, args ...any) error {
	return &protocolError{http.StatusConflict, "AlreadyExistsException", fmt.Sprintf(format, args...)}
}

func commitFailed(format string, args ...any) error {
	return &protocolError{http.StatusConflict, "CommitFailedException", fmt.Sprintf(format, args...)}
}

func outcomeUnknown(format string, args ...any) error {
	return &protocolError{http.StatusInternalServerError, "CommitStateUnknownException", fmt.Sprintf(format, args...)}
}

// noTable turns fs.ErrNotExist into the protocol's error. A table whose metadata somebody deleted is told apart.
func noTable(err error, db, name string) error {
	var missing *catalog.MissingError
	switch {
	case errors.As(err, &missing):
		return &protocolError{http.StatusNotFound, "NotFoundException", fmt.Sprintf("Failed to open input stream for file: %s: %v", missing.URI, err)}
	case errors.Is(err, fs.ErrNotExist):
		return &protocolError{http.StatusNotFound, "NoSuchTableException", fmt.Sprintf("Table does not exist: %s.%s", db, name)}
	}
	return err
}

// noNamespace turns fs.ErrNotExist into the protocol's error.
func noNamespace(err error, db string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &protocolError{http.StatusNotFound, "NoSuchNamespaceException", "Namespace does not exist: " + db}
	}
	return err
}

func answer(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client has gone: nobody to tell
	return nil
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := &protocolError{http.StatusInternalServerError, "InternalServerError", err.Error()}
	var access *store.AccessError
	var name *store.NameError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &access):
		e.status, e.kind = http.StatusServiceUnavailable, "ServiceUnavailableException"
	case errors.As(err, &name):
		e.status, e.kind = http.StatusBadRequest, "BadRequestException"
	}
	level := s.log.Debug
	if e.status >= 500 {
		level = s.log.Error
	}
	level("request failed", "method", r.Method, "path", r.URL.Path, "status", e.status, "error", err)
	model := map[string]any{"message": e.text, "type": e.kind, "code": e.status}
	if err := answer(w, e.status, map[string]any{"error": model}); err != nil {
		s.log.Error("cannot answer", "error", err)
	}
}
