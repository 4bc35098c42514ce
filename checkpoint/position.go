package checkpoint

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Position is where a reader stands in the history of a source: everything before it was read, nothing after it.
//
// Where every transaction has a GTID, Set says it all, on any server. Where some have none, Set has only the others, and
// the reader's place in the binary log of one server says the rest: exactly there, and elsewhere by Time alone.
type Position struct {
	Set       Set       // every transaction with a GTID that was read
	Anonymous bool      // transactions without a GTID were read, or may come next: Set does not say where to go on
	Place     Place     // where it was read from; a hint, unless Anonymous
	Time      time.Time // source commit time of the last transaction, if known
}

// At is the position of a reader that has exactly set, of a source where every transaction has a GTID.
func At(set Set) Position { return Position{Set: set} }

// IsZero reports whether nothing was read.
func (p Position) IsZero() bool { return p.Set.IsEmpty() && !p.Anonymous }

// IsBeginning reports whether nothing came before: the source is followed from its first transaction on, as far as its
// logs can tell.
func (p Position) IsBeginning() bool {
	return p.Set.IsEmpty() && (!p.Anonymous || p.Place.Offset <= headOfFile && FirstFile(p.Place.File))
}

// headOfFile is the offset of the first event of a binary log file.
const headOfFile = 4

// Short describes the position to a person.
func (p Position) Short() string {
	if !p.Anonymous {
		return p.Set.Short()
	}
	text := "the beginning"
	switch {
	case !p.Place.IsZero():
		text = p.Place.String()
	case !p.Time.IsZero():
		text = p.Time.UTC().Format(time.RFC3339Nano)
	}
	if !p.Set.IsEmpty() {
		text += " with " + p.Set.Short()
	}
	return text
}

// Place is between two transactions in the binary log of one server. On another server it means nothing.
type Place struct {
	Server [16]byte // UUID
	File   string
	Offset uint64    // bytes into the file
	Begun  time.Time // when the server began the file, in whole seconds; tells it from a later file of that name
}

// IsZero reports whether the place is not known.
func (p Place) IsZero() bool { return p.File == "" }

func (p Place) String() string {
	return fmt.Sprintf("%s:%d of server %s", p.File, p.Offset, FormatUUID(p.Server))
}

// Compare orders two places of one server: -1 when p comes before q, 0, or 1.
func (p Place) Compare(q Place) int {
	return cmp.Or(CompareFiles(p.File, q.File), cmp.Compare(p.Offset, q.Offset))
}

// CompareFiles orders two binary log files of one server by their numbers, which grow a digit after 999999.
func CompareFiles(a, b string) int {
	numberA, numberB := fileNumber(a), fileNumber(b)
	return cmp.Or(cmp.Compare(len(numberA), len(numberB)), strings.Compare(numberA, numberB))
}

// fileNumber is what follows the last dot, without leading zeros.
func fileNumber(file string) string {
	return strings.TrimLeft(file[strings.LastIndexByte(file, '.')+1:], "0")
}

// FirstFile reports whether a file is the first that its server wrote since its logs were reset: nothing came before it.
func FirstFile(file string) bool { return fileNumber(file) == "1" }

// Common returns the position from which all readers are served: what every one of them has. Places on different servers
// cannot be compared, and leave the common one without a place; its Time is the earliest then.
func Common(all []Position) Position {
	if len(all) == 0 {
		return Position{}
	}
	common := all[0]
	common.Set = common.Set.Clone()
	for _, p := range all[1:] {
		common.Set = common.Set.Intersect(p.Set)
		common.Anonymous = common.Anonymous || p.Anonymous
		if p.Time.Before(common.Time) {
			common.Time = p.Time
		}
		switch {
		case common.Place.IsZero() || p.Place.IsZero() || p.Place.Server != common.Place.Server:
			common.Place = Place{}
		case p.Place.Compare(common.Place) < 0:
			common.Place = p.Place
		}
	}
	return common
}
