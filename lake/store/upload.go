package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

// maxParts is what S3 takes for one object.
const maxParts = 10000

// Create returns a writer that uploads while it is written to: an object that fits one part in a single PUT, a larger
// one as a multipart upload whose parts go out in parallel. A writer holds at most one part being filled; parts in
// flight are bounded over the whole store (S3Options.Uploads), and Write waits for a free place.
func (s *S3) Create(ctx context.Context, name string) (Writer, error) {
	if err := ready(ctx, name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &upload{s: s, ctx: ctx, cancel: cancel, name: name}, nil
}

type upload struct {
	s      *S3
	ctx    context.Context // ends with the upload
	cancel context.CancelFunc
	name   string
	done   bool

	part []byte // being filled
	size int64  // of all parts handed over
	id   string // of the multipart upload, once there is one

	running sync.WaitGroup
	mu      sync.Mutex
	sent    []minio.CompletePart // by part number
	failed  error                // of the first part that failed
}

func (u *upload) Write(p []byte) (int, error) {
	if u.done {
		return 0, fmt.Errorf("write %s: the upload has ended", u.s.URI(u.name))
	}
	n := 0
	for len(p) > 0 {
		if len(u.part) == u.s.opt.PartSize {
			if err := u.send(); err != nil {
				return n, err
			}
		}
		room := min(len(p), u.s.opt.PartSize-len(u.part))
		u.grow(len(u.part) + room)
		u.part = append(u.part, p[:room]...)
		p, n = p[room:], n+room
	}
	return n, nil
}

// grow makes room for size bytes in the part: a buffer that another upload left, or else twice as much as there was, so
// that a small object takes little memory.
func (u *upload) grow(size int) {
	if size <= cap(u.part) {
		return
	}
	var next []byte
	select {
	case next = <-u.s.free:
	default:
		next = make([]byte, 0, min(u.s.opt.PartSize, max(size, 2*cap(u.part), 64<<10)))
	}
	u.part = append(next, u.part...)
}

// release keeps a buffer of a whole part for the next upload, if its own took one try. After more, the connection of
// one that was given up may still be reading it.
func (s *S3) release(part []byte, tries int) {
	if cap(part) < s.opt.PartSize || tries != 1 {
		return
	}
	select {
	case s.free <- part[:0]:
	default:
	}
}

// send hands the part over to be uploaded.
func (u *upload) send() error {
	if u.id == "" {
		opt := minio.PutObjectOptions{UserMetadata: map[string]string{"x-amz-checksum-algorithm": "CRC32C"}}
		err := u.s.repeat(u.ctx, "create", u.name, 0, func(ctx *attempt) (err error) {
			u.id, err = u.s.core.NewMultipartUpload(ctx, u.s.bucket, u.s.key(u.name), opt)
			return err
		})
		if err != nil {
			return err
		}
	}
	select {
	case u.s.parts <- struct{}{}:
	case <-u.ctx.Done():
		return u.failure()
	}
	u.mu.Lock()
	err := u.failed
	u.sent = append(u.sent, minio.CompletePart{PartNumber: len(u.sent) + 1})
	number := len(u.sent)
	u.mu.Unlock()
	if err == nil && number > maxParts {
		err = fmt.Errorf("create %s: more than %d parts of %d bytes", u.s.URI(u.name), maxParts, u.s.opt.PartSize)
	}
	if err != nil {
		<-u.s.parts
		return err
	}
	body := u.part
	u.size += int64(len(body))
	u.part = nil
	u.running.Go(func() {
		u.s.release(body, u.sendPart(number, body))
		<-u.s.parts
	})
	return nil
}

// sendPart returns how many tries it took, 0 when none succeeded.
func (u *upload) sendPart(number int, body []byte) (tries int) {
	sum := checksum(body)
	var sent minio.ObjectPart
	err := u.s.repeat(u.ctx, "put", u.name, int64(len(body)), func(ctx *attempt) (err error) {
		tries++
		sent, err = u.s.core.PutObjectPart(ctx, u.s.bucket, u.s.key(u.name), u.id, number, bytes.NewReader(body), int64(len(body)),
			minio.PutObjectPartOptions{DisableContentSha256: true, CustomHeader: http.Header{"X-Amz-Checksum-Crc32c": {sum}}})
		return err
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		if u.failed == nil {
			u.failed = fmt.Errorf("part %d: %w", number, err)
		}
		u.cancel() // the others are of no use
		return 0
	}
	u.sent[number-1].ETag = sent.ETag
	u.sent[number-1].ChecksumCRC32C = sent.ChecksumCRC32C // empty where the server knows no checksums
	return tries
}

// failure is why the upload cannot go on.
func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.failed != nil {
		return u.failed
	}
	return fmt.Errorf("create %s: %w", u.s.URI(u.name), context.Cause(u.ctx))
}

func (u *upload) Close() error {
	if u.done {
		return nil
	}
	if u.id == "" {
		u.done = true
		defer u.cancel()
		tries, err := u.s.put(u.ctx, u.name, u.part)
		u.s.release(u.part, tries)
		u.part = nil
		return err
	}
	var err error
	if len(u.part) > 0 {
		err = u.send()
	}
	u.running.Wait()
	if err == nil && u.ctx.Err() != nil {
		err = u.failure()
	}
	if err == nil {
		err = u.complete()
	}
	if err != nil {
		return errors.Join(err, u.Abort())
	}
	u.done = true
	u.cancel()
	return nil
}

// complete puts the parts together. When an attempt's answer is lost and the next one finds no such upload, the first
// one did it; the object there is then ours, since nobody else knows the name of what is being written.
func (u *upload) complete() error {
	unsure := false
	err := u.s.repeat(u.ctx, "complete", u.name, 0, func(ctx *attempt) error {
		_, err := u.s.core.CompleteMultipartUpload(ctx, u.s.bucket, u.s.key(u.name), u.id, u.sent, minio.PutObjectOptions{})
		if unsure && response(err).Code == "NoSuchUpload" {
			info, e := u.s.core.StatObject(ctx, u.s.bucket, u.s.key(u.name), minio.StatObjectOptions{})
			if e == nil && info.Size == u.size && strings.HasSuffix(info.ETag, fmt.Sprintf("-%d", len(u.sent))) {
				return nil
			}
		}
		if err != nil && !refused(err) {
			unsure = true
		}
		return err
	})
	return err
}

// Abort stops the parts in flight and tells the server to forget the others. It does so even when the context has
// ended, for as long as one attempt takes.
func (u *upload) Abort() error {
	if u.done {
		return nil
	}
	u.done = true
	u.cancel()
	u.running.Wait()
	if u.id == "" {
		return nil
	}
	return u.s.repeat(context.WithoutCancel(u.ctx), "abort", u.name, 0, func(ctx *attempt) error {
		err := u.s.core.AbortMultipartUpload(ctx, u.s.bucket, u.s.key(u.name), u.id)
		if response(err).StatusCode == http.StatusNotFound {
			return nil
		}
		return err
	})
}
