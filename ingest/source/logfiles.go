package source

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// logFile is a binary log file of a server.
type logFile struct {
	name string
	size int64 // bytes
}

// logFiles lists the server's binary log files, oldest first. It takes the privilege REPLICATION CLIENT.
func (s *session) logFiles() ([]logFile, error) {
	rows, err := s.rows("SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	files := make([]logFile, 0, len(rows))
	for _, r := range rows {
		size, err := strconv.ParseInt(r["File_size"], 10, 64)
		if err != nil {
			return nil, malformedf("SHOW BINARY LOGS: size %q of %s", r["File_size"], r["Log_name"])
		}
		files = append(files, logFile{r["Log_name"], size})
	}
	return files, nil
}

// previous returns the transactions that came before a binary log file. It takes the privilege REPLICATION SLAVE.
// https://dev.mysql.com/doc/refman/9.0/en/show-binlog-events.html
func (s *session) previous(file string) (checkpoint.Set, error) {
	// The second event of every file, after the description of its format.
	rows, err := s.rows(fmt.Sprintf("SHOW BINLOG EVENTS IN '%s' LIMIT 2", strings.ReplaceAll(file, "'", "''")))
	if err != nil {
		return checkpoint.Set{}, err
	}
	for _, r := range rows {
		if strings.EqualFold(r["Event_type"], "Previous_gtids") {
			return checkpoint.ParseSet(r["Info"])
		}
	}
	return checkpoint.Set{}, malformedf("%s does not begin with the transactions before it", file)
}

// now is the server's own clock, which the times in its binary log are of.
func (s *session) now() (time.Time, error) {
	row, absent, err := s.lookup("SELECT UNIX_TIMESTAMP()")
	if err != nil || absent {
		return time.Now(), err
	}
	n, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return time.Time{}, malformedf("UNIX_TIMESTAMP() is %q", row[0])
	}
	return time.Unix(n, 0), nil
}

// created returns when a binary log file was begun, which is when the one before it ended, to the second: the time of its
// first event, which no statement shows. The file is asked for like a replica does, on a connection of its own, without the UUID of
// our stream, so that the server does not take it for the stream's successor and end that.
func (c Config) created(ctx context.Context, host, file string) (time.Time, error) {
	s, err := dialFile(ctx, c, host, checkpoint.Place{File: file, Offset: headOfFile})
	if err != nil {
		return time.Time{}, err
	}
	s.Close()
	return s.fileBegun, nil
}
