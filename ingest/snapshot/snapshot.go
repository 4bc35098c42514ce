// Package snapshot reads tables by SQL: for the initial load, for tables that no event has described yet, and for verify.
//
// In comes a connection to any server of the list (Open) and the name of a table. Out come the table's definition in the
// form that the binary log gives it (Definition).
//
// What must hold: a definition makes the same decode.Plan as the binary log's.
//
// conn.go        one connection, its session, its errors
// definition.go  information_schema -> table map
// columns.go     one column of information_schema -> type and metadata of the table map
// labels.go      the labels of ENUM and SET columns
package snapshot
