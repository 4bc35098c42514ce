package verify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/ingest"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/ingest/verify"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// world is a source and its lake.
type world struct {
	t      testing.TB
	server *testenv.Server
	lake   *lake.Lake
	hosts  []string
	format int
}

func newWorld(t testing.TB, opts ...testenv.Option) *world {
	s := testenv.MySQL(t, opts...)
	files, err := store.OpenLocal(t.TempDir())
	require.NoError(t, err)
	return &world{t: t, server: s, hosts: []string{s.Addr()}, format: 3, lake: &lake.Lake{Store: files, Catalog: catalog.NewBucket(files), Logger: quiet()}}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (w *world) exec(sql ...string) {
	w.t.Helper()
	w.server.Exec(w.t, sql...)
}

func (w *world) source() source.Config {
	return source.Config{Hosts: w.hosts, User: server.User, Password: server.Password, Logger: quiet()}
}

func (w *world) filter() source.Filter {
	f, err := source.ParseFilter("d.*")
	require.NoError(w.t, err)
	return f
}

// catchUp brings the lake to where the source is.
func (w *world) catchUp() {
	w.t.Helper()
	require.NoError(w.t, ingest.Run(w.t.Context(), w.t.Context(), ingest.Options{
		Source: w.source(), Tables: w.filter(), Lake: w.lake, Start: ingest.Start{Kind: ingest.StartEarliest}, Until: ingest.Until{CaughtUp: true},
		CommitInterval: 100 * time.Millisecond, FormatVersion: w.format, Logger: quiet(),
	}))
}

// verify compares, with small ranges and parts unless o says otherwise.
func (w *world) verify(o verify.Options) (*verify.Report, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	return w.verifyUntil(ctx, o)
}

func (w *world) verifyUntil(ctx context.Context, o verify.Options) (*verify.Report, error) {
	o.Source, o.Tables, o.Lake, o.Logger = w.source(), w.filter(), w.lake, quiet()
	return verify.Run(ctx, o)
}

// found demands that a run names exactly these differences, "kind (key): columns" by table.
func (w *world) found(o verify.Options, want map[string][]string) *verify.Report {
	w.t.Helper()
	report, err := w.verify(o)
	require.NoError(w.t, err)
	got := map[string][]string{}
	for _, t := range report.Tables {
		require.Empty(w.t, t.Error, t.Table)
		require.Len(w.t, t.Named, int(t.Differences), "%s: %v", t.Table, t.Count)
		for _, d := range t.Named {
			name := strings.TrimPrefix(t.Table, "d.")
			got[name] = append(got[name], strings.Join(strings.Fields(d.String()), " "))
		}
	}
	require.Equal(w.t, want, got)
	require.Equal(w.t, len(want) == 0, report.Equal)
	return report
}

// edit is a change to the lake's rows that no source knows of.
type edit struct {
	w    *world
	t    *lake.Table
	gone map[uint32]*roaring.Bitmap
	add  []arrow.RecordBatch
}

// edit commits changes to a table of the lake.
func (w *world) edit(table string, change func(e *edit)) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	lt, err := lake.Open(ctx, w.lake, catalog.Identifier{DB: "d", Table: table})
	require.NoError(t, err)
	record, ok := lt.Checkpoint()
	require.True(t, ok)
	e := &edit{w: w, t: lt, gone: map[uint32]*roaring.Bitmap{}}
	change(e)
	record.Epoch, err = lt.RaiseEpoch(ctx, record.Pipeline)
	require.NoError(t, err)
	record.Commit = uuid.NewString()
	c := lake.Commit{Delete: e.gone, Record: record}
	for _, row := range e.add { // a file each: they are in no order
		f, err := lt.NewFileWriter(ctx)
		require.NoError(t, err)
		require.NoError(t, f.Write(row))
		file, err := f.Close()
		require.NoError(t, err)
		c.Add = append(c.Add, file)
	}
	require.NoError(t, lt.Commit(ctx, c))
}

// each calls yield with the live rows until that returns false: the text of the key, and where the row is.
func (e *edit) each(yield func(key []string, batch arrow.RecordBatch, row int, file *lake.FileInfo, position uint32) bool) {
	e.w.t.Helper()
	for _, f := range e.t.Inventory() {
		r, err := e.t.OpenValues(e.w.t.Context(), &f, lake.Interval{}, 1000, memory.DefaultAllocator)
		require.NoError(e.w.t, err)
		for {
			at := r.At()
			batch, err := r.Next()
			if err != nil {
				require.ErrorIs(e.w.t, err, io.EOF)
				break
			}
			for row := range int(batch.NumRows()) {
				var key []string
				for _, k := range e.t.Key() {
					key = append(key, batch.Column(k).ValueStr(row))
				}
				if position := uint32(at) + uint32(row); (f.Deleted == nil || !f.Deleted.Contains(position)) && !yield(key, batch, row, &f, position) {
					return
				}
			}
		}
		require.NoError(e.w.t, r.Close())
	}
}

// keys returns the keys, of one column, of the live rows.
func (e *edit) keys() (all []string) {
	e.each(func(key []string, _ arrow.RecordBatch, _ int, _ *lake.FileInfo, _ uint32) bool {
		all = append(all, key[0])
		return true
	})
	return all
}

// row finds a live row by the text of its key, and where it is.
func (e *edit) row(wanted ...string) (one arrow.RecordBatch, file *lake.FileInfo, position uint32) {
	e.w.t.Helper()
	e.each(func(key []string, batch arrow.RecordBatch, row int, f *lake.FileInfo, at uint32) bool {
		if slices.Equal(key, wanted) {
			one, file, position = batch.NewSlice(int64(row), int64(row)+1), f, at
		}
		return one == nil
	})
	require.NotNil(e.w.t, one, "%s has no row %v", e.t.ID(), wanted)
	return one, file, position
}

// remove takes a row away.
func (e *edit) remove(key ...string) arrow.RecordBatch {
	row, file, position := e.row(key...)
	if e.gone[file.ID] == nil {
		e.gone[file.ID] = roaring.New()
	}
	e.gone[file.ID].Add(position)
	return row
}

// put adds a row that is like another but for one column.
func (e *edit) put(row arrow.RecordBatch, column string, change func(arrow.Array) arrow.Array) {
	at := row.Schema().FieldIndices(column)[0]
	columns := slices.Clone(row.Columns())
	columns[at] = change(columns[at])
	e.add = append(e.add, array.NewRecordBatch(row.Schema(), columns, 1))
}

// flip changes a bit of a text's last byte.
func flip(a arrow.Array) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	text := []byte(a.(*array.String).Value(0))
	text[len(text)-1] ^= 1
	b.Append(string(text))
	return b.NewArray()
}

// number gives a column of whole numbers another value.
func number(v string) func(arrow.Array) arrow.Array {
	return func(a arrow.Array) arrow.Array {
		b := array.NewBuilder(memory.DefaultAllocator, a.DataType())
		if err := b.AppendValueFromString(v); err != nil {
			panic(fmt.Sprint("a number was expected: ", v))
		}
		return b.NewArray()
	}
}
