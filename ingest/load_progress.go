package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/snapshot"
)

// LoadProgress is the `load` object of a checkpoint: how far the load of a table is. It goes into the same commit as the rows it
// counts, so a load goes on from it on another machine and from other servers.
//
// The table's keys before Next are in the lake, but for those of the ranges in Open. With Split, Next is the end of the table.
// When nothing is open any more either, all rows are read, and what is left is to replay the binary log from Low past High.
type LoadProgress struct {
	Low      string           `json:"low"`                // GTID set: every row read has what these transactions did
	High     string           `json:"high,omitempty"`     // GTID set: no row read has anything of other transactions
	Next     snapshot.Bound   `json:"next,omitempty"`     // where the next range begins
	Split    bool             `json:"split,omitempty"`    // there is no next range
	Open     []snapshot.Range `json:"open,omitempty"`     // ranges that are not finished
	Ranges   int              `json:"ranges"`             // finished
	Rows     int64            `json:"rows"`               // read, of finished ranges
	Estimate int64            `json:"estimate,omitempty"` // rows of the table, as the server guesses; 0: unknown
	Began    time.Time        `json:"began"`
}

// ParseLoadProgress reads the `load` object of a record.
func ParseLoadProgress(r checkpoint.Record) (p LoadProgress, err error) {
	if len(r.Load) == 0 {
		return p, fmt.Errorf("the checkpoint has no progress of the load")
	}
	if err := json.Unmarshal(r.Load, &p); err != nil {
		return p, fmt.Errorf("progress of the load: %w", err)
	}
	for _, set := range []string{p.Low, p.High} {
		if _, err := checkpoint.ParseSet(set); err != nil {
			return p, fmt.Errorf("progress of the load: %w", err)
		}
	}
	return p, nil
}

// Read reports whether all rows are read.
func (p *LoadProgress) Read() bool { return p.Split && len(p.Open) == 0 }

// String is for a person: "1200000 rows in 3 ranges, about 40%".
func (p *LoadProgress) String() string {
	text := fmt.Sprintf("%d rows in %d ranges", p.Rows, p.Ranges)
	switch {
	case p.Read():
		text += ", replaying"
	case p.Estimate > 0:
		text += fmt.Sprintf(", about %d%%", min(99, p.Rows*100/p.Estimate))
	}
	return text
}

// json is the progress as a checkpoint has it.
func (p *LoadProgress) json() json.RawMessage {
	text, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("progress of a load: %v", err)) // it has nothing that JSON cannot hold
	}
	return text
}

// tellEvery is how often the observer is told of the progress, sayEvery how often the log is.
const (
	tellEvery = time.Second
	sayEvery  = 5 * time.Second
)

// pace is what has been told of a load.
type pace struct {
	at   time.Time // of the last time
	rows int64     // read by then
	rate float64   // rows a second, the last of them counting most
	said time.Time
	done bool // that all rows are read
}

// tell tells observer and log how far the tables are.
func (s *session) tell(now time.Time) {
	for _, t := range s.tables {
		read := t.read.Load()
		t.mu.Lock()
		p, bytes, failed := t.progress, t.bytes, t.failed
		p.Open = slices.Clone(p.Open)
		t.mu.Unlock()
		if t.told.done || failed != nil {
			continue
		}
		if t.told.at.IsZero() {
			t.told.at, t.told.said = s.began, s.began
		}
		if passed := now.Sub(t.told.at).Seconds(); passed > 0 {
			const newest = 0.3 // weight
			rate := float64(read-t.told.rows) / passed
			if t.told.rate > 0 {
				rate = newest*rate + (1-newest)*t.told.rate
			}
			t.told.at, t.told.rows, t.told.rate = now, read, rate
		}
		t.told.done = p.Read()
		e := Load{Table: t.name, Progress: p, Rows: t.before + read, Bytes: bytes, Rate: t.told.rate}
		if left := p.Estimate - e.Rows; left > 0 && e.Rate >= 1 && !e.Progress.Read() {
			e.Left = time.Duration(float64(left) / e.Rate * float64(time.Second))
		}
		s.observe(e)
		if now.Sub(t.told.said) >= sayEvery && !p.Read() && !s.QuietLoads {
			t.told.said = now
			s.Logger.Info("loading", "table", t.name, "rows", e.Rows, "of about", p.Estimate, "bytes", e.Bytes, "rows/s", int64(e.Rate),
				"left", e.Left.Round(time.Second), "ranges", p.Ranges, "open", len(p.Open))
		}
	}
}
