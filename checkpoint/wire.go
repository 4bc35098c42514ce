package checkpoint

import "encoding/binary"

// Encode returns the set as the body of COM_BINLOG_DUMP_GTID carries it: the count of runs, and for each the UUID and
// its half-open intervals. The format with tags (MySQL 8.3) is used only when a tag is present, so that servers that
// do not know tags understand the rest. (Gtid_set::encode in sql/rpl_gtid_set.cc)
func (s Set) Encode() []byte {
	tagged := false
	size := 8
	for i := range s.runs {
		r := &s.runs[i]
		tagged = tagged || r.tag != ""
		size += 16 + 1 + len(r.tag) + 8 + 16*len(r.intervals)
	}
	le := binary.LittleEndian
	b := make([]byte, 0, size)
	if tagged {
		// Format 1 stands in the first and in the last byte, the count between them.
		b = le.AppendUint64(b, 1|uint64(len(s.runs))<<8|1<<56)
	} else {
		b = le.AppendUint64(b, uint64(len(s.runs)))
	}
	for i := range s.runs {
		r := &s.runs[i]
		b = append(b, r.sid[:]...)
		if tagged {
			b = append(b, byte(len(r.tag)<<1)) // variable-length integer of one byte
			b = append(b, r.tag...)
		}
		b = le.AppendUint64(b, uint64(len(r.intervals)))
		for _, iv := range r.intervals {
			b = le.AppendUint64(b, uint64(iv.First))
			b = le.AppendUint64(b, uint64(iv.Last)+1)
		}
	}
	return b
}
