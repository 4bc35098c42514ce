package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// doctor runs doctor and demands an exit code. It returns the paragraph of each server, by address.
func (p *place) doctor(t *testing.T, source string, code int) map[string]string {
	t.Helper()
	got, out, log := run(t, p.env, append([]string{"doctor", "--source", source, "--tables", "app.*,!app.ignored"}, p.args...)...)
	if got != code {
		t.Errorf("doctor: exit code %d, want %d\n%s%s", got, code, out, log)
	}
	m := map[string]string{}
	for _, paragraph := range strings.Split(out, "\n\n")[1:] {
		host, _, _ := strings.Cut(paragraph, " ")
		m[host] = paragraph
	}
	return m
}

// says demands lines of a paragraph, as regular expressions of whole lines.
func says(t *testing.T, paragraph string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !regexp.MustCompile("(?m)^" + line + "$").MatchString(paragraph) {
			t.Errorf("no line is %q:\n%s", line, paragraph)
		}
	}
}

// TestDoctor: everything that a verdict rests on is printed, for servers of every kind.
func TestDoctor(t *testing.T) {
	cluster := testenv.Topology(t, 3, testenv.ReadOnly())
	primary, well, behind, errant := cluster.Primary, cluster.Replicas[0], cluster.Replicas[1], cluster.Replicas[2]
	primary.Exec(t, schema)
	filtered := testenv.AddReplica(t, primary, testenv.Args("--replicate-do-db=other"))
	unlogged := testenv.AddReplica(t, primary, testenv.Args("--binlog-ignore-db=app", "--binlog-row-metadata=MINIMAL", "--binlog-expire-logs-seconds=0"))
	partial := testenv.AddReplica(t, primary, testenv.Args("--binlog-row-image=MINIMAL", "--binlog-expire-logs-seconds=7200"))
	at := cluster.Sync(t)
	behind.Exec(t, "STOP REPLICA")
	primary.Exec(t, "UPDATE app.hot SET n = 1")
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(primary))
	primary.Exec(t, "UPDATE app.hot SET n = 2", "UPDATE app.hot SET n = 3")
	errant.Exec(t, "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF; SET gtid_next = '"+errant.UUID()+":4'; BEGIN; COMMIT; SET gtid_next = AUTOMATIC")
	everyone := []*testenv.Server{primary, well, filtered, unlogged, partial, errant}
	for _, s := range everyone {
		s.WaitFor(t, primary.Executed(t))
	}
	id := primary.UUID()
	_, last, _ := strings.Cut(at, ":1-")
	var n int
	if _, err := fmt.Sscan(last, &n); err != nil {
		t.Fatal(err)
	}
	const nobody = "127.0.0.1:1"
	source := strings.TrimSuffix(testenv.URL(append(everyone, behind)...), "/") + "," + nobody + "/"
	said := lake.doctor(t, source, 0)

	all := []string{
		fmt.Sprintf(`  executed    %d transactions; beyond the checkpoint: 2 \(%s:%d-%d\); of the checkpoint it lacks: none`, n+3, id, n+2, n+3),
		`  purged      0 transactions; of those the lake lacks: none`,
		`  privileges  REPLICATION SLAVE, REPLICATION CLIENT, sees 5 followed tables`,
	}
	const settings = `  settings    gtid_mode=ON log_bin=ON binlog_format=ROW binlog_row_image=FULL binlog_row_metadata=FULL log_replica_updates=ON`
	const days = `  retention   keeps 30 days; what the lake lacks is safe for 30 days \(in bin\.\d+\)`
	const lag = `  lag         \d+ s behind its source`
	says(t, said[primary.Addr()], append(
		all, regexp.QuoteMeta(primary.Addr())+`  can-serve: primary, 2 transactions to send`, `  server      MySQL 9\.[-.0-9]+, primary, server_uuid `+id,
		settings, days, `  lag         none: it is the primary`, `  filters     none`,
	)...)
	says(t, said[well.Addr()], append(
		all, regexp.QuoteMeta(well.Addr())+`  can-serve: replica, 2 transactions to send.*`,
		`  server      MySQL 9\.[-.0-9]+, replica of `+id+`, server_uuid `+well.UUID()+`, read-only`, settings, days, lag, `  filters     none`,
	)...)
	says(t, said[filtered.Addr()],
		regexp.QuoteMeta(filtered.Addr())+`  filtered: replicate-do-db=other hides app\.\w+; its transactions arrive empty and count as executed`,
		all[0], `  filters     replicate-do-db=other`, `  do          take the filter off .*--tables`)
	says(t, said[unlogged.Addr()],
		regexp.QuoteMeta(unlogged.Addr())+`  filtered: binlog-ignore-db=app hides app\.\w+; .*`, `  filters     binlog-ignore-db=app`,
		`  retention   nothing is purged by itself`, `  note        binlog_row_metadata is MINIMAL: .*`)
	says(t, said[partial.Addr()],
		regexp.QuoteMeta(partial.Addr())+`  wrong-settings: binlog_row_image is MINIMAL: .*`, `  settings    .* binlog_row_image=MINIMAL .*`,
		`  retention   keeps 2 h; what the lake lacks is safe for 2 h \(in bin\.\d+\)`, `  do          SET PERSIST binlog_row_image=FULL; .*`,
		`  note        it keeps its binary log for 2 h only: .*`)
	says(t, said[errant.Addr()],
		regexp.QuoteMeta(errant.Addr())+`  diverged: it has errant transactions.*: `+errant.UUID()+`:4`,
		`  executed    .*; it skips 3 \(`+errant.UUID()+`:1-3\)`, `  do          apply them on the primary, or rebuild this replica`)
	says(t, said[behind.Addr()],
		regexp.QuoteMeta(behind.Addr())+fmt.Sprintf(`  behind: it lacks 1 transaction of the position: %s:%d; held by .*; its replication does not run`, id, n+1),
		fmt.Sprintf(`  executed    %d transactions; beyond the checkpoint: none; of the checkpoint it lacks: 1 \(%s:%d\)`, n, id, n+1),
		`  lag         its replication does not run`, `  do          wait, or check its replication`)
	says(t, said[nobody], regexp.QuoteMeta(nobody)+`  unreachable \(network\): .*connection refused`, `  do          is the server up, .*`)

	// The same for machines.
	code, out, log := run(t, nil, append([]string{"doctor", "--json", "--source", source, "--tables", "app.*,!app.ignored"}, lake.args...)...)
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 8 {
		t.Fatalf("doctor --json: exit code %d, %v\n%s%s", code, err, out, log)
	}
	for i, want := range []map[string]any{
		{"host": primary.Addr(), "verdict": "can-serve", "role": "primary", "server_uuid": id, "gtid_executed": fmt.Sprintf("%s:1-%d", id, n+3), "extra": fmt.Sprintf("%s:%d-%d", id, n+2, n+3), "retention_seconds": 2592000., "tables": 5.},
		{"host": well.Addr(), "role": "replica", "read_only": true},
		{"host": filtered.Addr(), "verdict": "filtered", "filters": []any{"replicate-do-db=other"}},
		{"host": unlogged.Addr(), "verdict": "filtered", "filters": []any{"binlog-ignore-db=app"}, "headroom": map[string]any{"forever": true}},
		{"host": partial.Addr(), "verdict": "wrong-settings", "retention_seconds": 7200.},
		{"host": errant.Addr(), "verdict": "diverged", "errant": errant.UUID() + ":4", "gtid_holes": errant.UUID() + ":1-3"},
		{"host": behind.Addr(), "verdict": "behind", "lacks": fmt.Sprintf("%s:%d", id, n+1), "missing": fmt.Sprintf("%s:%d", id, n+1)},
		{"host": nobody, "verdict": "unreachable", "fault": "network"},
	} {
		for key, value := range want {
			if !reflect.DeepEqual(list[i][key], value) {
				t.Errorf("%s of %s is %v, want %v", key, want["host"], list[i][key], value)
			}
		}
	}
	if s, ok := list[4]["settings"].(map[string]any); !ok || s["binlog_row_image"] != "MINIMAL" {
		t.Errorf("settings of %s are %v", partial.Addr(), list[4]["settings"])
	}
	if lag, ok := list[1]["lag_seconds"].(float64); !ok || lag < 0 {
		t.Errorf("the lag of %s is %v", well.Addr(), list[1]["lag_seconds"])
	}

	// Where no server can serve, the exit code is 3, whatever the reason.
	lake.doctor(t, testenv.URL(behind), 3)
	lake.doctor(t, "mysql://tide:x@"+nobody+"/", 3)
	said = lake.doctor(t, "mysql://tide:wrong-secret@"+primary.Addr()+"/", 3)
	says(t, said[primary.Addr()], regexp.QuoteMeta(primary.Addr())+`  unreachable \(auth\): .*Access denied.*`, `  do          check user, password .*`)
	if strings.Contains(said[primary.Addr()], "wrong-secret") {
		t.Error("it tells the password")
	}

	// Two hours of retention, of which the file that is needed has used one and a half.
	partial.Exec(t, "SET GLOBAL binlog_row_image = 'FULL'; SET timestamp = UNIX_TIMESTAMP() - 5400; FLUSH BINARY LOGS")
	said = lake.doctor(t, testenv.URL(partial), 0)
	says(t, said[partial.Addr()], `  retention   keeps 2 h; what the lake lacks is safe for (29 min \d+ s|30 min) \(in bin\.\d+\)`)

	partial.Purge(t)
	said = lake.doctor(t, testenv.URL(partial), 3)
	says(t, said[partial.Addr()],
		regexp.QuoteMeta(partial.Addr())+fmt.Sprintf(`  purged: it has purged 2 transactions that the position lacks: %s:%d-%d`, id, n+2, n+3),
		fmt.Sprintf(`  purged      %d transactions; of those the lake lacks: 2 \(%s:%d-%d\)`, n+3, id, n+2, n+3),
		`  retention   keeps 2 h; what the lake lacks is purged already`, `  do          load the tables again \(tidemark load\), .*`)
	said = lake.doctor(t, testenv.URL(partial, primary), 0)
	says(t, said[partial.Addr()], `  do          use `+regexp.QuoteMeta(primary.Addr())+`, which still has them`)
}

// TestDoctorPrivileges: what the user may not look at is told, with the privilege that it takes.
func TestDoctorPrivileges(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema, `CREATE USER nothing IDENTIFIED BY 'x'; CREATE USER stream IDENTIFIED BY 'x'; CREATE USER tables IDENTIFIED BY 'x';
		GRANT REPLICATION SLAVE ON *.* TO stream, tables; GRANT SELECT ON app.* TO tables`)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	as := func(user string, code int) string {
		return lake.doctor(t, "mysql://"+user+":x@"+s.Addr()+"/", code)[s.Addr()]
	}
	says(t, as("nothing", 3), `.* unreachable \(privilege\): the user may not read the binary log: .*`, `  do          .*REPLICATION SLAVE.*`)
	says(t, as("stream", 0),
		`.* can-serve: role unknown, .*`, `  lag         unknown \(takes REPLICATION CLIENT\)`, `  privileges  REPLICATION SLAVE, no REPLICATION CLIENT, sees 0 followed tables`,
		`  filters     not all could be looked at, see the notes`, `  note        could not look at binlog-do-db and binlog-ignore-db \(takes REPLICATION CLIENT\)`,
		`  note        the user sees no followed table on it: .*SELECT.*`)
	says(t, as("tables", 0), `  privileges  REPLICATION SLAVE, no REPLICATION CLIENT, sees 5 followed tables`, `  retention   keeps 30 days; what the lake lacks is safe for .*`)
}
