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
	before := t.Size()
	out, c, err := b.tidemark(ctx, b.fireArgs("compact")...)
	if err != nil {
		return err
	}
	c.print("tidemark compact, of rows read", int(before.Rows+before.DeletedRows))
	c.print("tidemark compact, of rows left", int(before.Rows))
	fmt.Printf("  peak memory %.0f MiB\n%s", float64(c.peak)/(1<<20), out)
	return b.settle(ctx)
}
