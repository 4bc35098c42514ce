package server

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// KitResult is what the REST Compatibility Kit found.
type KitResult struct {
	Passed  int
	Failed  map[string]string // test: how
	Aborted map[string]string // test: why it does not apply
}

// RunKit runs the kit against a REST catalog whose lake is at the URI lake. Its report goes to the folder dir.
func RunKit(ctx context.Context, kit *toolbox.Kit, dir, uri, lake string) (*KitResult, error) {
	argv := []string{kit.Java, "-Xmx768m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-Duri=" + uri, "-Dlake=" + lake}
	// The catalog reads its own settings with the prefix, the extension that would start a server without.
	for _, setting := range []string{"local=false", "requires-namespace-create=true", "supports-serverside-retry=true", "supports-names-with-dot=true", "supports-variant=true"} {
		argv = append(argv, "-Drck."+setting, "-D"+setting)
	}
	argv = append(argv, "-cp", kit.ClassPath, "org.junit.platform.console.ConsoleLauncher", "execute",
		"--select-class="+kit.Class, "--details=none", "--disable-banner", "--reports-dir="+dir)
	p, err := start("kit", filepath.Join(dir, "kit.log"), argv, nil)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("the kit has not ended: %w, %w", ctx.Err(), p.kill())
	}
	body, err := os.ReadFile(filepath.Join(dir, "TEST-junit-jupiter.xml"))
	if err != nil {
		return nil, fmt.Errorf("the kit left no report (%w); it printed at the end:\n%s", err, p.logTail())
	}
	return parseKit(body)
}

func parseKit(report []byte) (*KitResult, error) {
	type outcome struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	var suite struct {
		Cases []struct {
			Name    string   `xml:"name,attr"`
			Failure *outcome `xml:"failure"`
			Error   *outcome `xml:"error"`
			Skipped *outcome `xml:"skipped"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(report, &suite); err != nil {
		return nil, fmt.Errorf("the kit's report: %w", err)
	}
	r := &KitResult{Failed: map[string]string{}, Aborted: map[string]string{}}
	for _, c := range suite.Cases {
		switch {
		case c.Failure != nil:
			r.Failed[c.Name] = c.Failure.Message
		case c.Error != nil:
			r.Failed[c.Name] = c.Error.Message
		case c.Skipped != nil:
			r.Aborted[c.Name] = c.Skipped.Text
		default:
			r.Passed++
		}
	}
	return r, nil
}
