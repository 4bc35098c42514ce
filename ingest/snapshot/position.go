package snapshot

import (
	"context"
	"fmt"

	"github.com/tidemark/tidemark/checkpoint"
)

// Position is how far a server was at a moment.
type Position struct {
	Owned    checkpoint.Set // transactions being executed or committed, asked for first
	Executed checkpoint.Set // asked for after that
}

// Position asks a server how far it is. Every transaction that a statement which ended before may have seen is in Owned or
// in Executed. A commit shows its rows first, in the storage engine, and only then leaves gtid_owned for gtid_executed
// (MYSQL_BIN_LOG::process_commit_stage_queue in sql/binlog.cc), in one step. What was in Owned and is neither in a later one nor
// in the later Executed was rolled back.
//
// No privilege is needed. Errors are *source.Error.
func (c *Conn) Position(ctx context.Context) (p Position, err error) {
	err = c.do(ctx, "ask for its position", func() error {
		var texts [2]string
		for i, name := range []string{"gtid_owned", "gtid_executed"} { // two statements: the order counts
			rows, err := c.rows("SELECT @@global." + name)
			if err != nil {
				return err
			}
			if len(rows) != 1 || rows[0][0] == nil {
				return fmt.Errorf("@@global.%s has no value", name)
			}
			texts[i] = *rows[0][0]
		}
		if p.Owned, err = checkpoint.ParseOwned(texts[0]); err != nil {
			return fmt.Errorf("gtid_owned: %w", err)
		}
		if p.Executed, err = checkpoint.ParseSet(texts[1]); err != nil {
			return fmt.Errorf("gtid_executed: %w", err)
		}
		return nil
	})
	return p, err
}
