package snapshot

import (
	"context"
	"fmt"
	"regexp"

	"github.com/tidemark/tidemark/checkpoint"
)

// Position is how far a server was at a moment.
type Position struct {
	Server   string         // its UUID
	Owned    checkpoint.Set // transactions under way, asked for first
	Executed checkpoint.Set // asked for after that
}

// Position asks a server how far it is. Every transaction whose changes a read before could see is in Owned or in Executed:
// a commit shows its rows first and enters gtid_executed, leaving gtid_owned, after that (MYSQL_BIN_LOG::ordered_commit). What
// was in Owned and is neither in a later one nor in the later Executed was rolled back.
func (c *Conn) Position(ctx context.Context) (p Position, err error) {
	err = c.do(ctx, "ask for its position", func() error {
		var texts [3]string
		for i, name := range []string{"gtid_owned", "gtid_executed", "server_uuid"} {
			rows, err := c.rows("SELECT @@global." + name)
			if err != nil {
				return err
			}
			if len(rows) != 1 || rows[0][0] == nil {
				return fmt.Errorf("@@global.%s has no value", name)
			}
			texts[i] = *rows[0][0]
		}
		var err error
		if p.Owned, err = checkpoint.ParseSet(owners.ReplaceAllString(texts[0], "")); err != nil {
			return fmt.Errorf("gtid_owned: %w", err)
		}
		if p.Executed, err = checkpoint.ParseSet(texts[1]); err != nil {
			return fmt.Errorf("gtid_executed: %w", err)
		}
		p.Server = texts[2]
		return nil
	})
	return p, err
}

// owners are the threads behind each transaction in gtid_owned: 3E11FA47-71CA-11E1-9E33-C80AA9429562:23#4:24#5.
var owners = regexp.MustCompile(`#\d+`)
