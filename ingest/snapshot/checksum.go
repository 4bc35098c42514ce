package snapshot

import (
	"fmt"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"
)

// Sum is how many rows there are, and the sum, modulo 2 to the 128, of their hashes (xxh3, 128 bits). It does not depend on
// the order of the rows; a row that is there twice counts twice. Sums of parts of a table add up to that of the table.
type Sum struct {
	Rows   int64
	Hi, Lo uint64
}

// Add adds the rows of another part.
func (s *Sum) Add(o Sum) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, o.Lo, 0)
	s.Hi, _ = bits.Add64(s.Hi, o.Hi, carry)
	s.Rows += o.Rows
}

func (s Sum) String() string { return fmt.Sprintf("%d rows %016x%016x", s.Rows, s.Hi, s.Lo) }

// Buckets is into how many parts a Checksum divides a table, by the hash of the key: where two tables differ, only the rows
// of the buckets that differ have to be looked at again. Source and lake cannot be compared range by range, because the
// lake does not know the source's collations; so this takes the place of ranges.
const Buckets = 4096

// bucketOf is the bucket of a key.
func bucketOf(key xxh3.Uint128) int { return int(key.Hi >> 52) }

// Checksum is the sums of a table's rows, or of a part of them. It is made of the values alone: the same function is for
// batches of the source and of the lake, whose columns may come in another order or another Arrow layout. It is not safe
// for concurrent use; have one for each reader, and Merge them.
type Checksum struct {
	hasher  *rowHasher
	buckets [Buckets]Sum
}

// NewChecksum begins a checksum over these columns. The key's columns must be among them. Order matters: two checksums can
// be compared when both were given the same.
func NewChecksum(columns, key []string) (*Checksum, error) {
	h, err := newRowHasher(columns, key)
	if err != nil {
		return nil, err
	}
	return &Checksum{hasher: h}, nil
}

// ChecksumOf begins a checksum over all columns of a table.
func (t *Table) ChecksumOf() (*Checksum, error) { return NewChecksum(t.Columns()) }

// Columns returns the names of the table's columns, and of those of its key.
func (t *Table) Columns() (columns, key []string) {
	for _, f := range t.Plan.Schema.Fields() {
		columns = append(columns, f.Name)
	}
	for _, k := range t.Plan.Key {
		key = append(key, columns[k])
	}
	return columns, key
}

// Write adds the rows of a batch. It fails when a column is missing, or of a type that has no source type.
func (c *Checksum) Write(batch arrow.RecordBatch) error {
	return c.hasher.each(batch, func(_ int, key, all xxh3.Uint128) error {
		c.buckets[bucketOf(key)].Add(Sum{1, all.Hi, all.Lo})
		return nil
	})
}

// Merge adds the rows of another checksum.
func (c *Checksum) Merge(o *Checksum) {
	for i := range c.buckets {
		c.buckets[i].Add(o.buckets[i])
	}
}

// Total is the sum of all rows.
func (c *Checksum) Total() Sum {
	var total Sum
	for _, b := range c.buckets {
		total.Add(b)
	}
	return total
}

// Different returns the buckets in which two checksums differ.
func (c *Checksum) Different(o *Checksum) []int {
	var list []int
	for i := range c.buckets {
		if c.buckets[i] != o.buckets[i] {
			list = append(list, i)
		}
	}
	return list
}

// Rows is how many rows some buckets have.
func (c *Checksum) Rows(buckets []int) int64 {
	n := int64(0)
	for _, b := range buckets {
		n += c.buckets[b].Rows
	}
	return n
}
