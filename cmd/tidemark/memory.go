package main

import (
	"os"
	"runtime/debug"
)

// limitMemory makes the garbage collector keep the heap below the memory the user granted, unless GOMEMLIMIT says
// otherwise; an eighth, at least programBytes, is left to the rest of the process. It is a soft limit: the index of a
// very large table may need more.
func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes - max(bytes/8, programBytes))
	}
}

// programBytes is what the process holds besides the heap: code, stacks, and memory on its way back to the kernel.
const programBytes = 48 << 20
