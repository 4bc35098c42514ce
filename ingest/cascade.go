package ingest

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemark/tidemark/ingest/source"
)

// refuseCascades stops the tables whose rows foreign keys change without the chosen server's binary log showing it, or,
// where the user wants them all the same, says so.
func (l *loop) refuseCascades(ctx context.Context, servers []source.State, chosen string) error {
	i := slices.IndexFunc(servers, func(s source.State) bool { return s.Host == chosen })
	hidden, err := source.HiddenCascades(ctx, l.Source, servers, i, l.Tables)
	if err != nil {
		return err
	}
	for _, c := range hidden {
		if l.IgnoreCascades {
			if text := c.String(); !slices.Contains(l.ignored, text) {
				l.ignored = append(l.ignored, text)
				l.Logger.Warn("the lake will miss what a foreign key changes (--cascades ignore)", "table", c.Child.String(), "foreign_key", text)
			}
			continue
		}
		t := l.table(c.Child.DB, c.Child.Table)
		if t == nil || t.stopped != nil || t.loading {
			continue
		}
		l.giveUp(t, fmt.Errorf("table %s stopped: %w", c.Child, hiddenChanges(c, chosen)))
		l.Logger.Error("table stopped; the others go on", "table", t.name, "why", t.stopped)
	}
	return nil
}

func hiddenChanges(c source.Cascade, host string) error {
	return fmt.Errorf("%s changes its rows, and the binary log of %s does not show it: MySQL logs that from 9.6 on, with innodb_native_foreign_keys=OFF; "+
		"make the application change the rows and drop the constraint's action, leave the table out with --tables '!%s', or take the loss with --cascades ignore", c, host, c.Child)
}
