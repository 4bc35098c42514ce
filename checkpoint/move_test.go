package checkpoint_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
)

func TestMove(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	byGTID := func(s string) checkpoint.Position { return checkpoint.At(set(s)) }
	byFile := func(server, file string, offset uint64, seconds int64) checkpoint.Position {
		return checkpoint.Position{Anonymous: true, Place: checkpoint.Place{Server: id(server), File: file, Offset: offset}, Time: at(seconds)}
	}
	known := set(a + ":1-9," + b + ":1-5")
	for name, tt := range map[string]struct {
		from, to       checkpoint.Position
		skipped, again string
		since, until   time.Time
	}{
		"forward over what was never executed":    {from: byGTID(a + ":1-9"), to: byGTID(a + ":1-20")},
		"forward":                                 {from: byGTID(a + ":1-5"), to: byGTID(a + ":1-7"), skipped: a + ":6-7"},
		"back":                                    {from: byGTID(a + ":1-5"), to: byGTID(a + ":1-3"), again: a + ":4-5"},
		"back over what is lost":                  {from: byGTID(a + ":1-20"), to: byGTID(a + ":1-8"), again: a + ":9"},
		"both":                                    {from: byGTID(a + ":1-5"), to: byGTID(a + ":1-3," + b + ":1"), skipped: b + ":1", again: a + ":4-5"},
		"back on the server":                      {from: byFile(a, "x.000010", 5, 30), to: byFile(a, "x.000009", 50, 40), until: at(30)},
		"forward on the server":                   {from: byFile(a, "x.000010", 5, 30), to: byFile(a, "x.000010", 6, 30), since: at(30)},
		"to the same place of another server":     {from: byFile(a, "x.000010", 5, 30), to: byFile(b, "y.000001", 6, 30)},
		"to an earlier place of another server":   {from: byFile(a, "x.000010", 5, 30), to: byFile(b, "y.000001", 6, 29), until: at(30)},
		"to a later place of another server":      {from: byFile(a, "x.000010", 5, 30), to: byFile(b, "y.000001", 6, 31), since: at(30)},
		"from no place to a GTID set":             {from: byFile(a, "x.000010", 5, 30), to: byGTID(a + ":1-3"), skipped: a + ":1-3"},
		"from a time that is not known elsewhere": {from: checkpoint.Position{Anonymous: true}, to: byFile(b, "y.000001", 6, 29)},
	} {
		t.Run(name, func(t *testing.T) {
			m := checkpoint.NewMove(tt.from, tt.to, known)
			assert.Equal(t, tt.skipped, m.Skipped.String())
			assert.Equal(t, tt.again, m.Again.String())
			assert.Equal(t, tt.since, m.Since)
			assert.Equal(t, tt.until, m.Until)

			r := checkpoint.Record{Version: checkpoint.Version, Time: at(1), State: checkpoint.StateLive}
			m.Apply(&r, "why")
			back, err := checkpoint.ParseRecord(r.Marshal())
			require.NoError(t, err)
			p, err := back.At()
			require.NoError(t, err)
			assert.Equal(t, tt.to.Place, p.Place)
			assert.Equal(t, tt.to.Set.String(), p.Set.String())
			assert.Equal(t, tt.to.Anonymous, p.Anonymous)
			assert.Equal(t, "why", back.Note)
			assert.Equal(t, m.Repeats(), back.Replay != nil)
			assert.Equal(t, m.Skips(), back.State == checkpoint.StateSuspect)
		})
	}
}
