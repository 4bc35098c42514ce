package server

import (
	"os/exec"
	"syscall"
	"time"
)

// Program is a program under test: it dies with us, and is counted when it is left behind.
type Program struct {
	p    *process
	peak func() int64
}

// StartProgram runs a program in the background. What it prints goes to the file log; env is added to ours.
func StartProgram(name, log string, argv, env []string) (*Program, error) {
	p, err := start(name, log, argv, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, env...) })
	if err != nil {
		return nil, err
	}
	return &Program{p, WatchPeak(p.cmd.Process.Pid)}, nil
}

// Done is closed when the program has ended.
func (g *Program) Done() <-chan struct{} { return g.p.done }

// ExitCode is the program's after Done, -1 when a signal ended it.
func (g *Program) ExitCode() int { return g.p.cmd.ProcessState.ExitCode() }

// Usage is the CPU time and the largest resident memory in bytes, after Done.
func (g *Program) Usage() (cpu time.Duration, peakBytes int64) {
	state := g.p.cmd.ProcessState
	return state.UserTime() + state.SystemTime(), g.peak()
}

// Pid is its process id.
func (g *Program) Pid() int { return g.p.cmd.Process.Pid }

// Signal sends a signal.
func (g *Program) Signal(s syscall.Signal) error { return g.p.signal(s) }

// Kill ends the program with SIGKILL and waits until it is gone.
func (g *Program) Kill() error { return g.p.kill() }

// Stop ends the program with SIGTERM and waits, at most for limit.
func (g *Program) Stop(limit time.Duration) error { return g.p.terminate(limit) }

// Output is the end of what it printed (3,000 bytes).
func (g *Program) Output() string { return g.p.logTail() }
