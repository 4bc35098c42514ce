package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake/catalog"
)

// LoadBranch is the branch that holds a table while it is loaded. Readers of main see what was there before, or nothing,
// until a commit with Promote moves main to what the branch has then.
//
// While it is there, the checkpoint property is the load's. It names main's snapshot, so it is valid, and says with its
// state that main is not what it is about. Should main be rolled back meanwhile, the load is forgotten, and what main's
// snapshots say counts (position.go).
const LoadBranch = "tidemark_load"

// OpenLoad opens a table on LoadBranch, where it is empty as long as the branch does not exist. It fails with
// fs.ErrNotExist like Open.
func OpenLoad(ctx context.Context, l *Lake, id catalog.Identifier) (*Table, error) {
	version, err := l.Catalog.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	return load(ctx, l, version, LoadBranch)
}

// Loading reports whether the table was opened on LoadBranch and was not promoted since.
func (t *Table) Loading() bool { return t.branch != "" }

// StartLoad drops what the branch has and records the position of a load that begins.
func (t *Table) StartLoad(ctx context.Context, r checkpoint.Record) error {
	t.branch = LoadBranch
	return t.publish(ctx, r, &change{restart: true})
}

// Promote makes what the branch has the table's, with a snapshot of its own that says so in its summary. A table that
// never had a snapshot gets none.
func (t *Table) Promote(ctx context.Context, r checkpoint.Record) error {
	if t.snapshot == 0 && t.main == 0 {
		err := t.publish(ctx, r, nil)
		if err == nil {
			t.branch = ""
		}
		return err
	}
	return t.Commit(ctx, Commit{Record: r, Promote: true})
}

// loadRequestKey is the table property by which somebody asks the table's writer to load it again. StartLoad takes it away.
const loadRequestKey = "tidemark.load-request"

// RequestLoad asks the table's writer to load it again; id tells requests apart. It changes nothing else, so whoever
// writes the table goes on.
func (t *Table) RequestLoad(ctx context.Context, id string) error {
	var last error
	for range attempts {
		if t.LoadRequest() == id {
			return nil
		}
		doc := t.doc.clone()
		properties, err := doc.properties()
		if err != nil {
			return err
		}
		properties[loadRequestKey] = id
		err = errors.Join(doc.logVersion(t.version.URI), doc.set("properties", properties),
			doc.set("last-updated-ms", max(t.lake.now().UnixMilli(), t.updated+1)))
		if err != nil {
			return fmt.Errorf("%s: %w", t.id, err)
		}
		_, last = t.lake.Catalog.Swap(ctx, t.version, doc.bytes())
		if _, err := t.Refresh(ctx); err != nil {
			return errors.Join(last, err)
		}
	}
	if t.LoadRequest() == id {
		return nil
	}
	return fmt.Errorf("%s: ask for a load: %w", t.id, last)
}

// LoadRequest is the id of the request to load the table again; empty when there is none.
func (t *Table) LoadRequest() string {
	properties, err := t.doc.properties()
	if err != nil {
		return ""
	}
	return properties[loadRequestKey]
}

// LoadRequested reports whether somebody asked for a table to be loaded again. It reads the table's metadata only.
func LoadRequested(ctx context.Context, l *Lake, id catalog.Identifier) (bool, error) {
	version, err := l.Catalog.Load(ctx, id)
	if err != nil {
		return false, err
	}
	doc, err := parseDocument(version.Metadata)
	if err != nil {
		return false, err
	}
	properties, err := doc.properties()
	return properties[loadRequestKey] != "", err
}

// Fork returns a table through which another goroutine may write data files of this one, and do nothing else. The owner
// gives them to Take before it commits them.
func (t *Table) Fork() *Table {
	return &Table{lake: t.lake, id: t.id, format: t.format, uuid: t.uuid, icebergSc: t.icebergSc, schema: t.schema, key: t.key, spec: t.spec}
}

// Take makes data files that were written through a Fork the table's own to commit.
func (t *Table) Take(files []*NewFile) {
	for _, f := range files {
		t.lastID++
		f.ID = t.lastID
	}
}

// head is the snapshot at the head of the branch.
func (t *Table) head(meta table.Metadata) *table.Snapshot {
	if t.branch == "" {
		return meta.CurrentSnapshot()
	}
	return meta.SnapshotByName(t.branch)
}

// parent is what the next snapshot comes after: the first one of a load replaces what main has.
func (t *Table) parent() int64 {
	if t.snapshot == 0 {
		return t.main
	}
	return t.snapshot
}

// replaces reports whether the next snapshot replaces all there was.
func (t *Table) replaces() bool { return t.snapshot == 0 && t.main != 0 }

// moved notes that the branch has a new head.
func (t *Table) moved(snapshot int64, promoted bool) {
	if promoted {
		t.branch = ""
	}
	if t.branch == "" {
		t.main = snapshot
	}
}

// forget makes an open table empty, as a branch that does not exist is.
func (t *Table) forget() {
	t.files, t.byID, t.data, t.delete, t.wide, t.snapshot = map[string]*DataFile{}, map[uint32]*DataFile{}, nil, nil, nil, 0
}

// moveBranch points a branch, or main, to the staged snapshot.
func (s *staged) moveBranch(branch string, promote bool) error {
	refs := map[string]map[string]json.RawMessage{} // a number of an any would lose digits
	if err := s.doc.get("refs", &refs); err != nil {
		return err
	}
	name := branch
	if promote || branch == "" {
		delete(refs, branch)
		name = table.MainBranch
		if err := s.doc.add("snapshot-log", map[string]int64{"snapshot-id": s.snapshot, "timestamp-ms": s.updated}); err != nil {
			return err
		}
		if err := s.doc.set("current-snapshot-id", s.snapshot); err != nil {
			return err
		}
	}
	if refs[name] == nil {
		refs[name] = map[string]json.RawMessage{"type": json.RawMessage(`"branch"`)}
	}
	refs[name]["snapshot-id"] = json.RawMessage(strconv.FormatInt(s.snapshot, 10))
	return s.doc.set("refs", refs)
}

// dropBranch takes a branch away.
func (s *staged) dropBranch(branch string) error {
	refs := map[string]json.RawMessage{}
	if err := s.doc.get("refs", &refs); err != nil {
		return err
	}
	delete(refs, branch)
	s.snapshot, s.data, s.delete = 0, nil, nil
	return s.doc.set("refs", refs)
}
