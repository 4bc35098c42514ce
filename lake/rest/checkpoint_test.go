package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
)

const source = "3e11fa47-71ca-11e1-9e33-c80aa9429562"

// tide is a table that tidemark fills, and the service over it.
type tide struct {
	*service
	lake  *lake.Lake
	table *lake.Table
	n     int64 // transactions recorded
}

var tideID = catalog.Identifier{DB: "db", Table: "t"}

const tidePath = "/v1/namespaces/db/tables/t"

func newTide(t *testing.T) *tide {
	t.Helper()
	s := newService(t, rest.S3{})
	l := &lake.Lake{Store: s.catalog.Store(), Catalog: catalog.NewBucket(s.catalog.Store()), Logger: slog.Default()}
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	made, err := lake.Create(t.Context(), l, tideID, schema, []int{0}, lake.CreateOptions{FormatVersion: 3, Record: checkpoint.Record{Pipeline: "p", Commit: "made", GTIDSet: source + ":1", State: checkpoint.StateLive}})
	check(t, err)
	_, err = made.RaiseEpoch(t.Context(), "p")
	check(t, err)
	return &tide{service: s, lake: l, table: made, n: 1}
}

// commit is a commit of tidemark's own: a snapshot and a position.
func (d *tide) commit(t *testing.T) error {
	t.Helper()
	d.n++
	return d.table.Commit(t.Context(), lake.Commit{Record: checkpoint.Record{Commit: fmt.Sprint("c", d.n), GTIDSet: fmt.Sprintf("%s:1-%d", source, d.n), State: checkpoint.StateLive}})
}

func (d *tide) metadata(t *testing.T) table.Metadata {
	t.Helper()
	v, err := catalog.NewBucket(d.catalog.Store()).Load(t.Context(), tideID)
	check(t, err)
	m, err := table.ParseMetadataBytes(v.Metadata)
	check(t, err)
	return m
}

// position is what a restart of tidemark would go on from.
func (d *tide) position(t *testing.T) string {
	t.Helper()
	r, ok, err := lake.ValidRecord(d.metadata(t))
	check(t, err)
	if !ok {
		return "none"
	}
	return r.GTIDSet
}

// foreign is what another engine sends to commit a snapshot on top of main.
func (d *tide) foreign(t *testing.T, summary map[string]string, more ...object) object {
	t.Helper()
	m := d.metadata(t)
	sequence := m.LastSequenceNumber() + 1
	var empty bytes.Buffer
	check(t, iceberg.WriteManifestList(3, &empty, 1000+sequence, nil, &sequence, m.NextRowID(), nil))
	check(t, d.catalog.Store().Put(t.Context(), tideID.Path()+"/metadata/none.avro", empty.Bytes()))
	snapshot := object{
		"snapshot-id": 1000 + sequence, "sequence-number": sequence, "timestamp-ms": m.LastUpdatedMillis() + 1,
		"manifest-list": m.Location() + "/metadata/none.avro", "summary": object{"operation": "append"}, "schema-id": m.CurrentSchema().ID,
		"first-row-id": m.NextRowID(), "added-rows": 0,
	}
	for k, v := range summary {
		snapshot["summary"].(object)[k] = v
	}
	requirement := object{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": nil}
	if s := m.CurrentSnapshot(); s != nil {
		snapshot["parent-snapshot-id"], requirement["snapshot-id"] = s.SnapshotID, s.SnapshotID
	}
	updates := append([]object{
		{"action": "add-snapshot", "snapshot": snapshot},
		{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": snapshot["snapshot-id"]},
	}, more...)
	return object{"requirements": []object{requirement}, "updates": updates}
}

func expire(ids ...int64) object { return object{"action": "remove-snapshots", "snapshot-ids": ids} }

// TestForeignCommitsKeepThePosition commits as other engines do, until every snapshot of tidemark's has expired.
func TestForeignCommitsKeepThePosition(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	at := func(want string) {
		t.Helper()
		if got := d.position(t); got != source+want {
			t.Errorf("position %s, want %s", got, want)
		}
	}
	d.want(t, "POST", tidePath, d.foreign(t, nil), 200, "") // the first snapshot at all
	at(":1")
	_, err := d.table.Refresh(t.Context())
	check(t, err)
	check(t, d.commit(t))
	at(":1-2")
	ours := d.metadata(t).CurrentSnapshot().SnapshotID
	d.want(t, "POST", tidePath, d.foreign(t, nil), 200, "")
	between := d.metadata(t).CurrentSnapshot().SnapshotID
	d.want(t, "POST", tidePath, d.foreign(t, nil), 200, "")
	at(":1-2")
	var old []int64
	for _, s := range d.metadata(t).Snapshots() {
		if s.SnapshotID != d.metadata(t).CurrentSnapshot().SnapshotID {
			old = append(old, s.SnapshotID)
		}
	}
	if len(old) != 3 || old[1] != ours || old[2] != between {
		t.Fatalf("snapshots: %v", old)
	}
	d.want(t, "POST", tidePath, object{"updates": []object{expire(old...)}}, 200, "")
	at(":1-2")
	last := d.metadata(t).CurrentSnapshot().SnapshotID
	d.want(t, "POST", tidePath, d.foreign(t, nil, expire(last)), 200, "") // on top, and what was below expires in the same commit
	at(":1-2")
	_, err = d.table.Refresh(t.Context())
	check(t, err)
}

// TestRollbackTakesThePositionBack moves main to an older snapshot: the position goes with the rows.
func TestRollbackTakesThePositionBack(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	check(t, d.commit(t))
	first := d.metadata(t).CurrentSnapshot().SnapshotID
	check(t, d.commit(t))
	d.want(t, "POST", tidePath, object{"updates": []object{{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": first}}}, 200, "")
	if got := d.position(t); got != source+":1-2" {
		t.Errorf("position %s", got)
	}
}

func TestForeignRecordsAreRefused(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	check(t, d.commit(t))
	check(t, d.commit(t))
	now, _, err := lake.ValidRecord(d.metadata(t))
	check(t, err)
	record := func(change func(*checkpoint.Record)) string {
		r := now
		change(&r)
		return r.Marshal()
	}
	property := func(text string) object { return setProperty(checkpoint.Key, text) }
	for _, c := range []struct {
		what   string
		record string
		status int
	}{
		{"another pipeline's", record(func(r *checkpoint.Record) { r.Pipeline = "q" }), 400},
		{"an older writer's", record(func(r *checkpoint.Record) { r.Epoch-- }), 409},
		{"a stale one", record(func(r *checkpoint.Record) { r.GTIDSet = source + ":1-2" }), 409},
		{"garbage", "garbage", 400},
		{"an empty one", "", 400},
	} {
		d.want(t, "POST", tidePath, property(c.record), c.status, "")
		if c.record != "" { // without a record, a snapshot is any engine's
			d.want(t, "POST", tidePath, d.foreign(t, map[string]string{checkpoint.Key: c.record}), c.status, "")
		}
		if got := d.position(t); got != source+":1-3" {
			t.Errorf("%s: position %s", c.what, got)
		}
	}
	d.want(t, "POST", tidePath, object{"updates": []object{{"action": "remove-properties", "removals": []string{checkpoint.Key}}}}, 400, "BadRequestException")
	d.want(t, "POST", tidePath, property(now.Marshal()), 200, "") // what is there already, as a client sends that sets all properties
	d.want(t, "POST", tidePath, property(record(func(r *checkpoint.Record) { r.GTIDSet = source + ":1-4" })), 200, "")
	if got := d.position(t); got != source+":1-4" {
		t.Errorf("a record that follows: position %s", got)
	}
	bad := tableBody("bad")
	bad["properties"] = object{checkpoint.Key: "garbage"}
	d.want(t, "POST", "/v1/namespaces/db/tables", bad, 400, "BadRequestException")
}

// TestRacesWithTidemark lets another engine set properties while tidemark commits: nothing of either is lost.
func TestRacesWithTidemark(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	const commits = 15
	for i := range commits { // both at once, each time
		done := make(chan error)
		go func() { done <- d.commit(t) }()
		d.want(t, "POST", tidePath, setProperty(fmt.Sprint("k", i), "x"), 200, "")
		check(t, <-done)
	}
	m := d.metadata(t)
	if got := d.position(t); got != fmt.Sprintf("%s:1-%d", source, commits+1) || len(m.Snapshots()) != commits {
		t.Errorf("position %s with %d snapshots", got, len(m.Snapshots()))
	}
	for i := range commits {
		if m.Properties()[fmt.Sprint("k", i)] != "x" {
			t.Errorf("property %d is lost", i)
		}
	}
}

// TestSnapshotsOnRequest asks for those that a branch or tag names alone, and compares with the file.
func TestSnapshotsOnRequest(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	for range 4 {
		check(t, d.commit(t))
	}
	tagged := d.metadata(t).Snapshots()[1].SnapshotID
	d.want(t, "POST", tidePath, object{"updates": []object{{"action": "set-snapshot-ref", "ref-name": "kept", "type": "tag", "snapshot-id": tagged}}}, 200, "")
	all := d.want(t, "GET", tidePath+"?snapshots=all", nil, 200, "")["metadata"].(object)
	refs := d.want(t, "GET", tidePath+"?snapshots=refs", nil, 200, "")["metadata"].(object)
	if len(all["snapshots"].([]any)) != 4 || len(refs["snapshots"].([]any)) != 2 {
		t.Errorf("all: %v\nrefs: %v", all["snapshots"], refs["snapshots"])
	}
	delete(all, "snapshots")
	delete(refs, "snapshots")
	if fmt.Sprint(all) != fmt.Sprint(refs) {
		t.Errorf("all:  %v\nrefs: %v", all, refs)
	}
}

// TestForeignRefs: a tag and a branch that another engine made, with their retention, outlive tidemark's commits to the digit.
func TestForeignRefs(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	check(t, d.commit(t))
	id := d.metadata(t).CurrentSnapshot().SnapshotID
	for name, more := range map[string]object{"audit": {"type": "tag", "max-ref-age-ms": 9007199254740993}, "what-if": {"type": "branch", "min-snapshots-to-keep": 3}} {
		more["action"], more["ref-name"], more["snapshot-id"] = "set-snapshot-ref", name, id
		d.want(t, "POST", tidePath, object{"updates": []object{more}}, 200, "")
	}
	refs := func() map[string]table.SnapshotRef {
		all := maps.Collect(d.metadata(t).Refs())
		delete(all, "main")
		return all
	}
	before := refs()
	_, err := d.table.Refresh(t.Context())
	check(t, err)
	for range 3 {
		check(t, d.commit(t))
	}
	if after := refs(); len(after) != 2 || toJSON(t, after) != toJSON(t, before) || after["audit"].SnapshotID != id {
		t.Errorf("refs: %s, before %s", toJSON(t, after), toJSON(t, before))
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	check(t, err)
	return string(text)
}

// TestCommitLeavesTheRestAlone compares everything that a commit of a property must not touch.
func TestCommitLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	d := newTide(t)
	check(t, d.commit(t))
	check(t, d.commit(t))
	read := func() map[string]json.RawMessage {
		v, err := d.catalog.Load(t.Context(), tideID)
		check(t, err)
		var fields map[string]json.RawMessage
		check(t, json.Unmarshal(v.Metadata, &fields))
		for _, k := range []string{"last-updated-ms", "metadata-log", "properties"} {
			delete(fields, k)
		}
		return fields
	}
	before := read()
	d.want(t, "POST", tidePath, setProperty("a", "b"), 200, "")
	after := read()
	for k := range maps.Keys(before) {
		var was, is any
		check(t, json.Unmarshal(before[k], &was))
		check(t, json.Unmarshal(after[k], &is))
		if fmt.Sprint(was) != fmt.Sprint(is) {
			t.Errorf("%s: %s\nwas %s", k, after[k], before[k])
		}
	}
	if len(after) != len(before) {
		t.Errorf("fields: %d, before %d", len(after), len(before))
	}
}
