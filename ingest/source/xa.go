package source

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/checkpoint"
)

// preparedXA holds the XA transactions that were prepared and neither committed nor rolled back yet, by their id in the
// server's spelling (X'67',X'62',1). An XA transaction has two GTIDs: one for XA START to XA PREPARE, with the rows, and one
// for XA COMMIT or XA ROLLBACK. Its rows count only with the second, so the first stays out of what was reached until
// then, as a gap; after a restart the server sends it again.
type preparedXA struct {
	held map[string]*Transaction
	from map[string]checkpoint.Place // before each held one that has no GTID
	size int                         // of what is held
}

// Pending returns the GTIDs of XA transactions that were prepared and are not decided yet: the stream has passed them, and
// holds them back.
func (p *preparedXA) pending() checkpoint.Set {
	var s checkpoint.Set
	for _, t := range p.held {
		if !t.Anonymous {
			s.Add(t.GTID)
		}
	}
	return s
}

// first returns the place before the first transaction that is held and has no GTID.
func (p *preparedXA) first() (first checkpoint.Place) {
	for _, at := range p.from {
		if first.IsZero() || at.Compare(first) < 0 {
			first = at
		}
	}
	return first
}

// takeXA reads XA START, END, COMMIT and ROLLBACK, which are logged as statements. (serialize_xid in sql/xa.h)
func (a *assembler) takeXA(e *event, rest string) (*Transaction, error) {
	word, id := firstWord(rest)
	id = strings.ToLower(strings.ReplaceAll(id, " ", ""))
	switch word {
	case "START", "BEGIN":
		a.begun, a.inXA = true, true
		return nil, nil
	case "END":
		return nil, nil
	case "COMMIT", "ROLLBACK":
		t := a.xa.held[id]
		if t == nil {
			// It was prepared before the position this stream began at, so that its rows are not known here.
			if word == "COMMIT" {
				a.other(e, Other{Name: fmt.Sprintf("XA COMMIT %s of a transaction prepared before the starting position", id)})
			}
			return a.finish(e), nil
		}
		delete(a.xa.held, id)
		delete(a.xa.from, id)
		a.xa.size -= t.Size
		if word == "COMMIT" {
			a.open.Events, a.open.Size = t.Events, t.Size
		}
		if !t.Anonymous {
			a.open.Also = append(a.open.Also, t.GTID)
		}
		return a.finishHeld(e), nil
	}
	return nil, &unknownEventError{fmt.Sprintf("the binary log has the statement XA %s at %s:%d, which this tidemark does not know", word, a.file, a.at(e))}
}

// finishHeld is finish for events that do not lie in the chunk.
func (a *assembler) finishHeld(e *event) *Transaction {
	events := a.open.Events
	a.open.Events = nil
	t := a.finish(e)
	t.Events = events
	return t
}

// takePrepare reads an XA_PREPARE event: one byte that says whether it is XA COMMIT ... ONE PHASE, then format id, lengths of
// the two parts of the id, and these.
func (a *assembler) takePrepare(e *event) (*Transaction, error) {
	b := e.body
	if len(b) < 13 {
		return nil, malformedf("XA prepare event of %d bytes", len(b))
	}
	onePhase := b[0] != 0
	format := int32(binary.LittleEndian.Uint32(b[1:]))
	n, m := int(binary.LittleEndian.Uint32(b[5:])), int(binary.LittleEndian.Uint32(b[9:]))
	if n > 64 || m > 64 || len(b) < 13+n+m {
		return nil, malformedf("XA prepare event with an id of %d and %d bytes", n, m)
	}
	a.ensure(e)
	if onePhase {
		return a.finish(e), nil
	}
	id := fmt.Sprintf("x'%s',x'%s',%d", hex.EncodeToString(b[13:13+n]), hex.EncodeToString(b[13+n:13+n+m]), format)
	if a.xa.size+a.open.Size > a.maxBuffered {
		a.giveUpRows("an XA transaction too large to be held until its commit")
	}
	if a.xa.held == nil {
		a.xa.held, a.xa.from = map[string]*Transaction{}, map[string]checkpoint.Place{}
	}
	t := a.finish(e)
	a.xa.held[id] = t
	if t.Anonymous {
		a.xa.from[id] = a.from
	}
	a.xa.size += t.Size
	return nil, nil
}
