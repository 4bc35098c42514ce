package snapshot

import (
	"context"
	"fmt"
	"strconv"
)

// Size returns what the server believes of a table's size: rows, which may be wrong by half, and bytes of the rows. Both
// are 0 where it does not know.
func (t *Table) Size(ctx context.Context, c *Conn) (rows, bytes int64, err error) {
	err = c.do(ctx, fmt.Sprintf("ask for the size of %s.%s", t.DB, t.Table), func() error {
		found, err := c.rows("SELECT TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES WHERE TABLE_SCHEMA=? AND TABLE_NAME=?", t.DB, t.Table)
		if err != nil || len(found) == 0 {
			return err
		}
		for i, to := range []*int64{&rows, &bytes} {
			if text := found[0][i]; text != nil {
				if *to, err = strconv.ParseInt(*text, 10, 64); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return rows, bytes, err
}
