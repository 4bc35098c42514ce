// Package checkpoint knows positions in a MySQL source: GTID sets and their algebra, the record that a lake commit
// carries, and the rules that say whether a server can serve a position exactly.
//
// In come the texts of MySQL (gtid_executed, gtid_purged) and of the lake (the checkpoint record); out go sets,
// records and verdicts. Everything here is a pure value: no I/O, no clock, no goroutine.
//
// What must hold: a set is exactly the transactions it names. Gaps between intervals are kept, tags are kept, and
// nothing is ever added to a set that was not seen; a set with a gap is not "nearly" its highest number.
//
// gtid.go    one GTID: its parts and its text
// set.go     a GTID set and its algebra
// text.go    MySQL's text of a set, and the short form for messages
// wire.go    the body of COM_BINLOG_DUMP_GTID
// record.go  the checkpoint record (CONTRACT.md, "Metadata")
// resume.go  can a server serve this set: yes, not yet, purged, diverged
package checkpoint
