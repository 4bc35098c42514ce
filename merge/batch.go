package merge

import (
	"bytes"
	"math/bits"
	"slices"
)

// gone marks an entry whose key has no row at the end of the batch.
const gone = int32(-1)

// expect says what the first change of a key in a batch takes for granted about the lake.
type expect uint8

const (
	absent  expect = iota // an insert: the key is not there
	present               // an update or a delete: it is
)

// entry is the net change of one key within a batch.
type entry struct {
	key    Key
	raw    span  // canonical bytes in the arena; empty when the key holds them
	row    int32 // ordinal of the surviving after image, or gone
	expect expect
}

type span struct{ off, len uint32 }

// Batch collapses the changes of one table: of each key only the last version survives. It implements Sink.
//
// Of a table without a key only the difference survives: how many more rows of the same values there are, or how many less.
//
// A Batch is filled by one goroutine and handed over as a whole by Cut.
type Batch struct {
	codec   *KeyCodec
	entries []entry
	slots   []uint32 // open addressing over entries: index + 1, 0 is free
	arena   []byte   // canonical bytes of keys that do not fit a Key
	net     []int32  // of whole rows, for each entry: how many more there are
	changes Changes
	odd     oddities
}

// Changes counts row changes as the source made them, before they were collapsed.
type Changes struct{ Inserts, Updates, Deletes int }

// Total is the number of row changes.
func (c Changes) Total() int { return c.Inserts + c.Updates + c.Deletes }

// Add adds the counts of o.
func (c *Changes) Add(o Changes) {
	c.Inserts += o.Inserts
	c.Updates += o.Updates
	c.Deletes += o.Deletes
}

// NewBatch returns an empty batch for a table whose keys codec encodes.
func NewBatch(codec *KeyCodec) *Batch { return &Batch{codec: codec} }

// Insert implements Sink.
func (b *Batch) Insert(k Key, raw []byte, row int) {
	b.changes.Inserts++
	b.put(k, raw, row)
}

// Update implements Sink.
func (b *Batch) Update(before Key, beforeRaw []byte, after Key, afterRaw []byte, row int) {
	b.changes.Updates++
	if before == after && b.codec.rows {
		return
	}
	if before != after {
		b.remove(before, beforeRaw)
		b.put(after, afterRaw, row)
		return
	}
	i, found := b.entry(after, afterRaw, present)
	e := &b.entries[i]
	if found && e.row == gone {
		b.odd.add(UpdateOfAbsent, e.key, b.rawOf(e), b.codec)
	}
	e.row = int32(row)
}

// Delete implements Sink.
func (b *Batch) Delete(k Key, raw []byte) {
	b.changes.Deletes++
	b.remove(k, raw)
}

func (b *Batch) put(k Key, raw []byte, row int) {
	if b.codec.rows {
		i := b.count(k, 1)
		b.entries[i].row = int32(row)
		return
	}
	i, found := b.entry(k, raw, absent)
	e := &b.entries[i]
	if found && e.row != gone {
		b.odd.add(InsertOfPresent, e.key, b.rawOf(e), b.codec)
	}
	e.row = int32(row)
}

func (b *Batch) remove(k Key, raw []byte) {
	if b.codec.rows {
		if e := &b.entries[b.count(k, -1)]; e.raw.len == 0 {
			e.raw = b.keep(raw[:min(len(raw), maxRowText)])
		}
		return
	}
	i, found := b.entry(k, raw, present)
	e := &b.entries[i]
	if found && e.row == gone {
		b.odd.add(DeleteOfAbsent, e.key, b.rawOf(e), b.codec)
	}
	e.row = gone
}

// maxRowText is how much of a whole row is kept, to name it should the lake not have it.
const maxRowText = 256

// count adds to the number of rows that are the same, and returns their entry.
func (b *Batch) count(k Key, by int32) int {
	i, found := b.entry(k, nil, present)
	if !found {
		b.net = append(b.net, 0)
	}
	b.net[i] += by
	return i
}

// Changes counts what the batch received since the last Cut.
func (b *Batch) Changes() Changes { return b.changes }

// Len is the number of distinct keys in the batch.
func (b *Batch) Len() int { return len(b.entries) }

// Bytes is the memory the batch holds, rows not included.
func (b *Batch) Bytes() int {
	const entrySize = 32
	return cap(b.entries)*entrySize + cap(b.slots)*4 + cap(b.arena) + cap(b.net)*4
}

// entry returns the number of the entry of a key, making it when the batch has none.
func (b *Batch) entry(k Key, raw []byte, first expect) (n int, found bool) {
	if len(b.entries)*4 >= len(b.slots)*3 {
		b.grow()
	}
	mask := uint64(len(b.slots) - 1)
	i := k.hash() & mask
	for {
		s := b.slots[i]
		if s == 0 {
			break
		}
		if b.entries[s-1].key == k {
			return int(s - 1), true
		}
		i = (i + 1) & mask
	}
	b.entries = append(b.entries, entry{key: k, raw: b.keep(raw), row: gone, expect: first})
	b.slots[i] = uint32(len(b.entries))
	return len(b.entries) - 1, false
}

// keep copies a key's bytes into the arena.
func (b *Batch) keep(raw []byte) span {
	kept := span{uint32(len(b.arena)), uint32(len(raw))}
	b.arena = append(b.arena, raw...)
	return kept
}

func (b *Batch) grow() {
	n := max(1024, 2*len(b.slots))
	b.slots = make([]uint32, n)
	mask := uint64(n - 1)
	for j := range b.entries {
		i := b.entries[j].key.hash() & mask
		for b.slots[i] != 0 {
			i = (i + 1) & mask
		}
		b.slots[i] = uint32(j + 1)
	}
}

func (b *Batch) rawOf(e *entry) []byte { return b.arena[e.raw.off : e.raw.off+e.raw.len] }

// Cut ends the batch: it returns its net changes with the surviving rows in key order, and empties the batch for the
// rows after the decoder's flush.
func (b *Batch) Cut() *Segment {
	s := &Segment{codec: b.codec, entries: b.entries, arena: b.arena, Changes: b.changes, odd: b.odd}
	if b.codec.rows {
		s.spread(b.net)
	} else {
		s.sort()
	}
	*b = Batch{codec: b.codec, entries: make([]entry, 0, len(b.entries)), slots: b.slots}
	clear(b.slots)
	return s
}

// hash spreads a key over 64 bits: consecutive integers must not cluster.
func (k Key) hash() uint64 {
	hi, lo := bits.Mul64(k.Lo^0x9e3779b97f4a7c15, k.Hi^0xd6e8feb86659fd93)
	return hi ^ lo
}

// Segment is a cut batch: the net change of every key, and the order in which the surviving rows are to be written.
type Segment struct {
	codec   *KeyCodec
	entries []entry // surviving rows first, in key order; then the keys that are gone. Of whole rows, one for each that comes or goes
	arena   []byte
	live    int
	odd     oddities

	Changes Changes
}

// Live is the number of surviving rows.
func (s *Segment) Live() int { return s.live }

// Len is the number of keys the segment touches.
func (s *Segment) Len() int { return len(s.entries) }

// Order appends to dst the row ordinals of the surviving rows, in key order.
func (s *Segment) Order(dst []int32) []int32 {
	for i := range s.entries[:s.live] {
		dst = append(dst, s.entries[i].row)
	}
	return dst
}

// spread makes as many entries of each whole row as there come or go. They stay in the order in which they came.
func (s *Segment) spread(net []int32) {
	counted := s.entries
	s.entries = nil
	for i, n := range net {
		for range n {
			s.entries = append(s.entries, counted[i])
		}
	}
	s.live = len(s.entries)
	for i, n := range net {
		for range -n {
			s.entries = append(s.entries, counted[i])
		}
	}
}

func (s *Segment) sort() {
	for i := range s.entries {
		if s.entries[i].row != gone {
			s.entries[i], s.entries[s.live] = s.entries[s.live], s.entries[i]
			s.live++
		}
	}
	rows := s.entries[:s.live]
	if !s.codec.fixed {
		slices.SortFunc(rows, func(a, b entry) int { return bytes.Compare(s.rawOf(&a), s.rawOf(&b)) })
		return
	}
	compare := func(a, b entry) int {
		switch {
		case a.key.Hi < b.key.Hi || a.key.Hi == b.key.Hi && a.key.Lo < b.key.Lo:
			return -1
		case a.key == b.key:
			return 0
		}
		return 1
	}
	if !slices.IsSortedFunc(rows, compare) { // appended rows mostly come in key order
		slices.SortFunc(rows, compare)
	}
}

func (s *Segment) rawOf(e *entry) []byte { return s.arena[e.raw.off : e.raw.off+e.raw.len] }
