package lake

import (
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/checkpoint"
)

// ValidRecord finds the checkpoint that is true of main's current snapshot: that of the nearest ancestor with one. The
// table property is believed only if its snapshot is the current one or an ancestor, since a rollback takes rows back but
// leaves properties alone; where it is as near as a summary it wins, since a table without changes records its position
// in the property only.
func ValidRecord(meta table.Metadata) (checkpoint.Record, bool, error) {
	property, hasProperty, err := propertyRecord(meta.Properties())
	if err != nil {
		return checkpoint.Record{}, false, err
	}
	snapshots := map[int64]*table.Snapshot{}
	all := meta.Snapshots()
	for i := range all {
		snapshots[all[i].SnapshotID] = &all[i]
	}
	current := meta.CurrentSnapshot()
	if current == nil {
		return property, hasProperty && property.SnapshotID == 0, nil
	}
	for s := current; s != nil; {
		if hasProperty && property.SnapshotID == s.SnapshotID {
			return property, true, nil
		}
		if s.Summary != nil {
			if text, ok := s.Summary.Properties[checkpoint.Key]; ok {
				r, err := checkpoint.ParseRecord(text)
				return r, err == nil, err
			}
		}
		if s.ParentSnapshotID == nil {
			break
		}
		if property.SnapshotID == *s.ParentSnapshotID && hasProperty {
			return property, true, nil // even where that snapshot has expired
		}
		s = snapshots[*s.ParentSnapshotID]
	}
	return checkpoint.Record{}, false, nil
}

func propertyRecord(properties map[string]string) (checkpoint.Record, bool, error) {
	text, ok := properties[checkpoint.Key]
	if !ok {
		return checkpoint.Record{}, false, nil
	}
	r, err := checkpoint.ParseRecord(text)
	return r, err == nil, err
}
