package compaction

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// SparkConfig says who runs Spark's statements.
type SparkConfig struct {
	Catalog string   // name of the lake's catalog in Spark; default "lake"
	Submit  []string // a command that runs the statement given as its last argument, such as spark-sql -e; empty: it is run by hand
	Timeout time.Duration
}

// Spark rewrites with Iceberg's procedure rewrite_data_files, one call a table: it chooses the files itself, by the same
// measures. Rows are sorted by key over all files. It commits a few times on the way, so that a commit that comes too late
// loses a part only.
type Spark struct{ SparkConfig }

// NewSpark fills in what is not set.
func NewSpark(c SparkConfig) *Spark {
	if c.Catalog == "" {
		c.Catalog = "lake"
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultEngineTimeout
	}
	return &Spark{c}
}

// Name implements Engine.
func (*Spark) Name() string { return "spark" }

// Statements implements Engine.
func (s *Spark) Statements(w Work) []string {
	if len(w.Groups) == 0 {
		return nil
	}
	o := &w.Options
	order := make([]string, len(w.Key))
	for i, column := range w.Key {
		order[i] = sparkName(column) + " ASC NULLS FIRST"
	}
	how := "strategy => 'sort', sort_order => " + sparkText(strings.Join(order, ", "))
	if len(order) == 0 {
		how = "strategy => 'binpack'"
	}
	options := [][2]string{
		{"target-file-size-bytes", fmt.Sprint(o.TargetFileSize)},
		{"min-file-size-bytes", fmt.Sprint(o.full())},
		{"max-file-size-bytes", fmt.Sprint(2 * o.TargetFileSize)},
		{"min-input-files", fmt.Sprint(o.MinInputs)},
		{"max-file-group-size-bytes", fmt.Sprint(o.MaxGroupBytes)},
		{"delete-file-threshold", fmt.Sprint(o.MaxDeleteFiles)},
		{"delete-ratio-threshold", fmt.Sprint(o.DeletedShare)},
		{"partial-progress.enabled", "true"},
	}
	pairs := make([]string, len(options))
	for i, p := range options {
		pairs[i] = sparkText(p[0]) + ", " + sparkText(p[1])
	}
	return []string{fmt.Sprintf("CALL %s.system.rewrite_data_files(table => %s, %s, options => map(%s))",
		sparkName(s.Catalog), sparkText(sparkName(w.Table.DB)+"."+sparkName(w.Table.Table)), how, strings.Join(pairs, ", "))}
}

// Rewrite implements Engine: it runs the command, whose environment is ours.
func (s *Spark) Rewrite(ctx context.Context, w Work) error {
	if len(s.Submit) == 0 {
		return ErrByHand
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	for _, statement := range s.Statements(w) {
		args := append(append([]string{}, s.Submit[1:]...), statement)
		cmd := exec.CommandContext(ctx, s.Submit[0], args...)
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		var exit *exec.ExitError
		e := &EngineError{Engine: "Spark", Failure: Unreachable, Err: fmt.Errorf("%s: %w", s.Submit[0], err)}
		if errors.As(err, &exit) && ctx.Err() == nil {
			e.Failure, e.Err = Refused, fmt.Errorf("%s: %w; it printed at the end: %s", s.Submit[0], err, tail(out))
			if strings.Contains(string(out), "CommitFailedException") || strings.Contains(string(out), "ValidationException") {
				e.Failure = Overtaken
			}
		}
		return e
	}
	return nil
}

// tail is the end of what a program printed.
func tail(out []byte) string {
	const most = 1000
	return strings.ToValidUTF8(strings.TrimSpace(string(out[max(0, len(out)-most):])), "")
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// sparkName quotes a name where it needs it.
func sparkName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// sparkText quotes a text.
func sparkText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
