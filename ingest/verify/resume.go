package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidemark/tidemark/ingest/snapshot"
)

// state is the progress of a run, in a file: the parts that were compared, each of which is a proof of its own, at the
// position it names. A run that is given the file goes on behind them.
type state struct {
	path string // "": kept in memory only

	Version int                    `json:"version"`
	Lake    string                 `json:"lake"` // URI
	Tables  map[string]*tableState `json:"tables"`
}

const stateVersion = 1

// tableState is the progress of a table.
type tableState struct {
	Finished bool       `json:"finished,omitempty"`
	Parts    []partDone `json:"parts,omitempty"` // in the order of the key
}

// partDone is a part that was compared.
type partDone struct {
	part
	Position
	Rows    int64          `json:"rows"`    // of the lake
	Touched int64          `json:"touched"` // keys that were changed between the position and the SELECT
	Count   map[Kind]int64 `json:"count,omitempty"`
	Named   []Difference   `json:"named,omitempty"`
}

// StateError says that a file does not fit this run.
type StateError struct{ Path, Why string }

func (e *StateError) Error() string {
	return fmt.Sprintf("%s: %s; give another file, or remove this one to begin anew", e.Path, e.Why)
}

// openState reads the file, which need not exist.
func openState(path, lake string) (*state, error) {
	s := &state{path: path, Version: stateVersion, Lake: lake, Tables: map[string]*tableState{}}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.save() // a folder that is not there is told now, not after the first part
	}
	if err != nil {
		return nil, fmt.Errorf("read the progress: %w", err)
	}
	known := &state{path: path}
	if err := json.Unmarshal(text, known); err != nil {
		return nil, &StateError{path, fmt.Sprintf("it is not the progress of a verify (%v)", err)}
	}
	switch {
	case known.Version != stateVersion:
		return nil, &StateError{path, fmt.Sprintf("it has version %d, this tidemark writes version %d", known.Version, stateVersion)}
	case known.Lake != lake:
		return nil, &StateError{path, fmt.Sprintf("it is about the lake %s, not %s", known.Lake, lake)}
	}
	if known.Tables == nil {
		known.Tables = map[string]*tableState{}
	}
	return known, nil
}

// save writes the file anew, all of it or nothing.
func (s *state) save() error {
	if s.path == "" {
		return nil
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("keep the progress: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*")
	if err != nil {
		return fmt.Errorf("keep the progress: %w", err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the progress: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}

// end removes the file of a run that has compared every table.
func (s *state) end(r *Report) error {
	if s.path == "" || slices.ContainsFunc(r.Tables, func(t TableReport) bool { return t.Result == Failed }) {
		return nil
	}
	if err := os.Remove(s.path); err != nil {
		return fmt.Errorf("remove the progress of a run that has ended: %w", err)
	}
	return nil
}

func (s *state) table(name string) *tableState {
	t := s.Tables[name]
	if t == nil {
		t = &tableState{}
		s.Tables[name] = t
	}
	return t
}

// at is where the next group of shares begins, and of how many it is when some of them are done.
func (t *tableState) at() (from snapshot.Bound, shares int) {
	for i := range t.Parts {
		p := &t.Parts[i]
		if p.Of == 0 || p.N == p.Of-1 {
			from, shares = p.To, 0
		} else {
			from, shares = p.From, p.Of
		}
	}
	return from, shares
}

// rest returns the shares of a group that are not done. Where the group has other bounds than it had, all are to be done.
func (t *tableState) rest(group []*part) []*part {
	n := len(t.Parts)
	for n > 0 && t.Parts[n-1].Of > 0 && t.Parts[n-1].N < t.Parts[n-1].Of-1 {
		n--
	}
	open := t.Parts[n:]
	if len(open) == 0 {
		return group
	}
	if open[0].Of != len(group) || !slices.Equal(open[0].From, group[0].From) || !slices.Equal(open[0].To, group[0].To) {
		t.Parts = t.Parts[:n]
		return group
	}
	return group[len(open):]
}

// rows is how many rows were compared.
func (t *tableState) rows() (n int64) {
	for i := range t.Parts {
		n += t.Parts[i].Rows
	}
	return n
}

// named is how many differences were named.
func (t *tableState) named() (n int) {
	for i := range t.Parts {
		n += len(t.Parts[i].Named)
	}
	return n
}
