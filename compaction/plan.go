package compaction

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dustin/go-humanize"
)

// Options say when a data file is worth rewriting. The zero value stands for the defaults (EnsureDefaults).
type Options struct {
	TargetFileSize int64   // bytes of an output file; default 256 MiB
	DeletedShare   float64 // a file of which more than this share of rows is deleted is rewritten; default 0.2
	MinInputs      int     // small files of one size tier that are merged together, and the ratio between tiers; default 4
	MaxInputs      int     // files of one merge; default 24
	MaxMergeMemory int64   // bytes that reading the inputs of one merge may take at a time (readMemory); default 256 MiB
	MaxGroupBytes  int64   // bytes of input of one rewrite; default 8 times TargetFileSize
	MaxPassBytes   int64   // bytes of input of one pass; default 64 GiB
	MaxDeleteFiles int     // a file to which more delete files than this apply is rewritten; default 10
	MaxSmallFiles  int     // a partition has at most so many brief files (Brief), whatever that costs; default 0: as the tiers have it
	Alone          bool    // worn files take no small ones along: for rewrites that may have to wait, while small files are merged; default false
	Pace           *Pace   // of rewrites that share it; default nil: as fast as they can
}

// Brief is the size in bytes below which a data file will be rewritten before long, and the table has few of its like. As in
// the LSM trees of databases, a fast codec is worth more there than a small file: zstd takes half of a rewrite's time. In a
// partitioned table a small file may be all that its partition will ever have.
func (o *Options) Brief() int64 { return o.TargetFileSize / 8 }

// BriefLoad is the same for the files of a load: there are many of them, and all that are not full will be merged. A size is estimated
// before there is a file, so it is half of that.
func (o *Options) BriefLoad() int64 { return o.full() / 2 }

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	o.TargetFileSize = cmp.Or(o.TargetFileSize, 256<<20)
	o.DeletedShare = cmp.Or(o.DeletedShare, 0.2)
	o.MinInputs = cmp.Or(o.MinInputs, 4)
	o.MaxInputs = cmp.Or(o.MaxInputs, 24)
	o.MaxMergeMemory = cmp.Or(o.MaxMergeMemory, 256<<20)
	o.MaxGroupBytes = cmp.Or(o.MaxGroupBytes, 8*o.TargetFileSize)
	o.MaxPassBytes = cmp.Or(o.MaxPassBytes, 64<<30)
	o.MaxDeleteFiles = cmp.Or(o.MaxDeleteFiles, 10)
}

// Validate reports options that make no sense together.
func (o *Options) Validate() error {
	switch {
	case o.TargetFileSize < 1:
		return fmt.Errorf("compaction: a target file size of %d bytes", o.TargetFileSize)
	case !(o.DeletedShare > 0 && o.DeletedShare < 1):
		return fmt.Errorf("compaction: a share of deleted rows of %g: expected more than 0 and less than 1", o.DeletedShare)
	case o.MinInputs < 2:
		return errors.New("compaction: merging fewer than 2 small files gains nothing")
	case o.MaxInputs < o.MinInputs:
		return fmt.Errorf("compaction: at most %d files are merged at once, but at least %d small ones", o.MaxInputs, o.MinInputs)
	case o.MaxGroupBytes < o.TargetFileSize:
		return errors.New("compaction: one rewrite must be able to read a file of the target size")
	case o.MaxSmallFiles < 0:
		return fmt.Errorf("compaction: at most %d small files", o.MaxSmallFiles)
	}
	return nil
}

// File is what planning knows about a live data file.
type File struct {
	Path        string
	Rows        int64 // live and deleted
	Deleted     int64 // rows
	Bytes       int64
	DeleteFiles int    // delete files to be read with it, vectors included
	Low, High   []byte // bounds of the first key column, in an encoding that sorts like the values; nil when unknown
	Partition   string // equal for files of one partition
	Outdated    bool   // of another partition spec than the table has now: its rows are divided anew when it is rewritten
}

// live is how many bytes the file's live rows take.
func (f *File) live() int64 {
	if f.Rows == 0 {
		return 0
	}
	return int64(float64(f.Bytes) * float64(f.Rows-f.Deleted) / float64(f.Rows))
}

// Group is a set of data files to be rewritten in one commit. Those of a partition are merged with each other.
type Group struct {
	Why   string
	Files []File // by partition, in the order of their lowest keys
	Bytes int64  // of the inputs
	Live  int64  // bytes, an estimate of the outputs
}

// home says which files may be merged with each other.
func (f *File) home() string {
	if f.Outdated {
		return "outdated"
	}
	return "in " + f.Partition
}

// Rows is the number of live rows.
func (g *Group) Rows() (n int64) {
	for i := range g.Files {
		n += g.Files[i].Rows - g.Files[i].Deleted
	}
	return n
}

// Plan is what one pass over a table would rewrite.
type Plan struct {
	Groups []Group
	Bytes  int64 // of all inputs of the groups
	Live   int64 // bytes, an estimate of what is written
	Left   int   // groups that would be worth it but are left to the next pass, because of MaxPassBytes
}

// near is how many times larger a file is at most that is merged with smaller ones before it has to be: left alone, it would soon
// be one of several of about a size, each of which is merged with every commit in its turn.
const near = 4

// smallestTier is the upper end in bytes of the lowest size tier. Merges of yet smaller files may stay in it: they cost
// next to nothing.
const smallestTier = 64 << 10

// full is the size in bytes from which a file is not merged with others on account of its size.
func (o *Options) full() int64 { return o.TargetFileSize / 4 * 3 }

// tier is the size tier of a file with so many live bytes: 0 for those below an MinInputs-th of the target, 1 for those
// below a MinInputs-th of that, and so on. full files have none, -1.
func (o *Options) tier(live int64) int {
	if live >= o.full() {
		return -1
	}
	tier, least := 0, o.TargetFileSize/int64(o.MinInputs)
	for live < least && least >= smallestTier {
		tier++
		least /= int64(o.MinInputs)
	}
	return tier
}

// Tiers is the number of size tiers.
func (o *Options) Tiers() int { return o.tier(0) + 1 }

// Amplification bounds how many bytes compaction writes, over the life of a table of any size, for each byte that was
// added or deleted. A row is rewritten at most once in each tier because its file is small, for a merge of MinInputs
// files of a tier makes files of a higher one. Besides, it is rewritten when its file has lost DeletedShare of its rows,
// which is at most (1-DeletedShare)/DeletedShare bytes for each byte deleted. With MaxSmallFiles only the second bound holds: the
// rows of the smallest files are rewritten with every commit.
func (o *Options) Amplification() (added, deleted float64) {
	return float64(o.Tiers()), (1 - o.DeletedShare) / o.DeletedShare
}

// Quick reports whether a rewrite of the group takes no more than seconds and half of the memory, so that it may be done beside a
// long one.
func (o *Options) Quick(g *Group) bool {
	memory := int64(0)
	for i := range g.Files {
		memory += readMemory(g.Files[i].Bytes)
	}
	return g.Bytes <= o.Brief() && memory <= o.MaxMergeMemory/2
}

// readMemory is what reading a file during a merge may take: a page of each column packed and unpacked, the packed row
// group and a batch of rows, which for the pages of 1 MiB that ingest writes was measured as 28 MiB with 12 columns; or
// all of a small file in these forms.
func readMemory(bytes int64) int64 { return min(32<<20, 10*bytes+256<<10) }

// mergeMemory is what reading takes when a merge of files, in the order of their lowest keys, comes to the next one: the files
// that reach into it are open, and the one before it, which may not be at its end.
func mergeMemory(files []File, next *File) int64 {
	memory := readMemory(next.Bytes)
	for i := range files {
		f := &files[i]
		if i == len(files)-1 || len(next.Low) == 0 || len(f.High) == 0 || bytes.Compare(f.High, next.Low) >= 0 {
			memory += readMemory(f.Bytes)
		}
	}
	return memory
}

// Make plans a pass: pure, and predictable by a reader.
//
//  1. A file of which more than DeletedShare of the rows is deleted, or to which more than MaxDeleteFiles apply, is worn:
//     it is rewritten.
//  2. A merge of worn files takes small files along that have a MinInputs-th of its live bytes at most, unless its output would reach
//     into larger files that it did not reach into without them. So updated rows come back to where they were.
//  3. Other files that are not full are put into size tiers. A tier with at least MinInputs files is merged. With MaxSmallFiles
//     brief files are in no tier: the smallest are merged until no more than MaxSmallFiles are left, and the next larger one goes
//     with them when they come near its size.
//  4. Worn files are merged with each other, and small files of one tier with each other, in the order of their lowest
//     keys, so that neighbours come together and outputs overlap little. A merge is closed when another file would take
//     it past MaxInputs, MaxGroupBytes or, where keys overlap, MaxMergeMemory; what is left of a tier waits if it is fewer
//     than MinInputs.
//     All this is done for each partition by itself, and for the files of other partition specs than the table's.
//  5. Merges of several partitions, one of each, are one group as long as MaxGroupBytes and maxGroupFiles allow.
//  6. Groups are taken, worn ones first, then by tier from the smallest files up, until MaxPassBytes.
func Make(files []File, o Options) Plan {
	o.EnsureDefaults()
	type home struct {
		all   []File
		worn  []Group
		tiers [][]File
		small []File // instead of tiers, if brief, with MaxSmallFiles
	}
	homes := map[string]*home{}
	for _, f := range files {
		h := homes[f.home()]
		if h == nil {
			h = &home{tiers: make([][]File, o.Tiers())}
			homes[f.home()] = h
		}
		h.all = append(h.all, f)
	}
	for _, h := range homes {
		var others []File
		h.worn, others = o.wornGroups(h.all)
		for _, f := range others {
			switch tier := o.tier(f.live()); {
			case f.live() < o.Brief() && o.MaxSmallFiles > 0:
				h.small = append(h.small, f)
			case tier >= 0:
				h.tiers[tier] = append(h.tiers[tier], f)
			}
		}
		h.small = o.tooMany(h.small)
	}
	var groups []Group
	collect := func(of func(*home) []Group) {
		var merges []Group
		for _, key := range slices.Sorted(maps.Keys(homes)) {
			merges = append(merges, of(homes[key])...)
		}
		groups = append(groups, o.join(merges)...)
	}
	collect(func(h *home) []Group { return h.worn })
	for tier := o.Tiers() - 1; tier >= 0; tier-- {
		collect(func(h *home) []Group {
			return o.group(h.tiers[tier], o.MinInputs, fmt.Sprintf("small files, tier %d", tier))
		})
	}
	collect(func(h *home) []Group { return o.group(h.small, 2, "small files") })
	var p Plan
	for _, g := range groups {
		if len(p.Groups) > 0 && p.Bytes+g.Bytes > o.MaxPassBytes {
			p.Left++
			continue
		}
		p.Groups = append(p.Groups, g)
		p.Bytes += g.Bytes
		p.Live += g.Live
	}
	return p
}

// inMemory reports whether a merge of the files, in the order of their lowest keys, keeps to MaxMergeMemory.
func (o *Options) inMemory(files []File) bool {
	for i := range files {
		if mergeMemory(files[:i], &files[i]) > o.MaxMergeMemory {
			return false
		}
	}
	return true
}

// byKey puts files in the order of their lowest keys.
func byKey(files []File) []File {
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(bytes.Compare(a.Low, b.Low), bytes.Compare(a.High, b.High), cmp.Compare(a.Path, b.Path))
	})
	return files
}

// tooMany returns the small files of a partition that are to be merged, so that no more than MaxSmallFiles are left.
func (o *Options) tooMany(small []File) []File {
	if len(small) <= o.MaxSmallFiles {
		return nil
	}
	slices.SortFunc(small, func(a, b File) int { return cmp.Or(cmp.Compare(a.live(), b.live()), cmp.Compare(a.Path, b.Path)) })
	bytes, n := int64(0), 0
	for n < len(small) && (n < len(small)-o.MaxSmallFiles+1 || small[n].live() < near*bytes) {
		bytes += small[n].live()
		n++
	}
	return small[:n]
}

func (o *Options) worn(f *File) bool {
	return float64(f.Deleted) > o.DeletedShare*float64(f.Rows) || f.DeleteFiles > o.MaxDeleteFiles
}

// group cuts files into groups. The last one, and one that is all, has at least least files.
func (o *Options) group(files []File, least int, why string) []Group {
	var groups []Group
	var g Group
	rows := int64(0)
	closeGroup := func(least int) {
		if len(g.Files) >= least {
			groups = append(groups, g)
		}
		g, rows = Group{}, 0
	}
	for _, f := range byKey(files) {
		if len(g.Files) > 0 && (len(g.Files) == o.MaxInputs || g.Bytes+f.Bytes > o.MaxGroupBytes || mergeMemory(g.Files, &f) > o.MaxMergeMemory || f.Outdated && rows+f.Rows > maxDividedRows) {
			closeGroup(min(least, 2))
		}
		g.Why = why
		g.Files = append(g.Files, f)
		g.Bytes += f.Bytes
		g.Live += f.live()
		rows += f.Rows
	}
	closeGroup(least)
	return groups
}

const (
	// maxDividedRows bounds the rows that one merge divides among partitions: where each went takes 4 bytes (remap.go).
	maxDividedRows = 16 << 20
	// maxGroupFiles bounds what a commit that rewrites many partitions has to say.
	maxGroupFiles = 1000
)

// join puts merges of different partitions together, so that a table of many partitions takes few commits.
func (o *Options) join(merges []Group) (groups []Group) {
	for i, m := range merges {
		if last := len(groups) - 1; last >= 0 && merges[i-1].Files[0].home() != m.Files[0].home() &&
			groups[last].Bytes+m.Bytes <= o.MaxGroupBytes && len(groups[last].Files)+len(m.Files) <= maxGroupFiles {
			g := &groups[last]
			g.Files = append(g.Files, m.Files...)
			g.Bytes += m.Bytes
			g.Live += m.Live
			continue
		}
		groups = append(groups, m)
	}
	return groups
}

func (p *Plan) String() string {
	s := fmt.Sprintf("%d groups, %s in, about %s out", len(p.Groups), humanize.IBytes(uint64(p.Bytes)), humanize.IBytes(uint64(p.Live)))
	if p.Left > 0 {
		s += fmt.Sprintf(", %d groups left to the next pass", p.Left)
	}
	return s
}
