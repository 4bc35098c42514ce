// Package decode turns what the binary log says about a table into Arrow.
//
// In comes a table map event written with binlog_row_metadata=FULL: NewPlan makes the table's Arrow schema, its key and
// the way to read each column from it. Then come the bodies of rows events: a Decoder reads their row images straight
// into Arrow buffers and reports every change, with the key of its row, to a merge.Sink. Out go record batches, in
// which row n is the n-th after image since the last flush. Beside it, Classify tells from the text of a query event
// whether rows change without rows events.
//
// What must hold: a value in the batch is the source's value, exactly, or NULL where the source holds a date that does
// not exist (those are counted), or there is an error that names the column. Columns never get out of step: a row
// counts only once it is whole, and after an error the decoder takes no more. No input makes it panic.
//
// plan.go       table map -> schema, key, columns
// column.go     one column of a table map -> how to read it
// decoder.go    rows event -> row changes
// image.go      row image -> values
// buffer.go     the Arrow buffers of a column
// temporal.go, decimal.go, label.go, json.go, double.go   values of these types
// charset.go    character sets -> UTF-8
// wire.go, wiretime.go   row of a SELECT's answer -> the same values
// answer.go     what to select for that, and whether the answer has it
// statement.go, tokens.go   text of a query event -> what it does to rows
//
// The formats are those of the MySQL source: libbinlogevents/include/rows_event.h, sql-common/json_binary.h,
// strings/decimal.cc, mysys/my_time.cc.
package decode
