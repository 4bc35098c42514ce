package checkpoint

import (
	"encoding/hex"
	"fmt"
	"strconv"
)

// MaxGNO is the greatest transaction number MySQL gives out (GNO_END - 1 of the server's sources).
const MaxGNO = 1<<63 - 2

// GTID names one transaction: the UUID of the server that committed it first, an optional tag (MySQL 8.3), and its
// number there. https://dev.mysql.com/doc/refman/9.0/en/replication-gtids-concepts.html
type GTID struct {
	SID [16]byte
	Tag string // lower case; empty without a tag
	GNO int64  // 1..MaxGNO
}

func (g GTID) String() string {
	b := make([]byte, 0, 36+1+32+1+19)
	b = appendUUID(b, g.SID)
	if g.Tag != "" {
		b = append(b, ':')
		b = append(b, g.Tag...)
	}
	b = append(b, ':')
	return string(strconv.AppendInt(b, g.GNO, 10))
}

// appendUUID appends the 36 characters of a UUID in lower case, as MySQL prints it.
func appendUUID(b []byte, id [16]byte) []byte {
	for i, part := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, id[part[0]:part[1]])
	}
	return b
}

// FormatUUID returns a server UUID as MySQL prints it.
func FormatUUID(id [16]byte) string { return string(appendUUID(nil, id)) }

// ParseUUID reads a server UUID: 36 characters with dashes, in any case.
func ParseUUID(s string) (id [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("%q is not a server UUID such as 3e11fa47-71ca-11e1-9e33-c80aa9429562", s)
	}
	var digits [32]byte
	n := 0
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		digits[n] = s[i]
		n++
	}
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return id, fmt.Errorf("%q is not a server UUID: %w", s, err)
	}
	return id, nil
}
