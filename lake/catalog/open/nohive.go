//go:build glue && !hive

package open

import (
	"context"

	"github.com/tidemark/tidemark/lake/catalog/library"
)

func openHive(context.Context, string) (*library.Service, error) { return nil, notBuilt("hive") }
