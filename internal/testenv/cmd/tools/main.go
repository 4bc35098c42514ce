// Command tools fetches what building and testing need, and runs commands with it.
//
//	tools fetch [test] [lint] [race]   fetch the tools of these jobs, all without a name
//	tools with-trino COMMAND...        run a command while the shared Trino is kept up, then see that no process is left
//	tools exec golangci-lint ARGS...   run a fetched program
//	tools exec mysql|mysqldump|mysqlbinlog|mysqladmin ARGS...
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	var child *exec.ExitError
	switch {
	case errors.As(err, &child) && child.ExitCode() > 0:
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(child.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	began := time.Now()
	box, err := toolbox.Open(func(line string) {
		fmt.Fprintf(os.Stderr, "tools %4ds: %s\n", int(time.Since(began).Seconds()), line)
	})
	if err != nil {
		return err
	}
	switch {
	case len(args) >= 1 && args[0] == "fetch":
		return fetch(ctx, box, args[1:])
	case len(args) >= 2 && args[0] == "with-trino":
		return withTrino(ctx, box, args[1:])
	case len(args) >= 2 && args[0] == "exec":
		return execTool(ctx, box, args[1], args[2:])
	}
	return errors.New("usage: tools fetch [test] [lint] [race] | tools with-trino COMMAND | tools exec PROGRAM ARGS")
}

// fetch gets everything at once: most of it waits for the network, and the long build runs with low priority.
func fetch(ctx context.Context, box *toolbox.Box, jobs []string) error {
	type getter func(context.Context) error
	needs := map[string][]getter{
		"test": {ignore(box.MinIO), ignore(box.MySQL), ignore(box.Python), ignore(box.Trino), ignore(box.Kit), ignore(box.Spark), ignore(box.PostgreSQL)},
		"lint": {ignore(box.GolangciLint)},
		"race": {ignore(box.Compiler)},
	}
	if len(jobs) == 0 {
		jobs = []string{"test", "lint", "race"}
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, job := range jobs {
		if needs[job] == nil {
			return fmt.Errorf("no job %q: name test, lint or race", job)
		}
		for _, get := range needs[job] {
			all.Go(func() error { return get(ctx) })
		}
	}
	return all.Wait()
}

func ignore[T any](get func(context.Context) (T, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx)
		return err
	}
}

// withTrino keeps a share in Trino while the command runs, so that the test binaries, which come and go, do not start it again each.
func withTrino(ctx context.Context, box *toolbox.Box, argv []string) error {
	trino, err := testenv.ShareTrino(ctx, box)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the death signal below is tied to the thread that starts the command
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	err = cmd.Run()
	err = errors.Join(err, trino.Close())
	left, lookErr := server.Orphans()
	for _, process := range left {
		lookErr = errors.Join(lookErr, fmt.Errorf("a process was left behind: %s", process))
	}
	return errors.Join(err, lookErr)
}

// execTool becomes the program.
func execTool(ctx context.Context, box *toolbox.Box, name string, args []string) error {
	var argv []string
	switch name {
	case "golangci-lint":
		path, err := box.GolangciLint(ctx)
		if err != nil {
			return err
		}
		argv = []string{path}
	case "mysql", "mysqldump", "mysqlbinlog", "mysqladmin":
		tools, err := box.MySQL(ctx)
		if err != nil {
			return err
		}
		argv = tools.Client(name)
	default:
		return fmt.Errorf("no program %q", name)
	}
	argv = append(argv, args...)
	return fmt.Errorf("run %s: %w", name, syscall.Exec(argv[0], argv, os.Environ()))
}
