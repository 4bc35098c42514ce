package lake

// Size is how large a table is.
type Size struct {
	Rows        int64 `json:"rows"`         // live
	DeletedRows int64 `json:"deleted_rows"` // still in data files, and masked
	DataFiles   int   `json:"data_files"`
	DeleteFiles int   `json:"delete_files"` // vectors in one Puffin file count one each
	Bytes       int64 `json:"bytes"`        // of the data files
}

// Size counts what is live.
func (t *Table) Size() Size {
	s := Size{DataFiles: len(t.byID), DeleteFiles: t.DeleteFiles()}
	for _, f := range t.byID {
		s.Bytes += f.Size
		s.Rows += f.Rows
		if f.Deleted != nil {
			s.DeletedRows += int64(f.Deleted.GetCardinality())
		}
	}
	s.Rows -= s.DeletedRows
	return s
}
