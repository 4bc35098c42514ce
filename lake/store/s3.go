package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// S3 is a lake in a bucket, on Amazon S3 or a server that speaks its protocol.
//
// One client serves all; it never retries by itself. Requests whose repetition does no harm are repeated here
// (retry.go). Payloads are not signed, since SHA-256 would cost more than all else an upload does: a CRC-32C goes with
// each body instead, and the server refuses what does not match.
type S3 struct {
	core     minio.Core
	bucket   string
	prefix   string // "" or ends in a slash
	opt      S3Options
	identity string // where the credentials came from, in words
	requests *requestCounter
	parts    chan struct{} // slots for parts being uploaded
	free     chan []byte   // buffers of uploaded parts, for the next ones
}

// URI is s3://bucket/prefix/name.
func (s *S3) URI(name string) string { return "s3://" + s.bucket + "/" + s.prefix + name }

// Name takes s3://, and s3a:// and s3n:// as Hadoop writes them.
func (s *S3) Name(uri string) (string, error) {
	_, rest, _ := strings.Cut(uri, "://")
	name, inside := strings.CutPrefix(rest, s.bucket+"/"+s.prefix)
	if !inside || !strings.HasPrefix(uri, "s3") {
		return "", fmt.Errorf("%s lies outside the lake %s", uri, s.URI(""))
	}
	return name, checkName(name)
}

func (s *S3) key(name string) string { return s.prefix + name }

// Get returns the whole object.
func (s *S3) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ready(ctx, name); err != nil {
		return nil, err
	}
	var body []byte
	err := s.repeat(ctx, "get", name, 0, func(ctx *attempt) (err error) {
		body, _, err = s.read(ctx, name, minio.GetObjectOptions{})
		return err
	})
	return body, err
}

// read does one GET and returns the body and the size of the whole object.
func (s *S3) read(ctx *attempt, name string, opt minio.GetObjectOptions) ([]byte, int64, error) {
	body, info, header, err := s.core.GetObject(ctx, s.bucket, s.key(name), opt)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	ctx.extend(info.Size)
	b := make([]byte, info.Size)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, 0, fmt.Errorf("the answer ended early: %w", err)
	}
	size := info.Size
	if total := header.Get("Content-Range"); total != "" { // bytes 0-9/443
		if _, err := fmt.Sscanf(total[strings.LastIndexByte(total, '/')+1:], "%d", &size); err != nil {
			return nil, 0, fmt.Errorf("content range %q: %w", total, err)
		}
	}
	return b, size, nil
}

// tailSize is what Open reads of an object's end, in bytes: enough for the footer of most Parquet and Puffin files.
const tailSize = 64 << 10

// Open reads the object's end, which tells its size and saves the readers of Parquet and Puffin their first request.
func (s *S3) Open(ctx context.Context, name string) (Reader, error) {
	if err := ready(ctx, name); err != nil {
		return nil, err
	}
	r := &s3Reader{s: s, ctx: ctx, name: name}
	err := s.repeat(ctx, "open", name, 0, func(ctx *attempt) (err error) {
		var opt minio.GetObjectOptions
		if err := opt.SetRange(0, -tailSize); err != nil {
			return err
		}
		r.tail, r.size, err = s.read(ctx, name, opt)
		if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
			r.tail, r.size, err = nil, 0, nil // an empty object has no last bytes
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

type s3Reader struct {
	s    *S3
	ctx  context.Context
	name string
	size int64
	tail []byte // the last bytes
}

func (r *s3Reader) Size() int64  { return r.size }
func (r *s3Reader) Close() error { return nil }

// ReadAt asks for exactly the bytes wanted, unless they are in the tail.
func (r *s3Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: %w: offset %d", r.s.URI(r.name), fs.ErrInvalid, off)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	var eof error
	if rest := r.size - off; int64(len(p)) > rest {
		p, eof = p[:rest], io.EOF
	}
	if len(p) == 0 {
		return 0, eof
	}
	tailStart := r.size - int64(len(r.tail))
	if off >= tailStart {
		return copy(p, r.tail[off-tailStart:]), eof
	}
	n := 0
	err := r.s.repeat(r.ctx, "read", r.name, int64(len(p)), func(ctx *attempt) error {
		var opt minio.GetObjectOptions
		if err := opt.SetRange(off, off+int64(len(p))-1); err != nil {
			return err
		}
		body, info, _, err := r.s.core.GetObject(ctx, r.s.bucket, r.s.key(r.name), opt)
		if err != nil {
			return err
		}
		defer body.Close()
		if info.Size != int64(len(p)) {
			return fmt.Errorf("asked for %d bytes at %d, got %d: the object changed or the server ignores ranges", len(p), off, info.Size)
		}
		n, err = io.ReadFull(body, p)
		return err
	})
	if err != nil {
		return n, err
	}
	return n, eof
}

// crcTable is that of CRC-32C, for which processors have an instruction.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(b, crcTable)))
}

const checksumHeader = "x-amz-checksum-crc32c"

func putOptions(body []byte) minio.PutObjectOptions {
	return minio.PutObjectOptions{
		DisableContentSha256: true,
		UserMetadata:         map[string]string{checksumHeader: checksum(body)},
	}
}

// Put uploads the body in one request. Repeating it does no harm. After an error, the body must not be changed: a
// connection that was given up may still be reading it.
func (s *S3) Put(ctx context.Context, name string, body []byte) error {
	_, err := s.put(ctx, name, body)
	return err
}

// put returns how many tries it took, 0 when none succeeded.
func (s *S3) put(ctx context.Context, name string, body []byte) (tries int, err error) {
	if err := ready(ctx, name); err != nil {
		return 0, err
	}
	opt := putOptions(body)
	err = s.repeat(ctx, "put", name, int64(len(body)), func(ctx *attempt) error {
		tries++
		_, err := s.core.PutObject(ctx, s.bucket, s.key(name), bytes.NewReader(body), int64(len(body)), "", "", opt)
		return err
	})
	if err != nil {
		return 0, err
	}
	return tries, nil
}

// PutIfAbsent uploads with If-None-Match: *. After an attempt that may have had its effect, "exists already" can mean
// our own object: then the error matches ErrOutcomeUnknown, unless the object there is plainly not ours.
func (s *S3) PutIfAbsent(ctx context.Context, name string, body []byte) error {
	if err := ready(ctx, name); err != nil {
		return err
	}
	opt := putOptions(body)
	opt.SetMatchETagExcept("*")
	unsure := false
	err := s.repeat(ctx, "create", name, int64(len(body)), func(ctx *attempt) error {
		_, err := s.core.PutObject(ctx, s.bucket, s.key(name), bytes.NewReader(body), int64(len(body)), "", "", opt)
		if err != nil && !refused(err) {
			unsure = true
		}
		return err
	})
	if err == nil || !unsure {
		return err // created, or refused each time
	}
	if errors.Is(err, fs.ErrExist) {
		if there, e := s.Get(ctx, name); e == nil && !bytes.Equal(there, body) {
			return err
		}
		err = errors.New("it is there now") // no longer a certain fs.ErrExist
	}
	return fmt.Errorf("create %s: %w: an attempt whose answer was lost may have created it: %w", s.URI(name), ErrOutcomeUnknown, err)
}

// List yields the objects below prefix, in pages that are asked for separately, so that each can be repeated.
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := errors.Join(ctx.Err(), checkPrefix(prefix)); err != nil {
			yield(Info{}, err)
			return
		}
		after := ""
		for {
			page := make([]Info, 0, pageSize)
			full := false
			err := s.repeat(ctx, "list", prefix, 0, func(ctx *attempt) error {
				page, full = page[:0], false
				opt := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, MaxKeys: pageSize, StartAfter: after}
				for o := range s.core.ListObjectsIter(ctx, s.bucket, opt) {
					if o.Err != nil {
						return o.Err
					}
					page = append(page, Info{Name: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size, ModTime: o.LastModified})
					if full = len(page) == pageSize; full {
						break
					}
				}
				return ctx.Err() // the iterator just ends then
			})
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, o := range page {
				// A name that ends in a slash is a folder that some console made.
				if !strings.HasSuffix(o.Name, "/") && !yield(o, nil) {
					return
				}
			}
			if !full {
				return
			}
			after = s.prefix + page[len(page)-1].Name
		}
	}
}

const pageSize = 1000 // objects; what S3 gives at most

// ListDirs returns the common prefixes one level below prefix.
func (s *S3) ListDirs(ctx context.Context, prefix string) ([]string, error) {
	if err := errors.Join(ctx.Err(), checkPrefix(prefix)); err != nil {
		return nil, err
	}
	var dirs []string
	err := s.repeat(ctx, "list", prefix, 0, func(ctx *attempt) error {
		dirs = dirs[:0]
		n := 0
		for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix}) {
			if o.Err != nil {
				return o.Err
			}
			if strings.HasSuffix(o.Key, "/") && o.Key != s.prefix+prefix {
				dirs = append(dirs, path.Base(o.Key))
			}
			if n++; n%pageSize == 0 {
				ctx.extend(0)
			}
		}
		return ctx.Err()
	})
	return dirs, err
}

// Delete removes up to a thousand objects a request.
func (s *S3) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := ready(ctx, name); err != nil {
			return err
		}
	}
	if len(names) == 1 {
		return s.repeat(ctx, "delete", names[0], 0, func(ctx *attempt) error {
			err := s.core.RemoveObject(ctx, s.bucket, s.key(names[0]), minio.RemoveObjectOptions{})
			if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
				return nil
			}
			return err
		})
	}
	for batch := range slices.Chunk(names, pageSize) {
		err := s.repeat(ctx, "delete", batch[0], 0, func(ctx *attempt) error {
			objects := func(yield func(minio.ObjectInfo) bool) {
				for _, name := range batch {
					if !yield(minio.ObjectInfo{Key: s.key(name)}) {
						return
					}
				}
			}
			results, err := s.core.RemoveObjectsWithIter(ctx, s.bucket, objects, minio.RemoveObjectsOptions{})
			if err != nil {
				return err
			}
			for r := range results {
				if r.Err != nil && minio.ToErrorResponse(r.Err).Code != minio.NoSuchKey {
					err = r.Err
				}
			}
			return errors.Join(err, ctx.Err())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// slow is the least speed, in bytes per second, at which a body has to move.
const slow = 256 << 10

// limit is how long an attempt that moves size bytes may take.
func (s *S3) limit(size int64) time.Duration {
	return s.opt.Timeout + time.Duration(size)*time.Second/slow
}
