package pages

import (
	"errors"
	"fmt"
	"sync"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// zstdDecoder is shared by all readers, as many of which decode at once as there are processors. It writes no more than it
// is given room for.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
})

// decompress fills dst, behind which there is slack, with what src was made of, which has just as many bytes.
func decompress(codec compress.Compression, dst, src []byte) error {
	out, err := decoded(codec, dst[:len(dst):len(dst)+slack], src)
	if err == nil && len(out) != len(dst) {
		err = fmt.Errorf("the page has %d bytes when decompressed, its header says %d", len(out), len(dst))
	}
	return err
}

// decoded returns a slice of dst, or fails where its capacity is too small. zstd has a faster way to go where some is left.
func decoded(codec compress.Compression, dst, src []byte) ([]byte, error) {
	switch codec {
	case compress.Codecs.Zstd:
		d, err := zstdDecoder()
		if err != nil {
			return nil, err
		}
		return d.DecodeAll(src, dst[:0])
	case compress.Codecs.Snappy:
		if n, err := snappy.DecodedLen(src); err != nil || n != len(dst) {
			return nil, errors.Join(err, fmt.Errorf("the page has %d bytes when decompressed, its header says %d", n, len(dst)))
		}
		return snappy.Decode(dst[:len(dst):len(dst)], src)
	}
	c, err := compress.GetCodec(codec)
	if err != nil {
		return nil, err
	}
	return compress.Decode(c, dst[:len(dst):len(dst)], src)
}

// decompressible reports whether decompress knows the codec.
func decompressible(codec compress.Compression) bool {
	switch codec {
	case compress.Codecs.Uncompressed, compress.Codecs.Zstd, compress.Codecs.Snappy, compress.Codecs.Lz4Raw, compress.Codecs.Gzip:
		return true
	}
	return false
}
