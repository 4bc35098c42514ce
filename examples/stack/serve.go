package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tidemark/tidemark/examples"
	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// serve runs the servers until ctx ends. The ready file appears when all of them work.
func (s settings) serve(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(s.readyFile()); err != nil {
		return err
	}
	box, err := toolbox.Open(func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	tools, err := box.MySQL(ctx)
	if err != nil {
		return err
	}
	minioProgram, err := box.MinIO(ctx)
	if err != nil {
		return err
	}

	minio, err := server.StartMinIO(ctx, minioProgram, server.MinIOOptions{Dir: filepath.Join(s.dir, "minio"), Port: s.ports.minio})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, minio.Close()) }()
	if err := minio.MakeBucket("lake"); err != nil {
		return err
	}

	names := [3]string{"primary", "replica1", "replica2"}
	var servers [3]*server.MySQL
	defer func() {
		// The replicas first, so that none complains of a lost source.
		for i := len(servers) - 1; i >= 0; i-- {
			if servers[i] != nil {
				err = errors.Join(err, servers[i].Close())
			}
		}
	}()
	var starting errgroup.Group
	for i, name := range names {
		starting.Go(func() (err error) {
			servers[i], err = server.StartMySQL(ctx, tools, server.MySQLOptions{
				Dir: filepath.Join(s.dir, name), Port: s.ports.mysql[i], ReadOnly: i > 0,
				Args: []string{"--event-scheduler=ON", "--binlog-expire-logs-seconds=86400"},
			})
			return err
		})
	}
	if err := starting.Wait(); err != nil {
		return err
	}
	for _, replica := range servers[1:] {
		if err := replica.Replicate(ctx, servers[0]); err != nil {
			return err
		}
	}
	if err := servers[0].Exec(ctx, examples.Shop()); err != nil {
		return err
	}
	set, err := servers[0].Executed(ctx)
	if err != nil {
		return err
	}
	for _, replica := range servers[1:] {
		if err := replica.WaitFor(ctx, set, time.Minute); err != nil {
			return err
		}
	}
	if err := os.WriteFile(s.readyFile(), nil, 0o644); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return os.Remove(s.readyFile())
}

func (s settings) readyFile() string { return filepath.Join(s.dir, "ready") }
