package server

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// WatchPeak follows the resident memory of a process until it ends. The function it returns waits for that and gives the largest, in
// bytes: VmHWM of proc_pid_status(5), as of a moment before the end. The Maxrss of a child's rusage will not do: a process that is
// forked and replaced by exec begins with the peak of the one that started it (setmax_mm_hiwater_rss in the kernel's fs/exec.c).
func WatchPeak(pid int) (peak func() int64) {
	const every = 10 * time.Millisecond
	done := make(chan int64, 1)
	go func() {
		most := int64(0)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for now := residentPeak(pid); now > 0; now = residentPeak(pid) {
			most = max(most, now)
			<-tick.C
		}
		done <- most
	}()
	return func() int64 {
		most := <-done
		done <- most
		return most
	}
}

// residentPeak is 0 for a process that has ended.
func residentPeak(pid int) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			if _, err := fmt.Sscan(value, &bytes); err != nil {
				return 0
			}
			return bytes << 10
		}
	}
	return 0
}
