package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
	"github.com/tidemark/tidemark/lake/store"
)

// engineFiles is how many data files the table has that is compacted, and deletedOf: every so many of its rows is deleted, which is
// more than what calls for a rewrite.
const (
	engineFiles = 40
	deletedOf   = 4
)

// engines compares who compacts a table of so many rows: tidemark, or Trino on the same machine at tidemark's request. Each does so alone, and
// while an ingest catches up with the history of another table.
func (b *bench) engines(ctx context.Context, box *toolbox.Box, rows int) error {
	const uri = "s3://bench/engines"
	s, err := store.Open(ctx, uri, store.S3Options{Endpoint: b.minio.Endpoint})
	if err != nil {
		return err
	}
	bucket := catalog.NewBucket(s)
	l := &lake.Lake{Store: s, Catalog: bucket, Logger: quiet()}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	service := &http.Server{Handler: rest.New(rest.Options{Catalog: bucket}), ReadHeaderTimeout: time.Minute}
	go func() { _ = service.Serve(listener) }()
	defer service.Close()
	trino, err := testenv.ShareTrino(ctx, box)
	if err != nil {
		return err
	}
	defer trino.Close()
	if err := trino.CreateCatalog(ctx, "bench", "http://"+listener.Addr().String(), b.minio); err != nil {
		return err
	}
	defer func() { _ = trino.DropCatalog(context.WithoutCancel(ctx), "bench") }()

	began := time.Now()
	var bytes int64
	tables := []string{"tidemark_alone", "trino_alone", "tidemark_ingest", "trino_ingest"}
	g, filling := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for i, name := range tables {
		g.Go(func() error {
			n, err := fillWorn(filling, l, name, rows)
			if i == 0 {
				bytes = n // they are all alike
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	target := min(256<<20, bytes/8)
	fmt.Printf("compaction of %d rows in %d files of %.0f MiB, every %dth deleted, to files of %.0f MiB; written four times in %.0f s\n",
		rows, engineFiles, float64(bytes)/engineFiles/(1<<20), deletedOf, float64(target)/(1<<20), time.Since(began).Seconds())

	at := []string{"--lake", uri, "--s3-endpoint", b.minio.Endpoint}
	ask := map[string][]string{
		"tidemark": nil,
		"trino": {
			"--compaction-engine", "trino", "--compaction-large-bytes", "1", "--compaction-fallback", "nobody", "--compaction-trino-uri", trino.URL, "--compaction-trino-catalog", "bench",
		},
	}
	compact := func(ctx context.Context, engine, table string) (cost, error) {
		args := append([]string{"compact", "--tables", "bench." + table, "--target-file-size", fmt.Sprint(target), "--json"}, at...)
		out, c, err := b.tidemark(ctx, append(args, ask[engine]...)...)
		if err != nil {
			return c, err
		}
		var reports []struct {
			Rewritten int
			Sent      []string
			Engine    string
		}
		if err := json.Unmarshal(out, &reports); err != nil {
			return c, err
		}
		if r := reports[0]; r.Engine != "" || (engine == "trino") != (len(r.Sent) > 0) || engine == "tidemark" && r.Rewritten == 0 {
			return c, fmt.Errorf("%s did not compact %s: %s", engine, table, out)
		}
		t, err := lake.Open(ctx, l, catalog.Identifier{DB: "bench", Table: table})
		if err != nil {
			return c, err
		}
		if size := t.Size(); size.DeletedRows != 0 || size.Rows != int64(rows-rows/engineFiles/deletedOf*engineFiles) {
			return c, fmt.Errorf("%s left %d rows, and %d deleted ones", engine, size.Rows, size.DeletedRows)
		}
		return c, nil
	}
	catchUp := func(ctx context.Context, name string) (cost, error) {
		_, c, err := b.tidemark(ctx, "ingest", "--source", "mysql://"+server.User+"@"+b.mysql.Addr()+"/", "--lake", "s3://bench/beside-"+name, "--s3-endpoint", b.minio.Endpoint,
			"--tables", "bench.*", "--start", "earliest", "--until", "caught-up", "--compact", "off")
		return c, err
	}
	live := float64(rows) * (deletedOf - 1) / deletedOf
	changes := float64(b.history.inserts + b.history.changes)
	alone, err := catchUp(ctx, "nobody")
	if err != nil {
		return err
	}
	fmt.Printf("%-10s %22s %22s %14s %24s %14s\n", "who", "seconds alone", "live rows/s alone", "CPU seconds", "seconds beside ingest", "ingest's rate")
	fmt.Printf("%-10s %22s %22s %14s %24s %11.0f /s\n", "nobody", "", "", "", "", changes/alone.wall.Seconds())
	for _, engine := range []string{"tidemark", "trino"} {
		by, err := compact(ctx, engine, engine+"_alone")
		if err != nil {
			return err
		}
		var beside, ingest cost
		g, both := errgroup.WithContext(ctx)
		g.Go(func() (err error) { beside, err = compact(both, engine, engine+"_ingest"); return err })
		g.Go(func() (err error) { ingest, err = catchUp(both, engine); return err })
		if err := g.Wait(); err != nil {
			return err
		}
		cpu := fmt.Sprintf("%.1f", by.cpu.Seconds())
		if engine != "tidemark" {
			cpu = "its own"
		}
		fmt.Printf("%-10s %22.1f %22.0f %14s %24.1f %11.0f /s, %.2f of alone\n", engine, by.wall.Seconds(), live/by.wall.Seconds(), cpu,
			beside.wall.Seconds(), changes/ingest.wall.Seconds(), alone.wall.Seconds()/ingest.wall.Seconds())
	}
	return nil
}

// tidemark runs the program, and returns what it printed.
func (b *bench) tidemark(ctx context.Context, args ...string) ([]byte, cost, error) {
	cmd, err := b.command(ctx, args...)
	if err != nil {
		return nil, cost{}, err
	}
	return spend(cmd)
}

// fillWorn makes a table of 12 columns and about 195 bytes a row, of which every deletedOf-th is deleted. It returns the bytes of its data
// files.
func fillWorn(ctx context.Context, l *lake.Lake, name string, rows int) (bytes int64, err error) {
	var fields []arrow.Field
	for i, t := range []arrow.DataType{
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Float64,
		&arrow.Decimal128Type{Precision: 12, Scale: 2}, arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond},
		arrow.BinaryTypes.String, arrow.BinaryTypes.String, arrow.BinaryTypes.String, arrow.FixedWidthTypes.Boolean,
	} {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: t, Nullable: i > 0})
	}
	schema := arrow.NewSchema(fields, nil)
	record := checkpoint.Record{Pipeline: "bench", Epoch: 1, State: checkpoint.StateLive, Commit: uuid.NewString()}
	t, err := lake.Create(ctx, l, catalog.Identifier{DB: "bench", Table: name}, schema, []int{0}, lake.CreateOptions{FormatVersion: 3, Record: record})
	if err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 1000)
	for i := range words {
		words[i] = fmt.Sprintf("word %x of the vocabulary", rng.Uint64())
	}
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	deletes := map[uint32]*roaring.Bitmap{}
	var files []*lake.NewFile
	each := rows / engineFiles
	for file := range engineFiles {
		w, err := t.NewFileWriter(ctx)
		if err != nil {
			return 0, err
		}
		gone := roaring.New()
		for row := range each {
			if row%deletedOf == deletedOf-1 {
				gone.Add(uint32(row))
			}
			rb.Field(0).(*array.Int64Builder).Append(int64(file)*int64(each) + int64(row))
			rb.Field(1).(*array.Int64Builder).Append(rng.Int64())
			rb.Field(2).(*array.Int32Builder).Append(rng.Int32N(1000))
			rb.Field(3).(*array.Int32Builder).Append(rng.Int32())
			rb.Field(4).(*array.Float64Builder).Append(rng.NormFloat64())
			rb.Field(5).(*array.Decimal128Builder).Append(decimal128.FromI64(rng.Int64N(1e9)))
			rb.Field(6).(*array.Date32Builder).Append(arrow.Date32(rng.Int32N(20_000)))
			rb.Field(7).(*array.TimestampBuilder).Append(arrow.Timestamp(rng.Int64N(1 << 50)))
			rb.Field(8).(*array.StringBuilder).Append(words[rng.IntN(len(words))])
			rb.Field(9).(*array.StringBuilder).Append(fmt.Sprintf("%x%x@example.com", rng.Uint64(), rng.Uint32()))
			rb.Field(10).(*array.StringBuilder).Append(words[rng.IntN(len(words))] + words[rng.IntN(len(words))])
			rb.Field(11).(*array.BooleanBuilder).Append(rng.IntN(2) == 0)
			if (row+1)%(16<<10) != 0 && row+1 < each {
				continue
			}
			rec := rb.NewRecordBatch()
			err := w.Write(rec)
			rec.Release()
			if err != nil {
				return 0, errors.Join(err, w.Abort())
			}
		}
		f, err := w.Close()
		if err != nil {
			return 0, err
		}
		files = append(files, f)
		deletes[f.ID] = gone
		bytes += f.Size
	}
	if err := t.Claim(ctx, record.Pipeline, record.Epoch); err != nil {
		return 0, err
	}
	if err := t.Commit(ctx, lake.Commit{Add: files, Record: record}); err != nil {
		return 0, err
	}
	record.Commit = uuid.NewString()
	return bytes, t.Commit(ctx, lake.Commit{Delete: deletes, Record: record})
}
