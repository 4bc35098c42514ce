package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// MinIO is one server with a disk folder behind it.
type MinIO struct {
	// Endpoint is an http URL without a path, such as http://127.0.0.1:21000.
	Endpoint             string
	AccessKey, SecretKey string
	Region               string

	dir, temporary string
	port           *Port
	proc           *process
}

// MinIOOptions says where a MinIO runs. The zero value is a temporary one on a free port.
type MinIOOptions struct {
	Dir  string // kept by Close; "" is a temporary folder, removed by Close
	Port int    // 0: a free one
}

// StartMinIO starts a server and waits until it answers. program is its path.
func StartMinIO(ctx context.Context, program string, opts MinIOOptions) (_ *MinIO, err error) {
	m := &MinIO{AccessKey: "tidemark", SecretKey: "tidemark-secret", Region: "us-east-1", dir: opts.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if opts.Port == 0 {
		if m.port, err = FreePort(); err != nil {
			return nil, err
		}
		opts.Port = m.port.Number
	}
	if m.dir == "" {
		if m.dir, err = workFolder("minio"); err != nil {
			return nil, err
		}
		m.temporary = m.dir
	}
	data := filepath.Join(m.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, fmt.Errorf("start MinIO: %w", err)
	}
	m.Endpoint = "http://" + loopback(opts.Port)
	m.proc, err = start(fmt.Sprintf("minio on port %d", opts.Port), filepath.Join(m.dir, "minio.log"),
		[]string{program, "server", "--quiet", "--address", loopback(opts.Port), data},
		func(cmd *exec.Cmd) {
			cmd.Env = append(cmd.Env, "MINIO_ROOT_USER="+m.AccessKey, "MINIO_ROOT_PASSWORD="+m.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
		})
	if err != nil {
		return nil, err
	}
	return m, m.proc.ready(ctx, time.Minute, func(ctx context.Context) error { return httpOK(ctx, m.Endpoint+"/minio/health/ready") })
}

// Pid is the process id of the server.
func (m *MinIO) Pid() int { return m.proc.cmd.Process.Pid }

// MakeBucket makes an empty bucket: to MinIO, a folder in its data folder.
func (m *MinIO) MakeBucket(name string) error {
	if err := os.MkdirAll(filepath.Join(m.dir, "data", name), 0o755); err != nil {
		return fmt.Errorf("make bucket %s: %w", name, err)
	}
	return nil
}

// Close ends the server and removes its temporary files.
func (m *MinIO) Close() error {
	var errs []error
	if m.proc != nil {
		errs = append(errs, m.proc.terminate(20*time.Second))
	}
	if m.temporary != "" {
		errs = append(errs, os.RemoveAll(m.temporary))
	}
	return errors.Join(append(errs, m.port.Release())...)
}

func httpOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
