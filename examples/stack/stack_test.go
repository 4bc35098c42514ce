package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestStackComesUpTradesAndGoesDown(t *testing.T) {
	var numbers [4]int
	for i := range numbers {
		port, err := server.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := port.Release(); err != nil {
				t.Error(err)
			}
		})
		numbers[i] = port.Number
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "stack")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	stack := func(command string) {
		t.Helper()
		out, err := exec.Command(program, command, "-dir", filepath.Join(dir, "s"), "-minio", strconv.Itoa(numbers[3]),
			"-mysql", fmt.Sprintf("%d,%d,%d", numbers[0], numbers[1], numbers[2])).CombinedOutput()
		if err != nil {
			t.Fatalf("stack %s: %v\n%s", command, err, out)
		}
	}
	t.Cleanup(func() { stack("down") }) // in case of a failure below; saying it twice is no error
	stack("up")
	for _, port := range numbers[:3] {
		ordersArrive(t, port)
	}
	stack("down")
	for _, port := range numbers {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			t.Errorf("port %d still answers after down (%v)", port, c.Close())
		}
	}
}

// ordersArrive waits until a server has more orders than it had.
func ordersArrive(t *testing.T, port int) {
	t.Helper()
	c, err := client.Connect(fmt.Sprintf("127.0.0.1:%d", port), server.User, server.Password, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	orders := func() int64 {
		t.Helper()
		r, err := c.Execute("SELECT COALESCE(MAX(id), 0) FROM orders")
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.GetInt(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for first := orders(); orders() <= first; {
		select {
		case <-ctx.Done():
			t.Fatalf("the server on port %d sees no new orders (%d)", port, first)
		case <-tick.C:
		}
	}
}
