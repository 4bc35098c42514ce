package decode

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// collations lists the collation ids of every character set, from information_schema.collations of MySQL 9.7.
//
//go:embed collations.txt
var collations string

// charsetTables maps the codes of the character sets that are not Unicode, as the server converts them: lines of character
// set, first code in hexadecimal, and the characters from there on. The tables of other programs differ from the server's
// in some hundred characters of sjis, ujis, big5 and gb2312, and latin1 is not ISO 8859-1. Compressed with gzip; a test
// compares them with a real server, and writes them.
//
//go:embed charsets.gz
var charsetTables []byte

// charset is how to bring text of a MySQL character set to UTF-8.
type charset struct {
	name string
	// recode appends src in UTF-8; false when src has a code that is no character, or one without Unicode. nil: the text
	// is UTF-8 as it is.
	recode func(dst, src []byte) ([]byte, bool)
}

// charsetOf returns the character set of a collation.
func charsetOf(collation uint64) (*charset, error) {
	name, ok := charsetName(collation)
	if !ok {
		return nil, fmt.Errorf("its collation has the number %d, which tidemark does not know", collation)
	}
	switch name {
	case "utf8mb4", "utf8mb3", "ascii":
		return &charset{name, nil}, nil
	case "utf16", "ucs2":
		return &charset{name, recodeUTF16(binary.BigEndian)}, nil
	case "utf16le":
		return &charset{name, recodeUTF16(binary.LittleEndian)}, nil
	case "utf32":
		return &charset{name, recodeUTF32}, nil
	}
	t, err := loadTable(name)
	if err != nil {
		return nil, fmt.Errorf("its character set is %s: %w", name, err)
	}
	return &charset{name, t.recode}, nil
}

func charsetName(collation uint64) (string, bool) {
	id := strconv.FormatUint(collation, 10)
	for line := range strings.Lines(collations) {
		name, ids, _ := strings.Cut(strings.TrimSpace(line), " ")
		for known := range strings.SplitSeq(ids, ",") {
			if known == id {
				return name, true
			}
		}
	}
	return "", false
}

func recodeUTF16(order binary.ByteOrder) func(dst, src []byte) ([]byte, bool) {
	return func(dst, src []byte) ([]byte, bool) {
		for len(src) >= 2 {
			r := rune(order.Uint16(src))
			src = src[2:]
			if utf16.IsSurrogate(r) {
				if len(src) < 2 {
					return dst, false
				}
				if r = utf16.DecodeRune(r, rune(order.Uint16(src))); r == utf8.RuneError {
					return dst, false
				}
				src = src[2:]
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst, len(src) == 0
	}
}

func recodeUTF32(dst, src []byte) ([]byte, bool) {
	for len(src) >= 4 {
		u := binary.BigEndian.Uint32(src)
		if u > utf8.MaxRune || utf16.IsSurrogate(rune(u)) {
			return dst, false
		}
		dst = utf8.AppendRune(dst, rune(u))
		src = src[4:]
	}
	return dst, len(src) == 0
}

// table maps codes of one, two or three bytes to characters of the Basic Multilingual Plane. 0 is no character (but for
// the code 0 itself).
type table struct {
	one   [256]uint16
	two   []uint16 // by code; nil in a single-byte character set
	three []uint16 // by the two bytes after 8F (ujis and eucjpms)
	four  bool     // gb18030
}

func loadTable(name string) (*table, error) {
	z, err := gzip.NewReader(bytes.NewReader(charsetTables))
	if err != nil {
		return nil, fmt.Errorf("the built-in tables are damaged: %w", err)
	}
	t := &table{four: name == "gb18030"}
	found := false
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		cs, rest, _ := strings.Cut(lines.Text(), " ")
		if cs != name {
			if found {
				return t, nil // a character set's lines stand together
			}
			continue
		}
		found = true
		if err := t.run(rest); err != nil {
			return nil, fmt.Errorf("the built-in table is damaged: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("the built-in tables are damaged: %w", err)
	}
	if !found {
		return nil, fmt.Errorf("tidemark has no table for it")
	}
	return t, nil
}

// run fills in consecutive codes: `8140 "丂丄丅"`.
func (t *table) run(line string) error {
	code, quoted, _ := strings.Cut(line, " ")
	first, err := hex.DecodeString(code)
	if err != nil {
		return err
	}
	text, err := strconv.Unquote(quoted)
	if err != nil {
		return fmt.Errorf("%s: %w", code, err)
	}
	into, n := t.one[:], int(first[len(first)-1])
	if len(first) > 1 {
		plane := &t.two
		if len(first) == 3 {
			plane = &t.three
		}
		if *plane == nil {
			*plane = make([]uint16, 1<<16)
		}
		into, n = *plane, n|int(first[len(first)-2])<<8
	}
	for _, r := range text {
		if n >= len(into) || r > 0xffff {
			return fmt.Errorf("%s: out of range", code)
		}
		into[n] = uint16(r)
		n++
	}
	return nil
}

func (t *table) recode(dst, src []byte) ([]byte, bool) {
	for i := 0; i < len(src); {
		b := src[i]
		if r := t.one[b]; r != 0 || b == 0 {
			if r < utf8.RuneSelf {
				dst = append(dst, byte(r))
			} else {
				dst = utf8.AppendRune(dst, rune(r))
			}
			i++
			continue
		}
		if t.two == nil || i+1 >= len(src) {
			return dst, false
		}
		if r := t.two[int(b)<<8|int(src[i+1])]; r != 0 {
			dst = utf8.AppendRune(dst, rune(r))
			i += 2
			continue
		}
		switch {
		case t.three != nil && b == 0x8f && i+2 < len(src):
			r := t.three[int(src[i+1])<<8|int(src[i+2])]
			if r == 0 {
				return dst, false
			}
			dst = utf8.AppendRune(dst, rune(r))
			i += 3
		case t.four && i+3 < len(src):
			r, ok := fourBytes(src[i : i+4])
			if !ok {
				return dst, false
			}
			dst = utf8.AppendRune(dst, r)
			i += 4
		default:
			return dst, false
		}
	}
	return dst, true
}

// fourBytes maps a code of four bytes of gb18030. They are numbered through in the order of Unicode, first the characters
// of the Basic Multilingual Plane that have no shorter code, and from 90308130 on the other planes.
func fourBytes(v []byte) (rune, bool) {
	const (
		exception = 7_457   // 8135F437: U+E7C7 to the server, which follows the standard of 2000; U+1E3F since
		lastRun   = 39_394  // U+FFE6
		planes    = 189_000 // U+10000
	)
	for i, low := range [4]byte{0x81, 0x30, 0x81, 0x30} {
		high := low + 9
		if i%2 == 0 {
			high = 0xfe
		}
		if v[i] < low || v[i] > high {
			return 0, false
		}
	}
	n := ((rune(v[0]-0x81)*10+rune(v[1]-0x30))*126+rune(v[2]-0x81))*10 + rune(v[3]-0x30)
	switch {
	case n >= planes:
		r := n - planes + 0x10000
		return r, r <= utf8.MaxRune
	case n >= lastRun:
		r := n - lastRun + 0xffe6
		return r, r <= 0xffff
	case n == exception:
		return 0xe7c7, true
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(v)
	r, size := utf8.DecodeRune(text)
	return r, err == nil && r != utf8.RuneError && size == len(text)
}
