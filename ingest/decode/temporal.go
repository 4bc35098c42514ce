package decode

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// The formats are those of my_time.cc: my_datetime_packed_to_binary, my_timestamp_to_binary, my_time_packed_to_binary.

const (
	microsPerSecond = 1_000_000
	secondsPerDay   = 86_400
)

// noDate makes a row NULL because the source holds a date that does not exist. A key has no NULL.
func (d *Decoder) noDate(b *buffer, row int, year, month, day int64) error {
	if b.key {
		return d.unfit(b, fmt.Sprintf("%04d-%02d-%02d is no date, and a key column cannot be NULL in the lake: correct the row in the source", year, month, day))
	}
	b.setNull(row)
	d.zeroDates++
	return nil
}

// date reads a DATE: 15 bits of year, 4 of month, 5 of day, little-endian.
func (d *Decoder) date(b *buffer, row int, v []byte, _ int) error {
	packed := int64(v[0]) | int64(v[1])<<8 | int64(v[2])<<16
	if packed != b.day || packed == 0 {
		year, month, day := packed>>9, packed>>5&15, packed&31
		if !exists(year, month, day) {
			return d.noDate(b, row, year, month, day)
		}
		b.day, b.dayDays = packed, int32(civilDays(year, month, day))
	}
	b.i32[row] = b.dayDays
	return nil
}

// datetime reads a DATETIME: 40 bits big-endian (sign, 17 of year times 13 plus month, 5 day, 5 hour, 6 minute, 6
// second), then the fraction.
func (d *Decoder) datetime(b *buffer, row int, v []byte, pos int) error {
	packed := int64(v[0])<<32 | int64(binary.BigEndian.Uint32(v[1:]))
	packed -= 1 << 39
	if packed < 0 {
		return d.corrupt(b, pos, fmt.Sprintf("%x is no DATETIME", v))
	}
	date, clock := packed>>17, packed&(1<<17-1)
	if date != b.day || date == 0 {
		months, day := date>>5, date&31
		if year, month := months/13, months%13; !exists(year, month, day) {
			return d.noDate(b, row, year, month, day)
		}
		b.day, b.dayDays = date, int32(civilDays(months/13, months%13, day))
	}
	hour, minute, second := clock>>12, clock>>6&63, clock&63
	micros := fraction(v[5:])
	if hour > 23 || minute > 59 || second > 59 || micros >= microsPerSecond {
		return d.corrupt(b, pos, fmt.Sprintf("%x is no DATETIME", v))
	}
	b.i64[row] = (int64(b.dayDays)*secondsPerDay+hour*3600+minute*60+second)*microsPerSecond + micros
	return nil
}

// timestamp reads a TIMESTAMP: seconds since 1970 in UTC, big-endian, then the fraction. 0 is the zero date.
func (d *Decoder) timestamp(b *buffer, row int, v []byte, pos int) error {
	seconds, micros := int64(binary.BigEndian.Uint32(v)), fraction(v[4:])
	if seconds == 0 {
		return d.noDate(b, row, 0, 0, 0)
	}
	if micros >= microsPerSecond {
		return d.corrupt(b, pos, fmt.Sprintf("%x is no TIMESTAMP", v))
	}
	b.i64[row] = seconds*microsPerSecond + micros
	return nil
}

// fraction reads hundredths, ten-thousandths or millionths of a second, by length, as microseconds.
func fraction(v []byte) int64 {
	switch len(v) {
	case 1:
		return int64(v[0]) * 10_000
	case 2:
		return int64(binary.BigEndian.Uint16(v)) * 100
	case 3:
		return int64(v[0])<<16 | int64(v[1])<<8 | int64(v[2])
	}
	return 0
}

// exists reports whether a day is in the calendar, years 1 to 9999.
func exists(year, month, day int64) bool {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 {
		return false
	}
	switch month {
	case 4, 6, 9, 11:
		return day <= 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return day <= 29
		}
		return day <= 28
	}
	return day <= 31
}

// civilDays is the number of days from 1970-01-01 to a day of the proleptic Gregorian calendar, year 1 or later. Months
// are counted from March, so that the leap day comes last.
func civilDays(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	inYear := (153*(month-3)+2)/5 + day - 1
	return year*365 + year/4 - year/100 + year/400 + inYear - 719_468
}

// appendTime reads a TIME(fsp) and writes it as MySQL prints it: "-838:59:59.000000" with fsp digits of fraction. The whole
// is 24 bits (sign, 10 of hour, 6 minute, 6 second) plus 0x800000, and the fraction counts toward zero in ways that
// differ by its length.
func appendTime(dst, v []byte, fsp int) ([]byte, bool) {
	var packed int64 // whole << 24 + microseconds, signed
	switch len(v) {
	case 6:
		packed = int64(v[0])<<40 | int64(v[1])<<32 | int64(binary.BigEndian.Uint32(v[2:]))
		packed -= 1 << 47
	default:
		whole := int64(v[0])<<16 | int64(v[1])<<8 | int64(v[2])
		whole -= 1 << 23
		part, unit := int64(0), int64(0)
		switch len(v) {
		case 4:
			part, unit = int64(v[3]), 10_000
			if whole < 0 && part != 0 {
				whole++
				part -= 1 << 8
			}
		case 5:
			part, unit = int64(v[3])<<8|int64(v[4]), 100
			if whole < 0 && part != 0 {
				whole++
				part -= 1 << 16
			}
		}
		packed = whole<<24 + part*unit
	}
	if packed < 0 {
		dst = append(dst, '-')
		packed = -packed
	}
	hour, minute, second, micros := packed>>36&0x3ff, packed>>30&63, packed>>24&63, packed&(1<<24-1)
	if hour > 838 || minute > 59 || second > 59 || micros >= microsPerSecond {
		return dst, false
	}
	return appendClock(dst, hour, minute, second, micros, fsp), true
}

// appendClock writes "838:59:59.000000" with fsp digits of fraction.
func appendClock(dst []byte, hour, minute, second, micros int64, fsp int) []byte {
	dst = appendPadded(dst, hour, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, minute, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, second, 2)
	if fsp == 0 {
		return dst
	}
	dst = append(dst, '.')
	return appendPadded(dst, micros, 6)[:len(dst)+fsp]
}

// appendPadded writes a number in at least n digits.
func appendPadded(dst []byte, v int64, n int) []byte {
	for limit := int64(10); n > 1; n, limit = n-1, limit*10 {
		if v < limit {
			for ; n > 1; n-- {
				dst = append(dst, '0')
			}
			break
		}
	}
	return strconv.AppendInt(dst, v, 10)
}
