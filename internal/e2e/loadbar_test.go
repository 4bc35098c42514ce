package e2e

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/tidemark/tidemark/internal/testenv"
)

// TestLoadBar: on a terminal a load shows a bar at its foot, with what is logged above it.
func TestLoadBar(t *testing.T) {
	s := testenv.MySQL(t)
	many(t, s, 6000)
	lake := localLake(t)
	args := append([]string{"ingest", "--source", testenv.URL(s), "--tables", "app.*", "--until", "caught-up", "--load-range", "500", "--load-rate", "2000"}, lake.args...)
	c := exec.Command(program, args...)
	c.Env = append(os.Environ(), lake.env...)
	terminal, err := pty.StartWithSize(c, &pty.Winsize{Rows: 24, Cols: 140})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_, _ = io.Copy(&out, terminal) // it ends with an error, as the terminal is gone
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	lines := strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\r' || r == '\n' })
	bar := regexp.MustCompile(`^loading app\.big, \d.*B, [\d,]+ rows/s, \d+ ranges and \d+ open(, .* left)? +\d+% \|.*\| +\([\d./]+\)`)
	bars := 0
	for _, line := range lines {
		if bar.MatchString(strings.TrimPrefix(line, "\x1b[2K")) {
			bars++
		} else if strings.Contains(line, "time=") && !strings.HasPrefix(line, "time=") && strings.Contains(line, "loading app.big") {
			t.Errorf("a line of the log stands in the bar: %q", line)
		}
	}
	if bars < 2 {
		t.Errorf("%d bars in\n%q", bars, lines)
	}
	if !strings.Contains(out.String(), "loaded table joins the stream") {
		t.Errorf("nothing is logged:\n%s", out.String())
	}
}
