//go:build !glue && !hive

package open

import (
	"context"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

// openTagged refuses: the libraries of Glue and Hive are large, and few need them.
func openTagged(_ context.Context, kind, _ string, _ store.Store) (catalog.Catalog, error) {
	return nil, notBuilt(kind)
}
