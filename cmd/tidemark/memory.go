package main

import (
	"os"
	"runtime/debug"
)

// limitMemory makes the garbage collector keep the heap near the memory the user granted, unless GOMEMLIMIT says
// otherwise. It is a soft limit: the index of a very large table may need more.
func limitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}
