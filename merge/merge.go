// Package merge turns the row changes of one batch into the least that has to be written to the lake.
//
// In come row changes in commit order, each with the key of its row (Sink). Batch keeps only the last version of each
// key. A cut batch is a Segment: its surviving rows sorted by key, ready to be written as one data file. Resolve then
// holds the segment against the Index, which knows for every live row of the table where it stands, and yields a
// Delta: the positions that the commit has to delete.
//
// What must hold: after a Delta is committed together with its data file, the index maps exactly the keys of the
// table's live rows to their places. Where a change does not fit what the index knows (an insert of a key that is
// there, an update or delete of one that is not), lake and source differ; it is reported as an Anomaly and resolved so
// that the lake takes the source's word.
package merge

// Sink receives the row changes of one table in commit order. Batch implements it.
//
// row is the ordinal, from 0, of the change's after image among the rows the decoder appended since its last flush.
// raw holds the key's canonical bytes (KeyCodec.Key) and is only valid during the call; it is nil when the Key holds
// them verbatim.
type Sink interface {
	Insert(k Key, raw []byte, row int)
	Update(before Key, beforeRaw []byte, after Key, afterRaw []byte, row int)
	Delete(k Key, raw []byte)
}
