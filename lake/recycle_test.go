package lake

import (
	"testing"
)

// TestRecycler: what is asked for fits, steps are a quarter at most, and memory comes back for requests of its step.
func TestRecycler(t *testing.T) {
	r := NewRecycler(64 << 20)
	for size := 1; size < 1<<20; size += 1 + size/7 {
		c, bytes := class(size)
		if bytes < size || size > 256 && bytes*4 > size*5 {
			t.Fatalf("%d bytes get %d", size, bytes)
		}
		if same, whole := class(bytes); same != c || whole != bytes {
			t.Fatalf("%d bytes are of class %d, and when freed of class %d", size, c, same)
		}
		b := r.Allocate(size)
		if len(b) != size || cap(b) != bytes {
			t.Fatalf("%d bytes asked, %d of %d given", size, len(b), cap(b))
		}
		b[size-1] = 7
		r.Free(b)
		again := r.Allocate(size)
		if again[size-1] != 7 {
			t.Fatalf("%d bytes were not given again", size)
		}
		again = r.Reallocate(2*size, again)
		if len(again) != 2*size || again[size-1] != 7 {
			t.Fatalf("%d bytes did not keep what they held", size)
		}
		r.Free(again)
		if r.held > r.max {
			t.Fatalf("%d bytes are kept", r.held)
		}
	}
	held := r.held
	r.Free(make([]byte, 1000))
	if r.held != held {
		t.Error("foreign memory was kept")
	}
}
