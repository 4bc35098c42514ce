package checkpoint_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
	"github.com/tidemark/tidemark/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const (
	a = "0aaaaaaa-71ca-11e1-9e33-c80aa9429562"
	b = "1bbbbbbb-71ca-11e1-9e33-c80aa9429562"
	c = "2ccccccc-71ca-11e1-9e33-c80aa9429562"
)

var set = checkpoint.MustParseSet

func TestHoles(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		a + ":1-9":                     "",
		a + ":3-5:9":                   a + ":1-2:6-8",
		a + ":1-5:tag:2," + b + ":1-2": a + ":tag:1",
	} {
		assert.Equal(t, want, set(in).Holes().String(), in)
	}
}

func TestParseSet(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		" \n":                        "",
		a + ":1":                     a + ":1",
		a + ":1-1":                   a + ":1",
		strings.ToUpper(a) + ":1":    a + ":1",
		a + ":1-5:7":                 a + ":1-5:7",
		a + ":7:1-5:6":               a + ":1-7",
		a + ":1-5:tag:1-3":           a + ":1-5:tag:1-3",
		a + ":TAG:2:_x1:5":           a + ":_x1:5:tag:2",
		b + ":1,\n" + a + ":2":       a + ":2," + b + ":1",
		a + ":1," + a + ":2":         a + ":1-2",
		a + ": 1 - 3 : 5 ,, ":        a + ":1-3:5",
		a + ":1-9223372036854775806": a + ":1-9223372036854775806",
	} {
		s, err := checkpoint.ParseSet(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, s.String(), in)
	}
	for _, in := range []string{
		"x", a, a + ":", a + ":0", a + ":0-3", a + ":5-3", a + ":-1", a + ":1-", a + ":1--2", a + ":tag", a + ":tag:other:1", a + ":1:tag",
		a + ":9223372036854775807", a + ":1x", a + ":t@g:1", a + ":" + strings.Repeat("t", 33) + ":1", strings.Replace(a, "a", "g", 1) + ":1",
		strings.ReplaceAll(a, "-", "") + ":1",
	} {
		_, err := checkpoint.ParseSet(in)
		assert.Error(t, err, in)
	}
}

func TestShort(t *testing.T) {
	assert.Equal(t, "none", checkpoint.Set{}.Short())
	assert.Equal(t, a+":1:3:5:7", set(a+":1:3:5:7").Short())
	assert.Equal(t, a+":1:3:...(7 more intervals)...:19", set(a+":1:3:5:7:9:11:13:15:17:19").Short())
}

// model is a GTID set as a plain set of texts.
type model map[checkpoint.GTID]bool

func randomSet(r *rand.Rand) (checkpoint.Set, model) {
	var s checkpoint.Set
	m := model{}
	for range r.IntN(30) {
		text := []string{a, b, c}[r.IntN(3)]
		sid, _ := checkpoint.ParseUUID(text)
		g := checkpoint.GTID{SID: sid, Tag: []string{"", "", "x", "yy"}[r.IntN(4)], GNO: int64(1 + r.IntN(12))}
		for range 1 + r.IntN(4) {
			s.Add(g)
			m[g] = true
			g.GNO++
		}
	}
	return s, m
}

func (m model) set() checkpoint.Set {
	var s checkpoint.Set
	for g := range m {
		s.Add(g)
	}
	return s
}

func TestAlgebraAgreesWithPlainSets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		x, mx := randomSet(r)
		y, my := randomSet(r)
		textX, textY := x.String(), y.String()
		union, minus, both := model{}, model{}, model{}
		for g := range mx {
			union[g] = true
			if my[g] {
				both[g] = true
			} else {
				minus[g] = true
			}
		}
		for g := range my {
			union[g] = true
			require.True(t, y.ContainsGTID(g))
			require.Equal(t, mx[g], x.ContainsGTID(g))
		}
		require.Equal(t, union.set().String(), x.Union(y).String())
		require.Equal(t, minus.set().String(), x.Subtract(y).String())
		require.Equal(t, both.set().String(), x.Intersect(y).String())
		require.Equal(t, len(both) == len(my), x.Contains(y))
		require.Equal(t, uint64(len(mx)), x.Count())
		require.Equal(t, len(mx) == 0, x.IsEmpty())
		require.True(t, set(x.String()).Equal(x))
		require.Equal(t, len(both) == len(mx) && len(mx) == len(my), x.Equal(y))

		for g := range my { // what comes out shares nothing with what went in
			u := x.Union(y)
			u.Add(g)
			k := x.Clone()
			k.Add(g)
			d := x.Subtract(y)
			d.Add(g)
		}
		require.Equal(t, textX, x.String())
		require.Equal(t, textY, y.String())
	}
}

func TestEncodeIsUnderstood(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		x, _ := randomSet(r)
		decoded, err := mysql.DecodeMysqlGTIDSet(x.Encode())
		require.NoError(t, err)
		require.Equal(t, x.String(), set(decoded.String()).String())
	}
	require.Len(t, set(a+":1").Encode(), 8+16+8+16, "no tag, no tagged format")
}

func TestAlgebraAgreesWithTheServer(t *testing.T) {
	s := testenv.MySQL(t)
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		x, _ := randomSet(r)
		y, _ := randomSet(r)
		got := s.Query(t, fmt.Sprintf("SELECT GTID_SUBTRACT('%[1]s','%[2]s'), GTID_SUBSET('%[2]s','%[1]s'), GTID_SUBTRACT('%[1]s',''), "+
			"GTID_SUBTRACT('%[1]s', GTID_SUBTRACT('%[1]s','%[2]s')), GTID_SUBTRACT('%[1]s,%[2]s','')", x, y))[0]
		require.Equal(t, set(got[0]).String(), x.Subtract(y).String(), "%s minus %s", x, y)
		require.Equal(t, got[1] == "1", x.Contains(y), "%s contains %s", x, y)
		require.Equal(t, strings.ReplaceAll(got[2], "\n", ""), x.String(), "canonical text")
		require.Equal(t, set(got[3]).String(), x.Intersect(y).String())
		require.Equal(t, strings.ReplaceAll(got[4], "\n", ""), x.Union(y).String())
	}
}

func FuzzParseSet(f *testing.F) {
	f.Add(a + ":1-5:7:tag:1-3," + b + ":1")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := checkpoint.ParseSet(text)
		if err != nil {
			return
		}
		again, err := checkpoint.ParseSet(s.String())
		require.NoError(t, err)
		require.True(t, again.Equal(s))
	})
}

func TestAddInOrderDoesNotAllocate(t *testing.T) {
	s := set(a + ":1-5:7:tag:1-3," + b + ":1")
	g := checkpoint.GTID{GNO: 8}
	g.SID, _ = checkpoint.ParseUUID(a)
	s.Add(g)
	require.Zero(t, testing.AllocsPerRun(100, func() { g.GNO++; s.Add(g) }))
}

func BenchmarkAdd(bench *testing.B) {
	var s checkpoint.Set
	var g checkpoint.GTID
	for bench.Loop() {
		g.GNO++
		s.Add(g)
	}
}

func TestRecord(t *testing.T) {
	r := checkpoint.Record{
		Version: 1, Pipeline: "p", Epoch: 3, Commit: "id", SnapshotID: 7, GTIDSet: a + ":1-5", ServerUUID: b, File: "bin.000001", Position: 157,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.FixedZone("x", 3600)), State: checkpoint.StateLive, Load: json.RawMessage(`{"chunks":3}`),
	}
	text := r.Marshal()
	require.JSONEq(t, `{"version":1,"pipeline":"p","epoch":3,"commit":"id","snapshot_id":7,"gtid_set":"`+a+`:1-5","server_uuid":"`+b+`",
		"file":"bin.000001","position":157,"time":"2026-01-02T02:04:05.678901Z","state":"live","load":{"chunks":3}}`, text)
	back, err := checkpoint.ParseRecord(text)
	require.NoError(t, err)
	require.Equal(t, text, back.Marshal())

	_, err = checkpoint.ParseRecord(strings.Replace(text, `{"version"`, `{"from the future":[1],"version"`, 1))
	require.NoError(t, err)
	for bad, want := range map[string]string{
		`{"version":2}`:                 "newer tidemark",
		`{}`:                            "not written by tidemark",
		`{`:                             "checkpoint record",
		`{"version":1,"gtid_set":"5-"}`: "UUID",
	} {
		_, err := checkpoint.ParseRecord(bad)
		require.ErrorContains(t, err, want, bad)
	}
}
