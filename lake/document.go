package lake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/table"
)

// document is table metadata as JSON, by top-level key. A commit replaces small values and appends to the arrays of
// snapshots, so it costs the same however many snapshots there are, and keys that we do not know are kept.
type document struct{ fields map[string]json.RawMessage }

func documentOf(meta table.Metadata) (*document, error) {
	text, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	return parseDocument(text)
}

func parseDocument(text []byte) (*document, error) {
	d := &document{}
	if err := json.Unmarshal(text, &d.fields); err != nil {
		return nil, fmt.Errorf("table metadata: %w", err)
	}
	return d, nil
}

// clone returns a document that can be changed without changing d.
func (d *document) clone() *document {
	c := &document{fields: make(map[string]json.RawMessage, len(d.fields))}
	for k, v := range d.fields {
		c.fields[k] = v
	}
	return c
}

func (d *document) bytes() []byte {
	keys := make([]string, 0, len(d.fields))
	size := 2
	for k, v := range d.fields {
		keys = append(keys, k)
		size += len(k) + len(v) + 5
	}
	slices.Sort(keys)
	b := make([]byte, 0, size)
	for i, k := range keys {
		b = append(b, "{,"[min(i, 1)], '\n', '"')
		b = append(b, k...)
		b = append(b, '"', ':')
		b = append(b, d.fields[k]...)
	}
	return append(b, '\n', '}')
}

func (d *document) set(key string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("table metadata: %s: %w", key, err)
	}
	d.fields[key] = text
	return nil
}

func (d *document) get(key string, v any) error {
	text, ok := d.fields[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("table metadata: %s: %w", key, err)
	}
	return nil
}

// add appends an element to an array without reading the others.
func (d *document) add(key string, v any) error {
	element, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("table metadata: %s: %w", key, err)
	}
	old := bytes.TrimRight(d.fields[key], " \t\r\n")
	head := bytes.TrimRight(bytes.TrimSuffix(old, []byte("]")), " \t\r\n")
	if len(head) <= 1 { // absent, null or empty
		d.fields[key] = slices.Concat([]byte("["), element, []byte("]"))
		return nil
	}
	if string(old) == "null" {
		head = []byte("[")
		d.fields[key] = slices.Concat(head, element, []byte("]"))
		return nil
	}
	d.fields[key] = slices.Concat(head, []byte(",\n"), element, []byte("]"))
	return nil
}

// properties returns the table's properties.
func (d *document) properties() (map[string]string, error) {
	p := map[string]string{}
	err := d.get("properties", &p)
	return p, err
}

type metadataLogEntry struct {
	File string `json:"metadata-file"`
	Time int64  `json:"timestamp-ms"`
}

// logVersion notes the metadata file that this version replaces; the log keeps the newest.
func (d *document) logVersion(uri string) error {
	var log []metadataLogEntry
	if err := d.get("metadata-log", &log); err != nil {
		return err
	}
	var updated int64
	if err := d.get("last-updated-ms", &updated); err != nil {
		return err
	}
	log = append(log, metadataLogEntry{uri, updated})
	return d.set("metadata-log", log[max(0, len(log)-previousVersions):])
}
