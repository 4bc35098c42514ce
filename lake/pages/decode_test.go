package pages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/stretchr/testify/require"
)

// TestUnpack: values of every width, from every bit on, as taken bit by bit.
func TestUnpack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	src := make([]byte, 400+slack)
	for i := range src {
		src[i] = byte(rng.Uint32())
	}
	slow := func(bit int, width uint) (v uint64) {
		for i := range width {
			at := bit + int(i)
			v |= uint64(src[at/8]>>(at%8)&1) << i
		}
		return v
	}
	for width := uint(1); width <= 64; width++ {
		for start := range 40 {
			n := rng.IntN(45)
			end := (start + n*int(width) + 7) / 8
			wide := make([]uint64, n)
			unpack(wide, src[:end:end+slack], start, width)
			narrow := make([]uint32, n)
			if width <= 32 {
				unpack(narrow, src[:end:end+slack], start, width)
			}
			for i, got := range wide {
				want := slow(start+i*int(width), width)
				require.Equal(t, want, got, "width %d from bit %d: value %d", width, start, i)
				if width <= 32 {
					require.Equal(t, uint32(want), narrow[i])
				}
			}
		}
	}
}

// TestCopyBits: what is copied is equal, what is beside it stays.
func TestCopyBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		src, dst := make([]byte, 60), make([]byte, 60)
		for i := range src {
			src[i], dst[i] = byte(rng.Uint32()), byte(rng.Uint32())
		}
		before := bytes.Clone(dst)
		at, from, n := rng.IntN(100), rng.IntN(100), rng.IntN(300)
		copyBits(dst, at, src[:(from+n+7)/8], from, n)
		bit := func(b []byte, i int) byte { return b[i/8] >> (i % 8) & 1 }
		for i := range 8 * len(dst) {
			want := bit(before, i)
			if i >= at && i < at+n {
				want = bit(src, from+i-at)
			}
			require.Equal(t, want, bit(dst, i), "%d bits from %d to %d: bit %d", n, from, at, i)
		}
	}
}

// TestLongValues: a batch ends before a column has too many bytes, and the rows that others have read beyond it come next.
func TestLongValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const rows = 120
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64},
		{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "b", Type: arrow.BinaryTypes.Binary},
		{Name: "c", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "d", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	long := make([]byte, batchBytes+1000)
	for i := range long {
		long[i] = byte('a' + i%26)
	}
	for row := range rows {
		rb.Field(0).(*array.Int64Builder).Append(int64(row))
		for i, of := range map[int]int{1: 200 << 10, 4: 70 << 10} {
			switch n := rng.IntN(of); {
			case row%40 == 20 && i == 1:
				rb.Field(i).(*array.StringBuilder).Append(string(long))
			case n%4 == 0:
				rb.Field(i).AppendNull()
			default:
				rb.Field(i).(*array.StringBuilder).Append(string(long[:n]))
			}
		}
		rb.Field(2).(*array.BinaryBuilder).Append(long[:100<<10+rng.IntN(10)]) // few different ones
		rb.Field(3).(*array.BooleanBuilder).AppendValues([]bool{row%3 == 0}, []bool{row%5 > 0})
	}
	rec := rb.NewRecordBatch()
	defer rec.Release()
	for name, props := range map[string][]parquet.WriterProperty{
		"plain":      {parquet.WithDictionaryDefault(false)},
		"dictionary": {parquet.WithDictionaryPageSizeLimit(1 << 30)},
		"lengths":    {parquet.WithDictionaryDefault(false), parquet.WithEncoding(parquet.Encodings.Plain), parquet.WithEncodingFor("a", parquet.Encodings.DeltaLengthByteArray), parquet.WithEncodingFor("b", parquet.Encodings.DeltaLengthByteArray)},
		"prefixes":   {parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("a", parquet.Encodings.DeltaByteArray), parquet.WithEncodingFor("b", parquet.Encodings.DeltaByteArray)},
	} {
		t.Run(name, func(t *testing.T) {
			body := write(t, rec, append(props, parquet.WithCompression(compress.Codecs.Snappy), parquet.WithMaxRowGroupLength(80))...)
			equal(t, rng, body, rec.Columns())
			f, err := file.NewParquetReader(bytes.NewReader(body))
			require.NoError(t, err)
			r := NewReader(bytes.NewReader(body), f.MetaData(), Options{Columns: []int{0, 1, 2, 3, 4}, Groups: []int{0, 1}, Batch: rows, Memory: memory.DefaultAllocator})
			defer r.Close()
			batches := 0
			for ; ; batches++ {
				got, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				for _, i := range []int{1, 2, 4} {
					size, values := 0, 0
					for row := range got[i].Len() {
						if n := got[i].(interface{ ValueLen(int) int }).ValueLen(row); n > 0 {
							size, values = size+n, values+1
						}
					}
					if values > 1 {
						require.LessOrEqual(t, size, batchBytes)
					}
				}
				release(got)
			}
			require.Greater(t, batches, 3)
		})
	}
}

// peak is an allocator that notes the most that was allocated at a time.
type peak struct {
	memory.Allocator
	now, most int
}

func (p *peak) note(n int) {
	p.now += n
	p.most = max(p.most, p.now)
}

func (p *peak) Allocate(n int) []byte { p.note(n); return p.Allocator.Allocate(n) }
func (p *peak) Free(b []byte)         { p.note(-len(b)); p.Allocator.Free(b) }
func (p *peak) Reallocate(n int, b []byte) []byte {
	p.note(n - len(b))
	return p.Allocator.Reallocate(n, b)
}

// TestMemoryOfPieces: a row group that is large is read in pieces: what is held of a column is a piece, a page and a batch.
func TestMemoryOfPieces(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}}, nil))
	defer rb.Release()
	for range 100_000 {
		rb.Field(0).(*array.Int64Builder).Append(rng.Int64())
		rb.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("%x", rng.Uint64()))
	}
	rec := rb.NewRecordBatch()
	defer rec.Release()
	body := write(t, rec, parquet.WithDictionaryDefault(false), parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDataPageSize(32<<10))
	f, err := file.NewParquetReader(bytes.NewReader(body))
	require.NoError(t, err)
	require.Equal(t, 1, f.NumRowGroups())
	mem := &peak{Allocator: memory.DefaultAllocator}
	r := NewReader(bytes.NewReader(body), f.MetaData(), Options{Columns: []int{0, 1}, Groups: []int{0}, Batch: 1000, Memory: mem, Whole: 1 << 20, Piece: 64 << 10})
	rows := 0
	for {
		got, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		rows += got[0].Len()
		release(got)
	}
	r.Close()
	require.EqualValues(t, rec.NumRows(), rows)
	require.Less(t, mem.most, 2*(2*(64<<10+50<<10)+50<<10+50<<10), "of a file of %d", len(body)) // old and new piece, page, batch
	require.Zero(t, mem.now)
}

// corpus are small files of every type and encoding.
func corpus(t testing.TB, codec compress.Compression) (files [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, v := range []parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2} {
		for _, e := range []parquet.Encoding{parquet.Encodings.Plain, parquet.Encodings.RLEDict, parquet.Encodings.DeltaBinaryPacked, parquet.Encodings.DeltaLengthByteArray, parquet.Encodings.DeltaByteArray, parquet.Encodings.ByteStreamSplit, parquet.Encodings.RLE} {
			var fields []arrow.Field
			var columns []arrow.Array
			for i, typ := range types {
				for nulls := range 2 {
					fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d_%d", i, nulls), Type: typ, Nullable: nulls > 0})
					columns = append(columns, randomColumn(rng, typ, float64(nulls)/4, rng.IntN(shapes), 200))
				}
			}
			rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 200)
			props := []parquet.WriterProperty{
				parquet.WithDataPageVersion(v), parquet.WithCompression(codec), parquet.WithDictionaryDefault(e == parquet.Encodings.RLEDict),
				parquet.WithStoreDecimalAsInteger(e != parquet.Encodings.Plain), parquet.WithMaxRowGroupLength(150), parquet.WithDataPageSize(300), parquet.WithBatchSize(40),
			}
			sc, err := pqarrow.ToParquet(rec.Schema(), parquet.NewWriterProperties(props...), pqarrow.NewArrowWriterProperties())
			require.NoError(t, err)
			for i := range sc.NumColumns() {
				physical := sc.Column(i).PhysicalType()
				if decodable(e, physical) && e != parquet.Encodings.RLEDict && (e != parquet.Encodings.RLE || physical == parquet.Types.Boolean) {
					props = append(props, parquet.WithEncodingFor(sc.Column(i).Name(), e))
				}
			}
			files = append(files, write(t, rec, props...))
			rec.Release()
		}
	}
	return files
}

// readAny reads a file that may be corrupt, to its end or the first error.
func readAny(body []byte, f *file.Reader) error {
	o := Options{Batch: 64, Memory: memory.DefaultAllocator, Whole: 1 << 20, Piece: 4 << 10}
	for i := range f.MetaData().Schema.NumColumns() {
		o.Columns = append(o.Columns, i)
	}
	for i := range f.NumRowGroups() {
		o.Groups = append(o.Groups, i)
	}
	r := NewReader(bytes.NewReader(body), f.MetaData(), o)
	defer r.Close()
	for {
		got, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, a := range got { // every value is in memory
			for i := range a.Len() {
				_ = a.ValueStr(i)
			}
		}
		release(got)
	}
}

// TestCorruptFiles: bytes of pages are changed, at random. What is not noticed is read as something else; what is is an error that
// names the column.
func TestCorruptFiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	noticed := 0
	for _, codec := range []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd} {
		for _, body := range corpus(t, codec) {
			f, err := file.NewParquetReader(bytes.NewReader(body))
			require.NoError(t, err)
			require.NoError(t, readAny(body, f))
			last, err := f.MetaData().RowGroup(f.NumRowGroups() - 1).ColumnChunk(f.MetaData().Schema.NumColumns() - 1)
			require.NoError(t, err)
			pages := int(last.DataPageOffset() + last.TotalCompressedSize())
			for range 10 {
				broken := bytes.Clone(body)
				for range 1 + rng.IntN(20) {
					broken[4+rng.IntN(pages-4)] = byte(rng.Uint32())
				}
				if err := readAny(broken, f); err != nil {
					require.Regexp(t, `^row group \d: column "c\d+_\d": `, err)
					noticed++
				}
			}
		}
	}
	require.Positive(t, noticed)
}

// FuzzColumn reads a column chunk of any bytes: nothing panics, every value that is returned is in memory, and memory
// has a bound that follows from rows and bytes.
func FuzzColumn(f *testing.F) {
	for _, body := range corpus(f, compress.Codecs.Uncompressed) {
		pf, err := file.NewParquetReader(bytes.NewReader(body))
		require.NoError(f, err)
		for i := range pf.MetaData().Schema.NumColumns() {
			chunk, err := pf.MetaData().RowGroup(0).ColumnChunk(i)
			require.NoError(f, err)
			from := chunk.DataPageOffset()
			if chunk.HasDictionaryPage() {
				from = chunk.DictionaryPageOffset()
			}
			if i%4 == 0 {
				f.Add(bytes.Clone(body[from:from+chunk.TotalCompressedSize()]), uint8(i), true)
			}
			f.Add(bytes.Clone(body[from:from+chunk.TotalCompressedSize()]), uint8(i), i%4 != 3)
		}
	}
	var fields []arrow.Field
	for i, typ := range types {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("r", i), Type: typ}, arrow.Field{Name: fmt.Sprint("o", i), Type: typ, Nullable: true})
	}
	sc, err := pqarrow.ToParquet(arrow.NewSchema(fields, nil), parquet.NewWriterProperties(parquet.WithStoreDecimalAsInteger(true)), pqarrow.NewArrowWriterProperties())
	require.NoError(f, err)
	const rows = 150
	f.Fuzz(func(t *testing.T, body []byte, leaf uint8, whole bool) {
		d := sc.Column(int(leaf) % sc.NumColumns())
		mem := &peak{Allocator: memory.DefaultAllocator}
		s, kind := newSink(d, mem)
		c := &column{name: d.Path(), optional: d.MaxDefinitionLevel() > 0, kind: kind, sink: s, mem: mem}
		defer func() {
			c.close()
			require.Zero(t, mem.now)
		}()
		c.begin(compress.Codecs.Uncompressed, rows)
		c.feed = feed{src: bytes.NewReader(body), mem: mem, piece: 100, end: int64(len(body))}
		if whole {
			c.feed.window, c.feed.next = append(bytes.Clone(body), make([]byte, slack)...)[:len(body)], int64(len(body))
		}
		for read := 0; read < rows; {
			a, err := c.read(min(64, rows-read))
			if err != nil {
				break
			}
			for i := range a.Len() {
				_ = a.ValueStr(i)
			}
			read += a.Len()
			a.Release()
		}
		require.Less(t, mem.most, 1<<20+300*len(body))
	})
}

// FuzzHeader reads the header of a page of any bytes.
func FuzzHeader(f *testing.F) {
	for _, body := range corpus(f, compress.Codecs.Uncompressed)[:2] {
		f.Add(body[4:200])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h header
		n, err := h.parse(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, n, len(b))
		require.LessOrEqual(t, h.size, maxPage)
		var again header
		_, err = again.parse(b[:n])
		require.NoError(t, err)
		require.Equal(t, h, again)
		if n > 1 {
			_, err = again.parse(b[:n-1])
			require.Error(t, err)
		}
	})
}

// FuzzCodec decompresses any bytes: into what room there is, or not at all.
func FuzzCodec(f *testing.F) {
	for _, codec := range []compress.Compression{compress.Codecs.Zstd, compress.Codecs.Snappy, compress.Codecs.Lz4Raw, compress.Codecs.Gzip} {
		c, err := compress.GetCodec(codec)
		require.NoError(f, err)
		text := bytes.Repeat([]byte("some text "), 50)
		f.Add(c.Encode(make([]byte, 0, c.CompressBound(int64(len(text)))), text), uint8(codec), uint16(len(text)))
	}
	f.Fuzz(func(t *testing.T, src []byte, codec uint8, size uint16) {
		c := compress.Compression(codec % 8)
		if !decompressible(c) || c == compress.Codecs.Uncompressed || size == 0 {
			return
		}
		room := bytes.Repeat([]byte{0xee}, int(size)+slack)
		_ = decompress(c, room[:size], src)
		require.Equal(t, bytes.Repeat([]byte{0xee}, slack), room[size:])
	})
}
