package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/decode"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/ingest/source"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/merge"
)

// table returns the followed table of that name, adding it when the stream is the first to mention it. It is nil for a
// table that is not followed.
func (l *loop) table(db, name string) *table {
	full := db + "." + name
	t := l.tables[full]
	if t == nil && l.session == nil && l.Tables.Match(db, name) {
		t = &table{name: full, complete: l.start.IsBeginning() && !l.beheaded}
		l.tables[full] = t
		if l.Start.Kind == StartInitial {
			t.loading = true
			l.loader.want(full, nil)
		}
	}
	return t
}

// named returns the followed tables a reference can mean: all of a database when it names no table.
func (l *loop) named(db, name string) []*table {
	if name != "" {
		if t := l.table(db, name); t != nil {
			return []*table{t}
		}
		return nil
	}
	var all []*table
	for full, t := range l.tables {
		if d, _ := splitName(full); d == db || db == "" {
			all = append(all, t)
		}
	}
	return all
}

func splitName(full string) (db, table string) {
	db, table, _ = strings.Cut(full, ".")
	return db, table
}

// prepare makes a table ready for rows of a plan: it is created in the lake if the lake does not have it, and must have
// the plan's columns otherwise.
func (l *loop) prepare(ctx context.Context, t *table, plan *decode.Plan) error {
	if t.sink == nil {
		if _, err := lake.SchemaFromArrow(plan.Schema, plan.Key); err != nil {
			return err
		}
		if err := l.Partitions.check(t.name, plan); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, l.StoreTimeout)
		defer cancel()
		lt, err := l.create(ctx, t, plan)
		if err != nil {
			return &lakeError{err}
		}
		if t.sink, err = l.newSink(ctx, t.name, lt); err != nil {
			return &lakeError{err}
		}
	}
	if err := t.sink.table.Fits(plan.Schema, plan.Key); err != nil {
		return fmt.Errorf("its columns in the source and in the lake differ: %w", err)
	}
	codec, err := keyCodec(t.sink.table)
	if err != nil {
		return err
	}
	t.use(plan, codec)
	return nil
}

// lakeError marks an error of the lake, which concerns the whole pipeline, among those that only stop a table.
type lakeError struct{ error }

func (e *lakeError) Unwrap() error { return e.error }

// split tells an error that concerns only the table it happened to from one that ends the whole pipeline.
func split(err error) (table, pipeline error) {
	var l *lakeError
	if errors.As(err, &l) {
		return nil, err
	}
	return err, nil
}

// createQuiet makes the lake tables of followed tables that no event has mentioned, once everything that the source had
// at the start is applied: they are empty as far as tidemark knows, and have a position to go on from.
func (l *loop) createQuiet(ctx context.Context) error {
	var quiet []*table
	for _, n := range l.names {
		if t := l.tables[n.DB+"."+n.Table]; t != nil && t.sink == nil && t.stopped == nil && !t.loading {
			quiet = append(quiet, t)
		}
	}
	if len(quiet) == 0 {
		return nil
	}
	conn, err := snapshot.Open(ctx, l.Source, l.current)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, t := range quiet {
		db, name := splitName(t.name)
		definition, err := snapshot.Definition(ctx, conn, db, name)
		if err != nil && source.IsStreamError(err) {
			return err
		}
		var plan *decode.Plan
		if err == nil {
			plan, err = decode.NewPlan(definition)
		}
		if err == nil {
			err = l.prepare(ctx, t, plan)
		}
		fault, err := split(err)
		if err != nil {
			return err
		}
		if fault != nil {
			l.Logger.Warn("the table has no changes to follow yet, and is not created in the lake", "table", t.name, "why", fault)
		}
	}
	return nil
}

// create makes the lake table of a table that the stream is the first to mention. Nothing of it was seen before, so at
// the transactions applied so far it was as empty as the lake's is now.
func (l *loop) create(ctx context.Context, t *table, plan *decode.Plan) (*lake.Table, error) {
	at := l.at
	at.Set = t.set.Union(l.applied)
	record := checkpoint.Record{Version: checkpoint.Version, Pipeline: l.Pipeline, Epoch: 1, State: checkpoint.StatePartial}
	record.Reach(at)
	if t.complete {
		record.State = checkpoint.StateLive
	}
	db, name := splitName(t.name)
	id := catalog.Identifier{DB: db, Table: name}
	lt, err := lake.Create(ctx, l.Lake, id, plan.Schema, plan.Key, lake.CreateOptions{FormatVersion: l.FormatVersion, Record: record, Partition: l.Partitions.fieldsOf(db, name)})
	if errors.Is(err, fs.ErrExist) {
		if ours, err := l.Lake.Fills(ctx, id); err == nil && !ours {
			return nil, notOurs(t.name)
		}
		return nil, fmt.Errorf("%w: another writer created %s just now", errAgain, t.name)
	}
	if err != nil {
		return nil, fmt.Errorf("create the table in the lake: %w", err)
	}
	l.epochs[t.name] = record.Epoch
	l.Logger.Info("created table", "table", t.name, "format", l.FormatVersion, "state", record.State, "key", keyNames(plan))
	return lt, nil
}

// newSink opens a table for the flusher, with its index.
func (p *pipeline) newSink(ctx context.Context, name string, lt *lake.Table) (*sink, error) {
	record, ok := lt.Checkpoint()
	if !ok {
		return nil, fatal(fmt.Errorf("%s: no checkpoint of tidemark in this table", name))
	}
	s := &sink{
		name: name, table: lt, record: record, strict: p.Strict, brief: p.Brief, log: p.Logger, tell: p.observe, committed: time.Now(), compactor: p.compactor,
	}
	if err := s.makeIndex(ctx); err != nil {
		return nil, err
	}
	p.compactor.look(lt.ID())
	p.observe(Open{Table: name, Record: record, Size: lt.Size()})
	return s, nil
}

// keyCodec returns the codec for the keys of a table.
func keyCodec(lt *lake.Table) (*merge.KeyCodec, error) {
	schema := lt.ArrowSchema()
	if lt.Keyless() {
		return merge.NewRowCodec(schema.Fields())
	}
	var fields []arrow.Field
	for _, c := range lt.Key() {
		fields = append(fields, schema.Field(c))
	}
	return merge.NewKeyCodec(fields)
}

func keyNames(p *decode.Plan) []string {
	var names []string
	for _, c := range p.Key {
		names = append(names, p.Schema.Field(c).Name)
	}
	return names
}
