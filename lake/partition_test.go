package lake

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"

	"github.com/tidemark/tidemark/internal/testenv"
)

func TestParsePartition(t *testing.T) {
	for text, want := range map[string]string{
		"":       "[]",
		"region": "[region]",
		"day(created_at), bucket(16, customer_id),region": "[day(created_at) bucket(16, customer_id) region]",
		"bucket(customer_id,16)":                          "[bucket(16, customer_id)]",
		"Truncate( 4 , name ), IDENTITY(a)":               "[truncate(4, name) a]",
		"year(a), month(b), hour(c)":                      "[year(a) month(b) hour(c)]",
		"`odd, (name)`, day(`back``quote`)":               "[`odd, (name)` day(`back``quote`)]",
		"bucket(16, `16`)":                                "[bucket(16, 16)]",
	} {
		fields, err := ParsePartition(text)
		if got := fmt.Sprint(fields); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"days(a)":          `no transform is named "days"`,
		"day(a":            "not closed",
		"day(a),":          "nothing follows the last comma",
		"day()":            "expected day(COLUMN)",
		"day(a, b)":        "expected day(COLUMN)",
		"bucket(a)":        "expected bucket(NUMBER, COLUMN)",
		"bucket(0, a)":     "from 1 to",
		"truncate(1.5, a)": "a whole number",
		"bucket(-1, a)":    "a whole number",
		"a b":              "in back quotes",
		"a,,b":             "expected a column",
	} {
		var e *PartitionError
		if _, err := ParsePartition(text); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestCheckPartition(t *testing.T) {
	sc, err := SchemaFromArrow(arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "d", Type: arrow.FixedWidthTypes.Date32},
		{Name: "f", Type: arrow.PrimitiveTypes.Float64},
		{Name: "d_day", Type: arrow.PrimitiveTypes.Int64},
	}, nil), []int{0})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"day(d), bucket(4, id), f, d_day": "",
		"day(none)":                       `no column "none"`,
		"hour(d)":                         "hour does not take a column of type date",
		"bucket(4, f)":                    "bucket does not take a column of type double",
		"day(id)":                         "day does not take",
		"day(d), month(d)":                "divide the same way",
		"id, id":                          "divide the same way",
	} {
		fields, err := ParsePartition(text)
		if err != nil {
			t.Fatal(err)
		}
		var e *PartitionError
		err = CheckPartition(sc, fields)
		if want == "" && err != nil || want != "" && (!errors.As(err, &e) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// sample is a column with its name in Python and values that are hard to transform. Values are written as Arrow reads
// them (AppendValueFromString), but for points in time (a number) and bytes (hexadecimal).
type sample struct {
	kind       arrow.DataType
	python     string
	transforms string
	values     []string
}

func samples() []sample {
	whole := []string{"0", "1", "-1", "9", "10", "11", "-9", "-10", "-11", "34", "2147483647", "-2147483640", "1234567"}
	days := []string{"0", "-1", "1", "-31", "-32", "-365", "-366", "-719162", "2932896", "17486", "59", "-306"}
	var instants []string
	for _, d := range days {
		n, _ := strconv.ParseInt(d, 10, 64)
		for _, add := range []int64{0, 1, -1, 3600_000_000, -3600_000_001} {
			if at := n*dayMicros + add; at >= -719162*dayMicros {
				instants = append(instants, strconv.FormatInt(at, 10))
			}
		}
	}
	texts := []string{"", "a", "iceberg", "ice", "naïveté", "日本語のテキスト", "👍👍👍👍", "e\u0301e\u0301e\u0301", " x", strings.Repeat("long ", 50)}
	var bytes []string
	for _, s := range texts {
		bytes = append(bytes, hex.EncodeToString([]byte(s)))
	}
	bytes = append(bytes, "00", "0001020304", "ff00ff00ff")
	decimals := []string{"0.00", "14.20", "-14.20", "0.01", "-0.01", "10.65", "-10.65", "12345678901234567890123456789012345.67", "-99999999999999999999999999999999999.99", "1.28", "-1.28", "327.68", "-327.68"}
	const all, dates = "identity bucket[16] truncate[10] truncate[3] bucket[1]", "identity year month day bucket[7]"
	return []sample{
		{arrow.PrimitiveTypes.Int32, "IntegerType()", all, whole},
		{arrow.PrimitiveTypes.Int64, "LongType()", all, append(whole, "9223372036854775807", "-9223372036854775000", "2147483648")},
		{&arrow.Decimal128Type{Precision: 38, Scale: 2}, "DecimalType(38, 2)", all, decimals},
		{arrow.FixedWidthTypes.Date32, "DateType()", dates, days},
		{&arrow.TimestampType{Unit: arrow.Microsecond}, "TimestampType()", dates + " hour", instants},
		{arrow.FixedWidthTypes.Timestamp_us, "TimestamptzType()", dates + " hour", instants},
		{arrow.BinaryTypes.String, "StringType()", all, texts},
		{arrow.BinaryTypes.Binary, "BinaryType()", all, bytes},
		{arrow.FixedWidthTypes.Boolean, "BooleanType()", "identity", []string{"true", "false"}},
		{arrow.PrimitiveTypes.Float64, "DoubleType()", "identity", []string{"0", "-1.5", "1e300"}},
		{arrow.PrimitiveTypes.Float32, "FloatType()", "identity", []string{"0", "-1.5", "1e30"}},
	}
}

func (s *sample) append(t testing.TB, b array.Builder, v string) {
	n, _ := strconv.ParseInt(v, 10, 64)
	switch b := b.(type) {
	case *array.Date32Builder:
		b.Append(arrow.Date32(n))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(n))
	case *array.BinaryBuilder:
		raw, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Append(raw)
	default:
		if err := b.AppendValueFromString(v); err != nil {
			t.Fatal(err)
		}
	}
}

// plain is a partition value as text, alike in Go and in what the Python code of TestTransforms prints.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		return hex.EncodeToString(v)
	case iceberg.Decimal:
		return v.String()
	case iceberg.Date:
		return strconv.Itoa(int(v))
	case iceberg.Timestamp:
		return strconv.FormatInt(int64(v), 10)
	case float32, float64:
		return fmt.Sprintf("%.3e", v)
	}
	return fmt.Sprint(v)
}

// TestTransforms: the partition of every row, of every type and transform, is what iceberg-go makes of its value alone and
// what PyIceberg does; NULL is in the partition of NULL.
func TestTransforms(t *testing.T) {
	type question struct {
		Kind, Transform string
		Values          []string
	}
	var questions []question
	var answers [][]string
	rng := rand.New(rand.NewPCG(1, 2))
	for _, s := range samples() {
		schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "v", Type: s.kind, Nullable: true}}, nil)
		sc, err := SchemaFromArrow(schema, []int{0})
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(s.transforms) {
			transform, err := iceberg.ParseTransform(name)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := specFor([]PartitionField{{"v", transform}}, sc, 0, unpartitioned, nil)
			if err != nil {
				t.Fatal(err)
			}
			p, err := (&Table{icebergSc: sc, spec: spec}).Partitioner()
			if err != nil {
				t.Fatal(err)
			}
			// In order first, then at random, in batches that are slices.
			order := rng.Perm(len(s.values))
			for range 300 {
				order = append(order, rng.IntN(len(s.values)))
			}
			rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			for row, i := range order {
				rb.Field(0).(*array.Int64Builder).Append(int64(row))
				if row >= len(s.values) && rng.IntN(5) == 0 {
					order[row] = -1
					rb.Field(1).AppendNull()
					continue
				}
				s.append(t, rb.Field(1), s.values[i])
			}
			whole := rb.NewRecordBatch()
			got := make([]string, len(s.values))
			cut := int64(len(order) / 3)
			for _, part := range [][2]int64{{0, cut}, {cut, 2*cut + 1}, {2*cut + 1, int64(len(order))}} {
				rec := whole.NewSlice(part[0], part[1])
				numbers, err := p.Split(rec)
				if err != nil {
					t.Fatalf("%s, %s: %v", s.python, name, err)
				}
				for row, number := range numbers {
					i, column := order[int(part[0])+row], rec.Column(1)
					have := p.Partition(number).values[spec.Field(0).FieldID]
					if i < 0 {
						if have != nil {
							t.Errorf("%s, %s of NULL: %v", s.python, name, have)
						}
						continue
					}
					out := transform.Apply(iceberg.Optional[iceberg.Literal]{Valid: true, Val: literalOf(sc.Fields()[1].Type)(column, row)})
					if want := out.Val.Any(); plain(have) != plain(want) {
						t.Errorf("%s, %s of %q: %v, want %v", s.python, name, s.values[i], have, want)
					}
					got[i] = plain(have)
				}
			}
			keys := map[string]bool{}
			for n := range p.Partitions() {
				if k := p.Partition(int32(n)).Key(); keys[k] {
					t.Errorf("%s, %s: two partitions have the key %q", s.python, name, k)
				} else {
					keys[k] = true
				}
			}
			questions, answers = append(questions, question{s.python, name, s.values}), append(answers, got)
		}
	}
	text, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	reply := testenv.PyIceberg(t, fmt.Sprintf(`
from decimal import Decimal
from pyiceberg.transforms import parse_transform
from pyiceberg.types import *
def value(kind, text):
    if isinstance(kind, StringType): return text
    if isinstance(kind, BinaryType): return bytes.fromhex(text)
    if isinstance(kind, DecimalType): return Decimal(text)
    if isinstance(kind, BooleanType): return text == "true"
    if isinstance(kind, (FloatType, DoubleType)): return float(text)
    return int(text)
def plain(v):
    if isinstance(v, bool): return str(v).lower()
    if isinstance(v, bytes): return v.hex()
    if isinstance(v, float): return f"{v:.3e}"
    return format(v, "f") if isinstance(v, Decimal) else str(v)
result = []
for q in json.loads(%q):
    kind = eval(q["Kind"])
    f = parse_transform(q["Transform"]).transform(kind)
    result.append([plain(f(value(kind, v))) for v in q["Values"]])
`, text))
	for i, q := range questions {
		for j, v := range q.Values {
			want := reply.([]any)[i].([]any)[j]
			if got := answers[i][j]; got != want {
				t.Errorf("%s, %s of %q: %q, PyIceberg says %q", q.Kind, q.Transform, v, got, want)
			}
		}
	}
}

// TestSplitByFields: rows are of one partition only if they are alike in every field.
func TestSplitByFields(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, {Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "c", Type: arrow.PrimitiveTypes.Int64}}, nil)
	sc, err := SchemaFromArrow(schema, []int{2})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := ParsePartition("a, truncate(1, b), bucket(3, c)")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := specFor(fields, sc, 7, unpartitioned, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := (&Table{icebergSc: sc, spec: spec}).Partitioner()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	keys := map[string]string{}
	for range 20 {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		var want []string
		for range 100 {
			a, b, c := rng.Int32N(4), string(rune('x'+rng.IntN(3)))+"rest", rng.Int64N(1000)
			bucketOf := iceberg.BucketTransform{NumBuckets: 3}.Apply(iceberg.Optional[iceberg.Literal]{Valid: true, Val: iceberg.Int64Literal(c)}).Val
			text := fmt.Sprint(a, b[:1], bucketOf)
			if a == 0 {
				rb.Field(0).AppendNull()
			} else {
				rb.Field(0).(*array.Int32Builder).Append(a)
			}
			rb.Field(1).(*array.StringBuilder).Append(b)
			rb.Field(2).(*array.Int64Builder).Append(c)
			want = append(want, text)
		}
		numbers, err := p.Split(rb.NewRecordBatch())
		if err != nil {
			t.Fatal(err)
		}
		for row, n := range numbers {
			key := p.Partition(n).Key()
			if old, ok := keys[want[row]]; ok && old != key {
				t.Fatalf("%s is in two partitions", want[row])
			}
			keys[want[row]] = key
		}
	}
	different := map[string]bool{}
	for _, k := range keys {
		different[k] = true
	}
	if len(different) != len(keys) || len(keys) != 4*3*3 || p.Partitions() != len(keys) {
		t.Errorf("%d combinations of values, %d partitions, %d keys", len(keys), p.Partitions(), len(different))
	}
}

func BenchmarkSplit(b *testing.B) {
	const rows = 64 << 10
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
		{Name: "region", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	sc, err := SchemaFromArrow(schema, []int{0})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range rows {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
		rb.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_000_000 + rng.Int64N(90*dayMicros)))
		rb.Field(2).(*array.StringBuilder).Append([]string{"north", "south", "east", "west"}[rng.IntN(4)])
	}
	rec := rb.NewRecordBatch()
	for _, text := range []string{"day(at)", "month(at)", "bucket(16, id)", "region", "truncate(2, region)", "day(at), bucket(16, id), region"} {
		b.Run(text, func(b *testing.B) {
			fields, err := ParsePartition(text)
			if err != nil {
				b.Fatal(err)
			}
			spec, err := specFor(fields, sc, 0, unpartitioned, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p, err := (&Table{icebergSc: sc, spec: spec}).Partitioner()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Split(rec); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
