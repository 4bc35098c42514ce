package decode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/merge"
)

// TestErrorsSayWhatToDo meets every error of a plan and of a row image on a real server.
func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	c := s.Session(t, "")
	run := func(sql string) {
		t.Helper()
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	says := func(err error, parts ...string) {
		t.Helper()
		if err == nil {
			t.Fatal("no error")
		}
		for _, p := range parts {
			if !strings.Contains(err.Error(), p) {
				t.Errorf("%q does not say %q", err, p)
			}
		}
	}
	run("CREATE DATABASE e; USE e; SET sql_mode=''")
	last := func(table string) rowsEvent {
		t.Helper()
		events := rowsEvents(t, s, "e."+table)
		return events[len(events)-1]
	}
	plan := func(table string) error {
		_, err := NewPlan(last(table).table)
		return err
	}

	run("CREATE TABLE geo (id INT PRIMARY KEY, g GEOMETRY); INSERT INTO geo VALUES (1, ST_GeomFromText('POINT(1 2)'))")
	err := plan("geo")
	var column *ColumnError
	if !errors.As(err, &column) {
		t.Errorf("%T", err)
	}
	says(err, "e.geo", `"g"`, "GEOMETRY")
	run("CREATE TABLE vec (id INT PRIMARY KEY, v VECTOR(3)); INSERT INTO vec VALUES (1, TO_VECTOR('[1,2,3]'))")
	says(plan("vec"), "e.vec", `"v"`, "VECTOR")

	run("CREATE TABLE zero (id INT, d DATE, n INT, PRIMARY KEY (id, d)); INSERT INTO zero VALUES (1, '2024-01-01', 1), (7, '0000-00-00', 2)")
	event := last("zero")
	p, err := NewPlan(event.table)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(memory.DefaultAllocator, p)
	m := &mirror{rows: map[string]int{}}
	err = d.Rows(event.kind, event.before, event.after, event.body, m)
	var value *ValueError
	if !errors.As(err, &value) {
		t.Errorf("%T", err)
	}
	says(err, "e.zero", `"d"`, "id=7", "0000-00-00")
	err = d.Rows(event.kind, event.before, event.after, event.body, m)
	if !errors.Is(err, ErrPoisoned) || !errors.As(err, &value) {
		t.Errorf("after an error: %v", err)
	}
	batch := d.Flush()
	if batch.NumRows() != 1 || m.seen.inserts != 1 {
		t.Errorf("%d rows, %d inserts", batch.NumRows(), m.seen.inserts)
	}
	batch.Release()

	run("CREATE TABLE part (id INT PRIMARY KEY, a INT, b TEXT, c INT); INSERT INTO part VALUES (1, 2, 'x', 3); SET SESSION binlog_row_image=MINIMAL; UPDATE part SET a = 5; SET SESSION binlog_row_image=NOBLOB; UPDATE part SET a = 6; SET SESSION binlog_row_image=FULL")
	events := rowsEvents(t, s, "e.part")
	if p, err = NewPlan(events[0].table); err != nil {
		t.Fatal(err)
	}
	for i, missing := range []string{"", "(a, b, c)", "(b)"} {
		d := NewDecoder(memory.DefaultAllocator, p)
		e := events[i]
		err := d.Rows(e.kind, e.before, e.after, e.body, &mirror{rows: map[string]int{p.Table: 1}})
		if i == 0 {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		var image *RowImageError
		if !errors.As(err, &image) {
			t.Errorf("%T", err)
		}
		says(err, "e.part", "binlog_row_image=FULL", missing)
	}

	run("SET GLOBAL binlog_row_metadata=MINIMAL; CREATE TABLE meta (id INT PRIMARY KEY, e ENUM('a')); INSERT INTO meta VALUES (1, 1); SET GLOBAL binlog_row_metadata=FULL")
	err = plan("meta")
	var metadata *MetadataError
	if !errors.As(err, &metadata) {
		t.Errorf("%T", err)
	}
	says(err, "e.meta", "column names", "SET PERSIST binlog_row_metadata=FULL")
}

// TestPrefixKey updates what stands behind the prefix that the primary key takes.
func TestPrefixKey(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	s.Exec(t, `CREATE DATABASE p; USE p; CREATE TABLE t (b VARCHAR(50), n INT, PRIMARY KEY (b(3)));
		INSERT INTO t VALUES ('abcdef', 1), ('abd', 2), ('x', 3); UPDATE t SET b = 'abczzz' WHERE n = 1; UPDATE t SET n = 9 WHERE b = 'abczzz'; DELETE FROM t WHERE n = 2`)
	events := rowsEvents(t, s, "p.t")
	got, _, _ := follow(t, events)
	plan, err := NewPlan(events[0].table)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, plan.Schema, got, s.Query(t, "SELECT * FROM p.t"))
}

// TestSameNoticesEveryChange alters a table in every way that changes what a row image means.
func TestSameNoticesEveryChange(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	c := s.Session(t, "")
	if err := c.Exec("CREATE DATABASE a; USE a; CREATE TABLE t (id INT PRIMARY KEY, v INT, s VARCHAR(10), e ENUM('a','b')); INSERT INTO t (id) VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	changes := []string{
		"ADD c INT", "RENAME COLUMN c TO d", "MODIFY d INT UNSIGNED", "DROP d, ADD d INT NOT NULL DEFAULT 0", "MODIFY s VARCHAR(10) CHARACTER SET latin1", "MODIFY s VARCHAR(300)",
		"MODIFY e ENUM('a','b','c')", "MODIFY e ENUM('a','b','c') CHARACTER SET latin1", "DROP PRIMARY KEY, ADD PRIMARY KEY (d, id)", "DROP d, DROP PRIMARY KEY, ADD PRIMARY KEY (id)",
	}
	for i, change := range changes {
		if err := c.Exec(fmt.Sprintf("ALTER TABLE t %s; INSERT INTO t (id) VALUES (%d)", change, i+2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Exec("FLUSH TABLES; INSERT INTO t (id) VALUES (100)"); err != nil { // another table id, nothing else
		t.Fatal(err)
	}
	events := rowsEvents(t, s, "a.t")
	plan, err := NewPlan(events[0].table)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events[1:] {
		same := plan.Same(e.table)
		if i < len(changes) && same {
			t.Errorf("%s went unnoticed", changes[i])
		}
		if i == len(changes) && !same {
			t.Error("opening the table again looks like a change")
		}
		if plan, err = NewPlan(e.table); err != nil {
			t.Fatal(err)
		}
		if !plan.Same(e.table) {
			t.Error("a plan is not for its own table map")
		}
	}
}

// nothing is a sink that forgets, and counts.
type nothing struct{ n int }

func (s *nothing) Insert(merge.Key, []byte, int)                              { s.n++ }
func (s *nothing) Update(_ merge.Key, _ []byte, _ merge.Key, _ []byte, _ int) { s.n++ }
func (s *nothing) Delete(merge.Key, []byte)                                   { s.n++ }

// FuzzRows damages the bodies of rows events of a table with columns of all kinds: there may be an error, and there must
// be whole rows.
func FuzzRows(f *testing.F) {
	tm := fuzzTable()
	plan, err := NewPlan(tm)
	if err != nil {
		f.Fatal(err)
	}
	bitmap := slices.Repeat([]byte{0xff}, (len(tm.ColumnType)+7)/8)
	for kind := range byte(3) {
		f.Add(kind, fuzzRow())
		f.Add(kind, slices.Repeat(fuzzRow(), 4))
		f.Add(kind, make([]byte, 200))
		f.Add(kind, slices.Repeat([]byte{0x81, 0, 3, 0x0c}, 60))
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		d := NewDecoder(mem, plan)
		sink := &nothing{}
		how := replication.EnumRowsEventType(kind%3 + 1)
		err := d.Rows(how, bitmap, bitmap, body, sink)
		batch := d.Flush()
		if how != replication.EnumRowsEventTypeDelete && int(batch.NumRows()) != sink.n {
			t.Errorf("%d rows, %d changes (%v)", batch.NumRows(), sink.n, err)
		}
		normalRows(t, batch)
		for i, c := range batch.Columns() {
			if c.Len() != int(batch.NumRows()) {
				t.Errorf("column %d has %d rows of %d", i, c.Len(), batch.NumRows())
			}
		}
		batch.Release()
		d.Release()
		mem.AssertSize(t, 0)
	})
}

// FuzzJSON damages binary JSON documents.
func FuzzJSON(f *testing.F) {
	f.Add([]byte{0x00, 1, 0, 14, 0, 11, 0, 1, 0, 5, 1, 0, 'a', 0, 0})
	f.Add([]byte{0x02, 2, 0, 12, 0, 5, 1, 0, 12, 10, 0, 1, 'x'})
	f.Add([]byte{0x0f, 246, 4, 10, 2, 0x80, 0})
	f.Add([]byte{0x0b, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f})
	f.Fuzz(func(t *testing.T, doc []byte) {
		text, err := appendJSON(nil, doc)
		if err == nil && len(text) == 0 {
			t.Error("a document without text")
		}
	})
}
