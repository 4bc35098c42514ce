package verify

import (
	"sync"

	"github.com/zeebo/xxh3"
)

// A hashed row is 128 bits: 64 of its key's hash, 63 of the whole row's, and one that says whether the row is settled: it was
// found in the source. Two keys of a part of 16 million with one hash come up once in a hundred thousand runs; they are
// noticed where they could matter (findings.go), and the part is compared again with another half of the hash.
type hashed struct{ key, row uint64 }

const settledBit = 1

// half says which half of a key's hash is used.
type half bool

func (h half) hashed(key, all xxh3.Uint128) hashed {
	k := key.Lo
	if h {
		k = key.Hi
	}
	return hashed{max(k, 1), all.Lo &^ settledBit} // 0 is an empty slot
}

// hashes is a set of hashed rows by key, safe for concurrent use.
type hashes struct{ shards [64]shard }

// shard is a hash table with open addressing.
type shard struct {
	mu    sync.Mutex
	slots []hashed // a power of two, or none
	used  int
}

func (h *hashes) shard(key uint64) *shard { return &h.shards[key>>58] }

// find returns the slot of a key, or the empty one where it belongs. At least one is empty.
func (s *shard) find(key uint64) *hashed {
	mask := uint64(len(s.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		if slot := &s.slots[i]; slot.key == key || slot.key == 0 {
			return slot
		}
	}
}

// add puts a row in; it reports false when the key is there already, and leaves that row.
func (h *hashes) add(r hashed) bool {
	s := h.shard(r.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.used+1)*4 > len(s.slots)*3 {
		s.grow()
	}
	slot := s.find(r.key)
	if slot.key != 0 {
		return false
	}
	*slot = r
	s.used++
	return true
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]hashed, max(64, 2*len(old)))
	for _, r := range old {
		if r.key != 0 {
			*s.find(r.key) = r
		}
	}
}

// match is what the set has for a row.
type match uint8

const (
	absent match = iota // no row with this key
	same                // this row
	other               // another row with this key
)

// settle looks a row up, and notes that the source has its key.
func (h *hashes) settle(r hashed) match {
	s := h.shard(r.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.slots) == 0 {
		return absent
	}
	slot := s.find(r.key)
	if slot.key == 0 {
		return absent
	}
	known := slot.row
	slot.row |= settledBit
	if known&^settledBit == r.row {
		return same
	}
	return other
}

// unsettled calls yield with the keys that the source was not found to have.
func (h *hashes) unsettled(yield func(key uint64)) {
	for i := range h.shards {
		for _, r := range h.shards[i].slots {
			if r.key != 0 && r.row&settledBit == 0 {
				yield(r.key)
			}
		}
	}
}
