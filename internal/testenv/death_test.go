package testenv_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
)

// asVictim makes this test binary start servers, say so, and wait for its end.
const asVictim = "TIDEMARK_TEST_VICTIM"

func TestMain(m *testing.M) { testenv.Main(m) }

func TestVictim(t *testing.T) {
	if os.Getenv(asVictim) == "" {
		return // the test below is the one that counts
	}
	s := testenv.MySQL(t)
	testenv.MinIO(t)
	testenv.DuckDB(t)
	fmt.Println("started", s.Pid())
	<-t.Context().Done()
}

func TestServersDieWithAKilledTestBinary(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.v")
	cmd.Env = append(os.Environ(), asVictim+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for started := false; !started; {
		if !lines.Scan() {
			t.Fatalf("the victim ended before its servers were up: %v", cmd.Wait())
		}
		started = strings.HasPrefix(lines.Text(), "started ")
	}
	if left := startedBy(t, cmd.Process.Pid); len(left) != 3 {
		t.Errorf("the victim runs %d processes, want mysqld, minio and python: %v", len(left), left)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the victim ended well although it was killed")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		left := startedBy(t, cmd.Process.Pid)
		if len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("10 s after the test binary was killed there are still: %v", left)
		case <-tick.C:
		}
	}
}

// startedBy lists the processes that carry the mark of a starter.
func startedBy(t *testing.T, pid int) []string {
	t.Helper()
	left, err := server.StartedBy(pid)
	if err != nil {
		t.Fatal(err)
	}
	return left
}
