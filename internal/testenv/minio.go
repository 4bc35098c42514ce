package testenv

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// Bucket is an empty bucket of the MinIO server shared by the tests of this binary.
type Bucket struct {
	Endpoint             string // http://127.0.0.1:PORT
	AccessKey, SecretKey string
	Region               string
	Name                 string
}

// serial numbers what tests share by name.
var serial atomic.Int64

// MinIO returns a fresh bucket.
func MinIO(t testing.TB) *Bucket {
	t.Helper()
	m, err := shared.minio.get(func() (*server.MinIO, error) {
		program, err := tool((*toolbox.Box).MinIO)
		if err != nil {
			return nil, err
		}
		return server.StartMinIO(context.Background(), program, server.MinIOOptions{})
	})
	check(t, err)
	name := fmt.Sprintf("lake-%d-%d", os.Getpid(), serial.Add(1))
	check(t, m.MakeBucket(name))
	return &Bucket{Endpoint: m.Endpoint, AccessKey: m.AccessKey, SecretKey: m.SecretKey, Region: m.Region, Name: name}
}

// URI is s3://bucket/prefix.
func (b *Bucket) URI(prefix string) string { return "s3://" + b.Name + "/" + prefix }

// Env is what a program needs in its environment to use the bucket, besides the endpoint.
func (b *Bucket) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + b.AccessKey, "AWS_SECRET_ACCESS_KEY=" + b.SecretKey, "AWS_REGION=" + b.Region}
}
