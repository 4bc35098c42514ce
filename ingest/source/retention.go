package source

import (
	"strconv"
	"time"
)

// askRetention reads how long, and how much, the server keeps of its binary log.
func (s *State) askRetention(c *session) error {
	if err := s.askSizeLimits(c); err != nil {
		return err
	}
	if auto, ok, err := c.variable("binlog_expire_logs_auto_purge"); err != nil {
		return err
	} else if ok && !isOn(auto) {
		return nil
	}
	seconds, ok, err := c.variable("binlog_expire_logs_seconds")
	if err != nil {
		return err
	}
	if ok {
		if n, err := strconv.ParseInt(seconds, 10, 64); err == nil && n > 0 {
			s.Retention = time.Duration(n) * time.Second
			return nil
		}
	}
	days, _, err := c.variable("expire_logs_days") // 5.7, and an old setting in 8.0
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(days, 10, 64); err == nil {
		s.Retention = time.Duration(n) * 24 * time.Hour
	}
	return nil
}

// askSizeLimits reads the limits that Percona Server has and MySQL does not.
// https://docs.percona.com/percona-server/8.4/binlog-space.html
func (s *State) askSizeLimits(c *session) error {
	space, _, err := c.variable("binlog_space_limit")
	if err != nil {
		return err
	}
	files, _, err := c.variable("max_binlog_files")
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(space, 10, 64); err == nil {
		s.SpaceLimit = max(n, 0)
	}
	if n, err := strconv.Atoi(files); err == nil {
		s.FilesLimit = max(n, 0)
	}
	return nil
}
