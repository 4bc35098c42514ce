package testenv

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/server"
)

// Program is a program under test, such as the tidemark binary. It ends with its test, and dies when the test binary is killed.
type Program struct {
	*server.Program
	// LogFile is the file with everything it printed.
	LogFile string
	name    string
}

// Start runs a program in the background; env ("NAME=value") is added to ours. A failing test shows the end of what it printed.
func Start(t testing.TB, argv []string, env ...string) *Program {
	t.Helper()
	name := filepath.Base(argv[0])
	log := filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.log", name, serial.Add(1)))
	g, err := server.StartProgram(name, log, argv, env)
	check(t, err)
	closeWith(t, func() error {
		err := g.Kill()
		if t.Failed() {
			t.Logf("%v printed at the end:\n%s", argv, g.Output())
		}
		return err
	})
	return &Program{Program: g, LogFile: log, name: name}
}

// Wait waits for the program's own end and returns its exit code (-1: a signal). It fails the test after limit.
func (g *Program) Wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-g.Done():
	case <-timer.C:
		t.Fatalf("%s has not ended after %s; it printed at the end:\n%s", g.name, limit, g.Output())
	}
	return g.ExitCode()
}

// Kill ends the program with SIGKILL.
func (g *Program) Kill(t testing.TB) {
	t.Helper()
	check(t, g.Program.Kill())
}

// Stop sends SIGTERM and returns the exit code. It fails the test when the program has not ended after limit.
func (g *Program) Stop(t testing.TB, limit time.Duration) int {
	t.Helper()
	check(t, g.Signal(syscall.SIGTERM))
	return g.Wait(t, limit)
}
