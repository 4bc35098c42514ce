package merge

import (
	"math/bits"
	"slices"
)

// Place is where a live row stands.
type Place struct {
	File uint32 // lake.DataFile.ID, 1 or more
	Pos  uint32 // row position in the file, from 0
}

// Index maps the key of every live row of a table to its place.
//
// It is a hash table in memory, 16 bytes a slot for keys that fit 64 bits and 24 for others, about 1.4 slots a row.
// In a table without a key, rows that are the same as another take 8 bytes more each.
//
// It holds nothing that is not in the lake: it is built from the key columns of the live rows when a table is opened.
// One goroutine at a time may use it.
type Index struct {
	narrow *table[uint64]
	wide   *table[Key]

	more   map[Key][]Place // of rows that are the same as one in wide
	others int             // of them
}

// NewIndex returns an empty index for keys of the codec.
func NewIndex(codec *KeyCodec) *Index {
	if codec.Narrow() {
		return &Index{narrow: newTable(func(k uint64) uint64 { return Key{0, k}.hash() })}
	}
	return &Index{wide: newTable(Key.hash)}
}

// Reserve makes room in an empty index for so many rows: to grow to there moves each of them several times.
func (x *Index) Reserve(rows int) {
	if x.narrow != nil {
		x.narrow.reserve(rows)
	} else {
		x.wide.reserve(rows)
	}
}

// Put records the place of a key and returns the place it had before.
func (x *Index) Put(k Key, p Place) (old Place, had bool) {
	if x.narrow != nil {
		return x.narrow.put(k.Lo, p)
	}
	return x.wide.put(k, p)
}

// Remove forgets a key and returns its place.
func (x *Index) Remove(k Key) (old Place, had bool) {
	if x.narrow != nil {
		return x.narrow.remove(k.Lo)
	}
	return x.wide.remove(k)
}

// Add records the place of one more row, in a table without a key, where several can be the same.
func (x *Index) Add(k Key, p Place) {
	first, had := x.wide.put(k, p)
	if !had {
		return
	}
	if x.more == nil {
		x.more = map[Key][]Place{}
	}
	x.more[k] = append(x.more[k], first)
	x.others++
}

// RemoveOne forgets one of the rows of a key and returns its place.
func (x *Index) RemoveOne(k Key) (old Place, had bool) {
	list := x.more[k]
	if len(list) == 0 {
		return x.wide.remove(k)
	}
	old = list[len(list)-1]
	x.keep(k, list[:len(list)-1])
	x.others--
	return old, true
}

// keep sets the places of the rows that are the same as the one in wide.
func (x *Index) keep(k Key, list []Place) {
	if len(list) == 0 {
		delete(x.more, k)
	} else {
		x.more[k] = list
	}
}

// drop forgets the rows at the places that gone reports, in one pass over the index, and returns how many there were.
func (x *Index) drop(gone func(Place) bool) (n int) {
	if x.narrow != nil {
		return x.narrow.drop(gone, func(uint64) {})
	}
	for k, list := range x.more {
		left := slices.DeleteFunc(list, gone)
		n += len(list) - len(left)
		x.keep(k, left)
	}
	x.others -= n
	return n + x.wide.drop(gone, func(k Key) {
		if p, had := x.RemoveOne(k); had { // of the others
			x.wide.put(k, p)
		}
	})
}

// Get returns the place of a key.
func (x *Index) Get(k Key) (Place, bool) {
	if x.narrow != nil {
		return x.narrow.get(k.Lo)
	}
	return x.wide.get(k)
}

// Len is the number of rows.
func (x *Index) Len() int {
	if x.narrow != nil {
		return x.narrow.len()
	}
	return x.wide.len() + x.others
}

// Bytes is the memory the index holds.
func (x *Index) Bytes() int {
	if x.narrow != nil {
		return x.narrow.capacity() * 16
	}
	return x.wide.capacity()*24 + len(x.more)*64 + x.others*8
}

// shardBits splits the table so that it grows a sixty-fourth at a time, and no growth needs a second copy of the whole.
const shardBits = 6

type table[K comparable] struct {
	hash   func(K) uint64
	shards [1 << shardBits]shard[K]
}

type shard[K comparable] struct {
	slots []slot[K] // linear probing from home(hash); File 0 is free
	n     int
}

type slot[K comparable] struct {
	key   K
	place Place
}

func newTable[K comparable](hash func(K) uint64) *table[K] { return &table[K]{hash: hash} }

// reserve gives every shard slots for its share, and some more: hashes are not spread quite evenly.
func (t *table[K]) reserve(n int) {
	share := n >> shardBits
	if share == 0 {
		return
	}
	for i := range t.shards {
		t.shards[i].slots = make([]slot[K], max(64, share*27/20))
	}
}

// find returns the shard of a hash and its bits below the shard's number.
func (t *table[K]) find(h uint64) (*shard[K], uint64) {
	return &t.shards[h>>(64-shardBits)], h << shardBits
}

// home maps a hash to a slot, keeping the order of the hashes, so that growing a shard is a sequential copy.
func (s *shard[K]) home(h uint64) int {
	hi, _ := bits.Mul64(h, uint64(len(s.slots)))
	return int(hi)
}

func (t *table[K]) put(k K, p Place) (Place, bool) {
	s, h := t.find(t.hash(k))
	if s.n*5 >= len(s.slots)*4 {
		t.grow(s)
	}
	i := s.home(h)
	for {
		e := &s.slots[i]
		if e.place.File == 0 {
			*e = slot[K]{k, p}
			s.n++
			return Place{}, false
		}
		if e.key == k {
			old := e.place
			e.place = p
			return old, true
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

func (t *table[K]) get(k K) (Place, bool) {
	s, h := t.find(t.hash(k))
	i, ok := s.seek(k, h)
	if !ok {
		return Place{}, false
	}
	return s.slots[i].place, true
}

func (t *table[K]) remove(k K) (Place, bool) {
	s, h := t.find(t.hash(k))
	i, ok := s.seek(k, h)
	if !ok {
		return Place{}, false
	}
	old := s.slots[i].place
	s.n--
	// Close the gap: move back every follower that its home slot allows to move (Knuth, algorithm R).
	for j := i; ; {
		if j++; j == len(s.slots) {
			j = 0
		}
		e := s.slots[j]
		if e.place.File == 0 {
			break
		}
		_, eh := t.find(t.hash(e.key))
		home := s.home(eh)
		if stays := (i < j && i < home && home <= j) || (i > j && (i < home || home <= j)); stays {
			continue
		}
		s.slots[i] = e
		i = j
	}
	s.slots[i] = slot[K]{}
	return old, true
}

// drop removes the entries at the places that gone reports, calls removed with their keys, and returns how many there were.
func (t *table[K]) drop(gone func(Place) bool, removed func(K)) (n int) {
	var keys []K
	for i := range t.shards {
		keys = keys[:0]
		for _, e := range t.shards[i].slots {
			if e.place.File != 0 && gone(e.place) {
				keys = append(keys, e.key)
			}
		}
		for _, k := range keys {
			t.remove(k)
			removed(k)
		}
		n += len(keys)
	}
	return n
}

func (s *shard[K]) seek(k K, h uint64) (int, bool) {
	if len(s.slots) == 0 {
		return 0, false
	}
	i := s.home(h)
	for {
		e := &s.slots[i]
		if e.place.File == 0 {
			return 0, false
		}
		if e.key == k {
			return i, true
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

func (t *table[K]) grow(s *shard[K]) {
	old := s.slots
	s.slots = make([]slot[K], max(64, len(old)*5/4))
	for _, e := range old {
		if e.place.File == 0 {
			continue
		}
		_, h := t.find(t.hash(e.key))
		i := s.home(h)
		for s.slots[i].place.File != 0 {
			if i++; i == len(s.slots) {
				i = 0
			}
		}
		s.slots[i] = e
	}
}

func (t *table[K]) len() (n int) {
	for i := range t.shards {
		n += t.shards[i].n
	}
	return n
}

func (t *table[K]) capacity() (n int) {
	for i := range t.shards {
		n += len(t.shards[i].slots)
	}
	return n
}
