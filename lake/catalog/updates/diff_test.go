package updates

import (
	"encoding/json"
	"strings"
	"testing"
)

const before = `{"format-version":2,"table-uuid":"u","location":"l","last-sequence-number":7,"last-updated-ms":1,"last-column-id":2,"current-schema-id":0,
	"schemas":[{"schema-id":0,"fields":[]}],"default-spec-id":0,"partition-specs":[{"spec-id":0,"fields":[]}],"last-partition-id":999,"default-sort-order-id":0,
	"sort-orders":[{"order-id":0,"fields":[]}],"properties":{"a":"1","b":"2","tidemark.x":"1"},"current-snapshot-id":11,
	"snapshots":[{"snapshot-id":10},{"snapshot-id":11}],"refs":{"main":{"snapshot-id":11,"type":"branch"},"audit":{"snapshot-id":10,"type":"tag"}},
	"statistics":[{"snapshot-id":10,"statistics-path":"p"}]}`

// TestCompare: what is different becomes updates, in an order in which a catalog can apply them, and requirements.
func TestCompare(t *testing.T) {
	const guarded = `{"type":"assert-table-uuid","uuid":"u"} {"current-schema-id":0,"type":"assert-current-schema-id"} ` +
		`{"ref":"main","snapshot-id":11,"type":"assert-ref-snapshot-id"} {"ref":"tidemark_load","snapshot-id":null,"type":"assert-ref-snapshot-id"} ` +
		`{"ref":"tidemark_writer","snapshot-id":null,"type":"assert-ref-snapshot-id"}`
	for name, c := range map[string]struct {
		edit          []string // old, new
		updates       string
		more          string // requirements beside those of every commit
		unguarded, no bool   // no: there is no such commit
	}{
		"nothing":             {[]string{`"last-updated-ms":1`, `"last-updated-ms": 2`, `"schema-id":0,`, `"schema-id": 0, `}, ``, ``, false, false},
		"a foreign property":  {[]string{`"b":"2"`, `"b":"3","c":"4"`, `"a":"1",`, ``}, `{"action":"set-properties","updates":{"b":"3","c":"4"}} {"action":"remove-properties","removals":["a"]}`, ``, false, false},
		"one of tidemark's":   {[]string{`"tidemark.x":"1"`, `"tidemark.x":"2"`}, `{"action":"set-properties","updates":{"tidemark.x":"2"}}`, ``, true, false},
		"its removal":         {[]string{`,"tidemark.x":"1"`, ``}, `{"action":"remove-properties","removals":["tidemark.x"]}`, ``, true, false},
		"a snapshot":          {[]string{`{"snapshot-id":11}]`, `{"snapshot-id":11},{"snapshot-id":12}]`, `"main":{"snapshot-id":11`, `"main":{"snapshot-id":12`, `"tidemark.x":"1"`, `"tidemark.x":"2"`}, `{"action":"add-snapshot","snapshot":{"snapshot-id":12}} {"action":"set-snapshot-ref","ref-name":"main","snapshot-id":12,"type":"branch"} {"action":"set-properties","updates":{"tidemark.x":"2"}}`, ``, false, false},
		"an old one gone":     {[]string{`{"snapshot-id":10},`, ``, `,"audit":{"snapshot-id":10,"type":"tag"}`, ``, `{"snapshot-id":10,"statistics-path":"p"}`, ``}, `{"action":"remove-snapshot-ref","ref-name":"audit"} {"action":"remove-statistics","snapshot-id":10} {"action":"remove-snapshots","snapshot-ids":[10]}`, `{"ref":"audit","snapshot-id":10,"type":"assert-ref-snapshot-id"}`, false, false},
		"a schema":            {[]string{`{"schema-id":0,"fields":[]}`, `{"schema-id":0,"fields":[]},{"schema-id":1,"fields":[1]}`, `"current-schema-id":0`, `"current-schema-id":1`, `"last-column-id":2`, `"last-column-id":3`}, `{"action":"add-schema","last-column-id":3,"schema":{"schema-id":1,"fields":[1]}} {"action":"set-current-schema","schema-id":-1}`, `{"last-assigned-field-id":2,"type":"assert-last-assigned-field-id"}`, false, false},
		"an older spec again": {[]string{`"default-spec-id":0`, `"default-spec-id":1`}, `{"action":"set-default-spec","spec-id":1}`, ``, false, false},
		"a spec":              {[]string{`{"spec-id":0,"fields":[]}`, `{"spec-id":0,"fields":[]},{"spec-id":1,"fields":[1]}`, `"default-spec-id":0`, `"default-spec-id":1`}, `{"action":"add-spec","spec":{"spec-id":1,"fields":[1]}} {"action":"set-default-spec","spec-id":-1}`, `{"last-assigned-partition-id":999,"type":"assert-last-assigned-partition-id"} {"default-spec-id":0,"type":"assert-default-spec-id"}`, false, false},
		"a format":            {[]string{`"format-version":2`, `"format-version":3`}, `{"action":"upgrade-format-version","format-version":3}`, ``, false, false},
		"a schema in place":   {[]string{`{"schema-id":0,"fields":[]}`, `{"schema-id":0,"fields":[1]}`}, ``, ``, false, true},
		"an unknown field":    {[]string{`"location":"l"`, `"location":"l","encryption-keys":[1]`}, ``, ``, false, true},
	} {
		after := before
		for i := 0; i < len(c.edit); i += 2 {
			edited := strings.Replace(after, c.edit[i], c.edit[i+1], 1)
			if edited == after {
				t.Fatalf("%s: no %s", name, c.edit[i])
			}
			after = edited
		}
		d, err := compare([]byte(before), []byte(after))
		if err != nil {
			if !c.no {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		commit := d.commit()
		want := strings.Fields(guarded + " " + c.more)
		got := strings.Fields(lines(t, commit.Requirements))
		for _, w := range want {
			if !strings.Contains(strings.Join(got, " "), w) {
				t.Errorf("%s: requires\n%v\nwant among them\n%s", name, got, w)
			}
		}
		if c.no || len(got) != len(want) || lines(t, commit.Updates) != c.updates || d.unguarded() != c.unguarded {
			t.Errorf("%s: %d requirements, want %d; unguarded %v; updates\n%s\nwant\n%s", name, len(got), len(want), d.unguarded(), lines(t, commit.Updates), c.updates)
		}
	}
}

func lines(t *testing.T, list []any) string {
	t.Helper()
	texts := make([]string, len(list))
	for i, x := range list {
		text, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	return strings.Join(texts, " ")
}
