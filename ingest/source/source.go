// Package source is everything between the replica list and whole transactions.
//
// In comes a list of MySQL servers and a GTID set that has been read; out come verdicts on the servers, a choice among
// them, and from the chosen one a stream of whole transactions in commit order, their rows still as the binary log's
// row images.
//
// What must hold: a server is used only when it can serve the set exactly. A transaction is delivered once, whole (or
// in parts whose end is marked), and only after its commit was seen; what a broken connection cut off is never
// delivered as if it were complete. A position is a GTID set, never a file and an offset.
//
// config.go       who to connect to, and how: hosts, password, TLS, timeouts, our identity
// filter.go       --tables: which tables are followed
// connect.go      one connection
// connect_sql.go  ... for others, to ask by SQL
// probe.go        what a server says about itself (State)
// replication.go  ... about its replication: role, lag, filters
// retention.go    ... about how long it keeps its binary log
// hide.go         do replication or binary log filters hide a followed table
// cascade.go      do foreign keys change followed tables behind the binary log
// span.go         lengths of time in words
// headroom.go     how long will a server still have what a position lacks
// logfiles.go     a server's binary log files: size, age, what came before each
// judge.go        what a server is good for (Verdict)
// inspect.go      probe, judge, and all that a person or a monitor wants to know besides
// report.go       a verdict for machines
// paragraph.go    ... and for a person
// choose.go       the choice, and the error when there is none
// fault.go        errors, and the one classification of them
// stream.go       the dump request, Next, Close
// packet.go       packets off the network
// event.go        events out of packets, checksums
// payload.go      compressed transactions
// assemble.go     transactions out of events
// xa.go           transactions prepared now and committed later
// transaction.go  what is delivered
package source
