// Package open makes the catalog that --catalog names.
package open

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/catalog/pointer"
	"github.com/tidemark/tidemark/lake/catalog/restcatalog"
	"github.com/tidemark/tidemark/lake/catalog/sqlcatalog"
	"github.com/tidemark/tidemark/lake/catalog/updates"
	"github.com/tidemark/tidemark/lake/store"
)

// Secrets are what goes in no flag.
type Secrets struct {
	Token      string // of a REST catalog
	Credential string // to be exchanged for one: ID:SECRET
	Password   string // of a catalog database
}

// UsageError says that a catalog's name is not one, or not one of this build.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

const known = "bucket, rest:URL, sql:URL, glue: or hive:URL"

// Catalog opens bucket, rest:URL, sql:URL, glue: or hive:URL over the lake in s. It fails with *UsageError where the name
// is at fault.
func Catalog(ctx context.Context, name string, s store.Store, secrets Secrets) (catalog.Catalog, error) {
	if name == "bucket" {
		return catalog.NewBucket(s), nil
	}
	kind, address, ok := strings.Cut(name, ":")
	if !ok {
		return nil, &UsageError{fmt.Sprintf("expected %s", known)}
	}
	c, err := open(ctx, kind, address, s, secrets)
	var ofREST *restcatalog.AddressError
	var ofSQL *sqlcatalog.AddressError
	if errors.As(err, &ofREST) || errors.As(err, &ofSQL) {
		return nil, &UsageError{err.Error()}
	}
	return c, err
}

func open(ctx context.Context, kind, address string, s store.Store, secrets Secrets) (catalog.Catalog, error) {
	switch kind {
	case "rest":
		service, err := restcatalog.Open(ctx, address, restcatalog.Options{Token: secrets.Token, Credential: secrets.Credential})
		if err != nil {
			return nil, err
		}
		return updates.New(s, service), nil
	case "sql":
		service, err := sqlcatalog.Open(ctx, address, sqlcatalog.Options{Password: secrets.Password})
		if err != nil {
			return nil, err
		}
		return pointer.New(s, service), nil
	case "glue", "hive":
		return openTagged(ctx, kind, address, s)
	}
	return nil, &UsageError{fmt.Sprintf("%s is no kind of catalog: expected %s", kind, known)}
}

// notBuilt says how to come by a program that has a catalog which this one lacks.
func notBuilt(kind string) error {
	return &UsageError{fmt.Sprintf("this program was built without the %s catalog: build one that has it with make build TAGS=%s", kind, kind)}
}
