package pages

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/stretchr/testify/require"
)

// fuzzColumn writes what next makes of the bytes of data, one value or NULL after the other, in all ways that a column of the
// type can be written, and has both libraries read it.
func fuzzColumn(t *testing.T, of arrow.DataType, data []byte, next func(b array.Builder, data []byte) []byte) {
	b := array.NewBuilder(memory.DefaultAllocator, of)
	defer b.Release()
	for len(data) > 0 {
		switch data[0] & 7 {
		case 0: // NULL, up to 32 times
			b.AppendNulls(int(data[0]>>3) + 1)
			data = data[1:]
		case 1: // the value again, many times
			n := int(data[0]>>3)*7 + 1
			rest := data
			for range n {
				rest = next(b, data[1:])
			}
			data = rest
		default:
			data = next(b, data[1:])
		}
	}
	values := b.NewArray()
	if values.Len() == 0 {
		return
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: of, Nullable: true}}, nil)
	half := int64(values.Len() / 2)
	records := []arrow.RecordBatch{
		array.NewRecordBatch(schema, []arrow.Array{array.NewSlice(values, 0, half)}, half),
		array.NewRecordBatch(schema, []arrow.Array{array.NewSlice(values, half, int64(values.Len()))}, int64(values.Len())-half),
	}
	for _, c := range columnsOf(of) {
		file, _ := writeRecords(t, schema, []Column{c}, records, nil)
		sameColumn(t, c.Encoding.String(), records, 0, readByArrow(t, file).Column(0).Data())
		sameByParquetGo(t, schema, records, file)
		sameFooter(t, file, writeByArrow(t, schema, records, nil))
	}
}

// eight returns the first eight bytes, or as many as there are, and the rest.
func eight(data []byte) (uint64, []byte) {
	var b [8]byte
	n := copy(b[:], data)
	return binary.LittleEndian.Uint64(b[:]), data[n:]
}

func FuzzInt64(f *testing.F) {
	f.Add([]byte{2, 1, 2, 3, 4, 5, 6, 7, 8, 2, 255, 255, 255, 255, 255, 255, 255, 127, 2, 0, 0, 0, 0, 0, 0, 0, 128})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzColumn(t, arrow.PrimitiveTypes.Int64, data, func(b array.Builder, data []byte) []byte {
			v, rest := eight(data)
			b.(*array.Int64Builder).Append(int64(v))
			return rest
		})
	})
}

func FuzzInt32(f *testing.F) {
	f.Add([]byte{2, 1, 2, 3, 4, 5, 6, 7, 8, 2, 255, 255, 255, 127, 255, 255, 255, 127, 2, 0, 0, 0, 128, 0, 0, 0, 128})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzColumn(t, arrow.PrimitiveTypes.Int32, data, func(b array.Builder, data []byte) []byte {
			v, rest := eight(data)
			b.(*array.Int32Builder).Append(int32(v))
			return rest
		})
	})
}

func FuzzFloat64(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 248, 127, 2, 0, 0, 0, 0, 0, 0, 0, 128})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzColumn(t, arrow.PrimitiveTypes.Float64, data, func(b array.Builder, data []byte) []byte {
			v, rest := eight(data)
			b.(*array.Float64Builder).Append(math.Float64frombits(v))
			return rest
		})
	})
}

func FuzzBool(f *testing.F) {
	f.Add([]byte{2, 3, 2, 0, 25, 1, 8, 90, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzColumn(t, arrow.FixedWidthTypes.Boolean, data, func(b array.Builder, data []byte) []byte {
			b.(*array.BooleanBuilder).Append(len(data)%2 == 0)
			return data
		})
	})
}

func FuzzBytes(f *testing.F) {
	f.Add([]byte("\x02\x05hello\x02\x00\x08\x02\x05world\xf9\x03abc"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzColumn(t, arrow.BinaryTypes.Binary, data, func(b array.Builder, data []byte) []byte {
			n := 0
			if len(data) > 0 {
				n, data = int(data[0]), data[1:]
			}
			n = min(n, len(data))
			b.(*array.BinaryBuilder).Append(data[:n])
			return data[n:]
		})
	})
}

func FuzzDecimal(f *testing.F) {
	f.Add([]byte{2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 2, 255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzColumn(t, &arrow.Decimal128Type{Precision: 38}, data, func(b array.Builder, data []byte) []byte {
			high, data := eight(data)
			low, data := eight(data)
			_, v := decimal128.New(int64(high), low).Div(decimal128.GetScaleMultiplier(38))
			b.(*array.Decimal128Builder).Append(v)
			return data
		})
	})
}

// FuzzPack compares packing with bits set one by one.
func FuzzPack(f *testing.F) {
	f.Add(uint8(3), []byte("some bytes or other"))
	f.Fuzz(func(t *testing.T, width uint8, data []byte) {
		width %= 65
		var values [32]uint64
		for i := range values {
			values[i], data = eight(data)
			values[i] &= 1<<width - 1
		}
		want := make([]byte, 4*int(width))
		for i, v := range values {
			for ; v != 0; v &= v - 1 {
				bit := i*int(width) + bits.TrailingZeros64(v)
				want[bit/8] |= 1 << (bit % 8)
			}
		}
		dst := make([]byte, len(want)+packSlack)
		pack32(dst, &values, uint(width))
		require.Equal(t, want, dst[:len(want)])
		if width <= 32 {
			clear(dst)
			var narrow [8]uint32
			for i := range narrow {
				narrow[i] = uint32(values[i])
			}
			pack8(dst, &narrow, uint(width))
			require.Equal(t, want[:width], dst[:width])
			pack8(dst, (*[8]uint64)(values[:8]), uint(width))
			require.Equal(t, want[:width], dst[:width])
		}
	})
}

// FuzzIndices reads runs and bit-packed indices back as the format tells (Encodings.md, "RLE / Bit-Packing Hybrid").
func FuzzIndices(f *testing.F) {
	f.Add([]byte{1, 1, 1, 1, 9, 2, 200, 7, 7, 7, 3, 250, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var want []uint32
		for len(data) >= 2 { // a value, and how often
			for range int(data[1])%40 + 1 {
				want = append(want, uint32(data[0])<<(data[1]&15))
			}
			data = data[2:]
		}
		if len(want) == 0 {
			return
		}
		x := indexList{out: outBuffer{mem: memory.DefaultAllocator}, list: slices.Clone(want)}
		most := uint32(0)
		for _, v := range want {
			most = max(most, v)
		}
		page := x.finish(int(most)+1, 0)
		width, body := int(page[0]), page[1:]
		require.Equal(t, max(1, bits.Len32(most)), width)
		var have []uint32
		for len(body) > 0 {
			header, n := binary.Uvarint(body)
			require.Positive(t, n)
			body = body[n:]
			if header&1 == 0 {
				v, size := uint32(0), (width+7)/8
				for i := range size {
					v |= uint32(body[i]) << (8 * i)
				}
				body = body[size:]
				for range header >> 1 {
					have = append(have, v)
				}
				continue
			}
			groups := int(header >> 1)
			for i := range groups * 8 {
				v := uint32(0)
				for b := range width {
					bit := i*width + b
					v |= uint32(body[bit/8]>>(bit%8)&1) << b
				}
				have = append(have, v)
			}
			body = body[groups*width:]
		}
		require.GreaterOrEqual(t, len(have), len(want))
		require.Less(t, len(have)-len(want), 8)
		require.Equal(t, want, have[:len(want)])
	})
}

// FuzzLevels reads definition levels back, bit by bit.
func FuzzLevels(f *testing.F) {
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint8(3))
	f.Fuzz(func(t *testing.T, bitmap []byte, cut uint8) {
		rows := len(bitmap)*8 - int(cut%8)
		if rows <= 0 {
			return
		}
		var l levelBits
		at := min(rows, int(cut))
		count := func(b []byte, n int) (nulls int) {
			for i := range n {
				nulls += int(^b[i/8] >> (i % 8) & 1)
			}
			return nulls
		}
		l.add(bitmap, at, count(bitmap, at))
		rest := make([]byte, len(bitmap))
		for i := range rows - at {
			rest[i/8] |= bitmap[(at+i)/8] >> ((at + i) % 8) & 1 << (i % 8)
		}
		l.add(rest, rows-at, count(rest, rows-at))
		out := l.append(nil)
		require.Equal(t, len(out)-4, int(binary.LittleEndian.Uint32(out)))
		var have []byte
		for body := out[4:]; len(body) > 0; {
			header, n := binary.Uvarint(body)
			body = body[n:]
			if header&1 == 0 {
				have = append(have, bytes.Repeat(body[:1], int(header>>1))...)
				body = body[1:]
				continue
			}
			for i := range int(header>>1) * 8 {
				have = append(have, body[i/8]>>(i%8)&1)
			}
			body = body[header>>1:]
		}
		require.GreaterOrEqual(t, len(have), rows)
		for i := range rows {
			require.Equal(t, bitmap[i/8]>>(i%8)&1, have[i], "row %d", i)
		}
	})
}

// FuzzDelta packs numbers of a page in pieces, and has arrow-go read them.
func FuzzDelta(f *testing.F) {
	f.Add([]byte("differences of neighbours, less the least"), uint8(7), false)
	f.Fuzz(func(t *testing.T, data []byte, step uint8, repeat bool) {
		var values []int64
		for len(data) > 0 {
			var v uint64
			v, data = eight(data)
			values = append(values, int64(v))
			if repeat {
				for range 40 {
					values = append(values, values[len(values)-1]+int64(v>>60))
				}
			}
		}
		if len(values) == 0 {
			return
		}
		schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: arrow.PrimitiveTypes.Int64}}, nil)
		var records []arrow.RecordBatch
		for rest := values; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			b := array.NewInt64Builder(memory.DefaultAllocator)
			b.AppendValues(rest[:n], nil)
			rest = rest[n:]
			records = append(records, array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, int64(n)))
		}
		file, _ := writeRecords(t, schema, []Column{{Encoding: parquet.Encodings.DeltaBinaryPacked}}, records, nil)
		sameColumn(t, "v", records, 0, readByArrow(t, file).Column(0).Data())
	})
}
