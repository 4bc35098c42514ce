package decode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

// jsonExpressions are SQL expressions for documents with something peculiar.
func jsonExpressions() []string {
	big := "JSON_OBJECT('a', REPEAT('x', 70000), 'b', 1, 'i32', 70000, 'u32', 4000000000, 'n', NULL, 't', TRUE, 'i16', -3, 'u16', 40000)"
	list := []string{
		`'{}'`, `'[]'`, `'null'`, `'true'`, `'false'`, `'"s"'`, `'""'`, `'-1'`, `'65535'`, `'70000'`, `'-32768'`, `'-32769'`, `'4294967295'`, `'-9223372036854775808'`, `'18446744073709551615'`, `'1.0'`,
		`JSON_OBJECT('d', CAST(1.50 AS DECIMAL(10,2)), 'neg', CAST(-0.001 AS DECIMAL(65,30)), 'z', CAST(0 AS DECIMAL(5,0)), 'five', CAST(0.00001 AS DECIMAL(5,5)), 'big', 12345678901234567890123456789012345.678)`,
		`JSON_OBJECT('dt', CAST('2024-02-29' AS DATE), 'dtm', CAST('2024-02-29 01:02:03.456789' AS DATETIME(6)), 't', CAST('-12:13:14.5' AS TIME(6)), 't2', CAST('838:59:59' AS TIME), 'ts', TIMESTAMP('2024-01-01 00:00:00'), 't0', CAST('00:00:00' AS TIME), 'y', CAST(2024 AS YEAR))`,
		`JSON_ARRAY(CAST('-00:00:00.000001' AS TIME(6)), CAST('-838:59:59' AS TIME), CAST('0001-01-01' AS DATE), CAST('9999-12-31 23:59:59.999999' AS DATETIME(6)))`,
		`JSON_OBJECT('bin', CAST('abc' AS BINARY), 'blob', _binary x'00ff10', 'empty', _binary '')`, `JSON_OBJECT('bit', b'101')`,
		`JSON_ARRAY(CAST(REPEAT('a', 57) AS BINARY), CAST(REPEAT('a', 58) AS BINARY), CAST(REPEAT('a', 114) AS BINARY))`, `JSON_OBJECT('long', CAST(REPEAT('abcdefghij', 40) AS BINARY))`, `JSON_OBJECT('longer', CAST(REPEAT('x', 100000) AS BINARY))`,
		`JSON_OBJECT('bb',1,'a',2,'ccc',3,'B',4,'é',5,'',6)`, `JSON_OBJECT('h','<a>&"\\\\/\n\t')`, `'"\\u0001\\u001f\\u007f\\u0080\\u2028 😀 \\ud83d\\ude00 \\u0000 \\b\\f\\r"'`,
		`JSON_OBJECT('\n"\\\\', 'key')`, `JSON_ARRAY(1,-1,3.5,'x',NULL,TRUE,JSON_ARRAY(),JSON_OBJECT('k',JSON_ARRAY(1,2)))`,
		big, `JSON_ARRAY(` + big + `,2)`, `JSON_OBJECT('g', ST_GeomFromText('POINT(1 2)'))`, `JSON_ARRAY(ST_GeomFromText('LINESTRING(1 2.5,30 -4)', 4326))`,
		`JSON_ARRAY(CAST(-5 AS SIGNED), CAST(5 AS UNSIGNED), 40000, -40000, 3000000000)`, `CAST(CAST(1.10 AS DECIMAL(5,2)) AS JSON)`, `CAST(CAST('2024-02-29' AS DATE) AS JSON)`, `CAST(_binary x'01' AS JSON)`,
		`JSON_ARRAY(CAST(1.1 AS FLOAT), CAST(1e30 AS FLOAT), 1e0, 0e0, -0e0)`, `JSON_ARRAY(REPEAT('é', 64), REPEAT('y', 127), REPEAT('z', 128), REPEAT('w', 16384))`,
	}
	list = append(list, "CONCAT(REPEAT('[', 100), REPEAT(']', 100))", "CONCAT(REPEAT('{\"a\":', 99), '1', REPEAT('}', 99))")
	wide := make([]string, 3000)
	for i := range wide {
		wide[i] = fmt.Sprintf(`"k%d": %d`, i, i*i)
	}
	list = append(list, "'{"+strings.Join(wide, ", ")+"}'")
	for i := range wide {
		wide[i] = fmt.Sprintf(`"%s"`, strings.Repeat("v", i%60))
	}
	return append(list, "'["+strings.Join(wide, ", ")+"]'")
}

// TestJSONIsTheServersText compares documents byte for byte with what the server prints.
func TestJSONIsTheServersText(t *testing.T) {
	t.Parallel()
	s := testenv.MySQL(t)
	c := s.Session(t, "")
	exec := func(sql string) {
		t.Helper()
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE DATABASE js; CREATE TABLE js.t (id INT AUTO_INCREMENT PRIMARY KEY, j JSON); SET NAMES utf8mb4")
	for _, e := range jsonExpressions() {
		exec("INSERT INTO js.t (j) VALUES (" + e + ")")
	}
	r := rand.New(rand.NewPCG(1, 2))
	// Doubles of every size, all in one array.
	for range 40 {
		var numbers []string
		for range 250 {
			f := math.Float64frombits(r.Uint64())
			switch r.IntN(4) {
			case 0:
				f = math.Trunc(r.NormFloat64() * math.Pow(10, float64(r.IntN(25))))
			case 1:
				f = float64(r.IntN(2000)-1000) * math.Pow(10, float64(r.IntN(44)-22))
			case 2:
				f = r.NormFloat64() * math.Pow(10, float64(r.IntN(60)-30))
			}
			if !math.IsNaN(f) && !math.IsInf(f, 0) {
				numbers = append(numbers, fmt.Sprintf("%.17e", f))
			}
		}
		exec("INSERT INTO js.t (j) VALUES ('[" + strings.Join(numbers, ",") + "]')")
	}
	exec("BEGIN")
	for range 2000 {
		exec("INSERT INTO js.t (j) VALUES (" + sqlQuote(randomJSON(r, 0)) + ")")
	}
	exec("COMMIT")
	exec("UPDATE js.t SET j = JSON_SET(j, '$.added', CAST('2024-02-29 01:02:03.4' AS DATETIME(1)), '$[1]', CAST(id / 7 AS DECIMAL(30,12))) WHERE id % 3 = 0")

	events := rowsEvents(t, s, "js.t")
	plan, err := NewPlan(events[0].table)
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := follow(t, events)
	compare(t, plan.Schema, got, s.Query(t, "SELECT id, CAST(j AS CHAR) FROM js.t"))
	t.Logf("%d documents", len(got))
}

func randomJSON(r *rand.Rand, depth int) string {
	kind := r.IntN(9)
	if depth > 5 {
		kind = r.IntN(7)
	}
	switch kind {
	case 0:
		return []string{"null", "true", "false"}[r.IntN(3)]
	case 1:
		return fmt.Sprint(int64(r.Uint64()) >> r.IntN(64))
	case 2:
		return fmt.Sprint(r.Uint64() >> r.IntN(64))
	case 3:
		return fmt.Sprintf("%g", r.NormFloat64()*math.Pow(10, float64(r.IntN(40)-20)))
	case 4, 5, 6:
		return randomJSONString(r, 40)
	case 7:
		list := make([]string, r.IntN(8))
		for i := range list {
			list[i] = randomJSON(r, depth+1)
		}
		return "[" + strings.Join(list, ",") + "]"
	default:
		list := make([]string, r.IntN(8))
		for i := range list {
			list[i] = randomJSONString(r, 10) + ":" + randomJSON(r, depth+1)
		}
		return "{" + strings.Join(list, ",") + "}"
	}
}

func randomJSONString(r *rand.Rand, most int) string {
	var b strings.Builder
	b.WriteByte('"')
	for range r.IntN(most) {
		switch r.IntN(6) {
		case 0:
			fmt.Fprintf(&b, `\u%04x`, r.IntN(0x80))
		case 1:
			b.WriteRune([]rune("é漢😀ß\u2028\u0080")[r.IntN(6)])
		case 2:
			b.WriteString([]string{`\"`, `\\`, `\/`, `\n`, `\t`, `\b`}[r.IntN(6)])
		default:
			b.WriteByte('a' + byte(r.IntN(26)))
		}
	}
	b.WriteByte('"')
	return b.String()
}
