package lake

import (
	"bytes"
	"math"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
)

// TestSortableBounds: bounds sort like the values that they are of, and are equal to what AppendSortableKey makes of these.
func TestSortableBounds(t *testing.T) {
	decimal := func(n string) iceberg.Literal {
		v, err := decimal128.FromString(n, 38, 0)
		if err != nil {
			t.Fatal(err)
		}
		return iceberg.NewLiteral(iceberg.Decimal{Val: v})
	}
	wide := iceberg.DecimalTypeOf(38, 0)
	for _, c := range []struct {
		name   string
		kind   iceberg.Type
		bounds []iceberg.Literal // ascending
	}{
		{"int", iceberg.PrimitiveTypes.Int32, []iceberg.Literal{iceberg.NewLiteral(int32(math.MinInt32)), iceberg.NewLiteral(int32(-1)), iceberg.NewLiteral(int32(0)), iceberg.NewLiteral(int32(300))}},
		{"bigint", iceberg.PrimitiveTypes.Int64, []iceberg.Literal{iceberg.NewLiteral(int64(math.MinInt64)), iceberg.NewLiteral(int64(-256)), iceberg.NewLiteral(int64(7)), iceberg.NewLiteral(int64(1) << 40)}},
		{"int that became bigint", iceberg.PrimitiveTypes.Int64, []iceberg.Literal{
			iceberg.NewLiteral(int64(math.MinInt32) - 1), iceberg.NewLiteral(int32(math.MinInt32)), iceberg.NewLiteral(int64(-2)), iceberg.NewLiteral(int32(-1)), iceberg.NewLiteral(int32(0)), iceberg.NewLiteral(int64(1)),
		}},
		{"date", iceberg.PrimitiveTypes.Date, []iceberg.Literal{iceberg.NewLiteral(iceberg.Date(-400)), iceberg.NewLiteral(iceberg.Date(0)), iceberg.NewLiteral(iceberg.Date(20000))}},
		{"timestamp", iceberg.PrimitiveTypes.Timestamp, []iceberg.Literal{iceberg.NewLiteral(iceberg.Timestamp(-1)), iceberg.NewLiteral(iceberg.Timestamp(0)), iceberg.NewLiteral(iceberg.Timestamp(1e15))}},
		{"decimal", wide, []iceberg.Literal{decimal("-99999999999999999999"), decimal("-129"), decimal("-1"), decimal("0"), decimal("128"), decimal("18446744073709551615"), decimal("99999999999999999999")}},
		{"string", iceberg.PrimitiveTypes.String, []iceberg.Literal{iceberg.NewLiteral("A"), iceberg.NewLiteral("a"), iceberg.NewLiteral("aa"), iceberg.NewLiteral("é")}},
		{"binary", iceberg.PrimitiveTypes.Binary, []iceberg.Literal{iceberg.NewLiteral([]byte{0}), iceberg.NewLiteral([]byte{0, 1}), iceberg.NewLiteral([]byte{0x80})}},
		{"boolean", iceberg.PrimitiveTypes.Bool, []iceberg.Literal{iceberg.NewLiteral(false), iceberg.NewLiteral(true)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := &Table{icebergSc: iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "k", Type: c.kind, Required: true}), key: []int{0}}
			var last []byte
			for _, bound := range c.bounds {
				binary, err := bound.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				got := sortable(c.kind, binary)
				if last != nil && bytes.Compare(last, got) >= 0 {
					t.Errorf("%v does not sort behind the one before: %x, %x", bound, last, got)
				}
				if key := table.AppendSortableKey([]byte("before"), oneKey(t, bound, c.kind), 0); string(key) != "before"+string(got) {
					t.Errorf("%v is %x as a bound, %x as a value", bound, got, key[len("before"):])
				}
				last = got
			}
		})
	}
	if got := sortable(iceberg.PrimitiveTypes.Timestamp, []byte{1, 0, 0, 0}); got != nil {
		t.Errorf("the bound of a date is %x for a timestamp", got)
	}
}

// oneKey is a record batch with a bound as the only value.
func oneKey(t *testing.T, bound iceberg.Literal, kind iceberg.Type) arrow.RecordBatch {
	t.Helper()
	var b array.Builder
	m := memory.DefaultAllocator
	switch v := bound.Any().(type) {
	case int32:
		if kind.Equals(iceberg.PrimitiveTypes.Int64) {
			b = array.NewInt64Builder(m)
			b.(*array.Int64Builder).Append(int64(v))
			break
		}
		b = array.NewInt32Builder(m)
		b.(*array.Int32Builder).Append(v)
	case int64:
		b = array.NewInt64Builder(m)
		b.(*array.Int64Builder).Append(v)
	case iceberg.Date:
		b = array.NewDate32Builder(m)
		b.(*array.Date32Builder).Append(arrow.Date32(v))
	case iceberg.Timestamp:
		b = array.NewTimestampBuilder(m, &arrow.TimestampType{Unit: arrow.Microsecond})
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(v))
	case iceberg.Decimal:
		b = array.NewDecimal128Builder(m, &arrow.Decimal128Type{Precision: 38})
		b.(*array.Decimal128Builder).Append(v.Val)
	case string:
		b = array.NewStringBuilder(m)
		b.(*array.StringBuilder).Append(v)
	case []byte:
		b = array.NewBinaryBuilder(m, arrow.BinaryTypes.Binary)
		b.(*array.BinaryBuilder).Append(v)
	case bool:
		b = array.NewBooleanBuilder(m)
		b.(*array.BooleanBuilder).Append(v)
	default:
		t.Fatalf("no array of %T", v)
	}
	column := b.NewArray()
	return array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "k", Type: column.DataType()}}, nil), []arrow.Array{column}, 1)
}
