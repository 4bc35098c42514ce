// Package testenv gives a test real servers in one line: MySQL servers that replicate, MinIO, DuckDB, PyIceberg, Trino, a network that
// breaks.
//
// What comes in: a testing.TB and options. What goes out: running servers, torn down at the end of the test. What must hold: tests of
// many packages run at once without meeting each other's ports, files or tables; nothing that a test started outlives it. MinIO and the
// Python readers are shared by the tests of one binary, Trino by all binaries of a run; each test gets a bucket or a catalog of its own.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// which ends what is shared and fails the run when a process is left behind. The first use on a machine fetches the programs (package
// toolbox); `make tools` does that beforehand.
//
// Failures of the environment end the test at once (Fatal). Outside tests, use package server.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// Null is NULL in the rows of every Query here. The normal form of all other values stands at server.Null.
const Null = server.Null

// fetchLimit bounds the first fetch of a tool on a slow machine.
const fetchLimit = 15 * time.Minute

// shared is what the tests of one binary have in common. A test binary has no other place to keep it than the package.
var shared struct {
	minio  once[*server.MinIO]
	python once[*server.Python]
	trino  once[*server.Trino]
}

// once makes a value on first use and remembers a failure.
type once[T any] struct {
	mu   sync.Mutex
	made bool
	v    T
	err  error
}

func (o *once[T]) get(make func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.made {
		o.v, o.err = make()
		o.made = true
	}
	return o.v, o.err
}

// drop closes the value when there is one.
func (o *once[T]) drop(closeIt func(T) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.made || o.err != nil {
		return nil
	}
	o.made = false
	return closeIt(o.v)
}

// Main runs the tests, ends the shared servers, and makes the run fail when a process that was started is still there.
func Main(m *testing.M) {
	code := m.Run()
	err := errors.Join(
		shared.minio.drop((*server.MinIO).Close),
		shared.python.drop((*server.Python).Close),
		shared.trino.drop((*server.Trino).Close),
		server.RemoveDead(),
	)
	left, lookErr := server.Leftovers()
	if err = errors.Join(err, lookErr); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: ending the shared servers:", err)
		code = max(code, 1)
	}
	for _, process := range left {
		fmt.Fprintln(os.Stderr, "testenv: the tests left a process behind:", process)
		code = max(code, 1)
	}
	os.Exit(code)
}

// box opens the tool cache with progress to the test's log.
func box() (*toolbox.Box, error) {
	return toolbox.Open(func(line string) { fmt.Fprintln(os.Stderr, "testenv:", line) })
}

// tool fetches one tool.
func tool[T any](fetch func(*toolbox.Box, context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	b, err := box()
	if err != nil {
		var none T
		return none, err
	}
	return fetch(b, ctx)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// closeWith registers an end whose failure fails the test. It has no context: t's is done by then.
func closeWith(t testing.TB, end func() error) {
	t.Helper()
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
