// Package server runs the real servers that tests, the demo, the benchmarks and the local stack work against: MySQL servers that
// replicate from each other, MinIO, Trino, and a Python process with the readers.
//
// What comes in: the programs that package toolbox fetched. What goes out: running servers with an address. What must hold: every
// process started here dies with ours, even when ours is killed (Trino, which is shared, a few seconds later); ports never collide
// between processes; Close leaves no file and no process.
//
// Errors say which server and carry the end of its log. Package testenv wraps all this for tests.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// The account made in every server for the program under test: SELECT, REPLICATION SLAVE and REPLICATION CLIENT.
const (
	User     = "tide"
	Password = "tide-secret"
)

// MySQLOptions says how a server is set up. The zero value is a good source: GTIDs on, ROW, FULL image, FULL metadata.
type MySQLOptions struct {
	Dir           string   // data and logs, kept by Close; "" is a temporary folder, removed by Close. A folder with data in it is used as it is.
	Port          int      // 0: a free one
	BufferPoolMiB int      // 0: 128
	ReadOnly      bool     // super_read_only, set once the server is up
	Args          []string // mysqld options after ours, so they win
}

// MySQL is one mysqld. Its address stays the same over Kill, Stop and Start.
type MySQL struct {
	Host string // 127.0.0.1
	Port int

	opts   MySQLOptions
	port   *Port
	dir    string
	argv   []string
	proc   *process
	uuid   string
	socket string
}

// StartMySQL makes a fresh server (or one on the data in opts.Dir) and waits until it answers.
func StartMySQL(ctx context.Context, tools *toolbox.MySQL, opts MySQLOptions) (_ *MySQL, err error) {
	s := &MySQL{Host: "127.0.0.1", Port: opts.Port, opts: opts, dir: opts.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Port == 0 {
		if s.port, err = FreePort(); err != nil {
			return nil, err
		}
		s.Port = s.port.Number
	}
	if s.dir == "" {
		if s.dir, err = workFolder("mysql"); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(s.dir, "data")
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		if err := copyTree(tools.Template, data); err != nil {
			return nil, fmt.Errorf("copy the MySQL data template: %w", err)
		}
	}
	sockets, err := workFolder("s") // the data folder's path may be too long for a socket
	if err != nil {
		return nil, err
	}
	s.socket = filepath.Join(sockets, "s")
	pool := opts.BufferPoolMiB
	if pool == 0 {
		pool = 128
	}
	id := strconv.Itoa(s.Port)
	s.argv = append(tools.Server(),
		"--datadir="+data, "--socket="+s.socket, "--pid-file="+filepath.Join(s.dir, "pid"), "--bind-address=127.0.0.1", "--port="+id, "--mysqlx=OFF",
		"--server-id="+id, "--report-host=127.0.0.1", "--report-port="+id, // a port is in use once on a machine, and so is its number as an id
		"--log-bin=bin", "--relay-log=relay", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--log-replica-updates=ON",
		"--binlog-format=ROW", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL",
		"--skip-replica-start=OFF", "--replica-net-timeout=10", "--default-time-zone=+00:00",
		// Durable against a killed process, which is what tests do, but not against a power cut.
		"--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0", "--innodb-doublewrite=OFF",
		fmt.Sprintf("--innodb-buffer-pool-size=%dM", pool), "--innodb-buffer-pool-dump-at-shutdown=OFF", "--innodb-buffer-pool-load-at-startup=OFF",
		"--innodb-redo-log-capacity="+redoCapacity(pool), "--innodb-log-buffer-size=8M", "--max-connections=200", "--table-open-cache=400",
	)
	s.argv = append(s.argv, opts.Args...)
	return s, s.Start(ctx)
}

// A bench with a large buffer pool writes much; a small redo log would make it wait for checkpoints.
func redoCapacity(poolMiB int) string {
	if poolMiB > 128 {
		return "1G"
	}
	return "64M"
}

// Start starts the server again after Kill or Stop, on its port and data, and waits until it answers.
func (s *MySQL) Start(ctx context.Context) error {
	if s.proc != nil && s.proc.running() {
		return fmt.Errorf("mysqld on port %d is running already", s.Port)
	}
	proc, err := start(fmt.Sprintf("mysqld on port %d", s.Port), filepath.Join(s.dir, "mysqld.log"), s.argv, nil)
	if err != nil {
		return err
	}
	s.proc = proc
	probe := func(ctx context.Context) error {
		rows, err := s.Query(ctx, "SELECT @@server_uuid")
		if err == nil {
			s.uuid = rows[0][0]
		}
		return err
	}
	if err := proc.ready(ctx, 2*time.Minute, probe); err != nil {
		return err
	}
	if s.opts.ReadOnly {
		return s.Exec(ctx, "SET GLOBAL super_read_only = ON")
	}
	return nil
}

// Kill ends the server with SIGKILL: connections break, nothing is flushed.
func (s *MySQL) Kill() error { return s.proc.kill() }

// Stop shuts the server down cleanly.
func (s *MySQL) Stop() error { return s.proc.terminate(time.Minute) }

// Pause freezes the server with SIGSTOP: connections stay, nothing answers.
func (s *MySQL) Pause() error { return s.proc.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *MySQL) Resume() error { return s.proc.signal(syscall.SIGCONT) }

// Running says whether the process lives (a paused one does).
func (s *MySQL) Running() bool { return s.proc != nil && s.proc.running() }

// Pid is the process id of the running server.
func (s *MySQL) Pid() int { return s.proc.cmd.Process.Pid }

// Addr is host:port.
func (s *MySQL) Addr() string { return loopback(s.Port) }

// UUID is the server's @@server_uuid.
func (s *MySQL) UUID() string { return s.uuid }

// DataDir is the folder with the tables and binary logs.
func (s *MySQL) DataDir() string { return filepath.Join(s.dir, "data") }

// Log is the end of the server's error log.
func (s *MySQL) Log() string { return s.proc.logTail() }

// Close ends the server and removes its temporary files. One in a folder of the caller's is shut down cleanly, since its data stay.
func (s *MySQL) Close() error {
	var errs []error
	if s.proc != nil {
		if s.opts.Dir == "" {
			errs = append(errs, s.proc.kill())
		} else {
			errs = append(errs, s.proc.terminate(time.Minute))
		}
	}
	if s.opts.Dir == "" && s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if s.socket != "" {
		errs = append(errs, os.RemoveAll(filepath.Dir(s.socket)))
	}
	errs = append(errs, s.port.Release())
	return errors.Join(errs...)
}

// copyTree copies a data directory, less the redo log files that hold nothing.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o750)
		}
		if strings.HasPrefix(e.Name(), "#ib_redo") && strings.HasSuffix(e.Name(), "_tmp") {
			return nil
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
