package rest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidemark/tidemark/lake/catalog"
)

func (s *server) listTables(w http.ResponseWriter, r *http.Request) error {
	p, err := pageOf(r)
	if err != nil {
		return err
	}
	db, _, err := s.findDatabase(r.Context(), pathName(r, "namespace"))
	if err != nil {
		return err
	}
	ids, err := s.catalog.TablesAfter(r.Context(), db, p.after, p.fetch())
	if err != nil {
		return err
	}
	ids, next := cut(p, ids, func(id catalog.Identifier) string { return id.Table })
	list := []identifier{}
	for _, id := range ids {
		list = append(list, identifier{[]string{id.DB}, id.Table})
	}
	return answer(w, http.StatusOK, map[string]any{"identifiers": list, "next-page-token": next})
}

// loaded is the protocol's LoadTableResult. The metadata are the bytes in the lake, unknown fields included.
type loaded struct {
	Location string            `json:"metadata-location,omitempty"`
	Metadata json.RawMessage   `json:"metadata"`
	Config   map[string]string `json:"config"`
}

func (s *server) loaded(v *catalog.Version) loaded {
	return loaded{s.catalog.MetadataURI(v.ID, v.N), v.Metadata, s.readers.tableConfig()}
}

// answerTable answers with a whole table.
func (s *server) answerTable(w http.ResponseWriter, v *catalog.Version) error {
	w.Header().Set("ETag", etag(v, allSnapshots))
	return answer(w, http.StatusOK, s.loaded(v))
}

// Which snapshots a client wants to see.
const (
	allSnapshots = "all"
	refSnapshots = "refs" // those that a branch or tag names
)

// etag is what a client sends as If-None-Match to hear only of news (protocol, ETag). Answers with other snapshots are other
// answers.
func etag(v *catalog.Version, snapshots string) string {
	digest := sha256.Sum256(v.Metadata)
	return fmt.Sprintf(`"%d-%x-%s"`, v.N, digest[:12], snapshots)
}

func (s *server) loadTable(w http.ResponseWriter, r *http.Request) error {
	snapshots := r.URL.Query().Get("snapshots")
	switch snapshots {
	case "":
		snapshots = allSnapshots
	case allSnapshots, refSnapshots:
	default:
		return badRequest("snapshots=%s: expected all or refs", snapshots)
	}
	v, err := s.findTable(r)
	if err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	tag := etag(v, snapshots)
	w.Header().Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	l := s.loaded(v)
	if snapshots == refSnapshots {
		if l.Metadata, err = onlyReferenced(l.Metadata); err != nil {
			return fmt.Errorf("%s: %w", l.Location, err)
		}
	}
	return answer(w, http.StatusOK, l)
}

// matches compares as If-None-Match does (RFC 9110, 13.1.2): weakly, with one of a list.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == tag || one == "*" {
			return true
		}
	}
	return false
}

// onlyReferenced leaves out the snapshots that no branch or tag names.
func onlyReferenced(metadata []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	var known struct {
		Snapshots []json.RawMessage `json:"snapshots"`
		Refs      map[string]struct {
			ID int64 `json:"snapshot-id"`
		} `json:"refs"`
		Current *int64 `json:"current-snapshot-id"`
	}
	if err := json.Unmarshal(metadata, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(metadata, &known); err != nil {
		return nil, err
	}
	wanted := map[int64]bool{}
	if known.Current != nil {
		wanted[*known.Current] = true
	}
	for _, ref := range known.Refs {
		wanted[ref.ID] = true
	}
	kept := []json.RawMessage{}
	for _, text := range known.Snapshots {
		var snapshot struct {
			ID int64 `json:"snapshot-id"`
		}
		if err := json.Unmarshal(text, &snapshot); err != nil {
			return nil, err
		}
		if wanted[snapshot.ID] {
			kept = append(kept, text)
		}
	}
	if len(kept) == len(known.Snapshots) {
		return metadata, nil
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	fields["snapshots"] = text
	return json.Marshal(fields)
}

// note logs a commit whose hint could not be written.
func (s *server) note(versions ...*catalog.Version) {
	for _, v := range versions {
		if v.HintErr != nil {
			s.log.Warn("readers that use no catalog are a version behind", "table", v.ID.String(), "error", v.HintErr)
		}
	}
}
