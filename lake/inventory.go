package lake

import (
	"bytes"

	"github.com/apache/iceberg-go"
)

// FileInfo is a live data file as its manifest entry describes it. It does not change when the table does.
type FileInfo struct {
	DataFile
	DeleteFiles int    // delete files to be read with it, vectors included
	Low, High   []byte // bounds of the first key column, possibly cut short, in an encoding that sorts like the values; nil when unknown
	FirstRowID  *int64 // format 3: row id of position 0, unless the file has its own (table spec, "Row Lineage")
	Sequence    int64  // data sequence number
}

// Inventory describes the live data files, in no particular order. The bitmaps are shared with the table, which never
// changes one: it replaces them.
func (t *Table) Inventory() []FileInfo {
	wide := map[string]int{}
	for _, paths := range t.wide {
		for _, p := range paths {
			wide[p]++
		}
	}
	first := t.icebergSc.Fields()[t.Key()[0]]
	var out []FileInfo
	for _, m := range t.data {
		for _, e := range m.entries {
			f := t.files[e.file.FilePath()]
			out = append(out, FileInfo{
				DataFile: *f, DeleteFiles: len(f.deletes) + wide[f.Path], FirstRowID: e.file.FirstRowID(), Sequence: e.sequence,
				Low: sortable(first.Type, e.file.LowerBoundValues()[first.ID]), High: sortable(first.Type, e.file.UpperBoundValues()[first.ID]),
			})
		}
	}
	return out
}

// sortable turns a bound (table spec, appendix D, "Single-value serialization") into bytes that sort like the values.
func sortable(t iceberg.Type, bound []byte) []byte {
	if len(bound) == 0 {
		return nil
	}
	switch t.(type) {
	case iceberg.StringType, iceberg.BinaryType, iceberg.BooleanType:
		return bound
	case iceberg.DecimalType: // big-endian two's complement, as short as can be
		out := bytes.Repeat([]byte{byte(int8(bound[0]) >> 7)}, max(0, 16-len(bound)))
		out = append(out, bound...)
		out[0] ^= 0x80
		return out
	}
	out := make([]byte, len(bound)) // little-endian
	for i, b := range bound {
		out[len(bound)-1-i] = b
	}
	out[0] ^= 0x80
	return out
}
