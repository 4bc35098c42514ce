package server

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

// CPU is the processor time that a process has taken, all its threads together: fields 14 and 15 of proc_pid_stat(5), counted in
// hundredths of a second. It is 0 for a process that has ended.
func CPU(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	const before = 11 // fields between the name, which may have spaces and ends with a bracket, and utime
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < before+2 {
		return 0
	}
	var user, system int64
	if _, err := fmt.Sscan(string(fields[before])+" "+string(fields[before+1]), &user, &system); err != nil {
		return 0
	}
	return time.Duration(user+system) * (time.Second / 100)
}

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
