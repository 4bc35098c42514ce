package compaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// Engine rewrites data files of large tables somewhere else: on a cluster that can read and commit to the tables by a
// catalog of its own. Its commits are those of another program: the checkpoint and the rows stay what they are.
type Engine interface {
	// Name is the engine's name in settings, logs and metrics.
	Name() string
	// Statements are what the engine is asked to run, as a user may paste it.
	Statements(Work) []string
	// Rewrite has the work done and waits for its end. What was committed before an error stays. It fails with
	// ErrByHand when somebody else is to run the statements, and with *EngineError; ending ctx ends the work.
	Rewrite(context.Context, Work) error
}

// ErrByHand says that nobody is set up to run an engine's statements.
var ErrByHand = errors.New("the statement has to be run by hand")

// Work is a rewrite for an engine.
type Work struct {
	Table   catalog.Identifier
	Key     []string // columns
	Groups  []Group  // heavy ones
	Options Options
}

// Bytes is the size of the data files to be rewritten.
func (w *Work) Bytes() (n int64) {
	for i := range w.Groups {
		n += w.Groups[i].Bytes
	}
	return n
}

// Paths are the data files to be rewritten.
func (w *Work) Paths() (paths []string) {
	for i := range w.Groups {
		for j := range w.Groups[i].Files {
			paths = append(paths, w.Groups[i].Files[j].Path)
		}
	}
	return paths
}

func (w *Work) String() string {
	return fmt.Sprintf("%d data files (%s)", len(w.Paths()), humanize.IBytes(uint64(w.Bytes())))
}

// Failure is why an engine did not do its work.
type Failure string

// The failures.
const (
	Unreachable Failure = "unreachable" // it gave no answer
	Refused     Failure = "refused"     // it answered with an error
	Overtaken   Failure = "overtaken"   // it could not commit: a row of the files was deleted meanwhile, or the files are gone
)

// EngineError is an engine's failure. Another attempt, later, may succeed.
type EngineError struct {
	Engine  string
	Failure Failure
	Err     error
}

func (e *EngineError) Error() string {
	what := map[Failure]string{
		Unreachable: "did not answer; is it running, and is its address right?",
		Refused:     "refused",
		Overtaken:   "could not commit, since another commit changed the files meanwhile",
	}[e.Failure]
	return fmt.Sprintf("%s %s: %v", e.Engine, what, e.Err)
}

func (e *EngineError) Unwrap() error { return e.Err }

// Outside says what is sent to an engine. The zero value sends nothing.
type Outside struct {
	Engine     Engine // nil: everything is rewritten here
	LargeBytes int64  // a table with so many bytes of data files is large; default 10 GiB
	LargeRows  int64  // so is one with so many live rows; 0: rows do not matter
	Wait       bool   // what the engine fails to do is left to its next attempt, not done here instead
}

// defaultLarge is from how many bytes a table is large.
const defaultLarge = 10 << 30

// EnsureDefaults fills in what is not set.
func (o *Outside) EnsureDefaults() {
	if o.LargeBytes == 0 {
		o.LargeBytes = defaultLarge
	}
}

// Validate reports settings that make no sense.
func (o *Outside) Validate() error {
	if o.LargeBytes < 0 || o.LargeRows < 0 {
		return fmt.Errorf("compaction: a table of %d bytes or %d rows counts as large: they cannot be negative", o.LargeBytes, o.LargeRows)
	}
	return nil
}

// large reports whether a table's heavy groups are the engine's.
func (o *Outside) large(s lake.Size) bool {
	return o.Engine != nil && (s.Bytes >= o.LargeBytes || o.LargeRows > 0 && s.Rows >= o.LargeRows)
}

// heavy reports whether a group is worth the way to an engine: its data files make up one of the target size.
func (g *Group) heavy(o *Options) bool { return g.Bytes >= o.TargetFileSize }

// Divide parts a plan into what is rewritten here and what is for an engine: the heavy groups of a large table. Small files,
// which come with every commit, are merged here.
func (v *View) Divide(p Plan, o Options, out Outside) (here Plan, there Work) {
	o.EnsureDefaults()
	out.EnsureDefaults()
	there = Work{Table: v.table.ID(), Options: o}
	if !out.large(v.table.Size()) {
		return p, there
	}
	for _, column := range v.table.Key() {
		there.Key = append(there.Key, v.table.ArrowSchema().Field(column).Name)
	}
	here = Plan{Left: p.Left}
	for _, g := range p.Groups {
		if g.heavy(&o) {
			there.Groups = append(there.Groups, g)
			continue
		}
		here.Groups = append(here.Groups, g)
		here.Bytes += g.Bytes
		here.Live += g.Live
	}
	return here, there
}
