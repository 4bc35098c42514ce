package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/tidemark/tidemark/internal/testenv"
)

// fuzzTable has a column of every form.
func fuzzTable() *replication.TableMapEvent {
	types := []struct {
		t    byte
		meta uint16
	}{
		{mysql.MYSQL_TYPE_LONG, 0},
		{mysql.MYSQL_TYPE_VARCHAR, 400},
		{mysql.MYSQL_TYPE_TINY, 0},
		{mysql.MYSQL_TYPE_INT24, 0},
		{mysql.MYSQL_TYPE_LONGLONG, 0},
		{mysql.MYSQL_TYPE_NEWDECIMAL, 10<<8 | 2},
		{mysql.MYSQL_TYPE_NEWDECIMAL, 30<<8 | 10},
		{mysql.MYSQL_TYPE_NEWDECIMAL, 65<<8 | 30},
		{mysql.MYSQL_TYPE_FLOAT, 4},
		{mysql.MYSQL_TYPE_DOUBLE, 8},
		{mysql.MYSQL_TYPE_BIT, 1},
		{mysql.MYSQL_TYPE_BIT, 1<<8 | 3},
		{mysql.MYSQL_TYPE_DATE, 0},
		{mysql.MYSQL_TYPE_DATETIME2, 6},
		{mysql.MYSQL_TYPE_TIMESTAMP2, 3},
		{mysql.MYSQL_TYPE_TIME2, 2},
		{mysql.MYSQL_TYPE_YEAR, 0},
		{mysql.MYSQL_TYPE_BLOB, 2},
		{mysql.MYSQL_TYPE_JSON, 4},
		{mysql.MYSQL_TYPE_STRING, uint16(mysql.MYSQL_TYPE_STRING)<<8 | 20},
		{mysql.MYSQL_TYPE_STRING, uint16(mysql.MYSQL_TYPE_ENUM)<<8 | 1},
		{mysql.MYSQL_TYPE_STRING, uint16(mysql.MYSQL_TYPE_SET)<<8 | 1},
		{mysql.MYSQL_TYPE_VARCHAR, 100},
	}
	tm := &replication.TableMapEvent{
		Schema: []byte("db"), Table: []byte("t"), ColumnCount: uint64(len(types)), PrimaryKey: []uint64{1, 0},
		SignednessBitmap: []byte{0x10, 0}, ColumnCharset: []uint64{45, 63, 63, 28}, EnumSetDefaultCharset: []uint64{45},
		EnumStrValue: [][][]byte{{[]byte("a"), []byte("b")}}, SetStrValue: [][][]byte{{[]byte("a"), []byte("b")}},
		NullBitmap: []byte{0xf0, 0xff, 0xff},
	}
	for i, c := range types {
		tm.ColumnType, tm.ColumnMeta = append(tm.ColumnType, c.t), append(tm.ColumnMeta, c.meta)
		tm.ColumnName = append(tm.ColumnName, fmt.Appendf(nil, "c%d", i))
	}
	return tm
}

// fuzzRow is a row image of fuzzTable.
func fuzzRow() []byte {
	var b []byte
	add := func(more ...byte) { b = append(b, more...) }
	add(0, 0, 0)                                                    // no NULLs
	add(7, 0, 0, 0)                                                 // INT
	add(3, 0, 'k', 'e', 'y')                                        // VARCHAR
	add(0xff)                                                       // TINYINT
	add(1, 2, 3)                                                    // MEDIUMINT
	add(1, 0, 0, 0, 0, 0, 0, 0)                                     // BIGINT
	add(0x80, 0, 0, 12, 50)                                         // DECIMAL(10,2)
	add(append([]byte{0x81}, make([]byte, 13)...)...)               // DECIMAL(30,10)
	add(append([]byte{0x80, 0, 0, 5}, make([]byte, 26)...)...)      // DECIMAL(65,30)
	add(0, 0, 0x80, 0x3f)                                           // FLOAT
	add(0, 0, 0, 0, 0, 0, 0xf0, 0x3f)                               // DOUBLE
	add(1)                                                          // BIT(1)
	add(3, 255)                                                     // BIT(11)
	add(0x5d, 0xd0, 0x0f)                                           // DATE
	add(0x99, 0xb2, 0xba, 0x10, 0x83, 0x06, 0xf8, 0x55)             // DATETIME(6)
	add(0x65, 0, 0, 0, 0x13, 0x88)                                  // TIMESTAMP(3)
	add(0x7f, 0xff, 0xff, 0xff)                                     // TIME(2)
	add(124)                                                        // YEAR
	add(2, 0, 0, 0xff)                                              // BLOB
	add(13, 0, 0, 0, 0x02, 2, 0, 12, 0, 5, 1, 0, 12, 10, 0, 1, 'x') // JSON
	add(2, 'a', 'b')                                                // BINARY(20)
	add(2)                                                          // ENUM
	add(3)                                                          // SET
	add(2, 0xd6, 0xd0)                                              // VARCHAR in gbk
	return b
}

// benchTable fills a real table of twelve columns, about 195 bytes a row, and returns the events of its inserts and of an
// update of every row.
func benchTable(tb testing.TB) (inserts, updates []rowsEvent) {
	tb.Helper()
	s := testenv.MySQL(tb)
	s.Exec(tb, `CREATE DATABASE bench; USE bench; SET cte_max_recursion_depth=100000, NAMES utf8mb4;
		CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, a INT NOT NULL, b INT UNSIGNED NULL, c SMALLINT NULL, amount DECIMAL(18,4) NOT NULL, created DATETIME(6) NOT NULL,
			updated TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, name VARCHAR(64) NOT NULL, email VARCHAR(100) NULL, notes TEXT, doc JSON, score DOUBLE);
		INSERT INTO t WITH RECURSIVE s AS (SELECT 1 n UNION ALL SELECT n+1 FROM s WHERE n < 20000)
			SELECT n, n*7, IF(n%10=0,NULL,n*3), n%3000, (n*12345.6789)%1000000, '2025-01-01 00:00:00.123456'+INTERVAL n SECOND, '2025-06-01 00:00:00'+INTERVAL n SECOND,
				CONCAT('name-',n,'-',HEX(n*2654435761)), CONCAT('user',n,'@example',n%100,'.com'), REPEAT(CONCAT('text ',n,' '),5), JSON_OBJECT('k',n,'v',CONCAT('s',n),'f',n/7e0), n/3e0 FROM s;
		UPDATE t SET a = a + 1, updated = FROM_UNIXTIME(1700100000 + id)`)
	for _, e := range rowsEvents(tb, s, "bench.t") {
		if e.kind == replication.EnumRowsEventTypeInsert {
			inserts = append(inserts, e)
		} else {
			updates = append(updates, e)
		}
	}
	return inserts, updates
}

func benchmark(b *testing.B, events []rowsEvent) {
	plan, err := NewPlan(events[0].table)
	if err != nil {
		b.Fatal(err)
	}
	d := NewDecoder(memory.DefaultAllocator, plan)
	sink := &nothing{}
	bytes := 0
	for _, e := range events {
		bytes += len(e.body)
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range events {
			if !plan.Same(e.table) {
				b.Fatal("changed")
			}
			if err := d.Rows(e.kind, e.before, e.after, e.body, sink); err != nil {
				b.Fatal(err)
			}
			if d.Bytes() > 32<<20 {
				d.Flush().Release()
			}
		}
	}
	b.ReportMetric(float64(sink.n)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(bytes*b.N)/float64(sink.n), "body-B/row")
}

// BenchmarkDecode measures rows per second of one goroutine on bodies that a real server wrote.
func BenchmarkDecode(b *testing.B) {
	inserts, updates := benchTable(b)
	deletes := slices.Clone(inserts)
	for i := range deletes {
		deletes[i].kind, deletes[i].before = replication.EnumRowsEventTypeDelete, deletes[i].after
	}
	b.Run("Insert", func(b *testing.B) { benchmark(b, inserts) })
	b.Run("Update", func(b *testing.B) { benchmark(b, updates) })
	b.Run("Delete", func(b *testing.B) { benchmark(b, deletes) })
}

func TestDecimalsNearTheirBounds(t *testing.T) {
	t.Parallel()
	// -1 of DECIMAL(1,0) is ^0x81; the largest of 38 digits fills four groups of nine and one of two.
	if n := decimal64([]byte{0x7e}, 1, 0); n != -1 {
		t.Errorf("-1 is %d", n)
	}
	v := []byte{0x80 | 99}
	for range 4 {
		v = binary.BigEndian.AppendUint32(v, 999_999_999)
	}
	want := ""
	for range 38 {
		want += "9"
	}
	if got := decimal128OfGroups(v, 38, 0).BigInt().String(); got != want {
		t.Errorf("%s", got)
	}
	if got := string(appendDecimal(nil, v, 38, 0)); got != want {
		t.Errorf("%s", got)
	}
}

func TestDoubleText(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		0: "0.0", math.Copysign(0, -1): "-0.0", 1: "1.0", -1.5: "-1.5", 1e14: "100000000000000.0", 1e15: "1e15", 123456789012345680000: "1.2345678901234568e20",
		1e-15: "0.000000000000001", 1e-16: "1e-16", 5e-324: "5e-324", 0.1: "0.1",
	} {
		if got := string(appendDouble(nil, f)); got != want {
			t.Errorf("%g is %s, want %s", f, got, want)
		}
	}
}

func TestAnImageOfEveryForm(t *testing.T) {
	t.Parallel()
	tm := fuzzTable()
	plan, err := NewPlan(tm)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(memory.DefaultAllocator, plan)
	if err := d.Rows(replication.EnumRowsEventTypeInsert, nil, []byte{0xff, 0xff, 0xff}, fuzzRow(), &nothing{}); err != nil {
		t.Fatal(err)
	}
	batch := d.Flush()
	defer batch.Release()
	got := fmt.Sprint(normalRows(t, batch)[0])
	want := "[7 key -1 197121 1 12.50 1000000000000000000.0000000000 5000000000000000000000000000.000000000000000000000000000000 1 1 true 0x03ff 2024-02-29 " +
		"2024-02-29T01:02:03.456789 2023-09-12T06:06:56.500000Z -00:00:00.01 2024 0x00ff [1, \"x\"] 0x6162000000000000000000000000000000000000 b a,b 中]"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	body := fuzzRow()
	for n := range body {
		d := NewDecoder(memory.DefaultAllocator, plan)
		if err := d.Rows(replication.EnumRowsEventTypeInsert, nil, []byte{0xff, 0xff, 0xff}, body[:n], &nothing{}); (err == nil) != (n == 0) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
		d.Flush().Release()
	}
	body[9] = 0xff // within the key
	var value *ValueError
	err = NewDecoder(memory.DefaultAllocator, plan).Rows(replication.EnumRowsEventTypeInsert, nil, []byte{0xff, 0xff, 0xff}, body, &nothing{})
	if !errors.As(err, &value) || value.Column != "c1" {
		t.Errorf("text that is not UTF-8: %v", err)
	}
}
