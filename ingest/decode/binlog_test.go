package decode

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/merge"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// rowsEvent is a rows event as it stands in a server's binary log.
type rowsEvent struct {
	table         *replication.TableMapEvent
	kind          replication.EnumRowsEventType
	before, after []byte
	body          []byte
}

// rowsEvents reads the rows events of a database's table from all binary logs of a server.
func rowsEvents(t testing.TB, s *testenv.Server, table string) []rowsEvent {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.DataDir(), "bin.[0-9]*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no binary logs in %s: %v", s.DataDir(), err)
	}
	var events []rowsEvent
	parser := replication.NewBinlogParser()
	parser.SetRowsEventDecodeFunc(func(e *replication.RowsEvent, data []byte) error {
		pos, err := e.DecodeHeader(data)
		if err != nil {
			return err
		}
		if name := string(e.Table.Schema) + "." + string(e.Table.Table); name != table {
			return nil
		}
		r := rowsEvent{table: e.Table, kind: e.Type(), body: bytes.Clone(data[pos:])}
		switch r.kind {
		case replication.EnumRowsEventTypeInsert:
			r.after = bytes.Clone(e.ColumnBitmap1)
		case replication.EnumRowsEventTypeDelete:
			r.before = bytes.Clone(e.ColumnBitmap1)
		default:
			r.before, r.after = bytes.Clone(e.ColumnBitmap1), bytes.Clone(e.ColumnBitmap2)
		}
		events = append(events, r)
		return nil
	})
	slices.Sort(files)
	for _, f := range files {
		if err := parser.ParseFile(f, 0, func(*replication.BinlogEvent) error { return nil }); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return events
}

// mirror is a table kept up to date by what a Decoder says: the least that a lake does.
type mirror struct {
	rows    map[string]int
	content [][]string // by row, over all batches
	base    int        // rows of the batches before
	odd     []string   // contradictions
	seen    struct{ inserts, updates, deletes int }
}

func (m *mirror) id(k merge.Key, raw []byte) string { return fmt.Sprintf("%x.%x.%x", k.Hi, k.Lo, raw) }

func (m *mirror) Insert(k merge.Key, raw []byte, row int) {
	m.seen.inserts++
	if _, had := m.rows[m.id(k, raw)]; had {
		m.odd = append(m.odd, "insert of a present key")
	}
	m.rows[m.id(k, raw)] = m.base + row
}

func (m *mirror) Update(before merge.Key, beforeRaw []byte, after merge.Key, afterRaw []byte, row int) {
	m.seen.updates++
	m.remove(before, beforeRaw, "update")
	m.rows[m.id(after, afterRaw)] = m.base + row
}

func (m *mirror) Delete(k merge.Key, raw []byte) {
	m.seen.deletes++
	m.remove(k, raw, "delete")
}

func (m *mirror) remove(k merge.Key, raw []byte, what string) {
	id := m.id(k, raw)
	if _, had := m.rows[id]; !had {
		m.odd = append(m.odd, what+" of an absent key")
	}
	delete(m.rows, id)
}

// follow decodes all events of a table, flushing now and then, and returns the table's rows at the end, sorted.
func follow(t testing.TB, events []rowsEvent) ([][]string, *Decoder, *mirror) {
	t.Helper()
	if len(events) == 0 {
		t.Fatal("no rows events")
	}
	plan, err := NewPlan(events[0].table)
	if err != nil {
		t.Fatal(err)
	}
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	d := NewDecoder(mem, plan)
	d.Reserve(100)
	m := &mirror{rows: map[string]int{}}
	flush := func() {
		if d.Len() > 0 && d.Bytes() <= 0 {
			t.Error("rows without bytes")
		}
		batch := d.Flush()
		m.content = append(m.content, normalRows(t, batch)...)
		m.base += int(batch.NumRows())
		batch.Release()
	}
	for i, e := range events {
		if !plan.Same(e.table) {
			t.Fatal("the same table has another shape")
		}
		if err := d.Rows(e.kind, e.before, e.after, e.body, m); err != nil {
			t.Fatal(err)
		}
		if i%7 == 3 {
			flush()
		}
	}
	flush()
	d.Release()
	mem.AssertSize(t, 0)
	if len(m.odd) > 0 {
		t.Errorf("%d contradictions, the first: %s", len(m.odd), m.odd[0])
	}
	rows := make([][]string, 0, len(m.rows))
	for _, n := range m.rows {
		rows = append(rows, m.content[n])
	}
	slices.SortFunc(rows, slices.Compare[[]string])
	return rows, d, m
}

// normalRows brings a batch to the normal form of package testenv.
func normalRows(t testing.TB, batch arrow.RecordBatch) [][]string {
	t.Helper()
	rows := make([][]string, batch.NumRows())
	for i := range rows {
		rows[i] = make([]string, batch.NumCols())
		for j, c := range batch.Columns() {
			rows[i][j] = normalValue(t, c, i)
		}
	}
	return rows
}

func normalValue(t testing.TB, c arrow.Array, i int) string {
	if c.IsNull(i) {
		return testenv.Null
	}
	switch c := c.(type) {
	case *array.Int32:
		return strconv.Itoa(int(c.Value(i)))
	case *array.Int64:
		return strconv.FormatInt(c.Value(i), 10)
	case *array.Decimal128:
		return c.Value(i).ToString(c.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Float32:
		return strconv.FormatFloat(float64(c.Value(i)), 'g', -1, 32)
	case *array.Float64:
		return strconv.FormatFloat(c.Value(i), 'g', -1, 64)
	case *array.Boolean:
		return strconv.FormatBool(c.Value(i))
	case *array.String:
		return strings.Clone(c.Value(i))
	case *array.Binary:
		return "0x" + hex.EncodeToString(c.Value(i))
	case *array.Date32:
		return c.Value(i).ToTime().Format(time.DateOnly)
	case *array.Timestamp:
		text := time.UnixMicro(int64(c.Value(i))).UTC().Format("2006-01-02T15:04:05.000000")
		if c.DataType().(*arrow.TimestampType).TimeZone != "" {
			text += "Z"
		}
		return text
	}
	t.Fatalf("no normal form for %s", c.DataType())
	return ""
}

// compare holds decoded rows against what the server returns, both in the normal form. Dates that do not exist are NULL.
func compare(t testing.TB, schema *arrow.Schema, got, want [][]string) {
	t.Helper()
	for _, row := range want {
		for j, f := range schema.Fields() {
			var layout string
			switch f.Type.ID() {
			case arrow.DATE32:
				layout = time.DateOnly
			case arrow.TIMESTAMP:
				layout = "2006-01-02T15:04:05.000000"
			default:
				continue
			}
			if _, err := time.Parse(layout, strings.TrimSuffix(row[j], "Z")); err != nil {
				row[j] = testenv.Null
			}
		}
	}
	slices.SortFunc(want, slices.Compare[[]string])
	if len(got) != len(want) {
		t.Fatalf("%d rows, the server has %d", len(got), len(want))
	}
	failures := 0
	for i := range want {
		for j := range want[i] {
			if got[i][j] != want[i][j] {
				t.Errorf("row %s, column %s (%s): decoded %q, the server has %q", want[i][0], schema.Field(j).Name, schema.Field(j).Type, clip(got[i][j]), clip(want[i][j]))
				if failures++; failures > 20 {
					t.FailNow()
				}
			}
		}
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:120] + "..." + s[len(s)-60:]
	}
	return s
}
