package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

// Reference is the REST catalog that Apache Iceberg's own tests run against (apache/iceberg, open-api, RESTCatalogServer), over a
// JdbcCatalog on SQLite.
type Reference struct {
	port *Port
	dir  string
	proc *process
}

// StartReference starts one and waits until it answers. warehouse is the URI of a local folder.
func StartReference(ctx context.Context, kit *toolbox.Kit, warehouse string) (_ *Reference, err error) {
	r := &Reference{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.port, err = FreePort(); err != nil {
		return nil, err
	}
	if r.dir, err = workFolder("reference"); err != nil {
		return nil, err
	}
	argv := []string{kit.Java, "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", kit.ClassPath, "org.apache.iceberg.rest.RESTCatalogServer"}
	r.proc, err = start("the reference REST catalog", filepath.Join(r.dir, "reference.log"), argv, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "CATALOG_REST_PORT="+strconv.Itoa(r.port.Number), "CATALOG_WAREHOUSE="+warehouse,
			"CATALOG_URI=jdbc:sqlite:"+filepath.Join(r.dir, "catalog.db"), "CATALOG_JDBC_SCHEMA__VERSION=V1")
	})
	if err != nil {
		return nil, err
	}
	probe := func(ctx context.Context) (err error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr()+"/v1/config", http.NoBody)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("/v1/config answers %s", answer.Status)
		}
		return errors.Join(err, answer.Body.Close())
	}
	return r, r.proc.ready(ctx, 2*time.Minute, probe)
}

// Addr is host:port.
func (r *Reference) Addr() string { return loopback(r.port.Number) }

// Close ends it and removes its files.
func (r *Reference) Close() error {
	var err error
	if r.proc != nil {
		err = r.proc.kill()
	}
	if r.dir != "" {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return errors.Join(err, r.port.Release())
}
