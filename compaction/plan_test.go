package compaction

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"
)

var rewritePlans = flag.Bool("rewrite", false, "rewrite the expected plans in testdata")

// TestPlan runs the scripts in testdata/plan. A script is blocks separated by a line of dashes: an "options" line,
// "file" lines, then "=>" lines with the expected plan; -rewrite puts there what was planned. A line "simulate" instead
// of files adds data files one by one, applies every plan, and tells what was written in all; with a table, what is added are updates spread over
// all of its rows.
func TestPlan(t *testing.T) {
	scripts, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range scripts {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for i, block := range strings.Split(string(text), "\n---\n") {
				if i > 0 {
					out.WriteString("---\n")
				}
				runBlock(t, block, &out)
			}
			if *rewritePlans {
				if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if out.String() != string(text) {
				t.Errorf("planned:\n%s\nexpected:\n%s", out.String(), text)
			}
		})
	}
}

func runBlock(t *testing.T, block string, out *strings.Builder) {
	t.Helper()
	var o Options
	var files []File
	lines := bufio.NewScanner(strings.NewReader(block))
	result := ""
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "=>") {
			continue
		}
		out.WriteString(line + "\n")
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		v := values(t, words[1:])
		switch words[0] {
		case "options":
			o.TargetFileSize, o.MaxGroupBytes, o.MaxPassBytes = v.bytes("target"), v.bytes("group"), v.bytes("pass")
			o.MaxInputs, o.MinInputs, o.MaxDeleteFiles = v.int("inputs"), v.int("least"), v.int("deletes")
			o.MaxMergeMemory, o.MaxSmallFiles, o.Alone = v.bytes("memory"), v.int("small"), v["alone"] != ""
			if s := v["share"]; s != "" {
				o.DeletedShare, _ = strconv.ParseFloat(s, 64)
			}
			o.EnsureDefaults()
			if err := o.Validate(); err != nil {
				result = fmt.Sprintf("=> %v\n", err)
			}
		case "file":
			f := File{Bytes: v.bytes("bytes"), Rows: int64(v.int("rows")), Deleted: int64(v.int("deleted")), DeleteFiles: v.int("dv")}
			n := max(1, v.int("times"))
			low, high, _ := strings.Cut(v["keys"], "-")
			f.Low, f.High = []byte(low), []byte(high)
			for range n {
				f.Path = fmt.Sprintf("%c", 'a'+len(files))
				files = append(files, f)
			}
		case "simulate":
			result = simulate(o, v.int("times"), v.bytes("bytes"), v.bytes("table"))
		default:
			t.Fatalf("unknown word %q", words[0])
		}
	}
	if result == "" {
		result = describe(Make(files, o))
	}
	out.WriteString(result)
}

func describe(p Plan) string {
	var b bytes.Buffer
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "=> %s:", g.Why)
		for _, f := range g.Files {
			fmt.Fprintf(&b, " %s", f.Path)
		}
		fmt.Fprintf(&b, "; %s, %d rows\n", humanize.IBytes(uint64(g.Live)), g.Rows())
	}
	fmt.Fprintf(&b, "=> %s\n", &p)
	return b.String()
}

// simulate adds n files of so many bytes and compacts after each. They update rows of the table, where that is not 0.
func simulate(o Options, n int, size, table int64) string {
	var files []File
	if table > 0 {
		files = append(files, File{Path: "table", Rows: table, Bytes: table})
	}
	var written int64
	most, sum := 0, 0
	for i := range n {
		if table > 0 {
			for j := range files {
				files[j].Deleted += int64(float64(size) * float64(files[j].Rows-files[j].Deleted) / float64(table))
			}
		}
		files = append(files, File{Path: fmt.Sprintf("%06d", i), Rows: size, Bytes: size})
		for {
			p := Make(files, o)
			if len(p.Groups) == 0 {
				break
			}
			for _, g := range p.Groups {
				in := map[string]bool{}
				for _, f := range g.Files {
					in[f.Path] = true
				}
				kept := files[:0:0]
				for _, f := range files {
					if !in[f.Path] {
						kept = append(kept, f)
					}
				}
				files = kept
				for j, rows := range shares(g.Rows(), g.Live, o.TargetFileSize) {
					files = append(files, File{Path: fmt.Sprintf("%s-%d", g.Files[0].Path, j), Rows: rows, Bytes: rows})
				}
				written += g.Live
			}
		}
		most, sum = max(most, len(files)), sum+len(files)
	}
	bound := ""
	if added, deleted := o.Amplification(); o.MaxSmallFiles == 0 && table == 0 {
		bound = fmt.Sprintf(", bound %.0f", added)
	} else if o.MaxSmallFiles == 0 {
		bound = fmt.Sprintf(", bound %.0f", added+deleted)
	}
	if table > 0 {
		bound += fmt.Sprintf("; %.1f files in the mean", float64(sum)/float64(n))
	}
	return fmt.Sprintf("=> %d files at the end, %d at most, %.2f bytes rewritten per byte added%s\n", len(files), most, float64(written)/float64(size)/float64(n), bound)
}

type settings map[string]string

func values(t *testing.T, words []string) settings {
	v := settings{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			t.Fatalf("%q is not key=value", w)
		}
		v[key] = value
	}
	return v
}

func (v settings) int(key string) int {
	n, _ := strconv.Atoi(v[key])
	return n
}

func (v settings) bytes(key string) int64 {
	n, _ := humanize.ParseBytes(v[key])
	return int64(n)
}
