package source

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

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
	c = c.ensureDefaults()
	conn, err := c.connect(ctx, host)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.close()
	stop := context.AfterFunc(ctx, conn.close)
	defer stop()
	s := &Stream{host: host, session: conn}
	at, err := s.firstEvent(ctx, c, file)
	if err != nil {
		return time.Time{}, &Error{Kind: Classify(err), Host: host, Op: "read the head of " + file, Err: err}
	}
	return at, nil
}

func (s *Stream) firstEvent(ctx context.Context, cfg Config, file string) (time.Time, error) {
	if err := s.session.raw.SetDeadline(time.Now().Add(cfg.ConnectTimeout)); err != nil {
		return time.Time{}, err
	}
	if _, err := s.session.Execute("SET @source_binlog_checksum=@@global.binlog_checksum, @master_binlog_checksum=@@global.binlog_checksum"); err != nil {
		return time.Time{}, fmt.Errorf("set up the session: %w", err)
	}
	row, _, err := s.session.lookup("SELECT @source_binlog_checksum")
	if err != nil {
		return time.Time{}, err
	}
	s.checksum = len(row) == 1 && row[0] == "CRC32"
	if err := requestFile(s.session, cfg.drawServerID(), file); err != nil {
		return time.Time{}, err
	}
	s.packets = newPackets(ctx, s.session.Conn.Conn.Conn, s.session.close, cfg.ConnectTimeout)
	for {
		e, _, err := s.event()
		if err != nil {
			return time.Time{}, err
		}
		if e.kind == replication.FORMAT_DESCRIPTION_EVENT {
			return time.Unix(int64(e.time), 0), nil
		}
	}
}

// requestFile sends COM_BINLOG_DUMP for a file from its beginning, to its end at most.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_binlog_dump.html
func requestFile(c *session, serverID uint32, file string) error {
	b := []byte{0, 0, 0, 0, mysql.COM_BINLOG_DUMP}
	b = binary.LittleEndian.AppendUint32(b, 4) // position: behind the magic number
	b = binary.LittleEndian.AppendUint16(b, replication.BINLOG_DUMP_NON_BLOCK)
	b = binary.LittleEndian.AppendUint32(b, serverID)
	b = append(b, file...)
	c.ResetSequence()
	return c.WritePacket(b)
}
