package toolbox

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// PostgreSQL is an unpacked PostgreSQL server.
type PostgreSQL struct {
	Postgres, Initdb string // the programs
}

// PostgreSQL fetches the server as MySQL's is fetched. Its programs find each other and their files by their own path, so, like a JDK's,
// they get the loader's path written into them instead of being started through it.
func (b *Box) PostgreSQL(ctx context.Context) (*PostgreSQL, error) {
	suite, packages := b.pinned["DEBIAN_SUITE"], strings.Fields(b.pinned["POSTGRESQL_PACKAGES"])
	version := suite + "-" + digest(packages...)
	const lib = "usr/lib/x86_64-linux-gnu"
	final := filepath.Join(b.Dir, "postgresql-"+version, lib)
	root, err := b.install(ctx, "postgresql", version, func(ctx context.Context, dir string) error {
		if err := b.unpackDebian(ctx, dir, suite, packages); err != nil {
			return err
		}
		programs, err := postgresPrograms(dir)
		if err != nil {
			return err
		}
		loader := []string{filepath.Join(dir, lib, "ld-linux-x86-64.so.2"), "--library-path", filepath.Join(dir, lib), filepath.Join(dir, "usr/bin/patchelf")}
		for _, program := range []string{programs.Postgres, programs.Initdb} {
			for _, argv := range [][]string{
				{"--set-interpreter", filepath.Join(final, "ld-linux-x86-64.so.2"), program},
				{"--force-rpath", "--set-rpath", final, program}, // for the libraries that its modules load, too
			} {
				if err := (command{argv: append(loader[:len(loader):len(loader)], argv...)}).run(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return postgresPrograms(root)
}

func postgresPrograms(root string) (*PostgreSQL, error) {
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/postgresql/*/bin/postgres"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%s holds %d PostgreSQL servers, not one: delete the folder and try again (%w)", root, len(found), err)
	}
	return &PostgreSQL{Postgres: found[0], Initdb: filepath.Join(filepath.Dir(found[0]), "initdb")}, nil
}
