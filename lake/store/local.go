package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Local is a lake in a folder. Every file is written under a temporary name in tempDir, flushed to the disk, and then
// given its name by rename or link, and the folder that now holds the name is flushed too: what was acknowledged
// survives a power cut. So the folder must be one file system, and one that has hard links or an exclusive rename.
type Local struct {
	root string // absolute, clean
}

// staleTemp is the age at which a temporary file belongs to no living writer any more.
const staleTemp = 24 * time.Hour

// OpenLocal opens the lake in an absolute folder, which need not exist yet. What crashed writers left is removed.
func OpenLocal(root string) (*Local, error) {
	if !filepath.IsAbs(root) {
		return nil, fmt.Errorf("lake file://%s: the path must be absolute, as in file:///var/lake", root)
	}
	l := &Local{root: filepath.Clean(root)}
	entries, err := os.ReadDir(filepath.Join(l.root, tempDir))
	if err != nil {
		return l, nil //nolint:nilerr // nothing to clean, or nothing that can be: the first write will tell
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleTemp {
			if err := os.Remove(filepath.Join(l.root, tempDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, l.explain("clean", tempDir, err)
			}
		}
	}
	return l, nil
}

// URI is file:// and the path as it is: the readers of table metadata do not decode percent signs.
func (l *Local) URI(name string) string {
	return "file://" + strings.TrimSuffix(l.root, "/") + "/" + name
}

// Name takes file:///path, file:/path and /path.
func (l *Local) Name(uri string) (string, error) {
	p := strings.TrimPrefix(strings.TrimPrefix(uri, "file:"), "//")
	name, inside := strings.CutPrefix(p, strings.TrimSuffix(l.root, "/")+"/")
	if !inside {
		return "", fmt.Errorf("%s lies outside the lake %s", uri, l.URI(""))
	}
	return name, checkName(name)
}

func (l *Local) path(name string) string { return filepath.Join(l.root, filepath.FromSlash(name)) }

// Get returns the whole file.
func (l *Local) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ready(ctx, name); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(l.path(name))
	if err != nil {
		return nil, l.explain("get", name, err)
	}
	return b, nil
}

// Open returns the file for ranged reads.
func (l *Local) Open(ctx context.Context, name string) (Reader, error) {
	if err := ready(ctx, name); err != nil {
		return nil, err
	}
	f, err := os.Open(l.path(name))
	if err != nil {
		return nil, l.explain("open", name, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: syscall.EISDIR}
	}
	if err != nil {
		return nil, errors.Join(l.explain("open", name, err), f.Close())
	}
	return &localReader{f, info.Size()}, nil
}

type localReader struct {
	*os.File
	size int64
}

func (r *localReader) Size() int64 { return r.size }

// Put creates or replaces the file.
func (l *Local) Put(ctx context.Context, name string, body []byte) error {
	w, err := l.create(ctx, "put", name)
	if err != nil {
		return err
	}
	if _, err := w.Write(body); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Close()
}

// PutIfAbsent creates the file by linking its temporary name to it, which fails when the name is taken. Where the file
// system has no hard links it uses the rename that does not replace (Linux); where it has neither, it fails.
func (l *Local) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	w, err := l.create(ctx, "create", name)
	if err != nil {
		return err
	}
	w.publish = publishExclusive
	if _, err := w.Write(body); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Close()
}

// Create returns a writer into a temporary file that gets its name on Close.
func (l *Local) Create(ctx context.Context, name string) (Writer, error) {
	w, err := l.create(ctx, "create", name)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (l *Local) create(ctx context.Context, op, name string) (*localWriter, error) {
	if err := ready(ctx, name); err != nil {
		return nil, err
	}
	dir := filepath.Join(l.root, tempDir)
	open := func() (*os.File, error) {
		return os.OpenFile(filepath.Join(dir, rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	}
	f, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o777); err == nil {
			f, err = open()
		}
	}
	if err != nil {
		return nil, l.explain(op, name, err)
	}
	return &localWriter{l: l, ctx: ctx, op: op, name: name, f: f, publish: os.Rename}, nil
}

type localWriter struct {
	l        *Local
	ctx      context.Context
	op, name string
	f        *os.File
	publish  func(temp, final string) error // must leave nothing or the whole file under the final name
	done     bool
}

func (w *localWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.f.Write(p)
	if err != nil {
		return n, w.l.explain(w.op, w.name, err)
	}
	return n, nil
}

func (w *localWriter) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	err := w.ctx.Err()
	if err == nil {
		err = w.f.Sync()
	}
	err = errors.Join(err, w.f.Close())
	final := w.l.path(w.name)
	dir := filepath.Dir(final)
	if err == nil {
		err = mkdirDurable(dir)
	}
	if err == nil {
		err = w.publish(w.f.Name(), final)
	}
	if err == nil {
		err = syncDir(dir)
	}
	// After a rename the temporary name is gone; after a link, or a failure, it is ours to remove.
	if e := os.Remove(w.f.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return w.l.explain(w.op, w.name, err)
	}
	return nil
}

func (w *localWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.f.Close(), os.Remove(w.f.Name()))
}

// mkdirDurable makes a folder and those above it, and flushes each folder that got a new entry.
func mkdirDurable(dir string) error {
	info, err := os.Stat(dir)
	if err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := mkdirDurable(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List walks the folder in name order.
func (l *Local) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := checkPrefix(prefix); err != nil {
			yield(Info{}, err)
			return
		}
		l.walk(ctx, prefix, yield)
	}
}

// walk yields what is below prefix and reports whether to go on. Within a folder, the order of names is that of
// complete names: "a-b" before "a/c".
func (l *Local) walk(ctx context.Context, prefix string, yield func(Info, error) bool) bool {
	entries, err := os.ReadDir(l.path(prefix))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		yield(Info{}, l.explain("list", prefix, err))
		return false
	}
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	for _, e := range entries {
		name := prefix + e.Name()
		if e.IsDir() {
			if e.Name() != tempDir && !l.walk(ctx, name+"/", yield) {
				return false
			}
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			yield(Info{}, l.explain("list", name, err))
			return false
		}
		if !yield(Info{Name: name, Size: info.Size(), ModTime: info.ModTime()}, nil) {
			return false
		}
	}
	return true
}

// ListDirs returns the folders directly below prefix.
func (l *Local) ListDirs(ctx context.Context, prefix string) ([]string, error) {
	if err := errors.Join(ctx.Err(), checkPrefix(prefix)); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(l.path(prefix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, l.explain("list", prefix, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != tempDir {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Delete removes the files; the folders they were in stay.
func (l *Local) Delete(ctx context.Context, names ...string) error {
	var errs []error
	for _, name := range names {
		err := ready(ctx, name)
		if err == nil {
			err = os.Remove(l.path(name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, l.explain("delete", name, err))
		}
	}
	return errors.Join(errs...)
}

// ready is the check before every operation.
func ready(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkName(name)
}

// explain turns what the operating system says into what a person can act on.
func (l *Local) explain(op, name string, err error) error {
	access := func(reason, advice string) error {
		return &AccessError{Op: op, URI: l.URI(name), Reason: reason, Advice: advice, Err: err}
	}
	owner := fmt.Sprintf("give user %d write access to %s, or choose another --lake", os.Getuid(), l.root)
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s: %w", op, path.Join(l.root, name), err)
	case errors.Is(err, syscall.EROFS):
		return access("the file system is read-only", "mount it for writing, or choose another --lake")
	case errors.Is(err, fs.ErrPermission):
		return access("permission denied", owner)
	case errors.Is(err, syscall.ENOTDIR):
		return access("a file stands where a folder is needed", "move that file away, or choose another --lake")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return access("no space left", "free or add space; nothing that was committed is harmed")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return access("the name is too long for this file system", "leave the table out, or use an S3 lake")
	}
	return fmt.Errorf("%s %s: %w", op, l.URI(name), err)
}
