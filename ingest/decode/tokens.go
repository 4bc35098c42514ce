package decode

import (
	"slices"
	"strings"
)

// tokenKind says what a piece of a statement is.
type tokenKind uint8

const (
	word   tokenKind = iota // keyword, identifier or number
	quoted                  // `identifier`
	text                    // "string", or identifier under ANSI_QUOTES
	str                     // 'string'
	punct                   // one character
)

type token struct {
	kind tokenKind
	text string // unquoted
}

// dialect is a way to read a statement where servers and settings differ.
type dialect struct {
	mariadb     bool // /*M! ... */ and /*!100100 ... */ are code
	noBackslash bool // NO_BACKSLASH_ESCAPES
}

// reading is a statement as one dialect reads it.
type reading struct {
	tokens  []token
	mariadb bool // it has a comment that is code to MariaDB only
	broken  bool // a quote or comment is not closed
}

// read splits a statement into tokens. Comments are left out; what stands in /*! */ is code to MySQL, whose versions all have
// at most five digits.
func read(sql string, how dialect) reading {
	var r reading
	inside := 0 // comments that are code
	for i := 0; i < len(sql); {
		c := sql[i]
		rest := sql[i:]
		switch {
		case c <= ' ' || c == 0x7f:
			i++
		case c == '#', strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' '):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			i += n
		case strings.HasPrefix(rest, "/*"):
			code, n := codeComment(rest)
			if code == mariadbCode {
				r.mariadb = true
			}
			if code == mysqlCode || code == mariadbCode && how.mariadb {
				inside++
				i += n
				continue
			}
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				r.broken = true
				return r
			}
			i += 2 + end + 2
		case inside > 0 && strings.HasPrefix(rest, "*/"):
			inside--
			i += 2
		case c == '`' || c == '"' || c == '\'':
			body, n, closed := unquote(rest, c != '`' && !how.noBackslash)
			if !closed {
				r.broken = true
			}
			kind := str
			switch c {
			case '`':
				kind = quoted
			case '"':
				kind = text
			}
			r.tokens = append(r.tokens, token{kind, body})
			i += n
		case c == '$' && dollarQuoted(rest) > 0:
			n := dollarQuoted(rest)
			r.tokens = append(r.tokens, token{str, rest[:n]})
			i += n
		case isWord(c):
			n := 1
			for n < len(rest) && isWord(rest[n]) {
				n++
			}
			r.tokens = append(r.tokens, token{word, rest[:n]})
			i += n
		default:
			r.tokens = append(r.tokens, token{punct, rest[:1]})
			i++
		}
	}
	r.broken = r.broken || inside > 0
	return r
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// dollarQuoted is the length of a program text like $js$ ... $js$ at the start of s, 0 when there is none.
func dollarQuoted(s string) int {
	n := 1
	for n < len(s) && s[n] != '$' && isWord(s[n]) {
		n++
	}
	if n == len(s) || s[n] != '$' {
		return 0
	}
	tag := s[:n+1]
	end := strings.Index(s[len(tag):], tag)
	if end < 0 {
		return 0
	}
	return len(tag) + end + len(tag)
}

type commentKind uint8

const (
	plainComment commentKind = iota
	mysqlCode
	mariadbCode
)

// codeComment tells a comment whose content is executed, and the length of what opens it.
func codeComment(s string) (commentKind, int) {
	var kind commentKind
	var n int
	switch {
	case strings.HasPrefix(s, "/*!"):
		kind, n = mysqlCode, 3
	case strings.HasPrefix(s, "/*M!"):
		kind, n = mariadbCode, 4
	default:
		return plainComment, 2
	}
	digits := 0
	for digits < 6 && n+digits < len(s) && s[n+digits] >= '0' && s[n+digits] <= '9' {
		digits++
	}
	switch {
	case digits < 5: // no version: digits are code
		return kind, n
	case digits == 6 && s[n] != '0':
		kind = mariadbCode // 10.0.0 and later
	}
	return kind, n + digits
}

// unquote reads a quoted piece. A doubled quote stands for itself, and so does, with escapes, one behind a backslash.
func unquote(s string, escapes bool) (body string, length int, closed bool) {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && escapes && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == q && i+1 < len(s) && s[i+1] == q:
			i++
			b.WriteByte(q)
		case s[i] == q:
			return b.String(), i + 1, true
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), len(s), false
}

// statement is one being read.
type statement struct {
	schema string
	tokens []token
	at     int
}

// peek reports whether the next tokens are these words.
func (p *statement) peek(words ...string) bool {
	for i, w := range words {
		if p.at+i >= len(p.tokens) {
			return false
		}
		if t := p.tokens[p.at+i]; t.kind != word || !strings.EqualFold(t.text, w) {
			return false
		}
	}
	return true
}

// accept passes the words if they come next.
func (p *statement) accept(words ...string) bool {
	if !p.peek(words...) {
		return false
	}
	p.at += len(words)
	return true
}

// acceptAny passes any of the words, however many come.
func (p *statement) acceptAny(words ...string) (found bool) {
	for slices.ContainsFunc(words, func(w string) bool { return p.accept(w) }) {
		found = true
	}
	return found
}

func (p *statement) acceptPunct(c string) bool {
	if p.at < len(p.tokens) && p.tokens[p.at].kind == punct && p.tokens[p.at].text == c {
		p.at++
		return true
	}
	return false
}

// name reads a table's name, qualified or not.
func (p *statement) name() (TableRef, bool) {
	first, ok := p.identifier()
	if !ok {
		return TableRef{}, false
	}
	if !p.acceptPunct(".") {
		return TableRef{p.schema, first}, true
	}
	second, ok := p.identifier()
	return TableRef{first, second}, ok
}

func (p *statement) identifier() (string, bool) {
	if p.at >= len(p.tokens) {
		return "", false
	}
	t := p.tokens[p.at]
	if t.kind == punct || t.kind == str {
		return "", false
	}
	p.at++
	return t.text, true
}

func (p *statement) names() ([]TableRef, bool) {
	var list []TableRef
	for {
		t, ok := p.name()
		if !ok {
			return list, false
		}
		list = append(list, t)
		if !p.acceptPunct(",") {
			return list, true
		}
	}
}

func (p *statement) end() bool { return p.at >= len(p.tokens) }
