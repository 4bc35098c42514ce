package ingest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/source"
)

// StartKind says where a table without a checkpoint begins.
type StartKind uint8

// The starting points.
const (
	StartInitial  StartKind = iota // a load of the table as it is
	StartEarliest                  // everything the servers still have
	StartLatest                    // what comes from now on
	StartGTID                      // what is not in a given GTID set
	StartTime                      // what was committed after a time
	StartFile                      // what follows an offset in a binary log file of one server
)

// Start is a starting point.
type Start struct {
	Kind StartKind
	Set  checkpoint.Set // for StartGTID
	Time time.Time      // for StartTime

	// For StartFile. Host may be empty where the list has one server.
	File   string
	Offset uint64
	Host   string
}

const startForms = "initial, earliest, latest, gtid:SET, timestamp:RFC3339 or file:NAME:POS[@HOST:PORT]"

// ParseStart reads a starting point: "initial", "earliest", "latest", "gtid:SET", "timestamp:RFC3339" or "file:NAME:POS[@HOST:PORT]".
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
	case strings.HasPrefix(s, "timestamp:"):
		t, err := time.Parse(time.RFC3339, strings.TrimPrefix(s, "timestamp:"))
		if err != nil {
			return Start{}, fmt.Errorf("starting point %q: expected a time such as timestamp:2026-03-01T12:30:00Z, with its zone: %w", s, err)
		}
		return Start{Kind: StartTime, Time: t}, nil
	case strings.HasPrefix(s, "file:"):
		place, host, named := strings.Cut(strings.TrimPrefix(s, "file:"), "@")
		start := Start{Kind: StartFile}
		var err error
		if start.File, start.Offset, err = ParseFileOffset(place); err != nil {
			return Start{}, fmt.Errorf("starting point %q: %w", s, err)
		}
		if named {
			if start.Host, err = source.ParseHost(host); err != nil {
				return Start{}, fmt.Errorf("starting point %q: %w", s, err)
			}
		}
		return start, nil
	}
	return Start{}, fmt.Errorf("starting point %q: expected %s", s, startForms)
}

// ParseFileOffset reads NAME:POS, a binary log file and an offset in it.
func ParseFileOffset(text string) (file string, offset uint64, err error) {
	i := strings.LastIndexByte(text, ':')
	if i > 0 {
		file = text[:i]
		offset, err = strconv.ParseUint(text[i+1:], 10, 64)
	}
	if i <= 0 || err != nil || offset < 4 {
		return "", 0, fmt.Errorf("%q: expected a binary log file and an offset in it, from 4 on, such as mysql-bin.000123:4567", text)
	}
	return file, offset, nil
}

// Fits reports whether the starting point can be looked for on the servers of the list.
func (s Start) Fits(hosts []string) error {
	switch {
	case s.Kind != StartFile:
		return nil
	case s.Host == "" && len(hosts) > 1:
		return fmt.Errorf("starting point %s: a file and offset mean something on one server only; add @HOST:PORT, one of %s", s, strings.Join(hosts, ", "))
	case s.Host != "" && !slices.Contains(hosts, s.Host):
		return fmt.Errorf("starting point %s: %s is not in the list of servers: %s", s, s.Host, strings.Join(hosts, ", "))
	}
	return nil
}

func (s Start) String() string {
	switch s.Kind {
	case StartLatest:
		return "latest"
	case StartGTID:
		return "gtid:" + s.Set.String()
	case StartTime:
		return "timestamp:" + s.Time.Format(time.RFC3339Nano)
	case StartFile:
		text := fmt.Sprintf("file:%s:%d", s.File, s.Offset)
		if s.Host != "" {
			text += "@" + s.Host
		}
		return text
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
