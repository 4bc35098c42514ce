package main

import (
	"context"
	"fmt"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// worn measures `tidemark compact` of a table of which updates have replaced rows all over: the files of the updates overlap with
// each other and with the large one, most of whose rows are still live.
func (b *bench) worn(ctx context.Context, o fireOptions) error {
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	defer b.stop()
	if err := b.fill(ctx, box, o.rows); err != nil {
		return err
	}
	if _, err := b.await(ctx, o.rows); err != nil {
		return err
	}
	if _, _, err := b.tidemark(ctx, b.fireArgs("ingest", "--until", "caught-up", "--compact", "off", "--strict")...); err != nil {
		return err
	}
	t, err := b.openTable(ctx)
	if err != nil {
		return err
	}
	rows := map[string]int64{}
	for _, f := range t.Files() {
		rows[f.Path] = f.Rows
	}
	out, c, err := b.tidemark(ctx, b.fireArgs("compact")...)
	if err != nil {
		return err
	}
	if t, err = b.openTable(ctx); err != nil {
		return err
	}
	for _, f := range t.Files() {
		delete(rows, f.Path) // not rewritten, or new
	}
	read := int64(0)
	for _, n := range rows {
		read += n
	}
	c.print("tidemark compact, of rows read", int(read))
	fmt.Printf("  peak memory %.0f MiB\n%s", float64(c.peak)/(1<<20), out)
	return b.settle(ctx)
}
