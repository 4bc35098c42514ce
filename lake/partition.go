package lake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
)

// PartitionField is a field of a partition spec (table spec, "Partitioning") as people write it: a transform of a column.
type PartitionField struct {
	Column    string
	Transform iceberg.Transform
}

// String is the field as ParsePartition reads it.
func (f PartitionField) String() string {
	column := f.Column
	if strings.ContainsAny(column, "`(), ") {
		column = "`" + strings.ReplaceAll(column, "`", "``") + "`"
	}
	switch t := f.Transform.(type) {
	case iceberg.IdentityTransform:
		return column
	case iceberg.BucketTransform:
		return fmt.Sprintf("bucket(%d, %s)", t.NumBuckets, column)
	case iceberg.TruncateTransform:
		return fmt.Sprintf("truncate(%d, %s)", t.Width, column)
	}
	return fmt.Sprintf("%s(%s)", f.Transform, column)
}

// PartitionError says why a table cannot be partitioned as it is asked to be.
type PartitionError struct{ Reason string }

func (e *PartitionError) Error() string { return "partition: " + e.Reason }

// ParsePartition reads a list such as "day(created_at), bucket(16, customer_id), region". Transforms are identity,
// year, month, day, hour, bucket and truncate; a column alone is its identity; the number of bucket and truncate may come
// before or behind the column. Columns with other characters than letters, digits and _ stand in back quotes. An empty
// list is no partitioning. Errors are *PartitionError.
func ParsePartition(text string) ([]PartitionField, error) {
	var fields []PartitionField
	for rest := strings.TrimSpace(text); rest != ""; {
		item, after, err := cutField(rest)
		if err != nil {
			return nil, &PartitionError{fmt.Sprintf("%q: %v", text, err)}
		}
		f, err := parseField(item)
		if err != nil {
			return nil, &PartitionError{fmt.Sprintf("%q: %v", strings.TrimSpace(item), err)}
		}
		fields, rest = append(fields, f), after
	}
	return fields, nil
}

// cutField cuts off what stands before the first comma outside parentheses and back quotes.
func cutField(text string) (item, rest string, err error) {
	depth, quoted := 0, false
	for i, c := range text {
		switch {
		case c == '`':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			if rest = strings.TrimSpace(text[i+1:]); rest == "" {
				return "", "", errors.New("nothing follows the last comma")
			}
			return text[:i], rest, nil
		}
	}
	if depth != 0 || quoted {
		return "", "", errors.New("a parenthesis or a back quote is not closed")
	}
	return text, "", nil
}

func parseField(text string) (PartitionField, error) {
	text = strings.TrimSpace(text)
	name, arguments, called := strings.Cut(text, "(")
	if called && strings.HasPrefix(text, "`") { // the parenthesis belongs to a name
		called = false
	}
	if !called {
		column, err := columnName(text)
		return PartitionField{column, iceberg.IdentityTransform{}}, err
	}
	arguments, closed := strings.CutSuffix(strings.TrimSpace(arguments), ")")
	if !closed {
		return PartitionField{}, errors.New("expected TRANSFORM(COLUMN)")
	}
	var list []string
	for rest := strings.TrimSpace(arguments); rest != ""; {
		item, after, err := cutField(rest)
		if err != nil {
			return PartitionField{}, err
		}
		list, rest = append(list, strings.TrimSpace(item)), after
	}
	width := 0
	transform := strings.ToLower(strings.TrimSpace(name))
	if transform == "bucket" || transform == "truncate" {
		if len(list) != 2 {
			return PartitionField{}, fmt.Errorf("expected %s(NUMBER, COLUMN)", transform)
		}
		at := slices.IndexFunc(list, func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" })
		if at < 0 {
			return PartitionField{}, fmt.Errorf("expected %s(NUMBER, COLUMN) with a whole number", transform)
		}
		n, err := strconv.ParseInt(list[at], 10, 32)
		if err != nil || n < 1 {
			return PartitionField{}, fmt.Errorf("the number of %s is from 1 to %d", transform, math.MaxInt32)
		}
		width, list = int(n), slices.Delete(list, at, at+1)
	}
	if len(list) != 1 {
		return PartitionField{}, fmt.Errorf("expected %s(COLUMN)", transform)
	}
	column, err := columnName(list[0])
	if err != nil {
		return PartitionField{}, err
	}
	switch transform {
	case "identity":
		return PartitionField{column, iceberg.IdentityTransform{}}, nil
	case "year":
		return PartitionField{column, iceberg.YearTransform{}}, nil
	case "month":
		return PartitionField{column, iceberg.MonthTransform{}}, nil
	case "day":
		return PartitionField{column, iceberg.DayTransform{}}, nil
	case "hour":
		return PartitionField{column, iceberg.HourTransform{}}, nil
	case "bucket":
		return PartitionField{column, iceberg.BucketTransform{NumBuckets: width}}, nil
	case "truncate":
		return PartitionField{column, iceberg.TruncateTransform{Width: width}}, nil
	}
	return PartitionField{}, fmt.Errorf("no transform is named %q: there are identity, year, month, day, hour, bucket and truncate", transform)
}

func columnName(text string) (string, error) {
	if body, ok := strings.CutPrefix(text, "`"); ok {
		body, ok = strings.CutSuffix(body, "`")
		if !ok || body == "" {
			return "", errors.New("expected a column in back quotes")
		}
		return strings.ReplaceAll(body, "``", "`"), nil
	}
	if text == "" || strings.ContainsAny(text, "`() ") {
		return "", errors.New("expected a column; other characters than letters, digits and _ stand in back quotes")
	}
	return text, nil
}

// specFor makes a partition spec of fields. Fields that a spec in known has keep their id and name, as format 2 demands of
// evolution; others get ids from last+1 on. A name that a column has too gets underscores behind it.
func specFor(fields []PartitionField, sc *iceberg.Schema, id, last int, known []iceberg.PartitionSpec) (iceberg.PartitionSpec, error) {
	options := []iceberg.PartitionOption{iceberg.WithSpecID(id)}
	for i, f := range fields {
		column, ok := sc.FindFieldByName(f.Column)
		if !ok {
			return iceberg.PartitionSpec{}, &PartitionError{fmt.Sprintf("the table has no column %q", f.Column)}
		}
		if !f.Transform.CanTransform(column.Type) {
			return iceberg.PartitionSpec{}, &PartitionError{fmt.Sprintf("%s: %s does not take a column of type %s", f, transformName(f.Transform), column.Type)}
		}
		for _, before := range fields[:i] {
			_, isTime := f.Transform.(iceberg.TimeTransform)
			_, wasTime := before.Transform.(iceberg.TimeTransform)
			if before.Column == f.Column && (isTime && wasTime || before.Transform.Equals(f.Transform)) {
				return iceberg.PartitionSpec{}, &PartitionError{fmt.Sprintf("%s and %s divide the same way: name one of them", before, f)}
			}
		}
		field := iceberg.PartitionField{SourceIDs: []int{column.ID}, Transform: f.Transform}
		for _, spec := range known {
			for _, old := range spec.Fields() {
				if slices.Equal(old.SourceIDs, field.SourceIDs) && old.Transform.Equals(field.Transform) {
					field.FieldID, field.Name = old.FieldID, old.Name
				}
			}
		}
		if field.FieldID == 0 {
			last++
			field.FieldID = last
			var err error
			if field.Name, err = iceberg.GeneratePartitionFieldName(sc, field); err != nil {
				return iceberg.PartitionSpec{}, &PartitionError{err.Error()}
			}
			for taken(field.Name, column.ID, f.Transform, sc, known) {
				field.Name += "_"
			}
		}
		options = append(options, iceberg.AddPartitionFieldBySourceID(column.ID, field.Name, f.Transform, sc, &field.FieldID))
	}
	spec, err := iceberg.NewPartitionSpecOpts(options...)
	if err != nil {
		return spec, &PartitionError{err.Error()}
	}
	return spec, nil
}

// taken reports whether a name of a new partition field means something else already: a column, or a field of another spec.
func taken(name string, source int, transform iceberg.Transform, sc *iceberg.Schema, known []iceberg.PartitionSpec) bool {
	if column, ok := sc.FindFieldByName(name); ok && (column.ID != source || !transform.Equals(iceberg.IdentityTransform{})) {
		return true
	}
	for _, spec := range known {
		for _, old := range spec.Fields() {
			if old.Name == name {
				return true
			}
		}
	}
	return false
}

func transformName(t iceberg.Transform) string {
	name, _, _ := strings.Cut(t.String(), "[")
	return name
}

// unpartitioned is the id of the last partition field of a table that never had one (table spec, "Partitioning").
const unpartitioned = iceberg.PartitionDataIDStart - 1

// CheckPartition reports, as *PartitionError, why a table of the given columns cannot have the fields as its partition.
func CheckPartition(sc *iceberg.Schema, fields []PartitionField) error {
	_, err := specFor(fields, sc, 0, unpartitioned, nil)
	return err
}

// Partitioning is the partition spec of data files written from now on; empty for none.
func (t *Table) Partitioning() []PartitionField {
	var fields []PartitionField
	for _, f := range t.spec.Fields() {
		if _, void := f.Transform.(iceberg.VoidTransform); void {
			continue
		}
		column, _ := t.icebergSc.FindColumnName(f.SourceID())
		fields = append(fields, PartitionField{column, f.Transform})
	}
	return fields
}

// SetPartitioning makes fields the partition spec of data files written from now on, in a commit of its own, and reports
// whether they were not before; in which order they are named makes no difference. What was written stays as it is. Errors
// are *PartitionError where the table cannot be partitioned so, and *FencedError when another writer owns a table that was
// claimed.
func (t *Table) SetPartitioning(ctx context.Context, fields []PartitionField) (changed bool, err error) {
	var last error
	for range attempts {
		if samePartitioning(t.Partitioning(), fields) {
			return changed, nil
		}
		doc, err := t.withPartitioning(fields)
		if err != nil {
			return false, fmt.Errorf("%s: %w", t.id, err)
		}
		_, last = t.lake.Catalog.Swap(ctx, t.version, doc.bytes())
		changed = true
		if _, err := t.Refresh(ctx); err != nil {
			return false, errors.Join(last, err)
		}
		if t.pipeline == "" {
			continue
		}
		if err := t.fenced(); err != nil {
			return false, err
		}
	}
	if samePartitioning(t.Partitioning(), fields) {
		return changed, nil
	}
	return false, fmt.Errorf("%s: set the partition spec: %w", t.id, last)
}

// withPartitioning returns the table's metadata with another default spec: one that it has, or a new one.
func (t *Table) withPartitioning(fields []PartitionField) (*document, error) {
	var known []iceberg.PartitionSpec
	highest := 0
	for _, id := range slices.Sorted(maps.Keys(t.specs)) {
		known, highest = append(known, t.specs[id]), id
	}
	doc := t.doc.clone()
	last := unpartitioned
	if err := doc.get("last-partition-id", &last); err != nil {
		return nil, err
	}
	spec, err := specFor(fields, t.icebergSc, highest+1, last, known)
	if err != nil {
		return nil, err
	}
	for _, old := range known {
		if slices.EqualFunc(slices.Collect(fieldsOf(old)), slices.Collect(fieldsOf(spec)), iceberg.PartitionField.Equals) {
			return doc, errors.Join(doc.set("default-spec-id", old.ID()), t.stamp(doc))
		}
	}
	for f := range fieldsOf(spec) {
		last = max(last, f.FieldID)
	}
	return doc, errors.Join(doc.add("partition-specs", spec), doc.set("default-spec-id", spec.ID()), doc.set("last-partition-id", last), t.stamp(doc))
}

// stamp notes in a new version of the metadata which one it replaces, and when.
func (t *Table) stamp(doc *document) error {
	return errors.Join(doc.logVersion(t.version.URI), doc.set("last-updated-ms", max(time.Now().UnixMilli(), t.updated+1)))
}

func fieldsOf(spec iceberg.PartitionSpec) func(func(iceberg.PartitionField) bool) {
	return func(yield func(iceberg.PartitionField) bool) {
		for _, f := range spec.Fields() {
			if !yield(f) {
				return
			}
		}
	}
}

func samePartitioning(a, b []PartitionField) bool {
	if len(a) != len(b) {
		return false
	}
	for _, f := range a {
		if !slices.ContainsFunc(b, func(o PartitionField) bool { return o.Column == f.Column && o.Transform.Equals(f.Transform) }) {
			return false
		}
	}
	return true
}

// Partition is where a data file belongs: a partition spec and a value for each of its fields. The zero value is that of
// tables which never had a spec with fields.
type Partition struct {
	spec   int
	values map[int]any // by partition field id
	key    string
}

// Key is equal for equal partitions of one table, and different for others.
func (p Partition) Key() string { return p.key }

// partition is the partition of a spec with values by field id, as iceberg-go has them.
func partition(spec iceberg.PartitionSpec, values map[int]any) Partition {
	p := Partition{spec: spec.ID()}
	key := binary.AppendUvarint(nil, uint64(p.spec))
	for _, f := range spec.Fields() {
		if p.values == nil {
			p.values = map[int]any{}
		}
		v := values[f.FieldID]
		p.values[f.FieldID] = v
		key = appendValue(key, v)
	}
	if p.spec != 0 || p.values != nil {
		p.key = string(key)
	}
	return p
}

// appendValue appends a partition value so that no two different values of a type look alike, whether it was computed or
// read from a manifest.
func appendValue(key []byte, v any) []byte {
	whole := func(n int64) []byte { return binary.AppendVarint(append(key, 1), n) }
	text := func(s string) []byte { return append(binary.AppendUvarint(append(key, 1), uint64(len(s))), s...) }
	switch v := v.(type) {
	case nil:
		return append(key, 0)
	case bool:
		if v {
			return whole(1)
		}
		return whole(0)
	case int32:
		return whole(int64(v))
	case int64:
		return whole(v)
	case iceberg.Date:
		return whole(int64(v))
	case iceberg.Timestamp:
		return whole(int64(v))
	case float32:
		return whole(int64(math.Float32bits(v)))
	case float64:
		return whole(int64(math.Float64bits(v)))
	case string:
		return text(v)
	case []byte:
		return text(string(v))
	case iceberg.Decimal:
		return text(v.Val.BigInt().String())
	case iceberg.DecimalLiteral:
		return text(v.Val.BigInt().String())
	}
	return text(fmt.Sprintf("%T %v", v, v))
}

// specsOf returns a table's partition specs by id.
func specsOf(specs []iceberg.PartitionSpec) map[int]iceberg.PartitionSpec {
	byID := make(map[int]iceberg.PartitionSpec, len(specs))
	for _, s := range specs {
		byID[s.ID()] = s
	}
	return byID
}

// partitionOf is the partition of a file in a manifest.
func (t *Table) partitionOf(f iceberg.DataFile) (Partition, error) {
	spec, ok := t.specs[int(f.SpecID())]
	if !ok {
		return Partition{}, fmt.Errorf("%s: the table has no partition spec %d", f.FilePath(), f.SpecID())
	}
	if spec.NumFields() == 0 {
		return partition(spec, nil), nil
	}
	return partition(spec, f.Partition()), nil
}

// Partition is where the file belongs.
func (f *DataFile) Partition() Partition { return f.partition }

// Outdated reports whether a partition is of another spec than new data files get.
func (t *Table) Outdated(p Partition) bool { return p.spec != t.spec.ID() }

// Partitioned reports whether the table's spec has more than one partition.
func (t *Table) Partitioned() bool { return !t.spec.IsUnpartitioned() }

// Unpartitioned is the partition of all rows where the table's spec has one alone.
func (t *Table) Unpartitioned() Partition { return partition(t.spec, nil) }
