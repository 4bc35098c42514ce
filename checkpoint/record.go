package checkpoint

import (
	"encoding/json"
	"fmt"
	"time"
)

// Key is where a table's snapshot summaries and properties hold the record.
const Key = "tidemark.checkpoint"

// Version is the version of the records written here.
const Version = 1

// State says how far a table can be trusted to equal its source.
type State string

// The states of CONTRACT.md, "Metadata".
const (
	StatePartial State = "partial" // followed from a point, never loaded
	StateLoading State = "loading" // an initial load is under way
	StateLive    State = "live"    // equals the source at GTIDSet
	StateSuspect State = "suspect" // a contradiction between lake and source was seen
)

// Record is what a commit says about the position it stands for.
type Record struct {
	Version    int             `json:"version"`
	Pipeline   string          `json:"pipeline"`
	Epoch      int64           `json:"epoch"`                 // of the writer; a greater one has taken over
	Commit     string          `json:"commit"`                // id, to find out whether a commit was applied
	SnapshotID int64           `json:"snapshot_id,omitempty"` // the snapshot it belongs to; in the table property only
	GTIDSet    string          `json:"gtid_set"`              // the position: every transaction the table holds
	ServerUUID string          `json:"server_uuid,omitempty"` // hint: the server it was read from
	File       string          `json:"file,omitempty"`        // hint: binary log file there
	Position   uint64          `json:"position,omitempty"`    // hint: bytes into the file
	Time       time.Time       `json:"time,omitzero"`         // source commit time of the last transaction
	State      State           `json:"state,omitempty"`
	Load       json.RawMessage `json:"load,omitempty"` // progress while loading

	// Where transactions have no GTIDs, server, file and position are no hints: they are the position.
	Anonymous bool      `json:"anonymous,omitempty"`
	FileTime  time.Time `json:"file_time,omitzero"` // when the server began the file, in whole seconds
	Replay    *Replay   `json:"replay,omitempty"`   // the table has more than the position says
	Note      string    `json:"note,omitempty"`     // who moved the position by hand, when and why
}

// Replay says how far a table is ahead of its position: what lies between comes again, changes nothing in the end, and may
// contradict on the way what the table has. Until both are passed, that is no sign that lake and source differ.
type Replay struct {
	GTIDSet string    `json:"gtid_set,omitempty"`
	Time    time.Time `json:"time,omitzero"` // source commit time
}

// At returns the position.
func (r Record) At() (Position, error) {
	set, err := ParseSet(r.GTIDSet)
	if err != nil {
		return Position{}, fmt.Errorf("checkpoint record: %w", err)
	}
	p := Position{Set: set, Anonymous: r.Anonymous, Time: r.Time}
	if r.File == "" || r.ServerUUID == "" {
		return p, nil
	}
	p.Place = Place{File: r.File, Offset: r.Position, Begun: r.FileTime}
	if p.Place.Server, err = ParseUUID(r.ServerUUID); err != nil {
		return Position{}, fmt.Errorf("checkpoint record: %w", err)
	}
	return p, nil
}

// Reach puts a position into the record. A time that is not known leaves the old one.
func (r *Record) Reach(p Position) {
	r.GTIDSet, r.Anonymous = p.Set.String(), p.Anonymous
	r.ServerUUID, r.File, r.Position, r.FileTime = "", p.Place.File, p.Place.Offset, p.Place.Begun
	if p.Place.Server != [16]byte{} {
		r.ServerUUID = FormatUUID(p.Place.Server)
	}
	if !p.Time.IsZero() {
		r.Time = p.Time
	}
}

// Marshal returns the record as JSON. It panics when Load is not JSON, which only a programming error can cause.
func (r Record) Marshal() string {
	if !r.Time.IsZero() {
		r.Time = r.Time.UTC()
	}
	if !r.FileTime.IsZero() {
		r.FileTime = r.FileTime.UTC()
	}
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("checkpoint record: %v", err))
	}
	return string(text)
}

// ParseRecord reads a record. Keys it does not know are left aside: a later tidemark of the same record version may
// have written them.
func ParseRecord(text string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("checkpoint record %q: %w", abbreviate(text), err)
	}
	switch {
	case r.Version == 0:
		return Record{}, fmt.Errorf("checkpoint record %q has no version: it was not written by tidemark", abbreviate(text))
	case r.Version > Version:
		return Record{}, fmt.Errorf("checkpoint record has version %d, this tidemark knows %d: use the newer tidemark that wrote it", r.Version, Version)
	}
	_, err := r.At()
	return r, err
}
