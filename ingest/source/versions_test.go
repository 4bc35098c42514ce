package source

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemark/tidemark/checkpoint"
)

// played is a server that answers as another version would: no such server is to be had here.
type played struct {
	server.EmptyReplicationHandler
	variables map[string]string
	shows     map[string][2][]string // columns, values; a statement that is not there is a syntax error
	denied    []string
}

func (p *played) UseDB(string) error               { return nil }
func (p *played) HandleRegisterSlave([]byte) error { return nil }

func (p *played) HandleQuery(q string) (*mysql.Result, error) {
	q = strings.ToLower(q)
	for _, d := range p.denied {
		if strings.Contains(q, d) {
			return nil, mysql.NewError(1227, "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT privilege(s) for this operation")
		}
	}
	if list, ok := strings.CutPrefix(q, "select @@global."); ok {
		var names []string
		var values []any
		for name := range strings.SplitSeq(list, ", @@global.") {
			v, ok := p.variables[name]
			if !ok {
				return nil, mysql.NewError(1193, "Unknown system variable '"+name+"'")
			}
			names, values = append(names, name), append(values, v)
		}
		r, err := mysql.BuildSimpleTextResultset(names, [][]any{values})
		return mysql.NewResult(r), err
	}
	if show, ok := p.shows[q]; ok {
		var rows [][]any
		if len(show[1]) > 0 {
			var row []any
			for _, v := range show[1] {
				row = append(row, v)
			}
			rows = append(rows, row)
		}
		r, err := mysql.BuildSimpleTextResultset(show[0], rows)
		return mysql.NewResult(r), err
	}
	if strings.Contains(q, "performance_schema.") {
		return nil, mysql.NewError(1146, "Table doesn't exist")
	}
	return nil, mysql.NewError(1064, "You have an error in your SQL syntax")
}

func (p *played) run(t *testing.T) Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	version := p.variables["version"]
	conf := server.NewServer(version, mysql.DEFAULT_COLLATION_ID, mysql.AUTH_NATIVE_PASSWORD, nil, nil)
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { _ = l.Close() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				users := server.NewInMemoryAuthenticationHandler(mysql.AUTH_NATIVE_PASSWORD)
				_ = users.AddUser("u", "p")
				c, err := conf.NewCustomizedConn(in, users, p)
				for err == nil {
					err = c.HandleCommand()
				}
				_ = in.Close()
			})
		}
	})
	return Config{Hosts: []string{l.Addr().String()}, User: "u", Password: "p"}
}

const someUUID = "0aaaaaaa-71ca-11e1-9e33-c80aa9429562"

func TestVersions(t *testing.T) {
	t.Parallel()
	base := func(more map[string]string) map[string]string {
		v := map[string]string{
			"server_uuid": someUUID, "server_id": "7", "gtid_mode": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "log_bin": "1", "read_only": "0",
			"gtid_owned": "", "gtid_executed": someUUID + ":1-9", "gtid_purged": someUUID + ":1-2",
		}
		for name, value := range more {
			v[name] = value
		}
		return v
	}
	statusColumns := []string{"Master_UUID", "Slave_IO_Running", "Slave_SQL_Running", "Seconds_Behind_Master", "Replicate_Ignore_DB", "Last_SQL_Error"}
	logColumns := []string{"File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB"}
	probe := func(t *testing.T, p *played) State {
		states := ProbeAll(t.Context(), p.run(t))
		require.NoError(t, states[0].Err)
		return states[0]
	}
	t.Run("5.7 replica", func(t *testing.T) {
		s := probe(t, &played{
			variables: base(map[string]string{"version": "5.7.44-log", "log_slave_updates": "1", "expire_logs_days": "3"}),
			shows: map[string][2][]string{
				"show slave status":  {statusColumns, []string{"1bbbbbbb-71ca-11e1-9e33-c80aa9429562", "Yes", "Yes", "4", "shop", ""}},
				"show master status": {logColumns, []string{"bin.1", "154", "", "tmp"}},
			},
		})
		assert.Equal(t, "5.7.44-log", s.Version)
		assert.Equal(t, checkpoint.RoleReplica, s.Role)
		assert.True(t, s.Running && s.LogReplica)
		assert.Equal(t, 4*time.Second, *s.Lag)
		assert.Equal(t, 72*time.Hour, s.Retention)
		assert.Empty(t, s.Metadata)
		assert.Empty(t, s.NotSeen)
		assert.Equal(t, "MySQL 5.7.44-log, before 9.6", s.HidesCascades)
		require.NotEmpty(t, s.Binlog, "%+v", s.Replication)
		assert.Equal(t, "replicate-ignore-db=shop", s.Applier[0].String())
		assert.Equal(t, "binlog-ignore-db=tmp", s.Binlog[0].String())
		v := Judge([]State{s}, set(someUUID+":1-5"), Filter{}, nil)[0]
		assert.Equal(t, Filtered, v.Kind)
		crm, err := ParseFilter("crm.*")
		require.NoError(t, err)
		assert.Equal(t, CanServe, Judge([]State{s}, set(someUUID+":1-5"), crm, nil)[0].Kind)
		v = Judge([]State{s}, set(someUUID+":4-5"), crm, nil)[0]
		assert.Equal(t, Purged, v.Kind)
		assert.Contains(t, v.Advice, someUUID+":1-5", "the set that was probably meant")
	})
	t.Run("8.0 primary, without REPLICATION CLIENT", func(t *testing.T) {
		s := probe(t, &played{
			variables: base(map[string]string{"version": "8.0.36", "log_replica_updates": "1", "binlog_expire_logs_seconds": "3600", "expire_logs_days": "0", "binlog_row_metadata": "FULL", "binlog_expire_logs_auto_purge": "1"}),
			denied:    []string{"show ", "performance_schema"},
		})
		assert.Equal(t, checkpoint.RoleUnknown, s.Role)
		assert.Len(t, s.NotSeen, 4)
		v := Judge([]State{s}, set(someUUID+":1-5"), Filter{}, nil)[0]
		assert.Equal(t, CanServe, v.Kind)
		assert.Contains(t, strings.Join(v.Warnings, "; "), "1 h only")
	})
	t.Run("Percona Server", func(t *testing.T) {
		s := probe(t, &played{
			variables: base(map[string]string{"version": "8.0.36-28", "log_replica_updates": "1", "binlog_expire_logs_seconds": "0", "expire_logs_days": "0", "binlog_space_limit": "1073741824", "max_binlog_files": "12"}),
			shows:     map[string][2][]string{"show replica status": {statusColumns, nil}, "show binary log status": {logColumns, nil}},
		})
		assert.Equal(t, int64(1<<30), s.SpaceLimit)
		assert.Equal(t, 12, s.FilesLimit)
		assert.Zero(t, s.Retention)
	})
	t.Run("GTIDs off", func(t *testing.T) {
		s := probe(t, &played{
			variables: base(map[string]string{"version": "5.7.44", "gtid_mode": "OFF", "gtid_executed": "", "gtid_purged": "", "log_slave_updates": "0", "expire_logs_days": "0"}),
			shows:     map[string][2][]string{"show slave status": {statusColumns, nil}, "show master status": {logColumns, nil}},
		})
		assert.False(t, s.Usable())
		assert.Zero(t, s.Retention)
		v := Judge([]State{s}, set(someUUID+":1-5"), Filter{}, nil)[0]
		assert.Equal(t, WrongSettings, v.Kind)
		assert.Contains(t, v.Advice, "OFF_PERMISSIVE")
		_, err := Pick([]Verdict{v}, set(someUUID+":1-5"), "")
		var none *NoServerError
		require.ErrorAs(t, err, &none)
		assert.True(t, none.Exact())
	})
	t.Run("MariaDB", func(t *testing.T) {
		s := probe(t, &played{variables: map[string]string{"version": "10.11.6-MariaDB-log"}})
		v := Judge([]State{s}, checkpoint.Set{}, Filter{}, nil)[0]
		assert.Equal(t, WrongSettings, v.Kind)
		assert.Contains(t, v.Reason, "MariaDB")
	})
}
