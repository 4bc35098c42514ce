package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/store"
)

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perMiB reports our own processor time for the bytes moved.
func perMiB(b *testing.B, size int, run func(i int)) {
	b.Helper()
	b.SetBytes(int64(size))
	before := cpu(b)
	i := 0
	for b.Loop() {
		run(i)
		i++
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(i)/(float64(size)/(1<<20)), "cpu-µs/MiB")
}

func noise(size int) []byte {
	p := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

func BenchmarkUpload(b *testing.B) {
	s := minio(b, store.S3Options{})
	for _, size := range []int{20 << 10, 1 << 20, 8 << 20, 64 << 20} {
		body := noise(size)
		b.Run(fmt.Sprintf("Put/%dKiB", size>>10), func(b *testing.B) {
			perMiB(b, size, func(i int) { check(b, s.Put(b.Context(), fmt.Sprint("put/", i%4), body)) })
		})
		b.Run(fmt.Sprintf("Create/%dKiB", size>>10), func(b *testing.B) {
			perMiB(b, size, func(i int) {
				w, err := s.Create(b.Context(), fmt.Sprint("create/", i%4))
				check(b, err)
				for rest := body; len(rest) > 0; {
					n := min(len(rest), 256<<10)
					_, err := w.Write(rest[:n])
					check(b, err)
					rest = rest[n:]
				}
				check(b, w.Close())
			})
		})
	}
}

// BenchmarkSigning is why payloads are not signed: what the client library offers, by processor time.
func BenchmarkSigning(b *testing.B) {
	bucket := testenv.MinIO(b)
	body := noise(8 << 20)
	for _, way := range []struct {
		name     string
		trailing bool
		opt      miniogo.PutObjectOptions
	}{
		{"signed chunks (default)", false, miniogo.PutObjectOptions{}},
		{"unsigned", false, miniogo.PutObjectOptions{DisableContentSha256: true}},
		{"unsigned, MD5", false, miniogo.PutObjectOptions{DisableContentSha256: true, SendContentMd5: true}},
		{"unsigned, trailing CRC-32C", true, miniogo.PutObjectOptions{DisableContentSha256: true}},
	} {
		b.Run(way.name, func(b *testing.B) {
			c, err := miniogo.New(strings.TrimPrefix(bucket.Endpoint, "http://"), &miniogo.Options{
				Creds: credentials.NewStaticV4(bucket.AccessKey, bucket.SecretKey, ""), Region: bucket.Region, TrailingHeaders: way.trailing,
			})
			check(b, err)
			perMiB(b, len(body), func(i int) {
				_, err := c.PutObject(b.Context(), bucket.Name, fmt.Sprint(i%4), bytes.NewReader(body), int64(len(body)), way.opt)
				check(b, err)
			})
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := minio(b, store.S3Options{})
	const size = 64 << 20
	check(b, s.Put(b.Context(), "x", noise(size)))
	b.Run("Get/64MiB", func(b *testing.B) {
		perMiB(b, size, func(int) {
			_, err := s.Get(b.Context(), "x")
			check(b, err)
		})
	})
	r, err := s.Open(b.Context(), "x")
	check(b, err)
	for _, n := range []int{16 << 10, 1 << 20, 8 << 20} {
		p := make([]byte, n)
		b.Run(fmt.Sprintf("ReadAt/%dKiB", n>>10), func(b *testing.B) {
			perMiB(b, n, func(i int) {
				_, err := r.ReadAt(p, int64(i*n)%(size-(9<<20)))
				check(b, err)
			})
		})
	}
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			r, err := s.Open(b.Context(), "x")
			check(b, err)
			check(b, r.Close())
		}
	})
}

func BenchmarkLocal(b *testing.B) {
	s, err := store.OpenLocal(b.TempDir())
	check(b, err)
	body := noise(20 << 10)
	b.Run("Put/20KiB", func(b *testing.B) {
		perMiB(b, len(body), func(i int) { check(b, s.Put(b.Context(), fmt.Sprint("x/", i%4), body)) })
	})
	b.Run("PutIfAbsent/20KiB", func(b *testing.B) {
		n := 0
		perMiB(b, len(body), func(int) { n++; check(b, s.PutIfAbsent(b.Context(), fmt.Sprint("y/", n), body)) })
	})
}
