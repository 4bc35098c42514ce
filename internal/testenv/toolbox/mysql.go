package toolbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MySQL is an unpacked MySQL server and client with a data directory to copy.
type MySQL struct {
	root string
	// Template is an initialised, cleanly shut down data directory without a server UUID: users root (no password, from anywhere)
	// and tide (password "tide-secret", with SELECT, REPLICATION SLAVE and REPLICATION CLIENT). Copy it, never run on it.
	Template string
}

// Users made in every server, before its binary log begins.
const templateUsers = `CREATE USER 'root'@'%' IDENTIFIED BY '';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
CREATE USER 'tide'@'%' IDENTIFIED BY 'tide-secret';
GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'tide'@'%';
`

// MySQL fetches the server and makes the data directory template.
func (b *Box) MySQL(ctx context.Context) (*MySQL, error) {
	suite, packages := b.pinned["DEBIAN_SUITE"], strings.Fields(b.pinned["MYSQL_PACKAGES"])
	root, err := b.install(ctx, "mysql", suite, func(ctx context.Context, dir string) error {
		return b.unpackDebian(ctx, dir, suite, packages)
	})
	if err != nil {
		return nil, err
	}
	m := &MySQL{root: root}
	// The folder's own age is part of the name: a server fetched anew gets a template of its own.
	st, err := os.Stat(filepath.Join(root, "usr/sbin/mysqld"))
	if err != nil {
		return nil, fmt.Errorf("%s holds no mysqld: delete the folder and try again: %w", root, err)
	}
	version := digest(templateUsers, st.ModTime().UTC().String())
	template, err := b.install(ctx, "mysql-data", version, func(ctx context.Context, dir string) error {
		data, users := filepath.Join(dir, "data"), filepath.Join(dir, "users.sql")
		if err := os.WriteFile(users, []byte(templateUsers), 0o644); err != nil {
			return err
		}
		argv := append(m.Server(), "--initialize-insecure", "--datadir="+data, "--init-file="+users)
		if err := (command{argv: argv}).run(ctx); err != nil {
			return err
		}
		return os.Remove(filepath.Join(data, "auto.cnf"))
	})
	if err != nil {
		return nil, err
	}
	m.Template = filepath.Join(template, "data")
	return m, nil
}

// Server is the command line of mysqld up to its first own option. The packages bring their own C library, so the program is started
// by their loader.
func (m *MySQL) Server() []string {
	usr := filepath.Join(m.root, "usr")
	return append(
		m.program("sbin/mysqld"), "--no-defaults", "--user=root", "--basedir="+usr, "--secure-file-priv=",
		"--lc-messages-dir="+filepath.Join(usr, "share/mysql"), "--plugin-dir="+filepath.Join(usr, "lib/mysql/plugin"),
	)
}

// Client is the command line of one of the client programs: mysql, mysqldump, mysqlbinlog, mysqladmin, mysqlslap.
func (m *MySQL) Client(name string) []string { return m.program("bin/" + name) }

func (m *MySQL) program(path string) []string {
	lib := filepath.Join(m.root, "usr/lib/x86_64-linux-gnu")
	return []string{filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, filepath.Join(m.root, "usr", path)}
}
