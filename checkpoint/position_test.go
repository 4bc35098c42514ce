package checkpoint_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tidemark/tidemark/checkpoint"
)

func TestCompareFiles(t *testing.T) {
	ordered := []string{"bin.000001", "bin.000002", "bin.000010", "bin.999999", "bin.1000000", "bin.1000001"}
	for i, x := range ordered {
		for j, y := range ordered {
			got := checkpoint.CompareFiles(x, y)
			assert.Equal(t, i < j, got < 0, "%s %s", x, y)
			assert.Equal(t, i == j, got == 0, "%s %s", x, y)
		}
		assert.Equal(t, i == 0, checkpoint.FirstFile(x))
	}
}

func TestCommon(t *testing.T) {
	at := func(s string, anonymous bool, server, file string, offset uint64, seconds int64) checkpoint.Position {
		p := checkpoint.Position{Set: set(s), Anonymous: anonymous, Time: time.Unix(seconds, 0)}
		if file != "" {
			p.Place = checkpoint.Place{Server: id(server), File: file, Offset: offset}
		}
		return p
	}
	assert.True(t, checkpoint.Common(nil).IsZero())
	for name, tt := range map[string]struct{ all, want []checkpoint.Position }{
		"one server": {
			[]checkpoint.Position{at(a+":1-5", true, b, "x.000010", 5, 30), at(a+":1-3:7", true, b, "x.000009", 9, 20), at(a+":1-9", false, b, "x.000010", 4, 40)},
			[]checkpoint.Position{at(a+":1-3", true, b, "x.000009", 9, 20)},
		},
		"two servers": {
			[]checkpoint.Position{at("", true, b, "x.000010", 5, 30), at("", true, c, "x.000009", 9, 20)},
			[]checkpoint.Position{at("", true, "", "", 0, 20)},
		},
		"a place that is not known": {
			[]checkpoint.Position{at("", true, b, "x.000010", 5, 30), at("", true, "", "", 0, 40), at("", true, b, "x.000010", 4, 50)},
			[]checkpoint.Position{at("", true, "", "", 0, 30)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := checkpoint.Common(tt.all)
			assert.True(t, got.Set.Equal(tt.want[0].Set), got.Set)
			got.Set = tt.want[0].Set
			assert.Equal(t, tt.want[0], got)
		})
	}
}
