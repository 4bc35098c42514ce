package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// attempt is the context of one try of a request. It ends by itself when the server is silent for too long.
type attempt struct {
	context.Context
	s     *S3
	timer *time.Timer
}

// extend restarts the clock for the next size bytes.
func (a *attempt) extend(size int64) {
	if a.timer.Stop() {
		a.timer.Reset(a.s.limit(size))
	}
}

// repeat does a request until it succeeds, fails for good, or was tried often enough. size is that of the body sent or
// asked for, in bytes. It must only be given requests that may be sent twice.
func (s *S3) repeat(ctx context.Context, op, name string, size int64, request func(*attempt) error) error {
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		inner, cancel := context.WithCancel(ctx)
		a := &attempt{Context: inner, s: s, timer: time.AfterFunc(s.limit(size), cancel)}
		err := request(a)
		silent := inner.Err() != nil && ctx.Err() == nil
		a.timer.Stop()
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s %s: %w", op, s.URI(name), context.Cause(ctx))
		case silent:
			err = fmt.Errorf("no answer within %s: %w", s.limit(size).Round(time.Millisecond), os.ErrDeadlineExceeded)
		}
		if try >= s.opt.Attempts || !silent && !transient(err) {
			if try > 1 {
				err = fmt.Errorf("tried %d times: %w", try, err)
			}
			return s.explain(op, name, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// transient tells errors that may be gone at the next try: this is the one place that decides it for S3.
func transient(err error) bool {
	if r := response(err); r.StatusCode != 0 {
		switch r.Code {
		case "SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "InternalError", "ConditionalRequestConflict", "OperationAborted":
			return true
		}
		return r.StatusCode >= 500 && r.StatusCode != http.StatusNotImplemented && r.StatusCode != http.StatusInsufficientStorage ||
			r.StatusCode == http.StatusTooManyRequests || r.StatusCode == http.StatusRequestTimeout
	}
	// No answer from the server: all that the network does may pass, a certificate or a wrong protocol will not.
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record):
		return false
	}
	return !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// refused tells answers that say for certain that a conditional PUT had no effect.
func refused(err error) bool {
	r := response(err)
	return r.StatusCode >= 400 && r.StatusCode < 500 && r.StatusCode != http.StatusRequestTimeout || r.Code == "SlowDown" || r.Code == "SlowDownWrite"
}

// response is the server's answer in an error, or the zero value.
func response(err error) minio.ErrorResponse {
	var r minio.ErrorResponse
	errors.As(err, &r)
	return r
}

// explain turns an answer into what callers decide on and what a person can act on.
func (s *S3) explain(op, name string, err error) error {
	r := response(err)
	access := func(reason, advice string) error {
		return &AccessError{Op: op, URI: s.URI(name), Reason: reason, Advice: advice, Err: err}
	}
	switch r.Code {
	case minio.NoSuchBucket:
		return access("no such bucket", fmt.Sprintf("create bucket %q on %s, or correct --lake or --s3-endpoint", s.bucket, s.core.EndpointURL().Host))
	case minio.NoSuchKey:
		return fmt.Errorf("%s %s: %w", op, s.URI(name), fs.ErrNotExist)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidTokenId", "TokenRefreshRequired":
		return access("bad credentials", fmt.Sprintf("the ones in use come from %s: correct them", s.identity))
	case minio.AccessDenied, "AllAccessDisabled", "AccountProblem":
		return access("access denied", fmt.Sprintf("the credentials come from %s: they need s3:GetObject, s3:PutObject, s3:DeleteObject, "+
			"s3:ListBucket and s3:AbortMultipartUpload on bucket %q", s.identity, s.bucket))
	case "AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException":
		region := r.Region
		if region == "" {
			region = "another one"
		}
		return access("wrong region", fmt.Sprintf("the bucket is in %s, asked was %q: set --s3-region", region, s.opt.Region))
	case "RequestTimeTooSkewed":
		return access("the clocks differ too much", "set this machine's clock")
	case "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded":
		return access("no space left", "free or add space; nothing that was committed is harmed")
	}
	switch r.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%s %s: %w", op, s.URI(name), fs.ErrNotExist)
	case http.StatusPreconditionFailed, http.StatusConflict: // the answers to a conditional PUT
		return fmt.Errorf("%s %s: %w", op, s.URI(name), fs.ErrExist)
	case http.StatusForbidden, http.StatusUnauthorized:
		return access("access denied", "check the credentials, which come from "+s.identity)
	}
	return fmt.Errorf("%s %s: %w", op, s.URI(name), err)
}
