package compaction

// shares divides the rows of a group among output files of about the target size, evenly, so that none is a small rest.
func shares(rows, live, target int64) []int64 {
	if rows == 0 {
		return nil
	}
	n := min(rows, max(1, (live+target/2)/target))
	out := make([]int64, n)
	for i := range out {
		out[i] = rows*int64(i+1)/n - rows*int64(i)/n
	}
	return out
}
