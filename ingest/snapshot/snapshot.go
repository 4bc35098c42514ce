// Package snapshot reads tables by SQL: for the initial load, for tables that no event has described yet, and for verify.
//
// In comes a connection to any server of the list (Open) and the name of a table. Out come the table's definition in the
// form that the binary log gives it (Definition, Describe), ranges of its primary key (Ranges), and the rows of a range as
// Arrow batches (Reader). Beside it, a Hasher makes rows of source and lake comparable.
//
// What must hold: a definition makes the same decode.Plan as the binary log's, and a row the same values. Ranges cover every
// key there can be, each once. Nothing is locked, and nothing held open on the server between statements but by Freeze.
//
// conn.go        one connection, its session, its errors
// definition.go  information_schema -> table map
// columns.go     one column of information_schema -> type and metadata of the table map
// labels.go      the labels of ENUM and SET columns
// key.go         the primary key and its index
// table.go       a table described: what everything below needs
// ranges.go      primary key -> ranges, one after the other
// bound.go       a range's ends: text to keep, SQL to ask with
// reader.go      range -> rows
// moment.go      a snapshot at a known position
// position.go    how far the server is: what a read before could see
// size.go        how large the server believes a table to be
// rowhash.go     rows -> hashes, the same for rows of the source and of the lake
package snapshot
