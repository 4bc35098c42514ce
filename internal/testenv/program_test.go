package testenv_test

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

func TestProgramTellsHowItEnded(t *testing.T) {
	t.Parallel()
	done := testenv.Start(t, []string{"/bin/sh", "-c", `echo "$WORD"; exit 3`}, "WORD=hello")
	if code := done.Wait(t, 10*time.Second); code != 3 || done.Output() != "hello" {
		t.Errorf("exit code %d and output %q, want 3 and hello", code, done.Output())
	}
	stopped := testenv.Start(t, []string{"/bin/sleep", "1000"})
	if code := stopped.Stop(t, 10*time.Second); code != -1 {
		t.Errorf("exit code after SIGTERM %d, want -1", code)
	}
	killed := testenv.Start(t, []string{"/bin/sleep", "1000"})
	killed.Kill(t)
	if code := killed.Wait(t, time.Second); code != -1 {
		t.Errorf("exit code after SIGKILL %d, want -1", code)
	}
}
