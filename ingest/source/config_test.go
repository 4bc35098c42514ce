package source

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseURL(t *testing.T) {
	c, err := ParseURL("mysql://tide:s%40c%3Aret%2F%3F@db1:3307,db2,[::1]:3308,[fe80::2]/?tls=verify-ca&tls-ca=/etc/ca.pem")
	require.NoError(t, err)
	assert.Equal(t, []string{"db1:3307", "db2:3306", "[::1]:3308", "[fe80::2]:3306"}, c.Hosts)
	assert.Equal(t, "tide", c.User)
	assert.Equal(t, "s@c:ret/?", c.Password)
	assert.Equal(t, TLSVerifyCA, c.TLS)
	assert.Equal(t, "/etc/ca.pem", c.CAFile)

	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%#v %+v %s", c, c, c), c.LogValue().String(), func() string {
		var b strings.Builder
		slog.New(slog.NewTextHandler(&b, nil)).Info("x", "config", c)
		return b.String()
	}()} {
		assert.NotContains(t, text, "ret")
		assert.Contains(t, text, "db1:3307")
	}

	c, err = ParseURL("mysql://u@h/")
	require.NoError(t, err)
	assert.Equal(t, "mysql://u@h:3306/", c.String())
	c, err = ParseURL("mysql://u:p@ss@h:1")
	require.NoError(t, err)
	assert.Equal(t, "p@ss", c.Password)

	for in, want := range map[string]string{
		"postgres://u@h/":           "mysql://",
		"mysql://h:3306/":           "no user",
		"mysql://u:secret@/":        "host is missing",
		"mysql://u:secret@h:x/":     "not a port",
		"mysql://u:secret@::1/":     "IPv6",
		"mysql://u:secret@h/db":     "--tables",
		"mysql://u:sec%ret@h/":      "%25",
		"mysql://u:secret@h/?tls=1": "verify-full",
		"mysql://u:secret@h/?ssl=1": "ssl",
		"mysql://u:secret@h,,g/":    "missing",
	} {
		_, err := ParseURL(in)
		require.ErrorContains(t, err, want, in)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestIdentity(t *testing.T) {
	a, b := Config{Pipeline: "a"}, Config{Pipeline: "b"}
	assert.Equal(t, a.ReplicaUUID(), Config{Pipeline: "a", User: "x"}.ReplicaUUID(), "stable")
	assert.NotEqual(t, a.ReplicaUUID(), b.ReplicaUUID())
	c := Config{ServerIDMin: 5, ServerIDMax: 6}.ensureDefaults()
	for range 50 {
		assert.Equal(t, uint32(6), c.drawServerID(5))
	}
}

func TestFilter(t *testing.T) {
	f, err := ParseFilter("shop.*, crm.customer_?,`odd.db`.`a*b`, !shop.secret,!*.tmp_*")
	require.NoError(t, err)
	for name, want := range map[string]bool{
		"shop.orders": true, "shop.secret": false, "shop.tmp_1": false, "Shop.orders": false, "shops.orders": false,
		"crm.customer_1": true, "crm.customer_12": false, "odd.db/a*b": true, "odd.db/axb": false,
	} {
		db, table, ok := strings.Cut(name, "/")
		if !ok {
			db, table, _ = strings.Cut(name, ".")
		}
		assert.Equal(t, want, f.Match(db, table), name)
	}
	for _, all := range []string{"", "*.*", "!a.b"} {
		f, err := ParseFilter(all)
		require.NoError(t, err)
		assert.True(t, f.Match("x", "y"), all)
		for _, system := range []string{"mysql", "sys", "information_schema", "performance_schema", "MySQL"} {
			assert.False(t, f.Match(system, "user"), all)
		}
	}
	assert.True(t, Filter{}.Match("x", "y"))
	for _, bad := range []string{"shop", "a.b.c", "shop.", "`a.b", "!x"} {
		_, err := ParseFilter(bad)
		assert.Error(t, err, bad)
	}
}

func TestCommonName(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"*", "*", true},
		{"a*", "*b", true},
		{"a*", "b*", false},
		{"a?c", "abc", true},
		{"a?", "a", false},
		{"*a*b*", "xxaxxb", true},
		{"*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false},
		{"", "*", true},
		{"", "?", false},
		{"a*b", "a%", false},
	} {
		name, ok := common(parseGlob(tt.a), parseGlob(tt.b))
		assert.Equal(t, tt.want, ok, tt)
		if ok {
			assert.True(t, parseGlob(tt.a).match(name) && parseGlob(tt.b).match(name), "%q %v", name, tt)
		}
	}
	assert.True(t, parseLike(`a\_b%`).match("a_bc"))
	assert.False(t, parseLike(`a\_b%`).match("axbc"))
}

func TestHiddenTables(t *testing.T) {
	rule := func(option string, values ...string) FilterRule { return FilterRule{Option: option, Values: values} }
	for _, tt := range []struct {
		name   string
		rules  []FilterRule
		filter string
		tables string // known ones
		want   string // "" not hidden
	}{
		{"ignored database", []FilterRule{rule("replicate-ignore-db", "shop")}, "shop.*", "shop.orders", "shop.orders"},
		{"ignored database, tables unknown", []FilterRule{rule("replicate-ignore-db", "shop")}, "sh*.*", "", "may hide"},
		{"another database is ignored", []FilterRule{rule("replicate-ignore-db", "crm")}, "shop.*", "", ""},
		{"only another database", []FilterRule{rule("replicate-do-db", "crm")}, "shop.*", "", "may hide"},
		{"only ours", []FilterRule{rule("replicate-do-db", "crm", "shop")}, "shop.*", "", ""},
		{"only ours, more followed", []FilterRule{rule("replicate-do-db", "shop")}, "*.*", "", "may hide"},
		{"ignored table", []FilterRule{rule("replicate-ignore-table", "shop.tmp")}, "shop.*", "", "shop.tmp"},
		{"ignored table is left out", []FilterRule{rule("replicate-ignore-table", "shop.tmp")}, "shop.*,!shop.tmp", "", ""},
		{"ignored table does not exist", []FilterRule{rule("replicate-ignore-table", "shop.tmp")}, "shop.*", "shop.orders", "may hide"},
		{"some tables only", []FilterRule{rule("replicate-do-table", "shop.orders")}, "shop.*", "", "may hide"},
		{"some tables only, all we follow", []FilterRule{rule("replicate-do-table", "shop.orders")}, "shop.orders", "", ""},
		{"wild ignore", []FilterRule{rule("replicate-wild-ignore-table", `sh%.tmp\_%`)}, "shop.*", "", "may hide"},
		{"wild ignore beside", []FilterRule{rule("replicate-wild-ignore-table", `sh%.tmp\_%`)}, "shop.orders_?", "", ""},
		{"wild do", []FilterRule{rule("replicate-wild-do-table", "shop.%")}, "shop.*", "", ""},
		{"wild do of less", []FilterRule{rule("replicate-wild-do-table", "shop.o%")}, "shop.*", "", "may hide"},
		{"do beats wild ignore", []FilterRule{rule("replicate-do-table", "shop.orders"), rule("replicate-wild-ignore-table", "shop.%")}, "shop.orders", "", ""},
		{"ignore after do-db", []FilterRule{rule("replicate-do-db", "shop"), rule("replicate-wild-ignore-table", "shop.%")}, "shop.orders", "", "may hide"},
		{"rewritten", []FilterRule{rule("replicate-rewrite-db", "shop")}, "shop.orders", "", "may hide"},
	} {
		f, err := ParseFilter(tt.filter)
		require.NoError(t, err)
		var tables []TableName
		for n := range strings.FieldsSeq(tt.tables) {
			db, table, _ := strings.Cut(n, ".")
			tables = append(tables, TableName{db, table})
		}
		got, _ := State{Replication: Replication{Applier: tt.rules}}.hidden(f, tables)
		if tt.want == "" {
			assert.Empty(t, got, tt.name)
		} else {
			assert.Contains(t, got, tt.want, tt.name)
		}
	}
	s := State{Replication: Replication{Binlog: []FilterRule{rule("binlog-ignore-db", "shop")}}}
	got, _ := s.hidden(Filter{}, nil)
	assert.Contains(t, got, "binlog-ignore-db=shop")
	assert.Equal(t, []string{"a", "c"}, splitRule("replicate-rewrite-db", "(a,b),(c,d)"))
	assert.Equal(t, []string{"a.b", "c.d"}, splitRule("replicate-do-table", "`a`.`b`, c.d"))
}
