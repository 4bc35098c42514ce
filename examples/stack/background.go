package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startLimit bounds the first start, which may have to fetch MySQL and build MinIO.
const startLimit = 15 * time.Minute

func (s settings) pidFile() string { return filepath.Join(s.dir, "stack.pid") }
func (s settings) logFile() string { return filepath.Join(s.dir, "stack.log") }

// up starts `stack run` in the background and waits until it is ready.
func (s settings) up(ctx context.Context) error {
	pid, err := s.running()
	if err != nil {
		return err
	}
	if pid != 0 {
		fmt.Printf("The stack is up already (process %d).\n\n%s", pid, s.howTo())
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "run", "-dir", s.dir, "-minio", strconv.Itoa(s.ports.minio),
		"-mysql", fmt.Sprintf("%d,%d,%d", s.ports.mysql[0], s.ports.mysql[1], s.ports.mysql[2]))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // it stays when the terminal goes
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return fmt.Errorf("start the stack: %w", err)
	}
	if err := os.WriteFile(s.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	fmt.Printf("Starting (log: %s)...\n", s.logFile())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(s.readyFile()); err == nil {
			fmt.Print("\n" + s.howTo())
			return nil
		}
		select {
		case err := <-ended:
			body, readErr := os.ReadFile(s.logFile())
			return fmt.Errorf("the stack ended while starting: %w\n%s", errors.Join(err, readErr, os.Remove(s.pidFile())), body)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the stack is not up: %w; see %s", ctx.Err(), s.logFile()), s.down(context.WithoutCancel(ctx)))
		case <-tick.C:
		}
	}
}

// down ends the stack and waits until it is gone.
func (s settings) down(ctx context.Context) error {
	pid, err := s.running()
	if err != nil {
		return err
	}
	if pid == 0 {
		fmt.Println("The stack is not running.")
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the stack (process %d): %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if still, err := s.running(); err != nil {
			return err
		} else if still == 0 {
			fmt.Printf("The stack is down. Its data stay in %s; remove that folder to start from nothing.\n", s.dir)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the stack (process %d) has not ended: %w; see %s", pid, ctx.Err(), s.logFile())
		case <-tick.C:
		}
	}
}

// running is the process id of the stack of this folder, 0 when there is none.
func (s settings) running() (int, error) {
	body, err := os.ReadFile(s.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.pidFile(), err)
	}
	// The number may be another process's by now. One that ended and was not waited for has no command line.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), "run\x00-dir\x00"+s.dir+"\x00") {
		return 0, os.Remove(s.pidFile())
	}
	return pid, nil
}

// howTo tells what to do with the stack.
func (s settings) howTo() string {
	p := s.ports
	return strings.NewReplacer(
		"$PRIMARY", strconv.Itoa(p.mysql[0]), "$REPLICA1", strconv.Itoa(p.mysql[1]), "$REPLICA2", strconv.Itoa(p.mysql[2]),
		"$MINIO", strconv.Itoa(p.minio), "$DIR", s.dir,
	).Replace(`Primary 127.0.0.1:$PRIMARY, replicas :$REPLICA1 and :$REPLICA2 (user tide, password tide-secret; root without a password),
MinIO http://127.0.0.1:$MINIO (tidemark / tidemark-secret, bucket lake), database shop with traffic.

Follow it into the lake (make build first):

    export AWS_ACCESS_KEY_ID=tidemark AWS_SECRET_ACCESS_KEY=tidemark-secret AWS_REGION=us-east-1
    ./bin/tidemark ingest --source mysql://tide:tide-secret@127.0.0.1:$REPLICA1,127.0.0.1:$REPLICA2,127.0.0.1:$PRIMARY/ \
        --lake s3://lake/shop --s3-endpoint http://127.0.0.1:$MINIO --tables 'shop.*'

Query it with DuckDB, while it runs (examples/duckdb.sql has more):

    CREATE SECRET (TYPE s3, KEY_ID 'tidemark', SECRET 'tidemark-secret', ENDPOINT '127.0.0.1:$MINIO', URL_STYLE 'path', USE_SSL false);
    SELECT status, count(*), sum(total) FROM iceberg_scan('s3://lake/shop/shop/orders') GROUP BY ALL;

Break it: kill -9 $(cat $DIR/replica1/pid), and see ingest go on from another server.
Take it down: make stack-down
`)
}
