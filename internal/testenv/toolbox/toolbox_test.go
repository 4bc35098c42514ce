package toolbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

func openIn(t *testing.T, dir string) *Box {
	t.Helper()
	t.Setenv("TIDEMARK_CACHE", dir)
	b, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInstallBuildsOnceHoweverManyAsk(t *testing.T) {
	dir := t.TempDir()
	var builds atomic.Int32
	var asking errgroup.Group
	for range 8 {
		b := openIn(t, dir) // as another process would: the lock is the file's
		asking.Go(func() error {
			got, err := b.install(t.Context(), "thing", "v1", func(_ context.Context, work string) error {
				builds.Add(1)
				return os.WriteFile(filepath.Join(work, "program"), nil, 0o755)
			})
			if err != nil {
				return err
			}
			_, err = os.Stat(filepath.Join(got, "program"))
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		t.Fatal(err)
	}
	if builds.Load() != 1 {
		t.Errorf("built %d times, want once", builds.Load())
	}
}

func TestInstallThatFailedLeavesNothingAndCanBeRepeated(t *testing.T) {
	b := openIn(t, t.TempDir())
	broken := errors.New("the network is down")
	_, err := b.install(t.Context(), "thing", "v1", func(_ context.Context, work string) error {
		return errors.Join(os.WriteFile(filepath.Join(work, "half"), nil, 0o644), broken)
	})
	if !errors.Is(err, broken) {
		t.Fatalf("error %v, want the build's", err)
	}
	dir, err := b.install(t.Context(), "thing", "v1", func(_ context.Context, work string) error {
		_, err := os.Stat(filepath.Join(work, "half"))
		if err == nil {
			t.Error("the second build sees what the first one left")
		}
		return nil
	})
	if err != nil || dir != filepath.Join(b.Dir, "thing-v1") {
		t.Errorf("second try: %q, %v", dir, err)
	}
}

func TestMirrorOfSourcesFiles(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"deb822":   {"Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n", "http://mirror.example/debian"},
		"one line": {"# old\ndeb [signed-by=/k.gpg] http://mirror.example/debian/ trixie main\n", "http://mirror.example/debian"},
		"security": {"URIs: http://mirror.example/debian-security\n", ""},
		"another":  {"deb https://packages.example/apt stable main\n", ""},
	} {
		if got := mirrorIn([]byte(c.body)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
