// Package sqlcatalog keeps tables' addresses in the tables of an SQL database, as Iceberg's JdbcCatalog, PyIceberg's SqlCatalog and
// iceberg-go's catalog/sql do, so that those programs read and write the same catalog.
//
// A commit is one UPDATE whose WHERE clause names the old address. What must hold: no statement that may have been carried out is
// repeated, by the drivers neither; package pointer looks what became of it.
//
// open.go     databases, from their URLs
// statements.go  what is asked of them
package sqlcatalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tidemark/tidemark/lake/catalog"
)

// Service is one catalog in a database.
type Service struct {
	db   *sql.DB
	name string // of the catalog: a database may hold several
	url  string // without password, for errors
	sql  statements
}

// Close closes the connections.
func (s *Service) Close() error { return s.db.Close() }

// Tables returns all tables, those of other programs too.
func (s *Service) Tables(ctx context.Context) (ids []catalog.Identifier, err error) {
	rows, err := s.db.QueryContext(ctx, s.sql.list, s.name)
	if err != nil {
		return nil, s.failed("list tables", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id catalog.Identifier
		if err := rows.Scan(&id.DB, &id.Table); err != nil {
			return nil, s.failed("list tables", err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, s.failed("list tables", err)
	}
	return ids, nil
}

// Get returns a table's address.
func (s *Service) Get(ctx context.Context, id catalog.Identifier) (string, error) {
	var got catalog.Identifier
	var location sql.NullString
	err := s.db.QueryRowContext(ctx, s.sql.get, s.name, id.DB, id.Table).Scan(&got.DB, &got.Table, &location)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && got != id: // a database that takes Orders for orders
		return "", fmt.Errorf("no table %s in the catalog %q at %s: %w", id, s.name, s.url, fs.ErrNotExist)
	case err != nil:
		return "", s.failed("look up "+id.String(), err)
	case location.String == "":
		return "", fmt.Errorf("%s has no metadata_location in the catalog %q at %s", id, s.name, s.url)
	}
	return location.String, nil
}

// Insert makes a table.
func (s *Service) Insert(ctx context.Context, id catalog.Identifier, location string) error {
	_, err := s.db.ExecContext(ctx, s.sql.insert, s.name, id.DB, id.Table, location)
	if err == nil {
		return nil
	}
	// Every database has words of its own for a key that is there: look instead.
	var got catalog.Identifier
	var now sql.NullString
	lookErr := s.db.QueryRowContext(ctx, s.sql.get, s.name, id.DB, id.Table).Scan(&got.DB, &got.Table, &now)
	switch {
	case lookErr != nil || now.String == location:
		return s.failed("create "+id.String(), err)
	case got != id:
		return fmt.Errorf("the database at %s does not tell %s from %s, which is there: give the column iceberg_tables.table_name a collation that does: %w", s.url, id, got, fs.ErrExist)
	}
	return fmt.Errorf("there is a table %s in the catalog %q at %s: %w", id, s.name, s.url, fs.ErrExist)
}

// Replace gives a table another address.
func (s *Service) Replace(ctx context.Context, id catalog.Identifier, old, location string) error {
	return s.change(ctx, "commit to "+id.String(), s.sql.replace, location, old, s.name, id.DB, id.Table, old)
}

// Delete takes a table out.
func (s *Service) Delete(ctx context.Context, id catalog.Identifier, old string) error {
	return s.change(ctx, "drop "+id.String(), s.sql.remove, s.name, id.DB, id.Table, old)
}

// change runs a statement that changes one row, or none when its condition does not hold.
func (s *Service) change(ctx context.Context, what, statement string, args ...any) error {
	result, err := s.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return s.failed(what, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return s.failed(what, err)
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", what, catalog.ErrConflict)
	}
	return nil
}

func (s *Service) failed(what string, err error) error {
	return fmt.Errorf("%s: the catalog database at %s: %w", what, s.url, err)
}
