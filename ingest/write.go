package ingest

import (
	"context"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/merge"
)

// filesAtOnce is how many data files of one batch are written at a time: enough to hide the store's latency, few enough for
// their buffers, however many partitions the batch has rows of.
const filesAtOnce = 4

// writtenPart is a part of a segment with the data file that has its rows, nil for one without.
type writtenPart struct {
	segment *merge.Segment
	file    *lake.NewFile
}

// writeRows puts the surviving rows of a segment into data files that no snapshot knows yet, one for each partition; files of
// less than brief bytes will be rewritten before long. After an error it leaves none behind, as far as they can be deleted.
func writeRows(ctx context.Context, t *lake.Table, segment *merge.Segment, rows arrow.RecordBatch, brief int64) ([]writtenPart, error) {
	if segment.Live() == 0 {
		return []writtenPart{{segment: segment}}, nil
	}
	partitioner, err := t.Partitioner()
	if err != nil {
		return nil, err
	}
	if partitioner == nil {
		f, err := writeFile(ctx, t, segment, rows, func(w *lake.FileWriter) { w.Brief(brief) })
		if err != nil {
			return nil, err
		}
		return []writtenPart{{segment, f}}, nil
	}
	numbers, err := partitioner.Split(rows)
	if err != nil {
		return nil, err
	}
	segments, partitions := segment.Split(numbers)
	for _, c := range rows.Columns() {
		c.NullN() // counted now, for several goroutines to read
	}
	parts := make([]writtenPart, len(segments))
	files := make([]*lake.NewFile, len(segments))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(filesAtOnce)
	for i, s := range segments {
		g.Go(func() (err error) {
			files[i], err = writeFile(gctx, t.Fork(), s, rows, func(w *lake.FileWriter) { w.In(partitioner.Partition(partitions[i])) })
			parts[i] = writtenPart{s, files[i]}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		var done []*lake.NewFile
		for _, f := range files {
			if f != nil {
				done = append(done, f)
			}
		}
		return nil, errors.Join(err, t.Discard(context.WithoutCancel(ctx), done))
	}
	t.Take(files)
	return parts, nil
}

func writeFile(ctx context.Context, t *lake.Table, segment *merge.Segment, rows arrow.RecordBatch, place func(*lake.FileWriter)) (*lake.NewFile, error) {
	w, err := t.NewFileWriter(ctx)
	if err != nil {
		return nil, err
	}
	w.Expect(int64(segment.Live()))
	place(w)
	order := segment.Order(make([]int32, 0, segment.Live()))
	if err := merge.Gather(memory.DefaultAllocator, rows, order, gatherRows, w.Write); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w.Close()
}
