package compaction

import (
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/tidemark/tidemark/merge"
)

// moves says where the live rows of every input of a rewrite went. Since inputs and outputs are sorted, the rows of one
// input stand in the output in their old order: so the set of ordinals they have there is all there is to keep, and a
// bitmap holds it in 2 bytes a row at most, and next to nothing where runs of rows stayed together. An input of another
// program that was not sorted has 4 bytes a row. The outputs count as one file here, divided at starts.
type moves struct {
	inputs map[string]*moved // by path
	starts []uint32          // ordinal of the first row of each output; the last element is the number of rows
}

type moved struct {
	rows int64           // of the input, live and deleted
	dead *roaring.Bitmap // positions that were deleted when the rewrite began; nil for none
	to   *roaring.Bitmap // ordinals of the others, in order

	places []uint32 // of an input that was not sorted: the ordinal of each position, gone for those that were deleted; else nil
}

// errNotMoved says that a position has no row in the outputs.
var errNotMoved = errors.New("a row that the rewrite did not see live")

// positions maps live rows of an input to ordinals in the output.
func (m *moved) positions(live *roaring.Bitmap) (*roaring.Bitmap, error) {
	out := roaring.New()
	if m.places != nil {
		for it := live.Iterator(); it.HasNext(); {
			pos := it.Next()
			if int64(pos) >= m.rows || m.places[pos] == gone {
				return nil, fmt.Errorf("position %d: %w", pos, errNotMoved)
			}
			out.Add(m.places[pos])
		}
		return out, nil
	}
	var dead roaring.IntPeekable
	if m.dead != nil {
		dead = m.dead.Iterator()
	}
	before := uint32(0) // dead positions before the current one
	to, reached := m.to.Iterator(), uint32(0)
	total := uint32(m.to.GetCardinality())
	for it := live.Iterator(); it.HasNext(); {
		pos := it.Next()
		for dead != nil && dead.HasNext() && dead.PeekNext() < pos {
			dead.Next()
			before++
		}
		if dead != nil && dead.HasNext() && dead.PeekNext() == pos || pos-before >= total {
			return nil, fmt.Errorf("position %d: %w", pos, errNotMoved)
		}
		// Near rows are reached by stepping, far ones by counting.
		if rank := pos - before; rank-reached > 256 {
			n, err := m.to.Select(rank)
			if err != nil {
				return nil, err
			}
			to.AdvanceIfNeeded(n)
			reached = rank
		}
		for ; reached < pos-before; reached++ {
			to.Next()
		}
		out.Add(to.PeekNext())
	}
	return out, nil
}

// split divides ordinals among the outputs: positions per output.
func (m *moves) split(ordinals *roaring.Bitmap, into []*roaring.Bitmap) {
	output := 0
	for it := ordinals.Iterator(); it.HasNext(); {
		n := it.Next()
		for n >= m.starts[output+1] {
			output++
		}
		if into[output] == nil {
			into[output] = roaring.New()
		}
		into[output].Add(n - m.starts[output])
	}
}

// late maps deletes that came after the rewrite began, by input path, to positions per output.
func (m *moves) late(deletes map[string]*roaring.Bitmap) ([]*roaring.Bitmap, error) {
	into := make([]*roaring.Bitmap, len(m.starts)-1)
	for path, positions := range deletes {
		ordinals, err := m.inputs[path].positions(positions)
		if err != nil {
			return nil, fmt.Errorf("deletes in %s: %w", path, err)
		}
		m.split(ordinals, into)
	}
	return into, nil
}

// Remap is where the rows of the inputs stand after a rewrite was published, by the ids of a lake.Table's data files.
type Remap struct {
	moves  *moves
	inputs map[uint32]*moved // by DataFile.ID
	output []uint32          // DataFile.ID of each output
}

// gone marks positions without a live row in a table of places.
const gone = ^uint32(0)

// Apply makes an index of the table follow, in one pass over it, with 4 bytes of memory for each row of the inputs while
// it runs. The index has to be as of the table just before the rewrite was published; it then is as one built anew.
func (r *Remap) Apply(x *merge.Index) error {
	highest := uint32(0)
	for id := range r.inputs {
		highest = max(highest, id)
	}
	places := make([][]uint32, highest+1)
	for id, m := range r.inputs {
		places[id] = m.expand()
	}
	lost := 0
	output := 0
	x.Remap(func(p merge.Place) merge.Place {
		if p.File > highest || places[p.File] == nil {
			return p
		}
		n := places[p.File][p.Pos]
		if n == gone {
			lost++
			return p
		}
		for n < r.moves.starts[output] {
			output--
		}
		for n >= r.moves.starts[output+1] {
			output++
		}
		return merge.Place{File: r.output[output], Pos: n - r.moves.starts[output]}
	})
	if lost > 0 {
		return fmt.Errorf("the index has %d rows that were deleted in the table when a rewrite of their files began: it has to be built anew", lost)
	}
	return nil
}

// expand returns the ordinal of every position, to be read only.
func (m *moved) expand() []uint32 {
	if m.places != nil {
		return m.places
	}
	places := make([]uint32, m.rows)
	var dead roaring.IntPeekable
	if m.dead != nil {
		dead = m.dead.Iterator()
	}
	to := m.to.ManyIterator()
	buf := make([]uint32, 4096)
	have := buf[:0]
	for pos := range places {
		if dead != nil && dead.HasNext() && dead.PeekNext() == uint32(pos) {
			dead.Next()
			places[pos] = gone
			continue
		}
		if len(have) == 0 {
			have = buf[:to.NextMany(buf)]
		}
		places[pos] = have[0]
		have = have[1:]
	}
	return places
}

// Deletes maps positions that are to be deleted by the owner's next commit, found before the rewrite was published, to
// where those rows stand now. Data files that were not rewritten stay as they are.
func (r *Remap) Deletes(pending map[uint32]*roaring.Bitmap) error {
	for id, m := range r.inputs {
		positions := pending[id]
		if positions == nil {
			continue
		}
		ordinals, err := m.positions(positions)
		if err != nil {
			return err
		}
		delete(pending, id)
		into := make([]*roaring.Bitmap, len(r.output))
		r.moves.split(ordinals, into)
		for i, b := range into {
			switch old := pending[r.output[i]]; {
			case b == nil:
			case old == nil:
				pending[r.output[i]] = b
			default:
				old.Or(b)
			}
		}
	}
	return nil
}
