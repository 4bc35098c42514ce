package lake

import (
	"math/bits"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Recycler is an Arrow allocator that keeps what is freed for the next to need as much. Streaming through Parquet files
// asks for the same few sizes all the time, and clearing fresh memory for them was a tenth of a rewrite's time. It is
// safe for concurrent use; what it holds is freed with it.
type Recycler struct {
	mu   sync.Mutex
	free [40][][]byte // by the power of two that is their capacity
	held int64        // bytes in free
	max  int64        // bytes that may be
}

var _ memory.Allocator = (*Recycler)(nil)

// NewRecycler returns an allocator that keeps at most so many bytes of free memory.
func NewRecycler(limit int64) *Recycler { return &Recycler{max: limit} }

// Allocate returns size bytes, not cleared.
func (r *Recycler) Allocate(size int) []byte {
	class := bits.Len(uint(max(size, 64) - 1))
	r.mu.Lock()
	if n := len(r.free[class]); n > 0 {
		b := r.free[class][n-1]
		r.free[class] = r.free[class][:n-1]
		r.held -= int64(cap(b))
		r.mu.Unlock()
		return b[:size]
	}
	r.mu.Unlock()
	return memory.DefaultAllocator.Allocate(1 << class)[:size]
}

// Reallocate returns size bytes that begin like b.
func (r *Recycler) Reallocate(size int, b []byte) []byte {
	if cap(b) >= size {
		return b[:size]
	}
	out := r.Allocate(size)
	copy(out, b)
	r.Free(b)
	return out
}

// Free takes memory back.
func (r *Recycler) Free(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if cap(b) < 64 || cap(b) != 1<<class {
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
