// Command demo shows tidemark's main job on servers of its own, in about a minute: a shop's traffic on a MySQL primary is
// followed from a replica into a lake in a local folder; the replica is killed, then tidemark itself; and at the end MySQL
// and DuckDB give the same answers, at the same GTID set.
//
// It leaves nothing behind but the lake, whose place it prints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/tidemark/tidemark/internal/testenv/server"
	"github.com/tidemark/tidemark/internal/testenv/toolbox"
)

const shop = `
CREATE DATABASE shop;
CREATE TABLE shop.customers (id INT NOT NULL PRIMARY KEY, name VARCHAR(80) NOT NULL, city VARCHAR(40), since DATE NOT NULL);
CREATE TABLE shop.orders (id BIGINT NOT NULL PRIMARY KEY, customer INT NOT NULL, status ENUM('open','paid','sent','returned') NOT NULL,
  total DECIMAL(12,2) NOT NULL, placed DATETIME(6) NOT NULL, note VARCHAR(200));
CREATE TABLE shop.order_items (order_id BIGINT NOT NULL, line INT NOT NULL, product VARCHAR(40) NOT NULL, pieces INT NOT NULL, price DECIMAL(10,2) NOT NULL,
  PRIMARY KEY (order_id, line));
`

// questions are asked of both sides. %s is how a side names the table.
var questions = []struct{ what, sql, table string }{
	{"customers", "SELECT count(*) FROM %s", "customers"},
	{"orders", "SELECT count(*) FROM %s", "orders"},
	{"revenue of orders sent", "SELECT sum(total) FROM %s WHERE status = 'sent'", "orders"},
	{"newest order", "SELECT max(placed) FROM %s", "orders"},
	{"pieces in all orders", "SELECT sum(pieces) FROM %s", "order_items"},
	{"value of all items", "SELECT sum(pieces * price) FROM %s", "order_items"},
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	began   time.Time
	program string
	lake    string
	source  string
	primary *server.MySQL
	replica []*server.MySQL
	duck    *server.DuckDB
}

func (d *demo) say(format string, args ...any) {
	fmt.Printf("%5.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func run(ctx context.Context) (err error) {
	d := &demo{began: time.Now()}
	root, err := toolbox.ModuleRoot()
	if err != nil {
		return err
	}
	d.program = filepath.Join(root, "bin", "tidemark")
	dir, err := os.MkdirTemp("", "tidemark-demo-")
	if err != nil {
		return err
	}
	d.lake = "file://" + filepath.Join(dir, "lake")
	if err := os.Mkdir(filepath.Join(dir, "lake"), 0o755); err != nil {
		return err
	}

	closeAll, err := d.startServers(ctx)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return err
	}
	traffic, stopTraffic := context.WithCancel(ctx)
	defer stopTraffic()
	made := make(chan error, 1)
	go func() { made <- d.traffic(traffic) }()

	ingest, err := d.ingest(filepath.Join(dir, "ingest.log"))
	if err != nil {
		return err
	}
	defer func() { _ = ingest.stop() }()
	d.say("tidemark ingest runs: three servers in --source, the lake in %s", d.lake)
	used, err := d.waitForCommit(ctx, "")
	if err != nil {
		return err
	}
	d.say("orders committed, read from the %s", d.name(used))

	victim := d.byUUID(used)
	if err := victim.Kill(); err != nil {
		return err
	}
	d.say("kill -9 of the %s", d.name(used))
	killed := time.Now()
	next, err := d.waitForCommit(ctx, used)
	if err != nil {
		return err
	}
	d.say("orders committed, read from the %s: %.1f s after the kill", d.name(next), time.Since(killed).Seconds())

	ingest.kill()
	d.say("kill -9 of tidemark itself; the shop goes on selling")
	before, _, err := d.checkpoint(ctx)
	if err != nil {
		return err
	}
	if ingest, err = d.ingest(filepath.Join(dir, "ingest.log")); err != nil {
		return err
	}
	if _, err := d.waitForSet(ctx, func(set string) bool { return set != before }); err != nil {
		return err
	}
	d.say("started again: it went on from the GTID set in the lake, with no file but the lake's own")

	stopTraffic()
	if err := <-made; err != nil {
		return err
	}
	executed, err := d.primary.Executed(ctx)
	if err != nil {
		return err
	}
	if _, err := d.waitForSet(ctx, func(set string) bool { return set == executed }); err != nil {
		return err
	}
	if err := ingest.stop(); err != nil {
		return err
	}
	d.say("traffic stopped, tidemark caught up and stopped")
	return d.compare(ctx, executed)
}

// startServers brings up a primary, two replicas and DuckDB. The returned function ends them.
func (d *demo) startServers(ctx context.Context) (closeAll func() error, err error) {
	var closers []func() error
	closeAll = func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	box, err := toolbox.Open(func(line string) { fmt.Println("       ", line) })
	if err != nil {
		return closeAll, err
	}
	tools, err := box.MySQL(ctx)
	if err != nil {
		return closeAll, err
	}
	interpreter, err := box.Python(ctx)
	if err != nil {
		return closeAll, err
	}
	d.began = time.Now() // what came before was set-up
	for i := range 3 {
		s, err := server.StartMySQL(ctx, tools, server.MySQLOptions{ReadOnly: false})
		if err != nil {
			return closeAll, err
		}
		closers = append(closers, s.Close)
		if i == 0 {
			d.primary = s
			continue
		}
		d.replica = append(d.replica, s)
		if err := s.Replicate(ctx, d.primary); err != nil {
			return closeAll, err
		}
		if err := s.Exec(ctx, "SET GLOBAL super_read_only = ON"); err != nil {
			return closeAll, err
		}
	}
	var version [][]string
	if version, err = d.primary.Query(ctx, "SELECT version()"); err != nil {
		return closeAll, err
	}
	d.say("MySQL %s: a primary on port %d, replicas on %d and %d", version[0][0], d.primary.Port, d.replica[0].Port, d.replica[1].Port)
	d.source = fmt.Sprintf("mysql://%s@%s,%s,%s/", server.User, d.replica[0].Addr(), d.replica[1].Addr(), d.primary.Addr())
	python, err := server.StartPython(ctx, interpreter)
	if err != nil {
		return closeAll, err
	}
	closers = append(closers, python.Close)
	d.duck, err = python.DuckDB(ctx)
	return closeAll, err
}

// traffic sells things until ctx ends.
func (d *demo) traffic(ctx context.Context) error {
	session, err := d.primary.Session(ctx, "")
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.Exec(shop); err != nil {
		return err
	}
	for i := 1; ctx.Err() == nil; i++ {
		if err := session.Exec(sale(i)); err != nil {
			return err
		}
	}
	return nil
}

// sale is one transaction over three tables.
func sale(i int) string {
	customer := 1 + rand.IntN(500)
	var b strings.Builder
	b.WriteString("BEGIN; ")
	fmt.Fprintf(&b, "INSERT INTO shop.customers VALUES (%d, 'Customer %d', ELT(1 + %d %% 4, 'Oslo', 'Łódź', 'Kyōto', NULL), CURRENT_DATE) ON DUPLICATE KEY UPDATE city = IF(RAND() < 0.1, 'Lima', city); ", customer, customer, customer)
	fmt.Fprintf(&b, "INSERT INTO shop.orders VALUES (%d, %d, 'open', 0, NOW(6), NULL); ", i, customer)
	for line := 1; line <= 1+i%3; line++ {
		fmt.Fprintf(&b, "INSERT INTO shop.order_items VALUES (%d, %d, 'product %d', %d, %d.%02d); ", i, line, rand.IntN(50), 1+rand.IntN(5), 1+rand.IntN(90), rand.IntN(100))
	}
	fmt.Fprintf(&b, "UPDATE shop.orders SET total = (SELECT SUM(pieces * price) FROM shop.order_items WHERE order_id = %d), status = 'paid' WHERE id = %d; ", i, i)
	if i > 20 {
		fmt.Fprintf(&b, "UPDATE shop.orders SET status = 'sent', note = 'on its way' WHERE id = %d AND status = 'paid'; ", i-rand.IntN(20))
	}
	if i%25 == 0 {
		fmt.Fprintf(&b, "DELETE FROM shop.order_items WHERE order_id = %d; DELETE FROM shop.orders WHERE id = %d; ", i-7, i-7)
	}
	b.WriteString("COMMIT")
	return b.String()
}

// process is a running tidemark.
type process struct {
	cmd    *exec.Cmd
	log    *os.File
	exited chan error
	done   bool
}

func (d *demo) ingest(logName string) (*process, error) {
	log, err := os.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(d.program, "ingest", "--source", d.source, "--lake", d.lake, "--tables", "shop.*", "--start", "earliest", "--commit-interval", "1s")
	cmd.Env = append(os.Environ(), "TIDEMARK_SOURCE_PASSWORD="+server.Password)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start tidemark (is it built? `make build`): %w", err)
	}
	p := &process{cmd: cmd, log: log, exited: make(chan error, 1)}
	go func() { p.exited <- cmd.Wait() }()
	return p, nil
}

func (p *process) end(s syscall.Signal) error {
	if p.done {
		return nil
	}
	p.done = true
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	err := <-p.exited
	return errors.Join(err, p.log.Close())
}

// stop asks for a clean end: the last complete transaction is committed.
func (p *process) stop() error {
	if err := p.end(syscall.SIGTERM); err != nil {
		text, _ := os.ReadFile(p.log.Name())
		return fmt.Errorf("tidemark: %w\n%s", err, text)
	}
	return nil
}

func (p *process) kill() { _ = p.end(syscall.SIGKILL) } // its exit status says only that it was killed

// checkpoint returns the recorded position of the orders, and the server it was read from; "" while there is none.
func (d *demo) checkpoint(ctx context.Context) (set, serverUUID string, err error) {
	out, err := exec.CommandContext(ctx, d.program, "checkpoint", "show", "--lake", d.lake, "--tables", "shop.orders", "--json").Output()
	if err != nil {
		return "", "", fmt.Errorf("tidemark checkpoint show: %w", err)
	}
	var tables []struct {
		Checkpoint struct {
			GTIDSet    string `json:"gtid_set"`
			ServerUUID string `json:"server_uuid"`
		} `json:"checkpoint"`
	}
	if err := json.Unmarshal(out, &tables); err != nil {
		return "", "", fmt.Errorf("tidemark checkpoint show: %w: %s", err, out)
	}
	if len(tables) == 0 {
		return "", "", nil
	}
	return tables[0].Checkpoint.GTIDSet, tables[0].Checkpoint.ServerUUID, nil
}

// waitForCommit waits until orders are committed that were read from another server than not.
func (d *demo) waitForCommit(ctx context.Context, not string) (serverUUID string, err error) {
	first := ""
	return d.wait(ctx, func(set, uuid string) bool {
		if set != "" && first == "" {
			first = set
		}
		return set != first && uuid != not
	})
}

func (d *demo) waitForSet(ctx context.Context, good func(set string) bool) (string, error) {
	return d.wait(ctx, func(set, _ string) bool { return good(set) })
}

func (d *demo) wait(ctx context.Context, good func(set, uuid string) bool) (serverUUID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		set, uuid, err := d.checkpoint(ctx)
		if err != nil {
			return "", err
		}
		if good(set, uuid) {
			return uuid, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no commit for a minute; the checkpoint is %q", set)
		case <-tick.C:
		}
	}
}

func (d *demo) byUUID(uuid string) *server.MySQL {
	for _, s := range append([]*server.MySQL{d.primary}, d.replica...) {
		if s.UUID() == uuid {
			return s
		}
	}
	return d.primary
}

func (d *demo) name(uuid string) string {
	for i, r := range d.replica {
		if r.UUID() == uuid {
			return fmt.Sprintf("replica %d", i+1)
		}
	}
	return "primary"
}

// compare asks both sides the same and fails where they differ.
func (d *demo) compare(ctx context.Context, executed string) error {
	set, _, err := d.checkpoint(ctx)
	if err != nil {
		return err
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\tMySQL\tDuckDB on the lake\n")
	different := 0
	for _, q := range questions {
		theirs, err := d.primary.Query(ctx, fmt.Sprintf(q.sql, "shop."+q.table))
		if err != nil {
			return err
		}
		ours, err := d.duck.Query(ctx, fmt.Sprintf(q.sql, fmt.Sprintf("iceberg_scan('%s/shop/%s')", strings.TrimPrefix(d.lake, "file://"), q.table)))
		if err != nil {
			return err
		}
		mark := ""
		if theirs[0][0] != ours[0][0] {
			different++
			mark = "  <-- differs"
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\n", q.what, theirs[0][0], ours[0][0], mark)
	}
	fmt.Fprintf(w, "GTID set\t%s\t%s\n", executed, set)
	if err := w.Flush(); err != nil {
		return err
	}
	if different > 0 || executed != set {
		return errors.New("lake and source differ")
	}
	fmt.Printf("\nThe lake stays in %s: DuckDB reads it as it is,\n  SELECT * FROM iceberg_scan('%s/shop/orders');\n", d.lake, strings.TrimPrefix(d.lake, "file://"))
	return nil
}
