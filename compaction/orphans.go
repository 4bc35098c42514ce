package compaction

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// OrphanOptions say which unreferenced files are orphans. The zero value stands for the defaults.
type OrphanOptions struct {
	// SafetyAge is how old a file must be. Files of a commit, a load or a rewrite under way are referenced by nothing
	// yet, so it must be longer than any of those takes. Default 72 hours, at least one.
	SafetyAge time.Duration
	DryRun    bool      // tell, do not delete
	Now       time.Time // default: the clock
}

// minSafetyAge is the least that a writer under way is granted.
const minSafetyAge = time.Hour

// Orphans are files in a table's folder that nothing references.
type Orphans struct {
	Names []string // in the store
	Bytes int64
}

// RemoveOrphans deletes the files in the data and metadata folders of a table that no snapshot, on whatever branch,
// needs, and metadata files that are not in the table's log, such as those of commits that came second. The bucket catalog's
// metadata files are left alone: removing them takes the care of catalog.Bucket.Prune. Files with names of other kinds in the
// metadata folder stay too.
func RemoveOrphans(ctx context.Context, l *lake.Lake, id catalog.Identifier, o OrphanOptions) (Orphans, error) {
	if o.SafetyAge == 0 {
		o.SafetyAge = 72 * time.Hour
	}
	if o.SafetyAge < minSafetyAge {
		return Orphans{}, fmt.Errorf("%s: orphan files: a safety age of %s could hit a commit under way; give at least %s", id, o.SafetyAge, minSafetyAge)
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	var out Orphans
	// First the files, then what is referenced: a file that a commit takes in between is found to be.
	sizes := map[string]int64{}
	var old []string
	for _, folder := range []string{"/data/", "/metadata/"} {
		for f, err := range l.Store.List(ctx, id.Path()+folder) {
			if err != nil {
				return out, fmt.Errorf("%s: orphan files: %w", id, err)
			}
			if o.Now.Sub(f.ModTime) < o.SafetyAge || folder == "/metadata/" && !ofSnapshot(f.Name) && (l.Catalog.PruneOnly() || !ofVersion(f.Name)) {
				continue
			}
			old = append(old, f.Name)
			sizes[f.Name] = f.Size
		}
	}
	if len(old) == 0 {
		return out, nil
	}
	t, err := lake.Open(ctx, l, id)
	if err != nil {
		return out, err
	}
	needed, err := t.Referenced(ctx)
	if err != nil {
		return out, fmt.Errorf("%s: orphan files: %w", id, err)
	}
	for _, name := range old {
		if !needed[name] {
			out.Names = append(out.Names, name)
			out.Bytes += sizes[name]
		}
	}
	if o.DryRun {
		return out, nil
	}
	if _, err := t.DeleteFilesNamed(ctx, out.Names); err != nil {
		return out, fmt.Errorf("%s: delete orphan files: %w", id, err)
	}
	return out, nil
}

// ofVersion reports whether a file of the metadata folder is a version of the metadata.
func ofVersion(name string) bool {
	return strings.HasSuffix(name, ".metadata.json") || strings.HasSuffix(name, ".metadata.json.gz")
}

// ofSnapshot reports whether a file of the metadata folder is of a kind that snapshots refer to.
func ofSnapshot(name string) bool {
	ext := path.Ext(name)
	return ext == ".avro" || ext == ".puffin" || strings.HasSuffix(name, ".stats")
}
