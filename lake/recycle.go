package lake

import (
	"math/bits"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Recycler is an Arrow allocator that keeps what is freed for the next to need as much. Streaming through Parquet files
// asks for the same few sizes all the time, and fresh memory for them was a tenth of a rewrite's time. It is safe for concurrent
// use; what it holds is freed with it.
type Recycler struct {
	mu   sync.Mutex
	free [160][][]byte // by class
	held int64         // bytes in free
	max  int64         // bytes that may be
}

var _ memory.Allocator = (*Recycler)(nil)

// NewRecycler returns an allocator that keeps at most so many bytes of free memory.
func NewRecycler(limit int64) *Recycler { return &Recycler{max: limit} }

// class returns the class of requests for so many bytes, and what they get: the least of four steps between two powers
// of two that is enough. Pages tend to be a little larger than a power of two.
func class(size int) (class, bytes int) {
	size = max(size, 256)
	step := bits.Len(uint(size-1)) - 3 // a quarter of the power of two below, as a power
	quarters := (size + 1<<step - 1) >> step
	return step*4 + quarters - 4, quarters << step
}

// Allocate returns size bytes, not cleared.
func (r *Recycler) Allocate(size int) []byte {
	class, bytes := class(size)
	r.mu.Lock()
	if n := len(r.free[class]); n > 0 {
		b := r.free[class][n-1]
		r.free[class] = r.free[class][:n-1]
		r.held -= int64(cap(b))
		r.mu.Unlock()
		return b[:size]
	}
	r.mu.Unlock()
	return memory.DefaultAllocator.Allocate(bytes)[:size]
}

// Reallocate returns size bytes that begin like b. What was outgrown is not kept: what grows to a size once is asked for in
// that size from then on.
func (r *Recycler) Reallocate(size int, b []byte) []byte {
	if cap(b) >= size {
		return b[:size]
	}
	out := r.Allocate(size)
	copy(out, b)
	return out
}

// Free takes memory back.
func (r *Recycler) Free(b []byte) {
	class, bytes := class(cap(b))
	if cap(b) != bytes {
		return // not one of ours
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held += int64(cap(b)); r.held > r.max {
		r.held -= int64(cap(b))
		return
	}
	r.free[class] = append(r.free[class], b[:0])
}
