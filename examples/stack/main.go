// Command stack runs a small production-like setting on this machine, without containers: a MySQL primary, two replicas, MinIO, and a
// shop database with traffic.
//
//	stack up     start it in the background, and say how to use it
//	stack down   stop it; its data stay in the folder
//	stack run    the same in the foreground, until interrupted
//
// One process, `stack run`, owns all servers: they end with it, however it ends. Its process id is in DIR/stack.pid.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ports where the stack listens, on 127.0.0.1.
type ports struct {
	mysql [3]int // the primary, then the replicas
	minio int
}

type settings struct {
	dir   string
	ports ports
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: stack up|down|run [-dir .stack] [-mysql 33061,33062,33063] [-minio 39000]")
	}
	flags := flag.NewFlagSet("stack "+args[0], flag.ContinueOnError)
	dir := flags.String("dir", ".stack", "folder for data, logs and the process id")
	mysql := flags.String("mysql", "33061,33062,33063", "ports of the primary and the two replicas")
	minio := flags.Int("minio", 39000, "port of MinIO")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	s := settings{ports: ports{minio: *minio}}
	numbers := strings.Split(*mysql, ",")
	if len(numbers) != len(s.ports.mysql) {
		return fmt.Errorf("-mysql %s: name three ports", *mysql)
	}
	for i, number := range numbers {
		var err error
		if s.ports.mysql[i], err = strconv.Atoi(number); err != nil {
			return fmt.Errorf("-mysql %s: %w", *mysql, err)
		}
	}
	var err error
	if s.dir, err = filepath.Abs(*dir); err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return s.up(ctx)
	case "down":
		return s.down(ctx)
	case "run":
		return s.serve(ctx)
	}
	return fmt.Errorf("no command %q: up, down or run", args[0])
}
