package ingest

import (
	"testing"
	"time"
)

// TestUpkeepDue: after 25 commits, or once the snapshots of a rewrite are old enough to go, though not with every commit.
func TestUpkeepDue(t *testing.T) {
	for _, c := range []struct {
		commits               int
		passed, replaced, age time.Duration
		due                   bool
	}{
		{24, time.Hour, 0, 0, false},
		{25, time.Second, 0, 0, true},
		{25, time.Second, 0, 24 * time.Hour, true},
		{24, time.Hour, 0, 24 * time.Hour, false},
		{6, 29 * time.Second, 0, 30 * time.Second, false},
		{6, 30 * time.Second, 0, 30 * time.Second, true},
		{4, time.Hour, 0, time.Millisecond, false},
		{5, time.Hour, 0, time.Millisecond, true},
		{1, time.Second, 30 * time.Second, 30 * time.Second, true},
		{1, time.Second, 29 * time.Second, 30 * time.Second, false},
		{1, time.Second, time.Hour, 0, false},
	} {
		if got := upkeepDue(c.commits, c.passed, c.replaced, c.age); got != c.due {
			t.Errorf("%d commits and %s after the last upkeep, %s after a large rewrite, snapshots kept for %s: due %v", c.commits, c.passed, c.replaced, c.age, got)
		}
	}
}
