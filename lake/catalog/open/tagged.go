//go:build glue || hive

package open

import (
	"context"
	"net/url"
	"sync"

	icebergio "github.com/apache/iceberg-go/io"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/catalog/library"
	"github.com/tidemark/tidemark/lake/catalog/updates"
	"github.com/tidemark/tidemark/lake/store"
)

// openers are the catalogs that this program was built with.
var openers = map[string]func(ctx context.Context, address string) (*library.Service, error){"glue": openGlue, "hive": openHive}

// files lets iceberg-go read and write metadata on S3 through our store. Its list of schemes is the program's own, and a program has
// one lake.
var files sync.Once

func openTagged(ctx context.Context, kind, address string, s store.Store) (catalog.Catalog, error) {
	files.Do(func() {
		for _, scheme := range []string{"s3", "s3a"} {
			icebergio.Register(scheme, func(ctx context.Context, _ *url.URL, _ map[string]string) (icebergio.IO, error) {
				return store.IcebergIO(ctx, s), nil
			})
		}
	})
	service, err := openers[kind](ctx, address)
	if err != nil {
		return nil, err
	}
	return updates.New(s, service), nil
}
