// Package library lets catalogs of iceberg-go (its interface catalog.Catalog) serve package updates. It is for those that take
// a large client library: AWS Glue and Hive.
//
// What must hold: an error is a conflict only where the catalog certainly did nothing, that is when a requirement was not met before
// it began to write, or when it says itself that the commit failed.
package library

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/apache/iceberg-go"
	icebergcatalog "github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/catalog/updates"
)

// Service is a catalog of iceberg-go.
type Service struct {
	catalog icebergcatalog.Catalog
	where   string // for errors
}

var _ updates.Service = (*Service)(nil)

// New returns the service over a catalog; where is its name for people.
func New(c icebergcatalog.Catalog, where string) *Service { return &Service{c, where} }

func name(id catalog.Identifier) table.Identifier { return table.Identifier{id.DB, id.Table} }

// Tables returns the tables of all namespaces of one level.
func (s *Service) Tables(ctx context.Context) ([]catalog.Identifier, error) {
	namespaces, err := s.catalog.ListNamespaces(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("list the databases of %s: %w", s.where, err)
	}
	var ids []catalog.Identifier
	for _, ns := range namespaces {
		if len(ns) != 1 {
			continue
		}
		for t, err := range s.catalog.ListTables(ctx, ns) {
			if err != nil {
				return nil, fmt.Errorf("list the tables of %s in %s: %w", ns[0], s.where, err)
			}
			ids = append(ids, catalog.Identifier{DB: ns[0], Table: t[len(t)-1]})
		}
	}
	return ids, nil
}

// Load returns the newest version.
func (s *Service) Load(ctx context.Context, id catalog.Identifier) (*catalog.Version, error) {
	t, err := s.catalog.LoadTable(ctx, name(id))
	if errors.Is(err, icebergcatalog.ErrNoSuchTable) || errors.Is(err, icebergcatalog.ErrNoSuchNamespace) {
		return nil, fmt.Errorf("no table %s in %s: %w", id, s.where, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	return version(id, t.Metadata(), t.MetadataLocation())
}

func version(id catalog.Identifier, m table.Metadata, location string) (*catalog.Version, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", location, err)
	}
	return &catalog.Version{ID: id, URI: location, Metadata: text}, nil
}

// Create makes a table, and its database where that is missing.
func (s *Service) Create(ctx context.Context, id catalog.Identifier, metadata *updates.Document) (*catalog.Version, error) {
	text, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	m, err := table.ParseMetadataBytes(text)
	if err != nil {
		return nil, err
	}
	switch is, err := s.catalog.CheckNamespaceExists(ctx, table.Identifier{id.DB}); {
	case err != nil:
		return nil, fmt.Errorf("look for the database %s in %s: %w", id.DB, s.where, err)
	case !is:
		if err := s.catalog.CreateNamespace(ctx, table.Identifier{id.DB}, nil); err != nil && !errors.Is(err, icebergcatalog.ErrNamespaceAlreadyExists) {
			return nil, fmt.Errorf("create the database %s in %s: %w", id.DB, s.where, err)
		}
	}
	properties := iceberg.Properties{"format-version": strconv.Itoa(m.Version())}
	for k, v := range m.Properties() {
		properties[k] = v
	}
	spec := m.PartitionSpec()
	t, err := s.catalog.CreateTable(ctx, name(id), m.CurrentSchema(), icebergcatalog.WithLocation(m.Location()),
		icebergcatalog.WithProperties(properties), icebergcatalog.WithPartitionSpec(&spec), icebergcatalog.WithSortOrder(m.SortOrder()))
	if errors.Is(err, icebergcatalog.ErrTableAlreadyExists) {
		return nil, fmt.Errorf("there is a table %s in %s: %w", id, s.where, fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	return version(id, t.Metadata(), t.MetadataLocation())
}

// required is a requirement of which it can be told that it was not met.
type required struct{ table.Requirement }

// MarshalJSON is for catalogs that send requirements on.
func (r required) MarshalJSON() ([]byte, error) { return json.Marshal(r.Requirement) }

func (r required) Validate(m table.Metadata) error {
	if err := r.Requirement.Validate(m); err != nil {
		return fmt.Errorf("%w: %w", catalog.ErrConflict, err)
	}
	return nil
}

// Commit applies the updates if the requirements hold.
func (s *Service) Commit(ctx context.Context, id catalog.Identifier, c *updates.Commit) (*catalog.Version, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var request struct {
		Requirements table.Requirements `json:"requirements"`
		Updates      table.Updates      `json:"updates"`
	}
	if err := json.Unmarshal(text, &request); err != nil {
		return nil, err
	}
	for i, r := range request.Requirements {
		request.Requirements[i] = required{r}
	}
	m, location, err := s.catalog.CommitTable(ctx, name(id), request.Requirements, request.Updates)
	if errors.Is(err, table.ErrCommitFailed) {
		err = fmt.Errorf("%w: %w", catalog.ErrConflict, err)
	}
	if err != nil {
		return nil, err
	}
	return version(id, m, location)
}

// Drop takes a table out.
func (s *Service) Drop(ctx context.Context, id catalog.Identifier) error {
	return s.catalog.DropTable(ctx, name(id))
}
