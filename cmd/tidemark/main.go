// Command tidemark brings MySQL tables into an Iceberg lake and keeps them exact.
//
// main.go      the process: signals, exit codes
// root.go      the command tree and the settings that several commands share
// ingest.go, doctor.go, status.go, verify.go, compact.go, checkpoint.go, serve.go, version.go: a command each
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/ingest/verify"
	"github.com/tidemark/tidemark/internal/config"
	"github.com/tidemark/tidemark/lake"
)

// Exit codes, as the documentation promises them.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNoServer = 3 // no server can serve the checkpoint exactly, or none could be reached for as long as a start waits
	exitFenced   = 4 // another writer owns the tables
	exitDiffers  = 5 // verify found differences
)

func main() {
	// The first signal asks for a clean stop: commit the last complete transaction. The second ends the process at
	// once, which loses nothing either: what is not committed is read again.
	stop, cancelStop := context.WithCancel(context.Background())
	defer cancelStop()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancelStop()
		<-signals
		os.Exit(exitFailed)
	}()
	os.Exit(run(stop, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, out, errOut *os.File) int {
	root := newRoot(out, errOut)
	root.SetArgs(args)
	if _, _, err := root.Find(args); err != nil {
		fmt.Fprintf(errOut, "tidemark: %v\n", err)
		return exitUsage
	}
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(errOut, "tidemark: %v\n", err)
	}
	return exitCode(err)
}

// usageError is a mistake in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	var conf *config.Error
	var none *source.NoServerError
	var fenced *lake.FencedError
	var place *source.PlaceError
	var tooOld *source.TooOldError
	var different *verify.DifferentError
	var partition *ingest.PartitionError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &conf), errors.As(err, &place), errors.As(err, &partition):
		return exitUsage
	case errors.As(err, &different):
		return exitDiffers
	case errors.Is(err, errNoneServes), errors.As(err, &tooOld), errors.As(err, &none) && (none.Exact() || none.Temporary()):
		return exitNoServer
	case errors.As(err, &fenced):
		return exitFenced
	}
	return exitFailed
}
