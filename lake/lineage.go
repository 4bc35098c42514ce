package lake

import (
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
)

// Row lineage (table spec, "Row Lineage"): in format 3 each row has an id and the sequence number of its last change. A
// new row gets them from its data file's manifest entry, and neither column is in the file. A row that is moved to
// another file as it is takes them along, in columns with these reserved ids.
const (
	rowIDField      = 2147483540
	lastUpdateField = 2147483539
)

// movedSchema is the schema of data files that hold rows from other data files: the table's, and in format 3 the two
// lineage columns at its end.
func (t *Table) movedSchema() (*arrow.Schema, *iceberg.Schema) {
	if t.format < 3 {
		return t.schema, t.icebergSc
	}
	arrowFields, fields := slices.Clone(t.schema.Fields()), slices.Clone(t.icebergSc.Fields())
	for _, c := range []struct {
		name string
		id   int
	}{{"_row_id", rowIDField}, {"_last_updated_sequence_number", lastUpdateField}} {
		for t.schema.HasField(c.name) {
			c.name = "_" + c.name // readers go by the id
		}
		arrowFields = append(arrowFields, arrow.Field{
			Name: c.name, Type: arrow.PrimitiveTypes.Int64, Nullable: true,
			Metadata: arrow.MetadataFrom(map[string]string{fieldIDKey: strconv.Itoa(c.id)}),
		})
		fields = append(fields, iceberg.NestedField{ID: c.id, Name: c.name, Type: iceberg.PrimitiveTypes.Int64})
	}
	return arrow.NewSchema(arrowFields, nil), iceberg.NewSchema(t.icebergSc.ID, fields...)
}

// MovedFile is what is known beforehand of a data file for moved rows.
type MovedFile struct {
	Rows  int64
	Brief bool // it will be rewritten before long (FileWriter.Brief)
}

// NewMovedWriter begins a data file for rows as a RowReader gives them, lineage included, with memory of mem.
func (t *Table) NewMovedWriter(ctx context.Context, f MovedFile, mem memory.Allocator) (*FileWriter, error) {
	w, err := t.NewFileWriter(ctx)
	if err != nil {
		return nil, err
	}
	w.schema, w.fields = t.movedSchema()
	w.mem = mem
	w.Expect(f.Rows)
	if f.Brief {
		w.Brief(math.MaxInt64)
	}
	return w, nil
}
