package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// PostgreSQL is one server with an empty database.
type PostgreSQL struct {
	User, Database string // its only account, which comes in with the password, and an empty database

	port *Port
	dir  string
	proc *process
}

// StartPostgreSQL makes a fresh server and waits until it answers. password is that of its account.
func StartPostgreSQL(ctx context.Context, tools *toolbox.PostgreSQL, password string) (_ *PostgreSQL, err error) {
	p := &PostgreSQL{User: "tide", Database: "catalogs"}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.port, err = FreePort(); err != nil {
		return nil, err
	}
	if p.dir, err = workFolder("postgresql"); err != nil {
		return nil, err
	}
	data, secret := filepath.Join(p.dir, "data"), filepath.Join(p.dir, "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		return nil, err
	}
	log := filepath.Join(p.dir, "postgresql.log")
	made, err := start("initdb", log, []string{
		tools.Initdb, "--pgdata=" + data, "--username=" + p.User, "--pwfile=" + secret, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
	}, unprivileged)
	if err != nil {
		return nil, err
	}
	select {
	case <-made.done:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), made.kill())
	}
	if made.exit != nil {
		return nil, fmt.Errorf("initdb: %w; it printed at the end:\n%s", made.exit, made.logTail())
	}
	argv := []string{tools.Postgres, "-D", data, "-p", strconv.Itoa(p.port.Number), "-k", p.dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"}
	if p.proc, err = start("PostgreSQL on port "+strconv.Itoa(p.port.Number), log, argv, unprivileged); err != nil {
		return nil, err
	}
	probe := func(ctx context.Context) error {
		c, err := pgx.Connect(ctx, (&url.URL{Scheme: "postgresql", User: url.UserPassword(p.User, password), Host: p.Addr(), Path: "postgres", RawQuery: "sslmode=disable"}).String())
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, "CREATE DATABASE "+p.Database)
		return errors.Join(err, c.Close(ctx))
	}
	return p, p.proc.ready(ctx, time.Minute, probe)
}

// unprivileged lets a program that refuses to run as root do so: in a user namespace of its own, where root has another number.
func unprivileged(cmd *exec.Cmd) {
	if os.Geteuid() != 0 {
		return
	}
	const anybody = 1000
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: anybody, HostID: 0, Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: anybody, HostID: 0, Size: 1}}
}

// Addr is host:port.
func (p *PostgreSQL) Addr() string { return loopback(p.port.Number) }

// Close ends the server and removes its files.
func (p *PostgreSQL) Close() error {
	var err error
	if p.proc != nil {
		err = p.proc.end(syscall.SIGINT, time.Minute) // without waiting for clients
	}
	if p.dir != "" {
		err = errors.Join(err, os.RemoveAll(p.dir))
	}
	return errors.Join(err, p.port.Release())
}
