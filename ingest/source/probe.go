package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/tidemark/tidemark/checkpoint"
)

// State is what a server said about itself, at one moment.
type State struct {
	Host string
	Err  error // why nothing else is known; *Error

	Version    string
	UUID       [16]byte
	ServerID   uint32
	GTIDMode   string // "ON", "OFF", "ON_PERMISSIVE", "OFF_PERMISSIVE"; empty where there are no GTIDs
	Executed   checkpoint.Set
	Owned      checkpoint.Set // transactions being committed when Executed was asked for
	Purged     checkpoint.Set
	LogBin     bool
	Format     string // binlog_format
	RowImage   string // binlog_row_image
	Metadata   string // binlog_row_metadata; empty before 8.0.1
	PartialRow bool   // binlog_row_value_options has PARTIAL_JSON
	LogReplica bool   // log_replica_updates
	ReadOnly   bool
	Retention  time.Duration // how long the server keeps its binary log; 0: for ever
	SpaceLimit int64         // bytes of binary log the server keeps, where it has such a limit; 0: it has none
	FilesLimit int           // binary log files it keeps, likewise
	MayDump    error         // why the user may not read the binary log, nil when it may

	End checkpoint.Place // where its log ends, looked at after gtid_mode; zero when the user may not see it

	// HidesCascades says why changes made by the actions of foreign keys do not reach the server's binary log; empty when
	// they do.
	HidesCascades string

	Replication
	NotSeen []string // what could not be looked at, and what that takes

	way *way // where to read a position on, by file and offset; nil when that was not looked for
}

// Usable reports whether the server answered and has GTIDs.
func (s State) Usable() bool { return s.Err == nil && s.GTIDMode != "" && s.GTIDMode != "OFF" }

// ByGTID reports whether the server looks for a GTID set in its log: others know GTIDs at most, and are read by file and
// offset. (They refuse with "cannot start in AUTO_POSITION mode", ON_PERMISSIVE too.)
func (s State) ByGTID() bool { return s.Err == nil && s.GTIDMode == "ON" }

// Answers reports whether the server answered and is a MySQL server.
func (s State) Answers() bool { return s.Err == nil && !s.mariaDB() }

func (s State) mariaDB() bool { return strings.Contains(strings.ToLower(s.Version), "mariadb") }

// UUIDString returns the server's UUID as MySQL prints it.
func (s State) UUIDString() string { return checkpoint.FormatUUID(s.UUID) }

func (s State) rules() checkpoint.Server {
	return checkpoint.Server{Name: s.Host, UUID: s.UUID, Executed: s.Executed, Owned: s.Owned, Purged: s.Purged, Role: s.Role, Sources: s.Sources}
}

// ProbeAll probes all servers of the list at once. It takes no longer than the slowest may: about two ConnectTimeouts.
func ProbeAll(ctx context.Context, cfg Config) []State {
	states := make([]State, len(cfg.Hosts))
	var wg sync.WaitGroup
	for i, host := range cfg.Hosts {
		wg.Go(func() {
			s, err := Probe(ctx, cfg, host)
			if err != nil {
				s = State{Host: host, Err: err}
			}
			states[i] = s
		})
	}
	wg.Wait()
	return states
}

// Probe asks one server about itself. Its error is a *Error. Versions from 5.7 to 9.x are asked in their own words;
// what the user may not see is listed in NotSeen.
func Probe(ctx context.Context, cfg Config, host string) (State, error) {
	cfg = cfg.ensureDefaults()
	c, err := cfg.connect(ctx, host)
	if err != nil {
		return State{}, err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	s := State{Host: host, Version: c.GetServerVersion()}
	if err = c.raw.SetDeadline(time.Now().Add(cfg.ConnectTimeout)); err == nil {
		if err = s.ask(c); err == nil {
			err = s.tryRegister(c, cfg)
		}
	}
	if err != nil {
		kind := Classify(err)
		if kind == KindFatal {
			kind = KindNetwork
		}
		if ctx.Err() != nil {
			kind = KindCanceled
		}
		return State{}, &Error{Kind: kind, Host: host, Op: "ask the server about itself", Err: err}
	}
	return s, nil
}

func (s *State) ask(c *session) error {
	if v, ok, err := c.variable("version"); err != nil {
		return err
	} else if ok {
		s.Version = v
	}
	if s.mariaDB() {
		return nil // its GTIDs are another thing; Judge says so
	}
	var owned, executed, purged, uuid, id string
	for _, q := range []struct {
		to    *string
		names []string
	}{
		{&uuid, []string{"server_uuid"}},
		{&id, []string{"server_id"}},
		{&s.GTIDMode, []string{"gtid_mode"}},
		{&s.Format, []string{"binlog_format"}},
		{&s.RowImage, []string{"binlog_row_image"}},
		{&s.Metadata, []string{"binlog_row_metadata"}},
	} {
		v, _, err := c.variable(q.names...)
		if err != nil {
			return err
		}
		*q.to = v
	}
	var logBin, logReplica, readOnly, options string
	for _, q := range []struct {
		to    *string
		names []string
	}{
		{&logBin, []string{"log_bin"}},
		{&logReplica, []string{"log_replica_updates", "log_slave_updates"}},
		{&readOnly, []string{"read_only"}},
		{&options, []string{"binlog_row_value_options"}},
	} {
		v, _, err := c.variable(q.names...)
		if err != nil {
			return err
		}
		*q.to = v
	}
	s.LogBin, s.LogReplica, s.ReadOnly = isOn(logBin), isOn(logReplica), isOn(readOnly)
	s.PartialRow = strings.Contains(strings.ToUpper(options), "PARTIAL_JSON")
	if n, err := strconv.ParseUint(id, 10, 32); err == nil {
		s.ServerID = uint32(n)
	}
	var err error
	if s.UUID, err = checkpoint.ParseUUID(uuid); err != nil {
		return fmt.Errorf("server_uuid: %w", err)
	}
	if err := s.askRetention(c); err != nil {
		return err
	}
	if err := s.askCascades(c); err != nil {
		return err
	}
	if err := s.Replication.ask(c, s); err != nil {
		return err
	}
	// All sets in one statement, and last: they are the answer that ages fastest. A transaction passes from owned to
	// executed in one step, so asked for in this order it is in one of the two.
	row, absent, err := c.lookup("SELECT @@global.gtid_owned, @@global.gtid_executed, @@global.gtid_purged")
	if err != nil || absent {
		return err
	}
	owned, executed, purged = row[0], row[1], row[2]
	if s.Owned, err = checkpoint.ParseOwned(owned); err != nil {
		return fmt.Errorf("gtid_owned: %w", err)
	}
	if s.Executed, err = checkpoint.ParseSet(executed); err != nil {
		return fmt.Errorf("gtid_executed: %w", err)
	}
	if s.Purged, err = checkpoint.ParseSet(purged); err != nil {
		return fmt.Errorf("gtid_purged: %w", err)
	}
	return nil
}

func isOn(v string) bool { return v == "1" || strings.EqualFold(v, "ON") }

// tryRegister registers as a replica, which takes the privilege that a dump takes; the registration ends with the
// connection.
func (s *State) tryRegister(c *session, cfg Config) error {
	err := register(c, cfg.drawServerID(s.ServerID))
	var my *mysql.MyError
	if errors.As(err, &my) {
		s.MayDump = err
		return nil
	}
	return err
}

// Reached returns what the servers have between them: every transaction that a usable one has executed, but for those
// that are errant on a replica.
func Reached(states []State) checkpoint.Set {
	servers := usable(states)
	errant := checkpoint.Errant(servers)
	var all checkpoint.Set
	for i := range servers {
		all = all.Union(servers[i].Executed.Subtract(errant[i]))
	}
	return all
}

// Oldest returns the earliest position from which a usable server can still serve: the smallest purged set.
func Oldest(states []State) checkpoint.Set {
	var least checkpoint.Set
	for i, s := range usable(states) {
		if i == 0 || s.Purged.Count() < least.Count() {
			least = s.Purged
		}
	}
	return least.Clone()
}

func usable(states []State) []checkpoint.Server {
	var servers []checkpoint.Server
	for i := range states {
		if states[i].Usable() {
			servers = append(servers, states[i].rules())
		}
	}
	return servers
}

// Tables returns the followed tables that exist in the source, as far as the user may see them, in order: those of the first
// server that answers, a primary before others.
func Tables(ctx context.Context, cfg Config, states []State, filter Filter) ([]TableName, error) {
	cfg = cfg.ensureDefaults()
	last := error(&NoServerError{Verdicts: Judge(states, checkpoint.Set{}, filter, nil)})
	for _, primary := range []bool{true, false} {
		for i := range states {
			if !states[i].Answers() || (states[i].Role == checkpoint.RolePrimary) != primary {
				continue
			}
			names, err := tablesOf(ctx, cfg, states[i].Host, filter)
			if err == nil {
				return names, nil
			}
			last = err
		}
	}
	return nil, last
}

func tablesOf(ctx context.Context, cfg Config, host string, filter Filter) ([]TableName, error) {
	c, err := cfg.connect(ctx, host)
	if err != nil {
		return nil, err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	// A server with very many tables may take a while.
	if err := c.raw.SetDeadline(time.Now().Add(10 * cfg.ConnectTimeout)); err != nil {
		return nil, &Error{Kind: Classify(err), Host: host, Op: "list the tables", Err: err}
	}
	rows, err := c.rows("SELECT table_schema AS d, table_name AS t FROM information_schema.tables " +
		"WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('mysql','sys','information_schema','performance_schema','ndbinfo') ORDER BY 1, 2")
	if err != nil {
		return nil, &Error{Kind: Classify(err), Host: host, Op: "list the tables", Err: err}
	}
	var names []TableName
	for _, r := range rows {
		if filter.Match(r["d"], r["t"]) {
			names = append(names, TableName{DB: r["d"], Table: r["t"]})
		}
	}
	return names, nil
}
