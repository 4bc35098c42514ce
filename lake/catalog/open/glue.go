//go:build glue

package open

import (
	"context"
	"fmt"

	"github.com/apache/iceberg-go/catalog/glue"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/tidemark/tidemark/lake/catalog/library"
)

// openGlue takes region and credentials as AWS programs do. The address is the id of the Glue catalog, empty for the account's.
func openGlue(ctx context.Context, address string) (*library.Service, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("settings for AWS Glue: %w", err)
	}
	properties := glue.AwsProperties{}
	if address != "" {
		properties[glue.CatalogIdKey] = address
	}
	c, err := glue.NewCatalog(glue.WithAwsConfig(cfg), glue.WithAwsProperties(properties))
	if err != nil {
		return nil, fmt.Errorf("AWS Glue: %w", err)
	}
	return library.New(c, "AWS Glue, "+cfg.Region), nil
}
