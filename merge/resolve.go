package merge

import "github.com/RoaringBitmap/roaring/v2"

// Delta is what a segment changes in the lake, besides the data file with its surviving rows.
type Delta struct {
	// Delete holds, per data file, the positions of rows that were live and are not any more. Segments of one commit
	// that supersede each other may put the data file of an earlier segment here.
	Delete map[uint32]*roaring.Bitmap
	// Rows is by how much the number of live rows changes.
	Rows int
	// Anomalies are the contradictions found, at most a few; AnomalyCount counts them all.
	Anomalies    []Anomaly
	AnomalyCount int
}

// NewDelta returns an empty delta.
func NewDelta() *Delta { return &Delta{Delete: map[uint32]*roaring.Bitmap{}} }

// Resolve holds the segment against the index, whose rows the segment's data file file (0 when no row survives) now
// joins, and adds what is to be deleted to the delta. The index then stands as after the commit.
func (d *Delta) Resolve(s *Segment, x *Index, file uint32) {
	odd := s.odd
	before := x.Len()
	lastFile, last := uint32(0), (*roaring.Bitmap)(nil)
	for i := range s.entries {
		e := &s.entries[i]
		var old Place
		var had bool
		switch {
		case s.codec.rows && i < s.live:
			x.Add(e.key, Place{file, uint32(i)})
			continue
		case s.codec.rows:
			old, had = x.RemoveOne(e.key)
		case i < s.live:
			old, had = x.Put(e.key, Place{file, uint32(i)})
		default:
			old, had = x.Remove(e.key)
		}
		if had {
			if old.File != lastFile {
				lastFile, last = old.File, d.bitmap(old.File)
			}
			last.Add(old.Pos)
		}
		switch {
		case had && e.expect == absent:
			odd.add(InsertOfPresent, e.key, s.rawOf(e), s.codec)
		case !had && e.expect == present:
			odd.add(ChangeOfAbsent, e.key, s.rawOf(e), s.codec)
		}
	}
	d.Rows += x.Len() - before
	d.AnomalyCount += odd.count
	d.Anomalies = append(d.Anomalies, odd.named[:min(len(odd.named), maxNamed-min(maxNamed, len(d.Anomalies)))]...)
}

func (d *Delta) bitmap(file uint32) *roaring.Bitmap {
	b := d.Delete[file]
	if b == nil {
		b = roaring.New()
		d.Delete[file] = b
	}
	return b
}
