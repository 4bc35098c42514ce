package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/checkpoint"
)

// Reached asks which transactions a statement that has ended before may have seen: those that are executed, and those that
// are owned, which are being executed or committed. A transaction can be seen for a moment before the server counts it as executed:
// it is committed in the storage engine first (MYSQL_BIN_LOG::process_commit_stage_queue in sql/binlog.cc). It is owned
// from before it is written to the binary log until it is executed, so both together miss none.
//
// No privilege is needed. Errors are *source.Error.
func (c *Conn) Reached(ctx context.Context) (executed, owned checkpoint.Set, err error) {
	err = c.do(ctx, "read the GTID sets", func() error {
		// In this order: a transaction that ends between the two is in the second.
		rows, err := c.rows("SELECT @@global.gtid_owned, @@global.gtid_executed")
		if err != nil {
			return err
		}
		if len(rows) != 1 || len(rows[0]) != 2 || rows[0][0] == nil || rows[0][1] == nil {
			return fmt.Errorf("the server has no GTID sets")
		}
		if owned, err = parseOwned(*rows[0][0]); err != nil {
			return fmt.Errorf("gtid_owned: %w", err)
		}
		if executed, err = checkpoint.ParseSet(*rows[0][1]); err != nil {
			return fmt.Errorf("gtid_executed: %w", err)
		}
		return nil
	})
	return executed, owned, err
}

// parseOwned reads a GTID set in which the ids of threads stand behind the transactions they own: "uuid:4#11:5#12".
func parseOwned(text string) (checkpoint.Set, error) {
	parts := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' })
	for i, server := range parts {
		transactions := strings.Split(server, ":")
		for j, t := range transactions {
			transactions[j], _, _ = strings.Cut(t, "#")
		}
		parts[i] = strings.Join(transactions, ":")
	}
	return checkpoint.ParseSet(strings.Join(parts, ","))
}
