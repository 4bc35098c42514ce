package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// Trino is our share in the Trino server of this machine's tests. It starts slowly and is large, so one serves all the processes of a
// run: the first user starts it, and the last to leave ends it. Each user holds a shared lock on a lease file, which the kernel frees
// when the user dies; when nobody has held it for lingerSeconds the server ends itself (TrinoMain.java).
type Trino struct {
	URL string // http://127.0.0.1:PORT

	lease *os.File
	pid   int
}

// lingerSeconds is how long Trino lives on after its last user was killed.
const lingerSeconds = 10

// trinoHeap is enough for the tests' tables.
const trinoHeap = "1500M"

// trinoState is what the process that starts Trino leaves for the others.
type trinoState struct {
	PID int    `json:"pid"`
	URL string `json:"url"`
}

// ShareTrino starts Trino or joins the one that runs, and waits until it answers. runDir is a folder for its state, the same for all.
func ShareTrino(ctx context.Context, tools *toolbox.Trino, runDir string) (_ *Trino, err error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, fmt.Errorf("share Trino: %w", err)
	}
	lease, err := os.OpenFile(filepath.Join(runDir, "lease"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("share Trino: %w", err)
	}
	t := &Trino{lease: lease}
	defer func() {
		if err != nil {
			err = errors.Join(err, lease.Close())
		}
	}()
	// Trino itself takes the lock alone for a moment now and then, to see whether it is used.
	if err := lockFile(ctx, lease, syscall.F_RDLCK); err != nil {
		return nil, fmt.Errorf("share Trino: lease: %w", err)
	}
	starting, err := os.OpenFile(filepath.Join(runDir, "starting"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("share Trino: %w", err)
	}
	defer func() { err = errors.Join(err, starting.Close()) }()
	if err := lockFile(ctx, starting, syscall.F_WRLCK); err != nil {
		return nil, fmt.Errorf("share Trino: wait for the one who starts it: %w", err)
	}
	if state, err := readTrinoState(runDir); err != nil {
		return nil, err
	} else if state.URL != "" {
		if trinoAnswers(ctx, state.URL) == nil && isTrino(state.PID, runDir) {
			t.URL, t.pid = state.URL, state.PID
			return t, nil
		}
		if isTrino(state.PID, runDir) { // it hangs
			if err := syscall.Kill(state.PID, syscall.SIGKILL); err != nil {
				return nil, fmt.Errorf("share Trino: end the one that does not answer: %w", err)
			}
		}
	}
	return t, t.start(ctx, tools, runDir)
}

func (t *Trino) start(ctx context.Context, tools *toolbox.Trino, runDir string) (err error) {
	port, err := FreePort()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, port.Release()) }()
	t.URL = "http://" + loopback(port.Number)
	files := map[string]string{
		"etc/log.properties": "io.trino=WARN\n",
		"etc/config.properties": fmt.Sprintf(`coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=%d
discovery.uri=%s
query.max-memory=512MB
query.min-expire-age=30s
catalog.management=dynamic
catalog.store=memory
`, port.Number, t.URL),
	}
	for name, body := range files {
		file := filepath.Join(runDir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			return err
		}
	}
	for _, folder := range []string{"plugin", "secrets-plugin"} {
		link := filepath.Join(runDir, folder)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(filepath.Join(tools.Home, folder), link); err != nil {
			return err
		}
	}
	argv := []string{
		tools.Java, "-server", "-Xmx" + trinoHeap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
		"-Djdk.attach.allowAttachSelf=true", "-Dfile.encoding=UTF-8", "-XX:+EnableDynamicAgentLoading", "--add-modules", "jdk.incubator.vector",
		"--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow",
		"-Dlog.levels-file=etc/log.properties", "-Dconfig=etc/config.properties", "-Dnode.environment=test", "-Dnode.id=test-1",
		"-Dnode.internal-address=127.0.0.1", "-Dnode.bind-ip=127.0.0.1", "-Dnode.data-dir=" + filepath.Join(runDir, "data"),
		"-Dlease.path=" + filepath.Join(runDir, "lease"), "-Dlease.linger.seconds=" + strconv.Itoa(lingerSeconds),
		"-cp", tools.Home + string(filepath.ListSeparator) + filepath.Join(tools.Home, "lib", "*"), "TrinoMain",
	}
	log := filepath.Join(runDir, "trino.log")
	if err := os.Remove(log); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	proc, err := start("trino", log, argv, func(cmd *exec.Cmd) {
		cmd.Dir = runDir
		// Without a mark: it is not ours alone.
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, Mark+"=") })
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it must not die with us
	})
	if err != nil {
		return err
	}
	t.pid = proc.cmd.Process.Pid
	if err := proc.ready(ctx, 4*time.Minute, func(ctx context.Context) error { return trinoAnswers(ctx, t.URL) }); err != nil {
		return errors.Join(err, proc.kill())
	}
	body, err := json.Marshal(trinoState{PID: t.pid, URL: t.URL})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(runDir, "state.json"), body, 0o644)
}

// Close gives our share up. The last user ends the server and waits until it is gone.
func (t *Trino) Close() error {
	runDir := filepath.Dir(t.lease.Name())
	err := tryLock(t.lease, syscall.F_WRLCK) // turns our shared lock into one that no other has
	if err == nil && isTrino(t.pid, runDir) {
		err = endOther(t.pid)
	} else if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		err = nil // others go on using it
	}
	return errors.Join(err, t.lease.Close())
}

// endOther kills a process and waits for its end. It may not be our child, so there is nothing to wait on but its absence.
func endOther(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end Trino (process %d): %w", pid, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		<-tick.C
	}
	return fmt.Errorf("end Trino: process %d is there 10 s after SIGKILL", pid)
}

func readTrinoState(runDir string) (trinoState, error) {
	var state trinoState
	body, err := os.ReadFile(filepath.Join(runDir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	} else if err != nil {
		return state, fmt.Errorf("share Trino: %w", err)
	}
	if !json.Valid(body) { // cut off by a kill: as good as none
		return state, nil
	}
	return state, json.Unmarshal(body, &state)
}

// isTrino says whether a process id still is the Trino of runDir.
func isTrino(pid int, runDir string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(line), "-Dlease.path="+filepath.Join(runDir, "lease")+"\x00")
}

func trinoAnswers(ctx context.Context, url string) error {
	var info struct {
		Starting bool `json:"starting"`
	}
	if err := getJSON(ctx, url+"/v1/info", &info); err != nil {
		return err
	}
	if info.Starting {
		return errors.New("still starting")
	}
	return nil
}

// ofdSetLock is F_OFD_SETLK of fcntl(2): a lock of the open file, not of the process, that meets the locks Java takes.
const ofdSetLock = 37

func tryLock(f *os.File, kind int16) error {
	return syscall.FcntlFlock(f.Fd(), ofdSetLock, &syscall.Flock_t{Type: kind})
}

func lockFile(ctx context.Context, f *os.File, kind int16) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := tryLock(f, kind)
		if err == nil || !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
