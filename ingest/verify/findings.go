package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"

	"github.com/tidemark/tidemark/ingest/snapshot"
)

// Kind is how lake and source differ in a key.
type Kind string

// The kinds of differences.
const (
	Missing   Kind = "missing"   // the lake lacks the row
	Extra     Kind = "extra"     // the lake has a row that the source has not
	Changed   Kind = "changed"   // both have a row with this key, with other values
	Duplicate Kind = "duplicate" // the lake has the key more than once
)

// Difference is a key in which lake and source differ.
type Difference struct {
	Kind    Kind     `json:"kind"`
	Key     []string `json:"key"`               // the values of the key's columns, as text
	Columns []string `json:"columns,omitempty"` // of Changed: those that differ
}

func (d Difference) String() string {
	text := fmt.Sprintf("%-9s (%s)", d.Kind, strings.Join(d.Key, ", "))
	if len(d.Columns) > 0 {
		text += ": " + strings.Join(d.Columns, ", ")
	}
	return text
}

// finding is a difference of which only the key's hash is known, and the source's row where there is one.
type finding struct {
	key    uint64
	kind   Kind
	source *snapshot.Row
}

// findings collects what differs in a part. It is safe for concurrent use.
type findings struct {
	limit int // of those that will be named

	mu    sync.Mutex
	count map[Kind]int64
	list  []finding
}

func newFindings(limit int) *findings { return &findings{limit: limit, count: map[Kind]int64{}} }

func (f *findings) add(one finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[one.kind]++
	if len(f.list) < f.limit && (one.kind != Missing || one.source != nil) {
		f.list = append(f.list, one)
	}
}

// errCollision says that two keys were taken for one.
var errCollision = errors.New("two keys have the same hash")

// explain names what was found: it reads the lake's rows with these keys, and compares them with the source's column by
// column.
func (p *comparison) explain(ctx context.Context) ([]Difference, error) {
	found := map[uint64][]snapshot.Row{}
	wanted := map[uint64]bool{}
	for _, f := range p.findings.list {
		if f.kind != Missing {
			wanted[f.key] = true
		}
	}
	if len(wanted) > 0 {
		var mu sync.Mutex
		err := p.eachLakeRow(ctx, func(h *snapshot.Hasher, batch arrow.RecordBatch, row int, key, all xxh3.Uint128) error {
			r := p.half.hashed(key, all)
			if !wanted[r.key] {
				return nil
			}
			taken, err := h.Row(batch, row)
			mu.Lock()
			defer mu.Unlock()
			found[r.key] = append(found[r.key], taken)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	hasher, err := snapshot.NewHasher(p.columns, p.key)
	if err != nil {
		return nil, err
	}
	var list []Difference
	for _, f := range p.findings.list {
		rows := found[f.key]
		for i := range rows {
			if !hasher.SameKey(rows[i], rows[0]) || f.source != nil && !hasher.SameKey(rows[i], *f.source) {
				return nil, errCollision
			}
		}
		d := Difference{Kind: f.kind}
		switch {
		case f.source != nil:
			d.Key = f.source.Key
		case len(rows) > 0:
			d.Key = rows[0].Key
		default:
			return nil, fmt.Errorf("a row of the lake was not found again: %w", io.ErrUnexpectedEOF)
		}
		if f.kind == Changed {
			d.Columns = hasher.Differing(*f.source, rows[0])
		}
		list = append(list, d)
	}
	return list, nil
}

func sortDifferences(list []Difference) {
	slices.SortFunc(list, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(len(a.Key[0]), len(b.Key[0])), slices.Compare(a.Key, b.Key))
	})
}
