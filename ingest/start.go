package ingest

import (
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/checkpoint"
)

// StartKind says where a table without a checkpoint begins.
type StartKind uint8

// The starting points.
const (
	StartInitial  StartKind = iota // a load of the table as it is
	StartEarliest                  // everything the servers still have
	StartLatest                    // what comes from now on
	StartGTID                      // what is not in a given GTID set
)

// Start is a starting point.
type Start struct {
	Kind StartKind
	Set  checkpoint.Set // for StartGTID
}

// ParseStart reads a starting point: "initial", "earliest", "latest" or "gtid:SET".
func ParseStart(s string) (Start, error) {
	switch {
	case s == "initial":
		return Start{Kind: StartInitial}, nil
	case s == "earliest":
		return Start{Kind: StartEarliest}, nil
	case s == "latest":
		return Start{Kind: StartLatest}, nil
	case strings.HasPrefix(s, "gtid:"):
		set, err := checkpoint.ParseSet(strings.TrimPrefix(s, "gtid:"))
		if err != nil {
			return Start{}, fmt.Errorf("starting point %q: %w", s, err)
		}
		return Start{Kind: StartGTID, Set: set}, nil
	}
	return Start{}, fmt.Errorf("starting point %q: expected initial, earliest, latest or gtid:SET", s)
}

func (s Start) String() string {
	switch s.Kind {
	case StartLatest:
		return "latest"
	case StartGTID:
		return "gtid:" + s.Set.String()
	case StartEarliest:
		return "earliest"
	default:
		return "initial"
	}
}

// Until says when to stop by itself.
type Until struct {
	CaughtUp bool           // once what the source had at the start is committed
	Set      checkpoint.Set // once this set is committed
}

// ParseUntil reads "" (never), "caught-up" or "gtid:SET".
func ParseUntil(s string) (Until, error) {
	switch {
	case s == "":
		return Until{}, nil
	case s == "caught-up":
		return Until{CaughtUp: true}, nil
	case strings.HasPrefix(s, "gtid:"):
		set, err := checkpoint.ParseSet(strings.TrimPrefix(s, "gtid:"))
		if err != nil {
			return Until{}, fmt.Errorf("--until %q: %w", s, err)
		}
		return Until{Set: set}, nil
	}
	return Until{}, fmt.Errorf("--until %q: expected caught-up or gtid:SET", s)
}

func (u Until) set() bool { return u.CaughtUp || !u.Set.IsEmpty() }
