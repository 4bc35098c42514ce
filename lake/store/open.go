package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Open returns the store of a lake: file:///path or s3://bucket/prefix. It makes no request except, for S3 without
// given credentials, to find some; whether the lake can be written is CheckConditionalPut's question.
func Open(ctx context.Context, uri string, opt S3Options) (Store, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	switch {
	case ok && scheme == "file":
		return OpenLocal(rest)
	case ok && scheme == "s3":
		bucket, prefix, _ := strings.Cut(rest, "/")
		return OpenS3(ctx, bucket, prefix, opt)
	}
	return nil, fmt.Errorf("lake %q: expected file:///path or s3://bucket/prefix", uri)
}

// checkObject stays in the lake: it is the object whose second creation must fail.
const checkObject = ".tidemark/conditional-put"

// CheckConditionalPut makes sure that the lake can be written and that the store refuses to create an object that
// exists. Commits rest on that refusal: without it two writers overwrite each other, and both are told that they won.
// The error matches ErrNoConditionalPut, or is an *AccessError, or says what else went wrong.
func CheckConditionalPut(ctx context.Context, s Store) error {
	body := []byte("tidemark tries to create this object again at each start: the store must refuse.\n")
	err := s.PutIfAbsent(ctx, checkObject, body)
	if err == nil {
		err = s.PutIfAbsent(ctx, checkObject, body)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err == nil:
		return fmt.Errorf("lake %s: %w: a PUT with If-None-Match: * overwrote one, so commits of two writers would be lost; "+
			"use a store with conditional writes (Amazon S3, MinIO since 2024, Cloudflare R2, Ceph Squid) or a local folder", s.URI(""), ErrNoConditionalPut)
	}
	return fmt.Errorf("lake %s cannot be written: %w", s.URI(""), err)
}
