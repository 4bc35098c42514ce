//go:build hive && !glue

package open

import (
	"context"

	"github.com/tidemark/tidemark/lake/catalog/library"
)

func openGlue(context.Context, string) (*library.Service, error) { return nil, notBuilt("glue") }
