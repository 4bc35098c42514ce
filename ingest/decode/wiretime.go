package decode

import (
	"encoding/binary"
	"fmt"
)

// Dates and times of a prepared statement's answer leave out what is zero at their end
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html, "MYSQL_TYPE_DATETIME").

// wireMoment reads a DATE, DATETIME or TIMESTAMP: two bytes of year, month, day; hour, minute, second; four bytes of
// microseconds.
func (d *Decoder) wireMoment(b *buffer, row int, v []byte) error {
	var year, month, day, micros int64
	switch len(v) {
	case 11:
		micros = int64(binary.LittleEndian.Uint32(v[7:]))
		fallthrough
	case 7:
		if v[4] > 23 || v[5] > 59 || v[6] > 59 || micros >= microsPerSecond {
			return d.broken(b, fmt.Sprintf("%x is no time of day", v))
		}
		micros += (int64(v[4])*3600 + int64(v[5])*60 + int64(v[6])) * microsPerSecond
		fallthrough
	case 4:
		year, month, day = int64(binary.LittleEndian.Uint16(v)), int64(v[2]), int64(v[3])
		if month > 12 || day > 31 {
			return d.broken(b, fmt.Sprintf("%x is no date", v))
		}
	case 0:
	default:
		return d.broken(b, fmt.Sprintf("%x is no date", v))
	}
	date := year<<9 | month<<5 | day // as a row image has it, so that the two can share what was converted last
	if b.form != formDate {
		date = (year*13+month)<<5 | day
	}
	if date != b.day || date == 0 {
		if !exists(year, month, day) {
			return d.noDate(b, row, year, month, day)
		}
		b.day, b.dayDays = date, int32(civilDays(year, month, day))
	}
	if b.form == formDate {
		if len(v) != 4 {
			return d.broken(b, fmt.Sprintf("%x is no DATE", v))
		}
		b.i32[row] = b.dayDays
		return nil
	}
	b.i64[row] = int64(b.dayDays)*secondsPerDay*microsPerSecond + micros
	return nil
}

// appendWireTime writes a TIME as MySQL prints it, from a sign, four bytes of days, hour, minute, second and four bytes of
// microseconds.
func appendWireTime(dst, v []byte, fsp int) ([]byte, bool) {
	var negative bool
	var hour, minute, second, micros int64
	switch len(v) {
	case 12:
		micros = int64(binary.LittleEndian.Uint32(v[8:]))
		fallthrough
	case 8:
		negative = v[0] != 0
		hour = int64(binary.LittleEndian.Uint32(v[1:]))*24 + int64(v[5])
		minute, second = int64(v[6]), int64(v[7])
	case 0:
	default:
		return dst, false
	}
	if hour > 838 || minute > 59 || second > 59 || micros >= microsPerSecond {
		return dst, false
	}
	if negative {
		dst = append(dst, '-')
	}
	return appendClock(dst, hour, minute, second, micros, fsp), true
}
