package merge

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestSplit divides segments at random and resolves each part with a file of its own: every key is at the place where its
// part has its row, in key order, and what it had before is deleted in whichever file it was.
func TestSplit(t *testing.T) {
	for name, codec := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			index, batch := NewIndex(codec), NewBatch(codec)
			model := map[int]int{}     // key -> version
			written := map[Place]int{} // place -> version of the row there
			home := map[uint32]int32{} // file -> partition
			partOf := map[int]int32{}  // version -> partition
			keyOf := map[int]int{}     // version -> key
			dead := map[Place]bool{}   // deleted
			version, file := 0, uint32(1)
			for range 40 {
				var versions []int // by row ordinal
				var parts []int32
				for range 1 + rng.IntN(200) {
					k := rng.IntN(150)
					key, raw := encode(codec, k)
					_, there := model[k]
					if there && rng.IntN(4) == 0 {
						batch.Delete(key, raw)
						delete(model, k)
						continue
					}
					version++
					part := rng.Int32N(1 + rng.Int32N(6))
					versions, parts = append(versions, version), append(parts, part)
					partOf[version], keyOf[version] = part, k
					if there {
						same := bytes.Clone(raw)
						batch.Update(key, same, key, same, len(versions)-1)
					} else {
						batch.Insert(key, raw, len(versions)-1)
					}
					model[k] = version
				}
				segment := batch.Cut()
				live, keys, changes := segment.Live(), segment.Len(), segment.Changes
				segments, numbers := []*Segment{segment}, []int32{0}
				if live > 0 {
					segments, numbers = segment.Split(parts)
				}
				delta := NewDelta()
				seen := map[int32]bool{}
				for i, s := range segments {
					if seen[numbers[i]] {
						t.Fatalf("partition %d comes twice", numbers[i])
					}
					seen[numbers[i]] = true
					file++
					home[file] = numbers[i]
					order := s.Order(nil)
					for pos, row := range order {
						written[Place{file, uint32(pos)}] = versions[row]
						if pos > 0 && codec.Fixed() {
							a, _ := encode(codec, keyOf[versions[order[pos-1]]])
							b, _ := encode(codec, keyOf[versions[row]])
							if a.Hi > b.Hi || a.Hi == b.Hi && a.Lo >= b.Lo {
								t.Fatalf("file %d is not in key order", file)
							}
						}
					}
					live -= s.Live()
					keys -= s.Len()
					delta.Resolve(s, index, file)
				}
				if live != 0 || keys != 0 || segments[0].Changes != changes || delta.AnomalyCount != 0 {
					t.Fatalf("%d rows and %d keys got lost, %+v of %+v, anomalies %v", live, keys, segments[0].Changes, changes, delta.Anomalies)
				}
				for f, positions := range delta.Delete {
					for it := positions.Iterator(); it.HasNext(); {
						p := Place{f, it.Next()}
						if dead[p] {
							t.Fatalf("%v is deleted twice", p)
						}
						dead[p] = true
					}
				}
			}
			if index.Len() != len(model) {
				t.Fatalf("the index has %d keys, the model %d", index.Len(), len(model))
			}
			for k, v := range model {
				key, _ := encode(codec, k)
				p, ok := index.Get(key)
				if !ok || written[p] != v || dead[p] || home[p.File] != partOf[v] {
					t.Fatalf("key %d: at %v stands version %d of partition %d (deleted: %v), want %d of %d", k, p, written[p], home[p.File], dead[p], v, partOf[v])
				}
			}
			for p, v := range written {
				if current := model[keyOf[v]] == v; current == dead[p] {
					t.Fatalf("%v has version %d of key %d: deleted %v, current %v", p, v, keyOf[v], dead[p], current)
				}
			}
		})
	}
}
