package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Replicate makes s a replica of source, by GTID, and starts it. A replica of another source is turned to this one.
func (s *MySQL) Replicate(ctx context.Context, source *MySQL) error {
	return s.Exec(ctx, "STOP REPLICA", fmt.Sprintf(`CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s',
		SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=100000, SOURCE_HEARTBEAT_PERIOD=1`,
		source.Host, source.Port, User, Password), "START REPLICA")
}

// ReplicateByFile makes s a replica of source, by file and offset, from the beginning of its first file or from a place in
// one, and starts it.
func (s *MySQL) ReplicateByFile(ctx context.Context, source *MySQL, file string, offset uint64) error {
	return s.Exec(ctx, "STOP REPLICA", fmt.Sprintf(`CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s', SOURCE_PORT=%d, SOURCE_USER='%s', SOURCE_PASSWORD='%s',
		SOURCE_LOG_FILE='%s', SOURCE_LOG_POS=%d, SOURCE_AUTO_POSITION=0, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=100000, SOURCE_HEARTBEAT_PERIOD=1`,
		source.Host, source.Port, User, Password, file, offset), "START REPLICA")
}

// Coordinates is where the server's binary log ends.
func (s *MySQL) Coordinates(ctx context.Context) (file string, offset uint64, err error) {
	rows, err := s.Query(ctx, "SHOW BINARY LOG STATUS")
	if err != nil {
		return "", 0, err
	}
	offset, err = strconv.ParseUint(rows[0][1], 10, 64)
	return rows[0][0], offset, err
}

// WaitForFile blocks until a replica has applied its source's binary log up to a place, at most for limit.
func (s *MySQL) WaitForFile(ctx context.Context, file string, offset uint64, limit time.Duration) error {
	rows, err := s.Query(ctx, fmt.Sprintf("SELECT SOURCE_POS_WAIT('%s', %d, %g)", file, offset, limit.Seconds()))
	if err == nil && (rows[0][0] == "-1" || rows[0][0] == Null) {
		err = fmt.Errorf("mysqld on port %d has not applied its source's log up to %s:%d after %s", s.Port, file, offset, limit)
	}
	return err
}

// Executed is the server's GTID set, on one line.
func (s *MySQL) Executed(ctx context.Context) (string, error) { return s.set(ctx, "gtid_executed") }

// Purged is the GTID set of the transactions that are no longer in its binary logs.
func (s *MySQL) Purged(ctx context.Context) (string, error) { return s.set(ctx, "gtid_purged") }

func (s *MySQL) set(ctx context.Context, variable string) (string, error) {
	rows, err := s.Query(ctx, "SELECT @@global."+variable)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(rows[0][0], "\n", ""), nil
}

// WaitFor blocks until the server has executed the GTID set, at most for limit.
func (s *MySQL) WaitFor(ctx context.Context, gtidSet string, limit time.Duration) error {
	rows, err := s.Query(ctx, fmt.Sprintf("SELECT WAIT_FOR_EXECUTED_GTID_SET('%s', %g)", gtidSet, limit.Seconds()))
	if err != nil {
		return err
	}
	if rows[0][0] == "0" {
		return nil
	}
	have, err := s.Executed(ctx)
	if err != nil {
		return err
	}
	replica, err := s.Query(ctx, "SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER <> 0"+
		" UNION ALL SELECT LAST_ERROR_MESSAGE FROM performance_schema.replication_connection_status WHERE LAST_ERROR_NUMBER <> 0")
	return fmt.Errorf("mysqld on port %d has not executed %s after %s: it has %s; its replication errors: %v (%w)", s.Port, gtidSet, limit, have, replica, err)
}

// Purge starts a new binary log and removes all older ones, so that a reader from before is told 1236.
func (s *MySQL) Purge(ctx context.Context) error {
	if err := s.Exec(ctx, "FLUSH BINARY LOGS"); err != nil {
		return err
	}
	logs, err := s.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return err
	}
	return s.Exec(ctx, fmt.Sprintf("PURGE BINARY LOGS TO '%s'", logs[len(logs)-1][0]))
}
