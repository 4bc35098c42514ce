package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/lake"
)

// part is the rows of a table that are compared at a time, so many as their hashes fit in memory.
//
// A table whose key begins with whole numbers is divided at such numbers, since their order is known on both sides: data
// files and row groups of the lake that have none of them are not read. Other tables cannot be divided that way, as only the
// server knows its collations: one that is too large is read several times, each time for a share of the keys by their hash.
type part struct {
	From snapshot.Bound `json:"from,omitempty"` // a number, or open
	To   snapshot.Bound `json:"to,omitempty"`
	N    int            `json:"n,omitempty"`  // of the shares
	Of   int            `json:"of,omitempty"` // shares; 0: the part has all keys between the bounds

	ranges   []snapshot.Range // that the source is read by
	interval lake.Interval
}

func (p *part) String() string {
	text := snapshot.Range{From: p.From, To: p.To}.String()
	if p.Of > 0 {
		text += fmt.Sprintf(", share %d of %d", p.N+1, p.Of)
	}
	return text
}

// takes reports whether the part has the keys with this hash, as far as shares go.
func (p *part) takes(key uint64) bool {
	return p.Of == 0 || int(key>>24%uint64(p.Of)) == p.N // other bits than those that find a slot
}

// holds returns the function that says which rows lie between the bounds; nil when all do.
func (p *part) holds(batch arrow.RecordBatch, column string) (func(row int) bool, error) {
	at := batch.Schema().FieldIndices(column)
	if len(at) != 1 {
		return nil, fmt.Errorf("a batch has %d columns %q", len(at), column)
	}
	return p.interval.Holds(batch.Column(at[0]))
}

// planner finds the parts of a table, one group of shares after the other.
type planner struct {
	table     *snapshot.Table
	ranges    *snapshot.Ranges
	from      snapshot.Bound
	divisible bool
	shares    int // of the first group, where some are done

	rangeRows, partRows int
	most                int64 // rows that fit in memory
	lakeRows            int64 // of the whole table
}

func newPlanner(o *Options, t *snapshot.Table, done *tableState, lakeRows int64) *planner {
	from, shares := done.at()
	most := o.Memory / hashBytes
	if t.Plan.Keyless() {
		most = o.Memory / tallyBytes
	}
	partRows := int(min(int64(o.PartRows), most))
	rangeRows := min(o.RangeRows, partRows)
	return &planner{
		table: t, from: from, shares: shares, ranges: snapshot.NewRanges(t, rangeRows, from), divisible: t.ByNumber(),
		rangeRows: rangeRows, partRows: partRows, most: most, lakeRows: lakeRows,
	}
}

// next returns the shares of the rows that come next; the last ones have no bound To. After an error it can be called again,
// with another connection.
func (p *planner) next(ctx context.Context, c *snapshot.Conn) ([]*part, error) {
	whole := part{From: p.from}
	rows := int64(0)
	for {
		r, ok, err := p.ranges.Next(ctx, c)
		if err != nil {
			p.ranges = snapshot.NewRanges(p.table, p.rangeRows, p.from)
			return nil, err
		}
		if ok {
			whole.ranges = append(whole.ranges, r)
			rows += int64(p.rangeRows)
		}
		if !ok || r.To == nil {
			break
		}
		if p.divisible && rows >= int64(p.partRows) && whole.cut(r.To[:1]) {
			p.from = whole.To
			p.ranges = snapshot.NewRanges(p.table, p.rangeRows, p.from)
			break
		}
	}
	var err error
	if whole.interval, err = intervalOf(whole.From, whole.To); err != nil {
		return nil, err
	}
	if whole.From == nil && whole.To == nil {
		rows = max(rows, p.lakeRows)
	}
	shares := int((rows + p.most - 1) / p.most)
	if p.shares > 0 {
		shares, p.shares = p.shares, 0
	}
	if shares <= 1 {
		return []*part{&whole}, nil
	}
	parts := make([]*part, shares)
	for i := range parts {
		one := whole
		one.N, one.Of = i, shares
		parts[i] = &one
	}
	return parts, nil
}

// cut ends the part before a number; it reports false when that would leave nothing of it.
func (p *part) cut(to snapshot.Bound) bool {
	if p.From != nil && p.From[0] == to[0] {
		return false
	}
	// Ranges that begin at a key with the number belong to the next part.
	for n := len(p.ranges) - 1; n > 0 && p.ranges[n].From[0] == to[0]; n-- {
		p.ranges = p.ranges[:n]
	}
	p.To = slices.Clone(to)
	p.ranges[len(p.ranges)-1].To = p.To
	return true
}

func intervalOf(from, to snapshot.Bound) (i lake.Interval, err error) {
	for _, end := range []struct {
		bound snapshot.Bound
		to    **decimal128.Num
	}{{from, &i.From}, {to, &i.To}} {
		if end.bound == nil {
			continue
		}
		v, err := decimal128.FromString(end.bound[0], 38, 0)
		if err != nil {
			return i, fmt.Errorf("the bound %q is no number: %w", end.bound[0], err)
		}
		*end.to = &v
	}
	return i, nil
}
