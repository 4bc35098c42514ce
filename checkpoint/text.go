package checkpoint

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// String returns MySQL's canonical text: "uuid:1-5:7:tag:1-3,uuid2:1", sorted, on one line.
func (s Set) String() string { return string(s.appendText(nil, -1)) }

// shortIntervals is how many intervals of one UUID and tag the short form shows.
const shortIntervals = 3

// Short returns the set for a message to a person: of many intervals of one server, the first ones and the last, and
// how many lie between.
func (s Set) Short() string {
	if s.IsEmpty() {
		return "none"
	}
	return string(s.appendText(nil, shortIntervals))
}

func (s Set) appendText(b []byte, limit int) []byte {
	for i := range s.runs {
		r := &s.runs[i]
		if i > 0 && s.runs[i-1].sid == r.sid {
			b = append(b, ':')
		} else {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendUUID(b, r.sid)
			b = append(b, ':')
		}
		if r.tag != "" {
			b = append(b, r.tag...)
			b = append(b, ':')
		}
		for j, iv := range r.intervals {
			if limit > 0 && len(r.intervals) > limit+1 && j >= limit-1 && j < len(r.intervals)-1 {
				if j == limit-1 {
					b = fmt.Appendf(b, ":...(%d more intervals)...", len(r.intervals)-limit)
				}
				continue
			}
			if j > 0 {
				b = append(b, ':')
			}
			b = strconv.AppendInt(b, iv.First, 10)
			if iv.Last > iv.First {
				b = append(b, '-')
				b = strconv.AppendInt(b, iv.Last, 10)
			}
		}
	}
	return b
}

// ParseOwned reads the value of gtid_owned, which names the thread behind each transaction: 3E11FA47-...:23#4:24#5.
func ParseOwned(text string) (Set, error) { return ParseSet(owners.ReplaceAllString(text, "")) }

var owners = regexp.MustCompile(`#\d+`)

// ParseSet reads MySQL's text of a GTID set: any case, blanks and line breaks anywhere between its parts, UUIDs in any
// order and more than once, tags. The empty text is the empty set.
func ParseSet(text string) (Set, error) {
	var s Set
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue // the server, too, takes a comma too many
		}
		one, err := parseServer(part)
		if err != nil {
			return Set{}, fmt.Errorf("GTID set %q: %w", abbreviate(text), err)
		}
		s = s.Union(one)
	}
	return s, nil
}

// MustParseSet is ParseSet for texts that are known to be right, such as those of tests; it panics when one is not.
func MustParseSet(text string) Set {
	s, err := ParseSet(text)
	if err != nil {
		panic(err)
	}
	return s
}

// parseServer reads "uuid:1-5:7:tag:1-3".
func parseServer(text string) (Set, error) {
	parts := strings.Split(text, ":")
	sid, err := ParseUUID(strings.TrimSpace(parts[0]))
	if err != nil {
		return Set{}, err
	}
	if len(parts) == 1 {
		return Set{}, fmt.Errorf("%s has no transaction numbers: expected %s:1-5", parts[0], parts[0])
	}
	var s Set
	tag, bare := "", false
	for _, p := range parts[1:] {
		p = strings.TrimSpace(p)
		if isTag(p) {
			if bare {
				return Set{}, fmt.Errorf("tag %q has no transaction numbers", tag)
			}
			tag, bare = strings.ToLower(p), true
			continue
		}
		iv, err := parseInterval(p)
		if err != nil {
			return Set{}, err
		}
		bare = false
		s = s.Union(Set{runs: []run{{sid: sid, tag: tag, intervals: []Interval{iv}}}})
	}
	if bare {
		return Set{}, fmt.Errorf("tag %q has no transaction numbers", tag)
	}
	return s, nil
}

// isTag reports whether a part is a tag: a letter or underscore, then at most 31 letters, digits, underscores.
func isTag(p string) bool {
	for i := range len(p) {
		c := p[i] | 0x20 // lower case, for letters
		letter := c >= 'a' && c <= 'z' || p[i] == '_'
		if !letter && (i == 0 || p[i] < '0' || p[i] > '9') {
			return false
		}
	}
	return p != "" && len(p) <= 32
}

func parseInterval(p string) (Interval, error) {
	from, to, isRange := strings.Cut(p, "-")
	first, err := strconv.ParseInt(strings.TrimSpace(from), 10, 64)
	last := first
	if err == nil && isRange {
		last, err = strconv.ParseInt(strings.TrimSpace(to), 10, 64)
	}
	if err != nil {
		return Interval{}, fmt.Errorf("%q is neither a transaction number, nor a range like 1-5, nor a tag", p)
	}
	if first < 1 || last < first || last > MaxGNO {
		return Interval{}, fmt.Errorf("%q: transaction numbers run from 1 to %d, the smaller one first", p, int64(MaxGNO))
	}
	return Interval{first, last}, nil
}

func abbreviate(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
