package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/checkpoint"
)

// history is the binary log of one server as it was when the search in it began.
type history struct {
	cfg    Config
	host   string
	server [16]byte
	byGTID bool      // gtid_mode is ON: sets found here say all
	files  []logFile // oldest first
}

// openHistory lists a server's binary log files. It takes the privilege REPLICATION CLIENT.
func openHistory(ctx context.Context, cfg Config, s State) (*history, error) {
	cfg = cfg.ensureDefaults()
	h := &history{cfg: cfg, host: s.Host, server: s.UUID, byGTID: s.ByGTID()}
	fail := func(err error) error {
		kind := Classify(err)
		if ctx.Err() != nil {
			kind, err = KindCanceled, context.Cause(ctx)
		}
		return &Error{Kind: kind, Host: s.Host, Op: "list the binary log files", Err: err}
	}
	c, err := cfg.connect(ctx, s.Host)
	if err != nil {
		return nil, err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	if h.files, err = c.logFiles(); err != nil {
		return nil, fail(err)
	}
	if len(h.files) == 0 {
		return nil, fail(errors.New("the server has none"))
	}
	return h, nil
}

// boundary is a point of a file between two transactions.
type boundary struct {
	offset uint64
	tx     *Transaction // that ends here; nil at the head of the file and between events that are no transaction
}

// scan reads a file from its head and shows every boundary in it, up to the file's size when it was listed, until wanted
// says no. It returns the position at the last boundary that was wanted.
func (h *history) scan(ctx context.Context, f logFile, wanted func(b boundary) bool) (checkpoint.Position, error) {
	at := checkpoint.Position{Anonymous: !h.byGTID, Place: checkpoint.Place{Server: h.server, File: f.name, Offset: headOfFile}}
	s, err := dialFile(ctx, h.cfg, h.host, at.Place)
	if err != nil {
		return at, err
	}
	defer s.Close()
	s.packets.ctx = ctx
	at.Place.Begun = s.fileBegun
	for {
		tx, e, err := s.step()
		if errors.Is(err, io.EOF) {
			return at, nil
		}
		if err != nil {
			return at, s.explain(ctx, err)
		}
		if ended := tx != nil && tx.Last; !ended && (!s.between() || e.position == 0) {
			continue
		}
		b := boundary{s.at(&e), tx}
		if e.kind == replication.PREVIOUS_GTIDS_EVENT {
			at.Set = s.previous
		}
		if b.offset > uint64(f.size) || !wanted(b) {
			return at, nil
		}
		at.Place.Offset = b.offset
		if tx == nil {
			continue
		}
		at.Time = tx.Time
		if !tx.Anonymous {
			at.Set.Add(tx.GTID)
		}
		for _, g := range tx.Also {
			at.Set.Add(g)
		}
	}
}

// timed gives a position in a file its time when it is before the file's first transaction: that of the last one before,
// or else when the file was begun.
func (h *history) timed(ctx context.Context, file int, at checkpoint.Position) (checkpoint.Position, error) {
	for i := file - 1; i >= 0 && at.Time.IsZero(); i-- {
		before, err := h.scan(ctx, h.files[i], func(boundary) bool { return true })
		if err != nil {
			return at, err
		}
		at.Time = before.Time
	}
	if at.Time.IsZero() {
		at.Time = at.Place.Begun
	}
	return at, nil
}

// PlaceError says that a file and offset given by a person are not a place to begin at.
type PlaceError struct {
	Host   string
	File   string
	Offset uint64
	Reason string
}

func (e *PlaceError) Error() string {
	return fmt.Sprintf("%s:%d on %s: %s", e.File, e.Offset, e.Host, e.Reason)
}

// AtPlace returns the position of a reader that has everything a server logged before an offset of a file: with it, the
// GTID set of that. The offset must lie between two transactions; else, and when there is no such file, the error
// is a *PlaceError.
func AtPlace(ctx context.Context, cfg Config, s State, file string, offset uint64) (checkpoint.Position, error) {
	h, err := openHistory(ctx, cfg, s)
	if err != nil {
		return checkpoint.Position{}, err
	}
	wrong := func(format string, args ...any) (checkpoint.Position, error) {
		return checkpoint.Position{}, &PlaceError{Host: h.host, File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
	}
	i := slices.IndexFunc(h.files, func(f logFile) bool { return f.name == file })
	if i < 0 {
		return wrong("the server has no binary log file of that name; it has %s to %s", h.files[0].name, h.files[len(h.files)-1].name)
	}
	if offset > uint64(h.files[i].size) {
		return wrong("the file has %d bytes only", h.files[i].size)
	}
	if offset == uint64(h.files[i].size) && i+1 < len(h.files) {
		i, offset = i+1, headOfFile // where one file ends, after the event that names the next, that one begins
	}
	at, err := h.scan(ctx, h.files[i], func(b boundary) bool { return b.offset <= offset })
	switch {
	case err != nil:
		return checkpoint.Position{}, err
	case at.Place.Offset < offset:
		return wrong("the offset is inside a transaction, or no event begins there; the boundary before it is %s:%d", h.files[i].name, at.Place.Offset)
	}
	return h.timed(ctx, i, at)
}

// TooOldError says that no server's binary log reaches back to a time.
type TooOldError struct {
	Time  time.Time
	Hosts []Reach
}

// Reach is how far back one server's binary log goes.
type Reach struct {
	Host string
	From time.Time // zero when Err is set
	Err  error     // why the server could not be searched
}

func (e *TooOldError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no server of the list has its binary log back to %s:", e.Time.UTC().Format(time.RFC3339Nano))
	for _, r := range e.Hosts {
		if r.Err != nil {
			fmt.Fprintf(&b, "\n  %s could not be searched: %v", r.Host, r.Err)
		} else {
			fmt.Fprintf(&b, "\n  %s has events from %s on", r.Host, r.From.UTC().Format(time.RFC3339))
		}
	}
	b.WriteString("\nstart at a later time, or with earliest")
	return b.String()
}

// at returns the position after the last transaction that is not later than t: of the newest file whose first transaction is
// not later, the boundary before the first one that is. Times are those of the commit on the server where a
// transaction was first committed (the original_commit_timestamp, from MySQL 8.0 on to the microsecond), so they are
// the same on every server. The position is never past the end of the log as it was when the search began.
//
// ok is false when the log does not reach back to t; from says since when there are events.
func (h *history) at(ctx context.Context, t time.Time) (at checkpoint.Position, from time.Time, ok bool, err error) {
	for i, f := range slices.Backward(h.files) {
		reaches := false
		at, err = h.scan(ctx, f, func(b boundary) bool {
			if b.tx == nil {
				return true
			}
			later := b.tx.Time.After(t)
			reaches = reaches || !later
			return !later
		})
		if err != nil {
			return at, from, false, err
		}
		// Everything that was committed before the oldest file was begun, which is known to the second, is in files that
		// are gone: were one of them needed, its transactions would be earlier still.
		if from = at.Place.Begun; !checkpoint.FirstFile(f.name) {
			from = from.Add(time.Second)
		}
		if at.Time.IsZero() {
			at.Time = at.Place.Begun
		}
		if reaches || i == 0 && !from.After(t) {
			return at, from, true, nil
		}
	}
	return at, from, false, nil
}

// AtTime returns the position that the servers of the list had at t (see history.at), from the first of them whose binary
// log reaches back so far. Only servers are searched that have all followed rows in their log. Its error is a
// *TooOldError when there is none.
func AtTime(ctx context.Context, cfg Config, states []State, filter Filter, t time.Time) (checkpoint.Position, string, error) {
	tooOld := &TooOldError{Time: t}
	for _, s := range readable(ctx, cfg, states, filter) {
		h, err := openHistory(ctx, cfg, s)
		if err == nil {
			var at checkpoint.Position
			var from time.Time
			var ok bool
			if at, from, ok, err = h.at(ctx, t); ok {
				return at, s.Host, nil
			}
			if err == nil {
				tooOld.Hosts = append(tooOld.Hosts, Reach{Host: s.Host, From: from})
				continue
			}
		}
		if ctx.Err() != nil {
			return checkpoint.Position{}, "", err
		}
		tooOld.Hosts = append(tooOld.Hosts, Reach{Host: s.Host, Err: err})
	}
	return checkpoint.Position{}, "", tooOld
}
