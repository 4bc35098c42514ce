package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"
)

// DifferenceKind is how two tables differ in a row.
type DifferenceKind string

// The kinds of differences. The first table given is the one that is right, the second the one that is checked.
const (
	Missing   DifferenceKind = "missing"   // the second lacks the row
	Extra     DifferenceKind = "extra"     // the second has a row that the first has not
	Changed   DifferenceKind = "changed"   // both have a row with this key, with other values
	Duplicate DifferenceKind = "duplicate" // the second has the key more than once
)

// Difference is a row in which two tables differ.
type Difference struct {
	Kind DifferenceKind `json:"kind"`
	Key  []string       `json:"key"` // the values of the key's columns, as text
}

func (d Difference) String() string {
	return string(d.Kind) + " (" + strings.Join(d.Key, ", ") + ")"
}

// Comparison finds the keys in which two tables differ: first all batches of one go in (First), then all of the other
// (Second), both in any order. It remembers a hash and the key of each row of the first: give it few buckets of a large
// table (Checksum.Different, Checksum.Rows), and about 120 bytes and the key are needed for each row in them.
type Comparison struct {
	hasher  *rowHasher
	buckets map[int]bool // nil for all
	rows    map[xxh3.Uint128]*comparedRow
	limit   int
	list    []Difference
	more    bool
}

type comparedRow struct {
	all  xxh3.Uint128
	key  []string
	seen bool // in the second table
}

// NewComparison compares these columns of the rows in some buckets; of all rows when buckets is nil. At most limit
// differences are kept.
func NewComparison(columns, key []string, buckets []int, limit int) (*Comparison, error) {
	h, err := newRowHasher(columns, key)
	if err != nil {
		return nil, err
	}
	c := &Comparison{hasher: h, rows: map[xxh3.Uint128]*comparedRow{}, limit: limit}
	if buckets != nil {
		c.buckets = map[int]bool{}
		for _, b := range buckets {
			c.buckets[b] = true
		}
	}
	return c, nil
}

// First takes rows of the table that is right. A key that is there twice is an error: a source cannot have it.
func (c *Comparison) First(batch arrow.RecordBatch) error {
	return c.hasher.each(batch, func(row int, key, all xxh3.Uint128) error {
		if !c.wants(key) {
			return nil
		}
		text := c.hasher.keyText(batch, row)
		if c.rows[key] != nil {
			return fmt.Errorf("two rows have the key (%s)", strings.Join(text, ", "))
		}
		c.rows[key] = &comparedRow{all: all, key: text}
		return nil
	})
}

// Second takes rows of the table that is checked, after all of the first.
func (c *Comparison) Second(batch arrow.RecordBatch) error {
	return c.hasher.each(batch, func(row int, key, all xxh3.Uint128) error {
		if !c.wants(key) {
			return nil
		}
		known := c.rows[key]
		switch {
		case known == nil:
			text := c.hasher.keyText(batch, row)
			c.add(Extra, text)
			c.rows[key] = &comparedRow{all: all, key: text, seen: true}
			return nil
		case known.seen:
			c.add(Duplicate, known.key)
		case known.all != all:
			c.add(Changed, known.key)
		}
		known.seen = true
		return nil
	})
}

func (c *Comparison) wants(key xxh3.Uint128) bool {
	return c.buckets == nil || c.buckets[bucketOf(key)]
}

func (c *Comparison) add(kind DifferenceKind, key []string) {
	if len(c.list) >= c.limit {
		c.more = true
		return
	}
	c.list = append(c.list, Difference{kind, key})
}

// Differences returns what was found, sorted by kind and key as text; more is true when there is more than the limit.
func (c *Comparison) Differences() (list []Difference, more bool) {
	var missing [][]string
	for _, r := range c.rows {
		if !r.seen {
			r.seen = true
			missing = append(missing, r.key)
		}
	}
	slices.SortFunc(missing, slices.Compare)
	for _, key := range missing {
		c.add(Missing, key)
	}
	slices.SortFunc(c.list, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), slices.Compare(a.Key, b.Key))
	})
	return c.list, c.more
}
