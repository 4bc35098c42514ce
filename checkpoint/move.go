package checkpoint

import "time"

// Move is a position set by hand, from what a table has to another.
type Move struct {
	From, To Position
	Skipped  Set       // transactions that servers have executed, and that From lacks and To has: they would never be read
	Since    time.Time // where there are no GTIDs: transactions after that, up to To, would never be read; zero when there are none
	Again    Set       // transactions that From has and To lacks: they come again
	Until    time.Time // where there are no GTIDs: those up to that come again; zero when there are none
}

// NewMove compares two positions. known is what the servers have executed.
func NewMove(from, to Position, known Set) Move {
	m := Move{
		From: from, To: to,
		Skipped: to.Set.Subtract(from.Set).Intersect(known),
		Again:   from.Set.Subtract(to.Set).Intersect(known),
	}
	if !from.Anonymous && !to.Anonymous {
		return m
	}
	order := to.Time.Compare(from.Time)
	switch {
	case !from.Place.IsZero() && !to.Place.IsZero() && from.Place.Server == to.Place.Server:
		order = to.Place.Compare(from.Place)
	case from.Time.IsZero() || to.Time.IsZero():
		return m // there is no telling
	}
	switch {
	case order > 0:
		m.Since = from.Time
	case order < 0:
		m.Until = from.Time
	}
	return m
}

// Skips reports whether transactions would never be read.
func (m *Move) Skips() bool { return !m.Skipped.IsEmpty() || !m.Since.IsZero() }

// Repeats reports whether transactions come again.
func (m *Move) Repeats() bool { return !m.Again.IsEmpty() || !m.Until.IsZero() }

// Apply puts the new position into a table's record, with a note of who moved it and why. What comes again is to be no sign
// that lake and source differ; what is skipped is one.
func (m *Move) Apply(r *Record, note string) {
	r.Reach(m.To)
	r.Note, r.Replay = note, nil
	if m.Repeats() {
		r.Replay = &Replay{GTIDSet: m.Again.String(), Time: m.Until}
	}
	if m.Skips() && r.State == StateLive {
		r.State = StateSuspect
	}
}
