package lake

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
)

// fieldIDKey is the Arrow field metadata that becomes the Parquet field id.
const fieldIDKey = "PARQUET:field_id"

// SchemaFromArrow gives the columns of an Arrow schema the ids 1, 2, ... and makes the key columns the identifier fields. A table without a key
// has none.
func SchemaFromArrow(schema *arrow.Schema, key []int) (*iceberg.Schema, error) {
	var fields []iceberg.NestedField
	for i, f := range schema.Fields() {
		t, err := typeFromArrow(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		doc, _ := f.Metadata.GetValue("doc")
		fields = append(fields, iceberg.NestedField{ID: i + 1, Name: f.Name, Type: t, Required: !f.Nullable, Doc: doc})
	}
	var ids []int
	for _, k := range key {
		if fields[k].Type == iceberg.PrimitiveTypes.Float32 || fields[k].Type == iceberg.PrimitiveTypes.Float64 {
			return nil, fmt.Errorf("column %q: a floating-point column cannot be an identifier field of an Iceberg table", fields[k].Name)
		}
		ids = append(ids, k+1)
	}
	return iceberg.NewSchemaWithIdentifiers(0, ids, fields...), nil
}

func typeFromArrow(t arrow.DataType) (iceberg.Type, error) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return iceberg.PrimitiveTypes.Bool, nil
	case *arrow.Int32Type:
		return iceberg.PrimitiveTypes.Int32, nil
	case *arrow.Int64Type:
		return iceberg.PrimitiveTypes.Int64, nil
	case *arrow.Float32Type:
		return iceberg.PrimitiveTypes.Float32, nil
	case *arrow.Float64Type:
		return iceberg.PrimitiveTypes.Float64, nil
	case *arrow.Decimal128Type:
		return iceberg.DecimalTypeOf(int(t.Precision), int(t.Scale)), nil
	case *arrow.Date32Type:
		return iceberg.PrimitiveTypes.Date, nil
	case *arrow.TimestampType:
		if t.Unit != arrow.Microsecond {
			return nil, fmt.Errorf("timestamps have microseconds, not %s", t.Unit)
		}
		if t.TimeZone != "" {
			return iceberg.PrimitiveTypes.TimestampTz, nil
		}
		return iceberg.PrimitiveTypes.Timestamp, nil
	case *arrow.StringType:
		return iceberg.PrimitiveTypes.String, nil
	case *arrow.BinaryType:
		return iceberg.PrimitiveTypes.Binary, nil
	}
	return nil, fmt.Errorf("the Arrow type %s has no place in our tables", t)
}

func typeToArrow(t iceberg.Type) (arrow.DataType, error) {
	switch t := t.(type) {
	case iceberg.BooleanType:
		return arrow.FixedWidthTypes.Boolean, nil
	case iceberg.Int32Type:
		return arrow.PrimitiveTypes.Int32, nil
	case iceberg.Int64Type:
		return arrow.PrimitiveTypes.Int64, nil
	case iceberg.Float32Type:
		return arrow.PrimitiveTypes.Float32, nil
	case iceberg.Float64Type:
		return arrow.PrimitiveTypes.Float64, nil
	case iceberg.DecimalType:
		return &arrow.Decimal128Type{Precision: int32(t.Precision()), Scale: int32(t.Scale())}, nil
	case iceberg.DateType:
		return arrow.FixedWidthTypes.Date32, nil
	case iceberg.TimestampType:
		return &arrow.TimestampType{Unit: arrow.Microsecond}, nil
	case iceberg.TimestampTzType:
		return arrow.FixedWidthTypes.Timestamp_us, nil
	case iceberg.StringType:
		return arrow.BinaryTypes.String, nil
	case iceberg.BinaryType:
		return arrow.BinaryTypes.Binary, nil
	}
	return nil, fmt.Errorf("the Iceberg type %s has no place in our tables", t)
}

// arrowSchema is the table's schema in Arrow, with field ids, and the ordinals of its identifier fields.
func arrowSchema(sc *iceberg.Schema) (*arrow.Schema, []int, error) {
	var fields []arrow.Field
	ordinal := map[int]int{}
	for i, f := range sc.Fields() {
		t, err := typeToArrow(f.Type)
		if err != nil {
			return nil, nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		ordinal[f.ID] = i
		fields = append(fields, arrow.Field{Name: f.Name, Type: t, Nullable: !f.Required, Metadata: arrow.MetadataFrom(map[string]string{fieldIDKey: strconv.Itoa(f.ID)})})
	}
	var key []int
	for _, id := range sc.IdentifierFieldIDs {
		key = append(key, ordinal[id])
	}
	return arrow.NewSchema(fields, nil), key, nil
}

// Fits reports, as an error that names the first difference, whether rows of the given schema are rows of the table.
func (t *Table) Fits(schema *arrow.Schema, key []int) error {
	for i, f := range schema.Fields() {
		if i >= t.schema.NumFields() {
			return fmt.Errorf("the lake has no column %q", f.Name)
		}
		own := t.schema.Field(i)
		switch {
		case own.Name != f.Name:
			return fmt.Errorf("column %d is %q in the source and %q in the lake", i+1, f.Name, own.Name)
		case !arrow.TypeEqual(own.Type, f.Type):
			return fmt.Errorf("column %q is %s in the source and %s in the lake", f.Name, f.Type, own.Type)
		case f.Nullable && !own.Nullable:
			return fmt.Errorf("column %q can be NULL in the source and not in the lake", f.Name)
		}
	}
	if n := schema.NumFields(); n < t.schema.NumFields() {
		return fmt.Errorf("the source has no column %q", t.schema.Field(n).Name)
	}
	if len(key) != len(t.key) {
		return fmt.Errorf("the key has %d columns in the source and %d in the lake", len(key), len(t.key))
	}
	return nil
}
