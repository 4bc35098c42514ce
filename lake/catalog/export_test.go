package catalog

import (
	"time"

	"github.com/tidemark/tidemark/lake/store"
)

// NewBucketAt is NewBucket with a clock.
func NewBucketAt(s store.Store, clock func() time.Time) *Bucket {
	b := NewBucket(s)
	b.clock = clock
	return b
}
