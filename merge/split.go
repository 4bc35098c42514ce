package merge

// Split divides a segment by the partitions of its surviving rows: parts has the number of each row's partition, by row
// ordinal; there must be one. Each segment it returns has the rows of one partition, in key order, numbered as that partition's data file will
// have them; number says which partition that is. Keys without a row are in the first one. They are to be resolved one after
// the other; s is of no use any more.
func (s *Segment) Split(parts []int32) (segments []*Segment, numbers []int32) {
	var counts []int
	at := map[int32]int{} // ordinal in numbers
	for i := range s.entries[:s.live] {
		part := parts[s.entries[i].row]
		n, ok := at[part]
		if !ok {
			n = len(numbers)
			at[part], numbers, counts = n, append(numbers, part), append(counts, 0)
		}
		counts[n]++
	}
	if len(numbers) < 2 {
		return []*Segment{s}, numbers
	}
	divided := make([][]entry, len(numbers))
	all := make([]entry, s.live)
	for n, count := range counts {
		divided[n], all = all[:0:count], all[count:]
	}
	last, n := int32(-1), 0
	for _, e := range s.entries[:s.live] {
		if part := parts[e.row]; part != last {
			last, n = part, at[part]
		}
		divided[n] = append(divided[n], e)
	}
	for n, entries := range divided {
		part := &Segment{codec: s.codec, entries: entries, arena: s.arena, live: len(entries)}
		if n == 0 {
			part.entries = append(entries[:len(entries):len(entries)], s.entries[s.live:]...)
			part.odd, part.Changes = s.odd, s.Changes
		}
		segments = append(segments, part)
	}
	return segments, numbers
}
