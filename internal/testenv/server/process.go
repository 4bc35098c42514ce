package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mark is the environment variable that every process started here carries; its value is the process id of the one that started it.
const Mark = "TIDEMARK_STARTED_BY"

// process is one running program. It is killed by the kernel when our process dies, however that dies.
type process struct {
	name    string
	log     string // file with what it writes
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has been waited for
	exit    error         // valid once done is closed
	stopped bool          // by SIGSTOP
}

// forks runs functions on one thread that lives as long as we do. The death signal of a child fires when the *thread* that forked it
// ends, and the Go runtime ends threads when it likes; this one it never does.
var forks = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// start runs a program in the background. prepare may be nil.
func start(name, log string, argv []string, prepare func(*exec.Cmd)) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", Mark, os.Getpid()))
	cmd.Stdout, cmd.Stderr = out, out
	// A process group of its own: Ctrl-C on the terminal is for us, and we stop what we started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if prepare != nil {
		prepare(cmd)
	}
	started := make(chan error)
	forks() <- func() { started <- cmd.Start() }
	err = errors.Join(<-started, out.Close())
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, log: log, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.exit = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// ready calls probe until it returns nil, the process ends, or the time is over.
func (p *process) ready(ctx context.Context, limit time.Duration, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while starting (%w); its log %s ends:\n%s", p.name, p.exit, p.log, p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer after %s: %w; its log %s ends:\n%s", p.name, limit, err, p.log, p.logTail())
		case <-tick.C:
		}
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() error { return p.end(syscall.SIGKILL, 30*time.Second) }

// terminate asks the process to end, and kills it when it has not after the limit, which is an error.
func (p *process) terminate(limit time.Duration) error {
	if p.stopped {
		if err := p.signal(syscall.SIGCONT); err != nil {
			return err
		}
	}
	if err := p.end(syscall.SIGTERM, limit); err != nil {
		return errors.Join(err, p.kill())
	}
	return nil
}

func (p *process) end(with syscall.Signal, limit time.Duration) error {
	if !p.running() {
		return nil
	}
	if err := p.signal(with); err != nil {
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s (process %d) has not ended %s after %s; its log %s ends:\n%s", p.name, p.cmd.Process.Pid, limit, with, p.log, p.logTail())
	}
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to %s: %w", s, p.name, err)
	}
	switch s {
	case syscall.SIGSTOP:
		p.stopped = true
	case syscall.SIGCONT:
		p.stopped = false
	}
	return nil
}

// logTail is the end of the log, for error messages.
func (p *process) logTail() string {
	body, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(body) > 3000 {
		body = body[len(body)-3000:]
	}
	return strings.TrimSpace(string(body))
}

// Leftovers lists running processes that were started by this process, directly or not, as "pid command line".
func Leftovers() ([]string, error) { return StartedBy(os.Getpid()) }

// StartedBy is Leftovers for another process of ours.
func StartedBy(pid int) ([]string, error) {
	return marked(func(starter int) bool { return starter == pid })
}

// Orphans lists running processes whose starter is no more: there should never be one.
func Orphans() ([]string, error) {
	return marked(func(starter int) bool { return errors.Is(syscall.Kill(starter, 0), syscall.ESRCH) })
}

// marked lists the processes that carry our mark and whose starter the caller asks for.
func marked(wanted func(starter int) bool) ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for processes left behind: %w", err)
	}
	var found []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// A process that ends while we look, or that is not ours to look at, is not one we started.
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		for _, v := range strings.Split(string(env), "\x00") {
			value, ok := strings.CutPrefix(v, Mark+"=")
			if !ok {
				continue
			}
			if starter, err := strconv.Atoi(value); err != nil || starter == pid || !wanted(starter) {
				continue
			}
			if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) > 0 {
				found = append(found, fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " ")))
			}
		}
	}
	return found, nil
}
