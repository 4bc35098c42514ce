//go:build hive

package open

import (
	"context"
	"fmt"
	"net/url"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog/hive"

	"github.com/tidemark/tidemark/lake/catalog/library"
)

// openHive speaks to the metastore at thrift://HOST:PORT.
func openHive(_ context.Context, address string) (*library.Service, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "thrift" || u.Host == "" {
		return nil, &UsageError{"the Hive metastore's address cannot be read: expected hive:thrift://HOST:PORT"}
	}
	c, err := hive.NewCatalog(iceberg.Properties{hive.URI: address})
	if err != nil {
		return nil, fmt.Errorf("the Hive metastore at %s: %w", u.Host, err)
	}
	return library.New(c, "the Hive metastore at "+u.Host), nil
}
