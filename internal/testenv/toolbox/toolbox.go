// Package toolbox fetches the programs the tests run against (MySQL, MinIO, a Python with DuckDB and PyIceberg, Trino) and the
// linters, once, into a cache folder.
//
// What comes in: the pinned versions of versions.env and requirements.txt. What goes out: paths of programs that are complete and
// runnable. What must hold: a tool's folder appears under its final name only when it is whole (built beside it, then renamed), two
// processes never build the same tool at once (a lock file per tool), and a second run downloads nothing.
//
// The cache is $TIDEMARK_CACHE, else .cache in the module's root. All of it can be deleted at any time.
package toolbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Box is a cache folder and where to report progress. Make one with Open.
type Box struct {
	// Dir is the absolute path of the cache folder.
	Dir string
	// Log receives one line for each step that takes time (a download, a build). Nothing is logged when the tool is there.
	Log func(line string)

	pinned versions
}

// Open finds the cache folder, creating it when absent. A nil log discards the progress lines.
func Open(log func(line string)) (*Box, error) {
	if log == nil {
		log = func(string) {}
	}
	pinned, err := pinnedVersions()
	if err != nil {
		return nil, err
	}
	dir := os.Getenv("TIDEMARK_CACHE")
	if dir == "" {
		root, err := ModuleRoot()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(root, ".cache")
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("cache folder: %w", err)
	}
	for _, sub := range []string{dir, filepath.Join(dir, "lock")} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, fmt.Errorf("create the cache folder (set TIDEMARK_CACHE to a folder that can be written): %w", err)
		}
	}
	return &Box{Dir: dir, Log: log, pinned: pinned}, nil
}

// ModuleRoot walks up from the working directory to the folder that holds go.mod.
func ModuleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module's root: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("find the module's root: %w", err)
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the module's root: no go.mod in %s or above; run inside the checkout or set TIDEMARK_CACHE", start)
		}
	}
}

// install returns the folder <Dir>/<name>-<version>, calling build to fill it when it is not there yet. build works in a folder of
// its own, which is renamed when build returns nil: the files must not hold that folder's path.
func (b *Box) install(ctx context.Context, name, version string, build func(ctx context.Context, dir string) error) (string, error) {
	final := filepath.Join(b.Dir, name+"-"+version)
	if isDir(final) {
		return final, nil
	}
	unlock, err := b.lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(final) { // built by the process we waited for
		return final, nil
	}
	// The lock is ours, so what lies under this name was left by a process that died.
	work := filepath.Join(b.Dir, "."+name+".building")
	if err := os.RemoveAll(work); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	began := time.Now()
	b.Log(fmt.Sprintf("%s %s: fetching", name, version))
	if err := build(ctx, work); err != nil {
		return "", fmt.Errorf("install %s %s into %s: %w", name, version, b.Dir, err)
	}
	if err := os.Rename(work, final); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	b.Log(fmt.Sprintf("%s %s: ready after %s", name, version, time.Since(began).Round(100*time.Millisecond)))
	return final, nil
}

// lock takes the lock file of one tool, waiting for the process that has it. The kernel frees it when its holder dies.
func (b *Box) lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(b.Dir, "lock", name), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for waited := false; ; waited = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing frees the lock; nothing was written
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if !waited {
			b.Log(name + ": another process is fetching it, waiting")
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), ctx.Err()), f.Close())
		case <-tick.C:
		}
	}
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// command is one program run to its end, with what it said in the error.
type command struct {
	argv []string
	dir  string
	env  []string // added to ours
}

func (c command) run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	out := &tail{limit: 4000}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.argv, " "), err, out)
	}
	return nil
}

// runNetwork runs a command that downloads, again with growing pauses when it fails: registries have bad moments.
func (c command) runNetwork(ctx context.Context) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, c.run(ctx) }, backoff.WithMaxTries(4))
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	kept  []byte
	limit int
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if extra := len(t.kept) - t.limit; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.kept) }
