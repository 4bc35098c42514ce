package open_test

import (
	"errors"
	"testing"

	"github.com/tidemark/tidemark/lake/catalog/open"
	"github.com/tidemark/tidemark/lake/store"
)

// TestNames: what is no catalog, or none of this program, is a mistake of usage.
func TestNames(t *testing.T) {
	s, err := store.OpenLocal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"", "buckets", "bucket:", "rest:", "rest:ftp://there", "sql:", "sql:file.db", "sql:sqlite://host/file", "hive:metastore:9083"}
	for _, name := range append(names, unknown...) {
		var usage *open.UsageError
		if _, err := open.Catalog(t.Context(), name, s, open.Secrets{}); !errors.As(err, &usage) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range append([]string{"bucket", "sql:sqlite://" + t.TempDir() + "/catalog.db"}, offline...) {
		if c, err := open.Catalog(t.Context(), name, s, open.Secrets{}); err != nil || c == nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
