package verify

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/ingest/snapshot"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// TestHashes holds the set against a map, filled and asked by several goroutines.
func TestHashes(t *testing.T) {
	t.Parallel()
	const n = 100_000
	rows := make([]hashed, n)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range rows {
		rows[i] = half(i%2 == 0).hashed(xxh3.Uint128{Hi: r.Uint64(), Lo: r.Uint64()}, xxh3.Uint128{Lo: r.Uint64()})
	}
	rows[7] = half(false).hashed(xxh3.Uint128{}, xxh3.Uint128{})
	var h hashes
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				assert.True(t, h.add(rows[i]))
			}
		})
	}
	wg.Wait()
	assert.False(t, h.add(rows[5]))
	assert.Equal(t, other, h.settle(hashed{rows[1].key, rows[1].row ^ 2}))
	assert.Equal(t, same, h.settle(rows[1]), "once more")
	assert.Equal(t, absent, h.settle(hashed{rows[1].key ^ 1<<30, rows[1].row}))
	assert.Equal(t, absent, new(hashes).settle(rows[1]))
	for _, row := range rows[2:] {
		if row.key%3 > 0 {
			assert.Equal(t, same, h.settle(row))
		}
	}
	left := map[uint64]bool{}
	h.unsettled(func(key uint64) { left[key] = true })
	for i, row := range rows {
		assert.Equal(t, i == 0 || i > 1 && row.key%3 == 0, left[row.key], i)
	}
}

// TestCollision takes two keys of one hash for what they are, not for a difference.
func TestCollision(t *testing.T) {
	t.Parallel()
	files, err := store.OpenLocal(t.TempDir())
	require.NoError(t, err)
	l := &lake.Lake{Store: files, Catalog: catalog.NewBucket(files)}
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int32}}, nil)
	record := checkpoint.Record{Pipeline: "p", Epoch: 1, Commit: uuid.NewString()}
	lt, err := lake.Create(t.Context(), l, catalog.Identifier{DB: "d", Table: "t"}, schema, []int{0}, lake.CreateOptions{FormatVersion: 3, Record: record})
	require.NoError(t, err)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Field(0).(*array.Int32Builder).AppendValues([]int32{1, 2}, nil)
	batch := b.NewRecordBatch()
	w, err := lt.NewFileWriter(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Write(batch))
	file, err := w.Close()
	require.NoError(t, err)
	record.Commit = uuid.NewString()
	require.NoError(t, lt.Commit(t.Context(), lake.Commit{Add: []*lake.NewFile{file}, Record: record}))

	columns := []string{"id"}
	hasher, err := snapshot.NewHasher(columns, columns)
	require.NoError(t, err)
	var keys []uint64
	var taken []snapshot.Row
	require.NoError(t, hasher.Each(batch, func(row int, key, all xxh3.Uint128) error {
		keys = append(keys, half(false).hashed(key, all).key)
		one, err := hasher.Row(batch, row)
		taken = append(taken, one)
		return err
	}))
	explain := func(f finding) ([]Difference, error) {
		found := newFindings(10)
		found.add(f)
		s := &session{table: &table{run: &run{Options: Options{Parallel: 1}}}, view: &view{table: lt, files: lt.Inventory()}, columns: columns, key: columns}
		return (&comparison{session: s, part: &part{}, findings: found}).explain(t.Context())
	}
	_, err = explain(finding{keys[0], Changed, &taken[1]})
	require.ErrorIs(t, err, errCollision)
	list, err := explain(finding{keys[1], Extra, nil})
	require.NoError(t, err)
	assert.Equal(t, []Difference{{Kind: Extra, Key: []string{"2"}}}, list)
}
