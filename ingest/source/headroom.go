package source

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/tidemark/tidemark/checkpoint"
)

// Headroom is how long a server will still have what a position lacks.
type Headroom struct {
	// Left is the time until the oldest transaction that the position lacks may be purged; 0 when it is purged already.
	// A server purges when it begins a new file, so it may take longer. When the position lacks nothing, it is what the next
	// transaction will have.
	Left    time.Duration
	Forever bool   // the server purges nothing by itself
	Gone    bool   // it is purged already
	File    string // the binary log file that has it; empty where the files may not be looked at
	Limit   string // what will purge it: the name of the setting
}

// Within reports whether less than a time is left.
func (h Headroom) Within(d time.Duration) bool { return !h.Forever && (h.Gone || h.Left < d) }

// String tells the time left, for a person.
func (h Headroom) String() string {
	switch {
	case h.Gone:
		return "purged already"
	case h.Forever:
		return "for ever: nothing is purged by itself"
	}
	return Span(h.Left)
}

// Headrooms measures headroom. It remembers when binary log files were begun. The zero value is ready for use.
type Headrooms struct {
	mu      sync.Mutex
	created map[string]time.Time // by server UUID and file
}

// Of measures the headroom of a position on a server that was just probed. since is the time of the position's last
// transaction, zero when unknown: where the user may not look at the server's files, nothing that the position lacks is
// taken to be younger. ok is false when there is no telling. Errors are *Error.
//
// By time, a server purges a file that nobody has written to for Retention; by size, the oldest ones beyond the limit,
// which is expected at the speed at which the log grew since the file that is needed.
// https://dev.mysql.com/doc/refman/9.0/en/replication-options-binary-log.html#sysvar_binlog_expire_logs_seconds
func (h *Headrooms) Of(ctx context.Context, cfg Config, s State, position checkpoint.Set, since time.Time) (room Headroom, ok bool, err error) {
	switch {
	case !s.Usable():
		return Headroom{}, false, nil
	case !position.Contains(s.Purged):
		return Headroom{Gone: true}, true, nil
	case s.Retention == 0 && s.SpaceLimit == 0 && s.FilesLimit == 0:
		return Headroom{Forever: true}, true, nil
	}
	cfg = cfg.ensureDefaults()
	c, err := cfg.connect(ctx, s.Host)
	if err != nil {
		return Headroom{}, false, err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	err = c.raw.SetDeadline(time.Now().Add(cfg.ConnectTimeout))
	if err == nil {
		room, ok, err = h.measure(ctx, cfg, c, s, position)
	}
	if denied(err) {
		room, ok, err = byTransactions(s, position, since, time.Now())
	}
	if err != nil {
		return Headroom{}, false, &Error{Kind: Classify(err), Host: s.Host, Op: "look at its binary log files", Err: err}
	}
	return room, ok, nil
}

func (h *Headrooms) measure(ctx context.Context, cfg Config, c *session, s State, position checkpoint.Set) (Headroom, bool, error) {
	files, err := c.logFiles()
	if err != nil || len(files) == 0 {
		return Headroom{}, false, err
	}
	needed, err := neededFile(len(files), func(i int) (bool, error) {
		before, err := c.previous(files[i].name)
		return position.Contains(before), err
	})
	if err != nil {
		return Headroom{}, false, err
	}
	if needed < 0 {
		return Headroom{Gone: true}, true, nil // since the probe
	}
	// Where the needed file ended; the file that is still written to may be purged no sooner than if it ended now.
	next, last := needed+1, len(files)-1
	left := retained{files: files, needed: needed}
	if left.now, err = c.now(); err != nil {
		return Headroom{}, false, err
	}
	if needed < last || s.SpaceLimit > 0 || s.FilesLimit > 0 {
		if left.since, err = h.createdAt(ctx, cfg, s, files[min(next, last)].name); err != nil {
			return Headroom{}, false, err
		}
	}
	return left.headroom(s), true, nil
}

// neededFile returns the newest of n files of which a position has all that came before it: that with the oldest
// transaction the position lacks. It is -1 when the position lacks something that came before the first. The newest file is
// asked first: mostly it is that one.
func neededFile(n int, hasAllBefore func(int) (bool, error)) (int, error) {
	if has, err := hasAllBefore(n - 1); err != nil || has {
		return n - 1, err
	}
	var err error
	first := sort.Search(n-1, func(i int) bool {
		if err != nil {
			return true
		}
		var has bool
		has, err = hasAllBefore(i)
		return !has
	})
	return first - 1, err
}

// createdAt remembers what created found: it never changes.
func (h *Headrooms) createdAt(ctx context.Context, cfg Config, s State, file string) (time.Time, error) {
	key := string(s.UUID[:]) + file
	h.mu.Lock()
	at, known := h.created[key]
	h.mu.Unlock()
	if known {
		return at, nil
	}
	at, err := cfg.created(ctx, s.Host, file)
	if err != nil {
		return at, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.created == nil {
		h.created = map[string]time.Time{}
	}
	h.created[key] = at
	return at, nil
}

// retained is what there is to know about the files from a needed one on.
type retained struct {
	files  []logFile
	needed int
	since  time.Time // when the file after the needed one was begun; of the last file, when it was begun itself
	now    time.Time
}

// headroom takes the limit that is met first.
func (r retained) headroom(s State) Headroom {
	h := Headroom{Forever: true, File: r.files[r.needed].name}
	limit := func(left time.Duration, by string) {
		if h.Forever || left < h.Left {
			h.Left, h.Limit, h.Forever = max(left, 0), by, false
		}
	}
	active := r.needed == len(r.files)-1
	if s.Retention > 0 {
		left := s.Retention
		if !active {
			left -= r.now.Sub(r.since)
		}
		limit(left, "binlog_expire_logs_seconds")
	}
	held, written := r.files[r.needed:], r.files[r.needed:]
	if !active {
		written = written[1:]
	}
	if s.SpaceLimit > 0 {
		if left, grows := untilFull(s.SpaceLimit-bytesOf(held), bytesOf(written), r.now.Sub(r.since)); grows {
			limit(left, "binlog_space_limit")
		}
	}
	if s.FilesLimit > 0 {
		if left, grows := untilFull(int64(s.FilesLimit-len(held)), int64(len(written)), r.now.Sub(r.since)); grows {
			limit(left, "max_binlog_files")
		}
	}
	return h
}

func bytesOf(files []logFile) (n int64) {
	for _, f := range files {
		n += f.size
	}
	return n
}

// longest is the longest time told: beyond it, a growth that is measured now says nothing.
const longest = 100 * 365 * 24 * time.Hour

// untilFull is how long room lasts at the speed of written over a time; grows is false when nothing was written.
func untilFull(room, written int64, over time.Duration) (left time.Duration, grows bool) {
	if room <= 0 {
		return 0, true
	}
	if written <= 0 {
		return 0, false
	}
	seconds := float64(room) * max(over, time.Second).Seconds() / float64(written)
	return time.Duration(min(seconds, longest.Seconds()) * float64(time.Second)), true
}

// byTransactions estimates without a look at the files.
func byTransactions(s State, position checkpoint.Set, since, now time.Time) (Headroom, bool, error) {
	h := Headroom{Left: s.Retention, Limit: "binlog_expire_logs_seconds"}
	if s.Retention == 0 {
		return Headroom{}, false, nil // it has a limit by size, and nobody says how large the files are
	}
	if !position.Contains(s.Executed) {
		if since.IsZero() {
			return Headroom{}, false, nil
		}
		h.Left = max(s.Retention-now.Sub(since), 0)
	}
	return h, true, nil
}
