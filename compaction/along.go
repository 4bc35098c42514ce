package compaction

import (
	"bytes"
	"cmp"
	"slices"
)

// A file that is rewritten by itself, for its deleted rows, keeps gaps where updated rows were, and those stay in small files, which
// readers open as well. Both pack worse than the rows in their places: the table of the benchmark took 1.24 times the room
// so, with 2 % of its rows updated (docs/benchmark.md). So small files go along.

// wornGroups returns the merges of a partition's worn files, with what they take along, and the files that are in none.
func (o *Options) wornGroups(files []File) (groups []Group, others []File) {
	var worn []File
	for _, f := range files {
		if o.worn(&f) {
			worn = append(worn, f)
		} else {
			others = append(others, f)
		}
	}
	groups = o.group(worn, 1, "deleted rows")
	if o.Alone || len(groups) == 0 || groups[0].Files[0].Outdated {
		return groups, others
	}
	slices.SortFunc(others, func(a, b File) int { return cmp.Or(cmp.Compare(b.live(), a.live()), cmp.Compare(a.Path, b.Path)) })
	for i := range groups {
		others = o.takeAlong(&groups[i], groups, others)
	}
	return groups, others
}

// takeAlong adds small files to a merge of worn ones, one of all that there are, and returns those left of the others, the largest first.
func (o *Options) takeAlong(g *Group, all []Group, others []File) (left []File) {
	most := g.Live / int64(o.MinInputs) // so that the rows come into a higher tier, as by any merge on account of their file's size
	for _, f := range others {
		if f.live() > most || len(g.Files) >= o.MaxInputs || g.Bytes+f.Bytes > o.MaxGroupBytes || !g.spans(&f) && (reachesLarger(&f, left) || reachesOther(&f, g, all)) {
			left = append(left, f)
			continue
		}
		with := byKey(append(slices.Clone(g.Files), f))
		if !o.inMemory(with) {
			left = append(left, f)
			continue
		}
		g.Files, g.Bytes, g.Live = with, g.Bytes+f.Bytes, g.Live+f.live()
	}
	return left
}

// spans reports whether the keys of a file lie between the lowest and the highest of the group's.
func (g *Group) spans(f *File) bool {
	var low, high bool
	for i := range g.Files {
		in := &g.Files[i]
		low = low || len(in.Low) == 0 || len(f.Low) > 0 && bytes.Compare(in.Low, f.Low) <= 0
		high = high || len(in.High) == 0 || len(f.High) > 0 && bytes.Compare(in.High, f.High) >= 0
	}
	return low && high
}

// reachesLarger reports whether keys of a file may lie among those of a larger one.
func reachesLarger(f *File, files []File) bool {
	return slices.ContainsFunc(files, func(other File) bool { return other.live() >= f.live() && other.reaches(f) })
}

// reachesOther is reachesLarger of the groups except one.
func reachesOther(f *File, but *Group, groups []Group) bool {
	for i := range groups {
		if &groups[i] != but && reachesLarger(f, groups[i].Files) {
			return true
		}
	}
	return false
}

// reaches reports whether keys of the two files may lie among each other.
func (f *File) reaches(other *File) bool {
	if len(f.Low) == 0 || len(f.High) == 0 || len(other.Low) == 0 || len(other.High) == 0 {
		return true
	}
	return bytes.Compare(f.Low, other.High) <= 0 && bytes.Compare(other.Low, f.High) <= 0
}
