// Package compaction keeps merge-on-read tables cheap to read: it rewrites small and much-deleted data files, expires
// old snapshots and removes files that nothing needs any more.
//
// In comes a table and Options. Out come commits of operation replace, which change where rows stand and never which
// rows there are. What must hold:
//   - A row that was deleted while a rewrite ran is deleted in its output too, from the very commit that shows it: the
//     rewrite records where each row went, and Publish maps the deletes that arrived meanwhile.
//   - A rewrite whose inputs are not in the table any more, or have rows back that it dropped, is thrown away.
//   - No file is deleted that a snapshot needs, nor one that a writer may be about to commit.
//   - The checkpoint is carried over as it is: compaction has no position of its own.
//
// Beside a running ingest, Prepare does the long part on any goroutine, with a view of the table of its own, and Publish
// the short part on the goroutine that owns the lake.Table, between two of its commits. Pass does all of it in one call.
//
// plan.go     which files to rewrite together
// along.go    what files that lost many rows take along
// rewrite.go  the merge of a group's sorted files
// cursor.go   one sorted input of a merge
// divide.go   rows of other partition specs among the table's partitions
// gather.go   runs of rows of several inputs into one record batch
// unsorted.go inputs of other programs that are not sorted by the key
// pace.go     how much of the processors rewrites take
// remap.go    where every row went
// publish.go  Prepare and Publish
// orphans.go  files that nothing references
// pass.go     one pass over a table
// engine.go   rewrites that an engine does instead; trino.go, spark.go
package compaction
