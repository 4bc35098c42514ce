package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"gopkg.in/ini.v1"
)

// S3Options say how to reach a bucket. The zero value follows the environment like any AWS tool: AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN, AWS_PROFILE in ~/.aws/credentials and ~/.aws/config, and at last the role of the machine,
// container or service account.
type S3Options struct {
	Endpoint  string // http://host:port or https://host of a server; empty: Amazon S3
	Region    string // with an Endpoint us-east-1 by default; on Amazon S3 the bucket's own
	PathStyle bool   // http://host/bucket instead of http://bucket.host; the default with an Endpoint that is not Amazon's

	AccessKey, SecretKey, SessionToken string // empty: as the environment says

	Timeout  time.Duration // for one attempt of a request, plus what its body takes at 256 KiB/s; default 20s
	Attempts int           // of a request that may be repeated; default 4
	PartSize int           // bytes of a part of a streamed upload, at least 5 MiB; default 8 MiB
	Uploads  int           // parts in flight, over all streams of the store; default 4
}

// EnsureDefaults fills what is zero, from the environment where that speaks.
func (o *S3Options) EnsureDefaults() {
	first := func(field *string, names ...string) {
		for _, name := range names {
			if *field == "" {
				*field = os.Getenv(name)
			}
		}
	}
	first(&o.Endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
	first(&o.Region, "AWS_REGION", "AWS_DEFAULT_REGION")
	if o.Region == "" {
		o.Region = profileRegion()
	}
	if o.Region == "" && o.Endpoint != "" {
		o.Region = "us-east-1"
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Attempts == 0 {
		o.Attempts = 4
	}
	if o.PartSize == 0 {
		o.PartSize = 8 << 20
	}
	if o.Uploads == 0 {
		o.Uploads = 4
	}
}

// profileRegion is the region of the profile in the shared configuration file, or empty.
func profileRegion() string {
	file := os.Getenv("AWS_CONFIG_FILE")
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		file = filepath.Join(home, ".aws", "config")
	}
	section := "default"
	if p := os.Getenv("AWS_PROFILE"); p != "" && p != "default" {
		section = "profile " + p
	}
	cfg, err := ini.Load(file)
	if err != nil {
		return ""
	}
	return cfg.Section(section).Key("region").String()
}

// OpenS3 opens the lake below prefix (which may be empty) in a bucket.
func OpenS3(ctx context.Context, bucket, prefix string, opt S3Options) (*S3, error) {
	opt.EnsureDefaults()
	prefix = strings.Trim(prefix, "/")
	if prefix != "" {
		if err := checkName(prefix); err != nil {
			return nil, fmt.Errorf("lake s3://%s/%s: %w", bucket, prefix, err)
		}
		prefix += "/"
	}
	if bucket == "" {
		return nil, errors.New("lake s3://: the bucket is missing: s3://bucket/prefix")
	}
	if opt.PartSize < 5<<20 {
		return nil, fmt.Errorf("part size %d: S3 takes no part below 5 MiB", opt.PartSize)
	}
	endpoint := &url.URL{Scheme: "https", Host: "s3.amazonaws.com"}
	lookup := minio.BucketLookupAuto
	if opt.Endpoint != "" {
		var err error
		if endpoint, err = parseEndpoint(opt.Endpoint); err != nil {
			return nil, err
		}
	}
	if opt.PathStyle {
		lookup = minio.BucketLookupPath
	}
	creds, identity := findCredentials(ctx, opt)
	requests := &requestCounter{next: transport(opt)}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: creds, Secure: endpoint.Scheme == "https", Region: opt.Region, BucketLookup: lookup,
		Transport: requests, MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("S3 endpoint %s: %w", endpoint.Host, err)
	}
	client.SetAppInfo("tidemark", "1")
	return &S3{
		core: minio.Core{Client: client}, bucket: bucket, prefix: prefix, opt: opt, identity: identity,
		requests: requests, parts: make(chan struct{}, opt.Uploads), free: make(chan []byte, opt.Uploads),
	}, nil
}

// parseEndpoint does not show what it cannot parse: there might be a password in it.
func parseEndpoint(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, errors.New("S3 endpoint: expected http://host:port or https://host:port")
	case u.User != nil:
		return nil, fmt.Errorf("S3 endpoint %s: credentials do not belong in the address: use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", u.Host)
	}
	return u, nil
}

// findCredentials asks the usual places, and names the one that had some.
func findCredentials(ctx context.Context, opt S3Options) (*credentials.Credentials, string) {
	if opt.AccessKey != "" {
		return credentials.NewStaticV4(opt.AccessKey, opt.SecretKey, opt.SessionToken), "the given options"
	}
	// The metadata address of a cloud machine: on any other machine nobody answers there.
	quick := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	for _, place := range []struct {
		name     string
		provider credentials.Provider
	}{
		{"the environment (AWS_ACCESS_KEY_ID)", &credentials.EnvAWS{}},
		{"the profile in ~/.aws", &credentials.FileAWSCredentials{}},
		{"the role of this machine", &credentials.IAM{Client: quick, Region: opt.Region}},
	} {
		c := credentials.New(place.provider)
		v, err := c.GetWithContext(&credentials.CredContext{Client: http.DefaultClient})
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			return c, place.name
		}
		if ctx.Err() != nil {
			break
		}
	}
	return credentials.NewStatic("", "", "", credentials.SignatureAnonymous),
		"nowhere: no AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, no profile in ~/.aws, no role of this machine"
}

// transport keeps enough connections for all parts and reads, and gives up on silent servers. Idle ones are dropped
// before servers usually do (S3 and MinIO: 20 to 30 s), since a PUT on a connection that the server just closed fails.
func transport(opt S3Options) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: min(10*time.Second, opt.Timeout), KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   min(10*time.Second, opt.Timeout),
		ResponseHeaderTimeout: 0, // each attempt has its own clock
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       15 * time.Second,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   64,
		DisableCompression:    true,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
}
