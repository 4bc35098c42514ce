package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Ports are taken below the range that the kernel gives to outgoing connections (32768 and up), so that none is taken between two
// runs of a server on it.
const (
	firstPort = 21000
	portCount = 9000
)

// Port is a free TCP port on the loopback address that nobody else who asks here gets until it is released: a lock file holds it, so
// tests of many packages run at once, and a server keeps its port while it is down.
type Port struct {
	Number int
	held   *os.File
}

// FreePort takes a port.
func FreePort() (*Port, error) {
	dir := filepath.Join(os.TempDir(), "tidemark-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("find a free port: %w", err)
	}
	for range 500 {
		number := firstPort + rand.IntN(portCount)
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(number)), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o666)
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			l, err := net.Listen("tcp", loopback(number))
			if err == nil {
				return &Port{Number: number, held: f}, l.Close()
			}
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
	}
	return nil, fmt.Errorf("find a free port: none of 500 tried between %d and %d is free", firstPort, firstPort+portCount)
}

// Release gives the port back.
func (p *Port) Release() error {
	if p == nil || p.held == nil {
		return nil
	}
	return p.held.Close()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// RemoveDead removes the folders of processes that died before they could.
func RemoveDead() error {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), "tidemark-run-*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), "tidemark-run-"), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil {
			continue
		}
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if err := os.RemoveAll(folder); err != nil {
				return fmt.Errorf("remove what a dead process left: %w", err)
			}
		}
	}
	return nil
}

// sweep does it once in a process, before the first folder is made.
var sweep = sync.OnceValue(RemoveDead)

// workFolder makes a folder that is ours: with a short path (a socket's is at most 107 bytes), named after us so that another process can remove
// it when we die.
func workFolder(name string) (string, error) {
	if err := sweep(); err != nil {
		return "", err
	}
	return os.MkdirTemp("", fmt.Sprintf("tidemark-run-%d-%s-", os.Getpid(), name))
}
