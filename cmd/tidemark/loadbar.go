package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
)

// loadBar is a progress bar of all loads under way, at the foot of a terminal. What is logged goes above it.
type loadBar struct {
	out io.Writer

	mu    sync.Mutex
	bar   *progressbar.ProgressBar
	loads map[string]ingest.Load
}

// newLoadBar returns nil when errors do not go to a terminal.
func newLoadBar(errOut io.Writer) *loadBar {
	if out, ok := errOut.(*os.File); ok && term.IsTerminal(int(out.Fd())) {
		return &loadBar{out: out, loads: map[string]ingest.Load{}}
	}
	return nil
}

// Write writes what is logged.
func (b *loadBar) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		if err := b.bar.Clear(); err != nil {
			return 0, err
		}
	}
	return b.out.Write(line)
}

// observe is for ingest.Options.Observer.
func (b *loadBar) observe(e ingest.Event) {
	load, ok := e.(ingest.Load)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.loads[load.Table] = load; load.Progress.Read() {
		delete(b.loads, load.Table)
	}
	if len(b.loads) == 0 {
		b.end()
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(b.out), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	rows, total, text := sum(b.loads)
	b.bar.ChangeMax64(max(total, rows+1)) // an estimate may be too low
	b.bar.Describe(text)
	_ = b.bar.Set64(rows) // a bar that cannot be drawn is no reason to do anything else
}

func (b *loadBar) end() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
	b.bar = nil
}

// sum puts several loads together.
func sum(loads map[string]ingest.Load) (rows, total int64, text string) {
	var bytes int64
	var rate float64
	var left time.Duration
	ranges, open, name := 0, 0, ""
	for table, l := range loads {
		rows += l.Rows
		total += l.Progress.Estimate
		bytes += l.Bytes
		rate += l.Rate
		left = max(left, l.Left)
		ranges += l.Progress.Ranges
		open += len(l.Progress.Open)
		name = table
	}
	if len(loads) > 1 {
		name = fmt.Sprintf("%d tables", len(loads))
	}
	text = fmt.Sprintf("loading %s, %s, %.0f rows/s, %d ranges and %d open", name, humanize.IBytes(uint64(bytes)), rate, ranges, open)
	if left > 0 {
		text += ", " + source.Span(left) + " left"
	}
	return rows, total, text
}
