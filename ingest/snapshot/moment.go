package snapshot

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// Moment is what a consistent snapshot of a server shows: all of Set, and of Open each transaction whole or not at all.
type Moment struct {
	Set  checkpoint.Set
	Open checkpoint.Set // mostly empty
}

// momentTries is how often a snapshot is begun in the hope that nothing is committed meanwhile, momentPause the time between.
const (
	momentTries = 50
	momentPause = 2 * time.Millisecond
)

// Freeze begins a transaction that sees the server as it is at one moment, until Thaw. What the server has executed before is
// asked first, and Position after; when that is the same and nothing is under way, the snapshot shows just that. Otherwise
// another is begun. A replica under load always has something under way, so in the end some transactions are left Open.
//
// Nothing is locked. The server keeps what the snapshot can see for as long as it is open. No privilege is needed. Errors are
// *source.Error.
func (c *Conn) Freeze(ctx context.Context) (m Moment, err error) {
	for try := 1; ; try++ {
		before, err := c.Position(ctx)
		if err != nil {
			return m, err
		}
		if err := c.say(ctx, "begin a snapshot", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
			return m, err
		}
		after, err := c.Position(ctx)
		if err != nil {
			return m, err
		}
		m = Moment{before.Executed, after.Executed.Union(after.Owned).Subtract(before.Executed)}
		if m.Open.IsEmpty() || try == momentTries {
			return m, nil
		}
		if err := c.Thaw(ctx); err != nil {
			return m, err
		}
		select {
		case <-ctx.Done():
			return m, context.Cause(ctx)
		case <-time.After(momentPause):
		}
	}
}

// Thaw ends the snapshot that Freeze began.
func (c *Conn) Thaw(ctx context.Context) error { return c.say(ctx, "end a snapshot", "ROLLBACK") }

func (c *Conn) say(ctx context.Context, op string, statements ...string) error {
	return c.do(ctx, op, func() error {
		for _, s := range statements {
			if _, err := c.my.Execute(s); err != nil {
				return err
			}
		}
		return nil
	})
}
