package server

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

//go:embed spark.py
var sparkProgram string

// RunSpark runs statements in a session with the settings of a spark-defaults.conf, and returns the rows of each as text. Its files
// go to the folder dir.
func RunSpark(ctx context.Context, tools *toolbox.Spark, dir, defaults string, statements []string) ([][][]string, error) {
	list, err := json.Marshal(statements)
	if err != nil {
		return nil, err
	}
	argv := []string{tools.Python, filepath.Join(dir, "spark.py"), filepath.Join(dir, "defaults"), strings.Join(tools.Jars, ","), filepath.Join(dir, "statements"), filepath.Join(dir, "results")}
	for name, body := range map[string]string{argv[1]: sparkProgram, argv[2]: defaults, argv[4]: string(list)} {
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			return nil, err
		}
	}
	p, err := start("spark", filepath.Join(dir, "log"), argv, func(cmd *exec.Cmd) {
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "JAVA_HOME="+tools.JavaHome)
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("spark has not ended: %w, %w", ctx.Err(), p.kill())
	}
	text, err := os.ReadFile(argv[5])
	if err != nil {
		return nil, fmt.Errorf("spark failed; it printed at the end:\n%s", p.logTail())
	}
	var rows [][][]string
	return rows, json.Unmarshal(text, &rows)
}
