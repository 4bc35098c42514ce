package decode

import (
	"slices"
	"strings"
)

// StatementKind says what a statement means for the rows of tables.
type StatementKind uint8

const (
	// Harmless statements change no row and no column of a table that exists.
	Harmless StatementKind = iota
	// AltersTable marks a statement that may change columns. The rows stay, as far as the new columns can hold them.
	AltersTable
	// Unknown marks a statement that is not understood. Its tables are all that its text can mean by a name.
	Unknown
	// ChangesRows marks a statement that changes, removes or renames rows without rows events.
	ChangesRows
)

func (k StatementKind) String() string {
	return [...]string{"harmless", "alters", "unknown", "changes rows"}[min(k, ChangesRows)]
}

// TableRef names a table.
type TableRef struct{ DB, Table string }

// Statement is what a query event's text does.
type Statement struct {
	Verb   string // its first words, in capitals: "ALTER TABLE"
	Kind   StatementKind
	Tables []TableRef // the tables it is about, where Kind is not Harmless

	any bool
	DB  string // with AnyTable: the database whose tables it is about, "" for all
}

// ChangesRows reports whether rows may change without rows events.
func (s Statement) ChangesRows() bool { return s.Kind == ChangesRows || s.Kind == Unknown }

// AnyTable reports whether the statement may be about tables beyond Tables: any of DB, or any at all when DB is "".
func (s Statement) AnyTable() bool { return s.any }

// Classify reads the text of a query event that ran with the given default database ("" for none).
//
// It judges by the leading words and does not parse, so no statement is too new for it; what it does not know is
// Unknown. Names keep their spelling: where lower_case_table_names is not 0, compare them without regard to case. Where
// servers or settings would read the text differently, the graver reading counts.
func Classify(schema, sql string) Statement {
	how := dialect{}
	r := read(sql, how)
	s := classify(schema, r)
	if r.broken {
		how.noBackslash = true
		again := read(sql, how)
		s = classify(schema, again)
		if again.broken {
			s = graver(s, classify(schema, r))
			s = graver(s, Statement{Verb: s.Verb, Kind: Unknown, any: true}) // what is in the rest, nobody knows
		}
	}
	if r.mariadb {
		how.mariadb = true
		s = graver(s, classify(schema, read(sql, how)))
	}
	return s
}

// graver combines two readings of a statement.
func graver(a, b Statement) Statement {
	if b.Kind > a.Kind || a.Verb == "" {
		a.Verb, a.Kind = b.Verb, b.Kind
	}
	for _, t := range b.Tables {
		if !slices.Contains(a.Tables, t) {
			a.Tables = append(a.Tables, t)
		}
	}
	switch {
	case a.any && b.any && a.DB != b.DB:
		a.DB = ""
	case b.any:
		a.any, a.DB = true, b.DB
	}
	return a
}

func classify(schema string, r reading) Statement {
	var s Statement
	tokens := r.tokens
	for len(tokens) > 0 {
		one := tokens
		if i := statementEnd(tokens); i >= 0 {
			one, tokens = tokens[:i], tokens[i+1:]
		} else {
			tokens = nil
		}
		if len(one) == 0 {
			continue
		}
		p := &statement{schema: schema, tokens: one}
		s = graver(s, p.classify())
	}
	return s
}

// statementEnd finds the semicolon that ends the first statement. In the body of a stored program they end nothing.
func statementEnd(tokens []token) int {
	if p := (&statement{tokens: tokens}); p.peek("CREATE") || p.peek("ALTER") && !p.peek("ALTER", "TABLE") {
		return -1
	}
	return slices.IndexFunc(tokens, func(t token) bool { return t.kind == punct && t.text == ";" })
}

func (p *statement) is(verb string, kind StatementKind, tables ...TableRef) Statement {
	return Statement{Verb: verb, Kind: kind, Tables: tables}
}

func (p *statement) anyTable(verb string) Statement {
	return Statement{Verb: verb, Kind: ChangesRows, any: true}
}

func (p *statement) unknown() Statement {
	verb := ""
	for i, t := range p.tokens {
		if i == 2 || t.kind != word {
			break
		}
		verb = strings.TrimSpace(verb + " " + strings.ToUpper(t.text))
	}
	return Statement{Verb: verb, Kind: Unknown, Tables: mentioned(p.schema, p.tokens)}
}

// mentioned takes for a table whatever a name in the text can mean.
func mentioned(schema string, tokens []token) []TableRef {
	var list []TableRef
	add := func(t TableRef) {
		if !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	for i := range tokens {
		p := &statement{schema: schema, tokens: tokens, at: i}
		if t, ok := p.name(); ok {
			add(t)
		}
		if t := tokens[i]; t.kind != punct && t.kind != str {
			add(TableRef{schema, t.text})
		}
	}
	return list
}

func (p *statement) classify() Statement {
	switch {
	case p.accept("ALTER"):
		return p.alter()
	case p.accept("CREATE"):
		return p.create()
	case p.accept("DROP"):
		return p.drop()
	case p.accept("TRUNCATE"):
		p.accept("TABLE")
		if t, ok := p.name(); ok {
			return p.is("TRUNCATE", ChangesRows, t)
		}
	case p.accept("RENAME"):
		return p.rename()
	case p.peek("INSERT"), p.peek("REPLACE"), p.peek("UPDATE"), p.peek("DELETE"), p.peek("LOAD"), p.peek("IMPORT"):
		return p.dml()
	case p.accept("WITH"): // a query, or a change behind it
		return p.anyTable("WITH")
	case p.accept("CALL"), p.accept("DO"), p.accept("SELECT"), p.accept("VALUES"), p.accept("TABLE"), p.accept("EXECUTE"):
		// Written to the binary log only when a function that it calls changes rows.
		return p.anyTable(strings.ToUpper(p.tokens[0].text))
	case p.accept("ROLLBACK"):
		// Written only to undo part of what stands before it in the same transaction.
		return p.anyTable("ROLLBACK")
	case p.accept("SET", "STATEMENT"): // MariaDB: settings for one statement
		for !p.end() {
			if p.accept("FOR") {
				return p.classify()
			}
			p.at++
		}
	case p.accept("BEGIN"):
		p.accept("WORK")
		if p.end() {
			return p.is("BEGIN", Harmless)
		}
	case p.accept("ANALYZE"), p.accept("OPTIMIZE"), p.accept("REPAIR"), p.accept("CHECK"), p.accept("CHECKSUM"):
		verb := strings.ToUpper(p.tokens[p.at-1].text)
		p.acceptAny("NO_WRITE_TO_BINLOG", "LOCAL")
		if p.accept("TABLE") || p.accept("TABLES") || p.accept("VIEW") {
			return p.is(verb, Harmless)
		}
	case p.end():
		return p.is("", Harmless)
	}
	if p.at == 0 && slices.ContainsFunc(harmlessVerbs(), func(w string) bool { return p.peek(w) }) {
		return p.is(strings.ToUpper(p.tokens[0].text), Harmless)
	}
	return p.unknown()
}

// harmlessVerbs are those that do nothing to rows, whatever follows.
func harmlessVerbs() []string {
	return []string{
		"GRANT", "REVOKE", "SET", "FLUSH", "RESET", "INSTALL", "UNINSTALL", "CACHE", "COMMIT", "START", "XA", "SAVEPOINT", "RELEASE",
		"LOCK", "UNLOCK", "USE", "KILL", "CLONE", "SHUTDOWN", "RESTART", "PURGE", "CHANGE", "STOP", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "HELP",
		"PREPARE", "DEALLOCATE", "BINLOG", "COMMENT",
	}
}

// alter reads what follows ALTER.
func (p *statement) alter() Statement {
	p.accept("ONLINE")
	ignore := p.accept("IGNORE") // MariaDB: rows that violate a new key go
	if !p.accept("TABLE") {
		if p.at < len(p.tokens) && slices.ContainsFunc(schemaObjects(), func(w string) bool { return p.peek(w) }) {
			return p.is("ALTER "+strings.ToUpper(p.tokens[p.at].text), Harmless)
		}
		return p.unknown()
	}
	p.accept("IF", "EXISTS")
	t, ok := p.name()
	if !ok {
		return p.unknown()
	}
	s := p.is("ALTER TABLE", AltersTable, t)
	if ignore {
		s.Kind = ChangesRows
	}
	p.alterations(&s)
	return s
}

// schemaObjects are those that hold no rows, as they stand after ALTER, CREATE and DROP.
func schemaObjects() []string {
	return []string{
		"DATABASE", "SCHEMA", "VIEW", "USER", "ROLE", "FUNCTION", "PROCEDURE", "TRIGGER", "EVENT", "SERVER", "TABLESPACE", "LOGFILE", "UNDO",
		"INSTANCE", "RESOURCE", "DEFINER", "SQL", "ALGORITHM", "AGGREGATE", "SPATIAL", "LIBRARY", "PACKAGE", "SEQUENCE", "PREPARE", "MASKING",
		"INDEX", "UNIQUE", "FULLTEXT", "VECTOR", "MATERIALIZED", "JSON",
	}
}

// alterations reads what is done to a table, looking at words outside parentheses only.
func (p *statement) alterations(s *Statement) {
	depth := 0
	for !p.end() {
		switch {
		case p.acceptPunct("("):
			depth++
		case p.acceptPunct(")"):
			depth--
		case depth > 0:
			p.at++
		case p.peek("DROP", "PARTITION"), p.peek("TRUNCATE", "PARTITION"),
			p.peek("DISCARD", "PARTITION"), p.peek("DISCARD", "TABLESPACE"), p.peek("IMPORT", "PARTITION"), p.peek("IMPORT", "TABLESPACE"),
			p.peek("CONVERT", "PARTITION"), p.peek("CONVERT", "TABLE"): // the last two are MariaDB's
			p.at += 2
			s.Kind = ChangesRows
		case p.accept("EXCHANGE", "PARTITION"):
			s.Kind = ChangesRows
			for !p.end() && !p.accept("WITH", "TABLE") {
				p.at++
			}
			if t, ok := p.name(); ok {
				s.Tables = append(s.Tables, t)
			}
		case p.peek("RENAME", "COLUMN"), p.peek("RENAME", "INDEX"), p.peek("RENAME", "KEY"):
			p.at += 2
		case p.accept("RENAME"):
			if !p.accept("TO") && !p.accept("AS") {
				p.acceptPunct("=")
			}
			if t, ok := p.name(); ok {
				s.Tables = append(s.Tables, t)
			}
			s.Kind = ChangesRows
		default:
			p.at++
		}
	}
}

// create reads what follows CREATE.
func (p *statement) create() Statement {
	replace := p.accept("OR", "REPLACE")
	temporary := p.accept("TEMPORARY")
	if !p.accept("TABLE") {
		if p.at < len(p.tokens) && slices.ContainsFunc(schemaObjects(), func(w string) bool { return p.peek(w) }) {
			return p.is("CREATE "+strings.ToUpper(p.tokens[p.at].text), Harmless)
		}
		return p.unknown()
	}
	if temporary {
		return p.is("CREATE TEMPORARY TABLE", Harmless)
	}
	p.accept("IF", "NOT", "EXISTS")
	t, ok := p.name()
	if !ok {
		return p.unknown()
	}
	if replace {
		return p.is("CREATE OR REPLACE TABLE", ChangesRows, t)
	}
	for depth := 0; !p.end(); p.at++ {
		switch next := p.tokens[p.at]; {
		case next.kind == punct && next.text == "(":
			depth++
		case next.kind == punct && next.text == ")":
			depth--
		case p.peek("SELECT"), depth == 0 && (p.peek("TABLE") || p.peek("VALUES")):
			// In the statement format the rows come with the table. In the row format the server leaves the query out.
			return p.is("CREATE TABLE ... SELECT", ChangesRows, t)
		}
	}
	return p.is("CREATE TABLE", Harmless)
}

// drop reads what follows DROP.
func (p *statement) drop() Statement {
	if p.accept("TEMPORARY") {
		return p.is("DROP TEMPORARY TABLE", Harmless)
	}
	switch {
	case p.accept("TABLE"), p.accept("TABLES"):
		p.accept("IF", "EXISTS")
		list, ok := p.names()
		if !ok {
			return p.unknown()
		}
		return p.is("DROP TABLE", ChangesRows, list...)
	case p.accept("DATABASE"), p.accept("SCHEMA"):
		p.accept("IF", "EXISTS")
		db, ok := p.identifier()
		if !ok {
			return p.unknown()
		}
		return Statement{Verb: "DROP DATABASE", Kind: ChangesRows, any: true, DB: db}
	case p.at < len(p.tokens) && slices.ContainsFunc(schemaObjects(), func(w string) bool { return p.peek(w) }):
		return p.is("DROP "+strings.ToUpper(p.tokens[p.at].text), Harmless)
	}
	return p.unknown()
}

// rename reads what follows RENAME.
func (p *statement) rename() Statement {
	if p.accept("USER") {
		return p.is("RENAME USER", Harmless)
	}
	if !p.accept("TABLE") && !p.accept("TABLES") {
		return p.unknown()
	}
	p.accept("IF", "EXISTS")
	var list []TableRef
	for {
		from, ok := p.name()
		if p.accept("WAIT") { // MariaDB, as is NOWAIT
			p.identifier()
		} else {
			p.accept("NOWAIT")
		}
		if !ok || !p.accept("TO") {
			return p.unknown()
		}
		to, ok := p.name()
		if !ok {
			return p.unknown()
		}
		list = append(list, from, to)
		if !p.acceptPunct(",") {
			return p.is("RENAME TABLE", ChangesRows, list...)
		}
	}
}

// dml reads a change of rows in the statement format.
func (p *statement) dml() Statement {
	verb := strings.ToUpper(p.tokens[p.at].text)
	p.at++
	modifiers := func() {
		p.acceptAny("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "QUICK", "CONCURRENT", "LOCAL")
	}
	modifiers()
	switch verb {
	case "INSERT", "REPLACE":
		p.accept("INTO")
		if t, ok := p.name(); ok {
			return p.is(verb, ChangesRows, t)
		}
	case "DELETE":
		if p.accept("FROM") {
			t, ok := p.name()
			if !ok || p.peek("USING") {
				break
			}
			if p.at < len(p.tokens) && p.tokens[p.at].kind == punct { // several tables
				break
			}
			return p.is(verb, ChangesRows, t)
		}
	case "UPDATE":
		t, ok := p.name()
		if !p.peek("SET") && ok {
			p.accept("AS")
			p.identifier()
		}
		if ok && p.peek("SET") {
			return p.is(verb, ChangesRows, t)
		}
	case "LOAD":
		for !p.end() {
			if p.accept("INTO", "TABLE") {
				if t, ok := p.name(); ok {
					return p.is("LOAD DATA", ChangesRows, t)
				}
				break
			}
			p.at++
		}
		if len(p.tokens) > 1 && (&statement{tokens: p.tokens, at: 1}).peek("INDEX") {
			return p.is("LOAD INDEX", Harmless)
		}
	}
	return p.anyTable(verb)
}
