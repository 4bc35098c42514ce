package lake

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/zeebo/xxh3"

	"github.com/tidemark/tidemark/lake/pages"
)

// Encodings are chosen per column, from the first rows of a file: what they take away a codec need not look at. Only those
// count that every reader knows. Iceberg's vectorized reader for Spark knows DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY and
// BYTE_STREAM_SPLIT from 1.11 on and fails before, so text and floating point are PLAIN, however much smaller they would be.
//
// In nanoseconds and bytes a row, with zstd on both sides, for columns of the 12-column table of the benchmark:
//
//	                          PLAIN        chosen
//	amount (DECIMAL(18,4))    33   1.62     6  0.05   differences from row to row
//	created (a DATETIME)      33   2.58     2  0.00   differences from row to row
//	notes (one of 5000 texts) 169  3.82    26  0.36   dictionary
const (
	sampleRows = 8 << 10

	// A dictionary is to save seven of eight values, and to be no larger than this: a larger one is given up half way
	// through a row group, and building it for nothing is the dearest thing there is.
	dictionaryRows  = 8
	dictionaryBytes = 512 << 10
)

// encoding returns how a column is to be written of which c holds the first values, in row groups of so many rows: whole
// numbers and points in time as differences from row to row, others plain, and with a dictionary where it pays.
func encoding(c arrow.Array, group int64, codec compress.Compression) pages.Column {
	whole := false
	switch t := c.DataType().(type) {
	case *arrow.Int32Type, *arrow.Int64Type, *arrow.Date32Type, *arrow.TimestampType:
		whole = true
	case *arrow.Decimal128Type:
		whole = t.Precision <= 18 // stored as a whole number
	}
	if !whole {
		return pages.Column{Dictionary: repeats(c, group), Encoding: parquet.Encodings.Plain, Codec: codec}
	}
	// A dictionary costs more than differences do unless it is tiny. They have little left that zstd would find and snappy not:
	// 3 % of a file's bytes, for a tenth of a rewrite's time.
	if codec == compress.Codecs.Zstd {
		codec = compress.Codecs.Snappy
	}
	return pages.Column{Dictionary: repeats(c, 0), Encoding: parquet.Encodings.DeltaBinaryPacked, Codec: codec}
}

// repeats reports whether a dictionary pays for a column. From the number of different values among the first it
// estimates that in a row group as if they came in random order: of D values, n draws show D*(1-exp(-n/D)).
func repeats(c arrow.Array, group int64) bool {
	n := min(c.Len(), sampleRows)
	at := bytesOf(c)
	if at == nil {
		return false
	}
	rows := float64(max(group, int64(n)))
	seen := newHashes(min(n, int(rows)/dictionaryRows+1))
	values, size := 0, 0
	for i := range n {
		if c.IsNull(i) {
			continue
		}
		v := at(i)
		values++
		if seen.add(xxh3.Hash(v)) {
			if size += len(v) + 4; size > dictionaryBytes || float64(seen.n*dictionaryRows) > rows {
				return false // too many already, whatever comes
			}
		}
	}
	if values == 0 {
		return false
	}
	distinct := population(seen.n, values)
	return distinct*dictionaryRows <= rows*float64(values)/float64(n) && distinct/float64(seen.n)*float64(size) <= dictionaryBytes
}

// hashes are some hashes, each once: a table that is at most half full. That two values have one of 31 bits, as it keeps
// them, is rare enough for an estimate.
type hashes struct {
	table []uint32 // 0: free
	n     int
}

func newHashes(most int) *hashes { return &hashes{table: make([]uint32, 1<<bits.Len(uint(2*most)))} }

// add reports whether the hash is a new one.
func (h *hashes) add(hash uint64) bool {
	keep, mask := uint32(hash>>32)|1, uint32(len(h.table)-1)
	at := uint32(hash) & mask
	for h.table[at] != 0 {
		if h.table[at] == keep {
			return false
		}
		at = (at + 1) & mask
	}
	h.table[at] = keep
	h.n++
	return true
}

// bytesOf returns what returns the bytes of a value; nil for booleans, which have too few of them.
func bytesOf(c arrow.Array) func(i int) []byte {
	switch c := c.(type) {
	case *array.String:
		return func(i int) []byte { return unsafe.Slice(unsafe.StringData(c.Value(i)), c.ValueLen(i)) }
	case *array.Binary:
		return c.Value
	case *array.Boolean:
		return nil
	}
	width := c.DataType().(arrow.FixedWidthDataType).Bytes()
	data := c.Data()
	body := data.Buffers()[1].Bytes()[data.Offset()*width:]
	return func(i int) []byte { return body[i*width : (i+1)*width] }
}

// population estimates of how many different values n were drawn that show so many different ones.
func population(different, n int) float64 {
	if different >= n {
		return math.Inf(1)
	}
	low, high := float64(different), float64(different)
	draw := func(d float64) float64 { return d * -math.Expm1(-float64(n)/d) }
	for draw(high) < float64(different) {
		high *= 2
	}
	for high-low > low/64 {
		if mid := (low + high) / 2; draw(mid) < float64(different) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}
