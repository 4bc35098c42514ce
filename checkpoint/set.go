package checkpoint

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
)

// Set is a GTID set: for each server UUID and tag, disjoint intervals of transaction numbers, gaps kept. The zero
// value is the empty set.
//
// Copies of a Set share memory: Clone before Add when another copy is to stay as it is. All other operations leave
// their operands alone and return a set that shares nothing with them.
type Set struct {
	runs []run // sorted by UUID, then tag; none is empty
	last int   // index of the run that Add used last: the stream mostly stays with one server
}

// run is the transactions of one UUID and tag.
type run struct {
	sid       [16]byte
	tag       string
	intervals []Interval // sorted, disjoint, not adjacent
}

// Interval is a range of transaction numbers, both ends included.
type Interval struct{ First, Last int64 }

func (r *run) compare(sid *[16]byte, tag string) int {
	if c := bytes.Compare(r.sid[:], sid[:]); c != 0 {
		return c
	}
	return cmp.Compare(r.tag, tag)
}

// find returns where the run of (sid, tag) is, or belongs.
func (s *Set) find(sid *[16]byte, tag string) (int, bool) {
	return sort.Find(len(s.runs), func(i int) int { return -s.runs[i].compare(sid, tag) })
}

// IsEmpty reports whether the set names no transaction.
func (s Set) IsEmpty() bool { return len(s.runs) == 0 }

// Count returns how many transactions the set names.
func (s Set) Count() uint64 {
	var n uint64
	for i := range s.runs {
		for _, iv := range s.runs[i].intervals {
			n += uint64(iv.Last-iv.First) + 1
		}
	}
	return n
}

// Clone returns a copy that shares nothing with s.
func (s Set) Clone() Set {
	c := Set{runs: slices.Clone(s.runs)}
	for i := range c.runs {
		c.runs[i].intervals = slices.Clone(c.runs[i].intervals)
	}
	return c
}

// Equal reports whether both sets name the same transactions.
func (s Set) Equal(o Set) bool {
	return slices.EqualFunc(s.runs, o.runs, func(a, b run) bool {
		return a.sid == b.sid && a.tag == b.tag && slices.Equal(a.intervals, b.intervals)
	})
}

// Contains reports whether o is a subset of s.
func (s Set) Contains(o Set) bool {
	for i := range o.runs {
		r := &o.runs[i]
		at, ok := s.find(&r.sid, r.tag)
		if !ok {
			return false
		}
		have := s.runs[at].intervals
		for _, iv := range r.intervals {
			j := covering(have, iv.First)
			if j == len(have) || have[j].First > iv.First || have[j].Last < iv.Last {
				return false
			}
		}
	}
	return true
}

// ContainsGTID reports whether the set names a transaction.
func (s Set) ContainsGTID(g GTID) bool {
	at, ok := s.find(&g.SID, g.Tag)
	if !ok {
		return false
	}
	have := s.runs[at].intervals
	j := covering(have, g.GNO)
	return j < len(have) && have[j].First <= g.GNO
}

// covering returns the first interval that ends at or after n.
func covering(intervals []Interval, n int64) int {
	return sort.Search(len(intervals), func(i int) bool { return intervals[i].Last >= n })
}

// Add puts one transaction into the set. Transactions that come in the order of their numbers, as a stream's do, cost
// no search and no allocation.
func (s *Set) Add(g GTID) {
	if s.last >= len(s.runs) || s.runs[s.last].sid != g.SID || s.runs[s.last].tag != g.Tag {
		at, ok := s.find(&g.SID, g.Tag)
		if !ok {
			s.runs = slices.Insert(s.runs, at, run{sid: g.SID, tag: g.Tag, intervals: []Interval{{g.GNO, g.GNO}}})
			s.last = at
			return
		}
		s.last = at
	}
	r := &s.runs[s.last]
	if n := len(r.intervals) - 1; r.intervals[n].Last+1 == g.GNO {
		r.intervals[n].Last++
		return
	}
	r.insert(g.GNO)
}

// insert adds a number anywhere, joining neighbours that it closes the gap between.
func (r *run) insert(n int64) {
	i := covering(r.intervals, n)
	if i < len(r.intervals) && r.intervals[i].First <= n {
		return
	}
	joinsLeft := i > 0 && r.intervals[i-1].Last+1 == n
	joinsRight := i < len(r.intervals) && r.intervals[i].First-1 == n
	switch {
	case joinsLeft && joinsRight:
		r.intervals[i-1].Last = r.intervals[i].Last
		r.intervals = slices.Delete(r.intervals, i, i+1)
	case joinsLeft:
		r.intervals[i-1].Last = n
	case joinsRight:
		r.intervals[i].First = n
	default:
		r.intervals = slices.Insert(r.intervals, i, Interval{n, n})
	}
}

// Union returns the transactions that are in s, in o, or in both.
func (s Set) Union(o Set) Set { return combine(s, o, true, true, unite) }

// Subtract returns the transactions of s that are not in o.
func (s Set) Subtract(o Set) Set { return combine(s, o, true, false, subtract) }

// Intersect returns the transactions that are in both sets.
func (s Set) Intersect(o Set) Set { return combine(s, o, false, false, intersect) }

// Of returns the transactions that one server committed first, whatever their tag.
func (s Set) Of(sid [16]byte) Set {
	var out Set
	for i := range s.runs {
		if s.runs[i].sid == sid {
			r := s.runs[i]
			r.intervals = slices.Clone(r.intervals)
			out.runs = append(out.runs, r)
		}
	}
	return out
}

// Holes returns the transactions that the set skips: those below the greatest number of each server and tag that are
// not in it.
func (s Set) Holes() Set {
	full := s.Clone()
	for i := range full.runs {
		iv := full.runs[i].intervals
		full.runs[i].intervals = []Interval{{1, iv[len(iv)-1].Last}}
	}
	return full.Subtract(s)
}

// SIDs returns the UUIDs of the servers that committed the set's transactions first, in order.
func (s Set) SIDs() [][16]byte {
	var ids [][16]byte
	for i := range s.runs {
		if n := len(ids); n == 0 || ids[n-1] != s.runs[i].sid {
			ids = append(ids, s.runs[i].sid)
		}
	}
	return ids
}

// combine walks two sets in step: runs in both go through f, the others are kept or dropped.
func combine(a, b Set, keepA, keepB bool, f func(x, y []Interval) []Interval) Set {
	out := Set{}
	keep := func(r run, yes bool) {
		if yes {
			r.intervals = slices.Clone(r.intervals)
			out.runs = append(out.runs, r)
		}
	}
	i, j := 0, 0
	for i < len(a.runs) && j < len(b.runs) {
		switch c := a.runs[i].compare(&b.runs[j].sid, b.runs[j].tag); {
		case c < 0:
			keep(a.runs[i], keepA)
			i++
		case c > 0:
			keep(b.runs[j], keepB)
			j++
		default:
			if iv := f(a.runs[i].intervals, b.runs[j].intervals); len(iv) > 0 {
				out.runs = append(out.runs, run{sid: a.runs[i].sid, tag: a.runs[i].tag, intervals: iv})
			}
			i, j = i+1, j+1
		}
	}
	for ; i < len(a.runs); i++ {
		keep(a.runs[i], keepA)
	}
	for ; j < len(b.runs); j++ {
		keep(b.runs[j], keepB)
	}
	return out
}

func unite(x, y []Interval) []Interval {
	all := make([]Interval, 0, len(x)+len(y))
	for len(x) > 0 || len(y) > 0 {
		var next Interval
		if len(y) == 0 || len(x) > 0 && x[0].First <= y[0].First {
			next, x = x[0], x[1:]
		} else {
			next, y = y[0], y[1:]
		}
		if n := len(all) - 1; n >= 0 && next.First <= all[n].Last+1 {
			all[n].Last = max(all[n].Last, next.Last)
		} else {
			all = append(all, next)
		}
	}
	return all
}

func subtract(x, y []Interval) []Interval {
	var rest []Interval
	for _, iv := range x {
		for len(y) > 0 && y[0].Last < iv.First {
			y = y[1:]
		}
		for _, cut := range y {
			if cut.First > iv.Last {
				break
			}
			if cut.First > iv.First {
				rest = append(rest, Interval{iv.First, cut.First - 1})
			}
			iv.First = cut.Last + 1
		}
		if iv.First <= iv.Last {
			rest = append(rest, iv)
		}
	}
	return rest
}

func intersect(x, y []Interval) []Interval {
	var both []Interval
	for len(x) > 0 && len(y) > 0 {
		if first, last := max(x[0].First, y[0].First), min(x[0].Last, y[0].Last); first <= last {
			both = append(both, Interval{first, last})
		}
		if x[0].Last < y[0].Last {
			x = x[1:]
		} else {
			y = y[1:]
		}
	}
	return both
}
