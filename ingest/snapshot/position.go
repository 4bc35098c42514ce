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
		rows, err := c.rows("SELECT @@global.gtid_owned, @@global.gtid_executed")
		if err != nil {
			return err
		}
		if len(rows) != 1 || len(rows[0]) != 2 || rows[0][0] == nil || rows[0][1] == nil {
			return fmt.Errorf("the server has no GTID sets")
		}
		if p.Owned, err = checkpoint.ParseOwned(*rows[0][0]); err != nil {
			return fmt.Errorf("gtid_owned: %w", err)
		}
		if p.Executed, err = checkpoint.ParseSet(*rows[0][1]); err != nil {
			return fmt.Errorf("gtid_executed: %w", err)
		}
		return nil
	})
	return p, err
}
