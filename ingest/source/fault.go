package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/tidemark/tidemark/checkpoint"
)

// Kind classifies what went wrong with a server or a stream.
type Kind string

// Kinds. A connection may be tried again after any of them but KindFatal; whether the same server will do is for a
// probe to say.
const (
	KindNone       Kind = ""
	KindCanceled   Kind = "canceled"   // our own doing
	KindNetwork    Kind = "network"    // refused, reset, closed, unknown host
	KindStall      Kind = "stall"      // the server is connected and silent
	KindShutdown   Kind = "shutdown"   // the server or its dump thread was ended
	KindBusy       Kind = "busy"       // the server takes no more connections
	KindAuth       Kind = "auth"       // user or password, or the host we come from
	KindTLS        Kind = "tls"        // no TLS there, or its certificate does not pass
	KindPrivilege  Kind = "privilege"  // the user may not do what is needed
	KindPurged     Kind = "purged"     // the server has thrown away what we need
	KindDiverged   Kind = "diverged"   // we have transactions of the server that it lacks
	KindCollision  Kind = "collision"  // another reader uses our replica UUID or server id
	KindSettings   Kind = "settings"   // the server is not set up to be read from
	KindCorruption Kind = "corruption" // a checksum or the form of an event is wrong
	KindFatal      Kind = "fatal"      // an event that is not understood, or an error nobody foresaw
)

// Error is an error of a server: where, what was tried, what came back.
type Error struct {
	Kind Kind
	Host string
	Op   string // "connect", "start the binary log dump", "read the binary log"
	Err  error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s: %v", e.Host, e.Op, e.Err)
	if advice := e.Kind.advice(); advice != "" {
		text += " (" + advice + ")"
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// advice tells what a person can do.
func (k Kind) advice() string {
	switch k {
	case KindAuth:
		return "check user, password and the hosts the user may come from"
	case KindTLS:
		return "choose ?tls= to fit the server, or give its certificate authority with &tls-ca="
	case KindPrivilege:
		return "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* to the user, and SELECT on the tables"
	case KindCollision:
		return "is another tidemark running with the same --pipeline name against this server?"
	case KindBusy:
		return "raise max_connections or end idle connections"
	case KindCorruption:
		return "check the server's disk and network; another server of the list may have an intact copy"
	}
	return ""
}

// CutError says that the stream ended inside a transaction of which parts were delivered already: they have to be
// forgotten. It wraps the reason.
type CutError struct {
	GTID checkpoint.GTID
	Err  error
}

func (e *CutError) Error() string {
	return fmt.Sprintf("transaction %s was cut off after its first part: %v", e.GTID, e.Err)
}

func (e *CutError) Unwrap() error { return e.Err }

// Errors that are not the server's.
var (
	errChecksum = errors.New("binary log event does not match its checksum")
	errClosed   = errors.New("the stream was closed")
)

// malformedError is an event or packet whose form is wrong.
type malformedError struct{ what string }

func (m *malformedError) Error() string { return m.what }

func malformedf(format string, args ...any) error {
	return &malformedError{fmt.Sprintf(format, args...)}
}

// unknownEventError is an event that may change rows in a way that cannot even be tied to a transaction.
type unknownEventError struct{ what string }

func (u *unknownEventError) Error() string { return u.what }

// IsStreamError reports whether an error ended a stream in a way that a new connection, here or to another server, can
// mend.
func IsStreamError(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind != KindFatal && e.Kind != KindCanceled
}

// CanPass reports whether an error may go away by itself: waiting and trying again makes sense.
func CanPass(err error) bool {
	var none *NoServerError
	if errors.As(err, &none) {
		return none.Temporary()
	}
	switch Classify(err) {
	case KindNetwork, KindStall, KindShutdown, KindBusy, KindCollision, KindCorruption, KindPurged, KindDiverged:
		return true // the last three: of one server; a new look at all of them decides
	}
	return false
}

// Classify is the one place that says what an error means. The server's own error numbers tell little (1236 stands for
// a dozen causes), so texts are looked at too; they are those of MySQL 5.7 to 9.x.
func Classify(err error) Kind {
	var known *Error
	var my *mysql.MyError
	var bad *malformedError
	var unknown *unknownEventError
	var another *anotherFileError
	switch {
	case err == nil:
		return KindNone
	case errors.As(err, &known):
		return known.Kind
	case errors.Is(err, context.Canceled), errors.Is(err, errClosed):
		return KindCanceled
	case errors.As(err, &unknown):
		return KindFatal
	case errors.As(err, &another):
		return KindDiverged
	case errors.As(err, &my):
		return classifyServer(my)
	case errors.As(err, &bad), errors.Is(err, errChecksum):
		return KindCorruption
	case isTLS(err):
		return KindTLS
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return KindStall
	}
	var netErr net.Error
	if errors.As(err, &netErr) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, mysql.ErrBadConn) || errors.Is(err, net.ErrClosed) {
		return KindNetwork
	}
	return KindFatal
}

func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid) || strings.Contains(err.Error(), noTLS)
}

// noTLS is what go-mysql says, as plain text, when the server does not offer TLS.
const noTLS = "does not support TLS"

func classifyServer(e *mysql.MyError) Kind {
	switch e.Code {
	case 1045, 1130, 1129, 1524, 1698, 1820, 1862, 3118, 3955: // access denied, host not allowed or blocked, plug-in, password expired, account locked
		return KindAuth
	case 1044, 1142, 1143, 1227, 1370:
		return KindPrivilege
	case 1040, 1203, 1226: // too many connections, of all or of the user
		return KindBusy
	case 1053, 1077, 1079, 1152, 1159, 1160, 1161, 1317, 1927, 3169, 3032, 4031: // shutdown, killed, time-outs; 3032: offline mode
		return KindShutdown
	}
	text := strings.ToLower(e.Message)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("same server_uuid/server_id", "same server_uuid", "same server id"):
		return KindCollision
	case has("more gtids than", "position > file size"):
		return KindDiverged
	case has("purged", "could not find first log file", "could not open log file", "could not find target log"):
		return KindPurged
	case has("crc check", "checksum", "bogus data", "log event entry exceeded", "event too small", "corrupt", "read error", "i/o error"):
		return KindCorruption
	case has("anonymous", "gtid_mode", "auto_position", "not using binary log", "binary log is not open", "binary logging", "misconfigured"):
		return KindSettings
	case has("shutdown", "killed", "aborted", "reset", "interrupted"):
		return KindShutdown
	case has("access denied", "privilege"):
		return KindPrivilege
	case e.Code == 1236, e.Code == 13114:
		return KindSettings
	}
	return KindFatal
}
