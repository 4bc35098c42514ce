package snapshot

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

// TestPosition: a transaction under way is owned, one that is over executed; a table's size is about right.
func TestPosition(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (1), (2), (3); ANALYZE TABLE d.t")
	c := open(t, s)
	p, err := c.Position(t.Context())
	require.NoError(t, err)
	assert.Equal(t, s.Executed(t), p.Executed.String())
	assert.True(t, p.Owned.IsEmpty())

	session := s.Session(t, "d")
	for _, gtid := range []string{"3e11fa47-71ca-11e1-9e33-c80aa9429562:23", "3e11fa47-71ca-11e1-9e33-c80aa9429562:mark:7"} {
		require.NoError(t, session.Exec("SET GTID_NEXT = '"+gtid+"'; BEGIN; DELETE FROM t WHERE id = 1"))
		p, err = c.Position(t.Context())
		require.NoError(t, err)
		assert.Equal(t, gtid, p.Owned.String())
		assert.False(t, p.Executed.Contains(checkpoint.MustParseSet(gtid)))
		require.NoError(t, session.Exec("COMMIT; SET GTID_NEXT = 'AUTOMATIC'"))
		p, err = c.Position(t.Context())
		require.NoError(t, err)
		assert.True(t, p.Owned.IsEmpty())
		assert.True(t, p.Executed.Contains(checkpoint.MustParseSet(gtid)))
	}

	table, err := Describe(t.Context(), c, "d", "t")
	require.NoError(t, err)
	_, bytes, err := table.Size(t.Context(), c)
	require.NoError(t, err)
	assert.Positive(t, bytes)
}
