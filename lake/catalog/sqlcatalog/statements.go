package sqlcatalog

import (
	"context"
	"fmt"
	"strings"
)

// statements are what the database is asked, in its own dialect.
type statements struct {
	list, get, insert, replace, remove string
}

// columns of iceberg_tables, with the lengths that all other programs give them. MySQL compares text without regard to case
// unless told otherwise.
const createTables = `CREATE TABLE IF NOT EXISTS iceberg_tables (
	catalog_name VARCHAR(255) NOT NULL,
	table_namespace VARCHAR(255) NOT NULL,
	table_name VARCHAR(255) NOT NULL,
	metadata_location VARCHAR(1000),
	previous_metadata_location VARCHAR(1000),
	iceberg_type VARCHAR(5),
	PRIMARY KEY (catalog_name, table_namespace, table_name))`

const createNamespaces = `CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
	catalog_name VARCHAR(255) NOT NULL,
	namespace VARCHAR(255) NOT NULL,
	property_key VARCHAR(255) NOT NULL,
	property_value VARCHAR(1000),
	PRIMARY KEY (catalog_name, namespace, property_key))`

// prepare makes the tables where they are missing and learns what they look like: catalogs made by older programs have no
// column iceberg_type, and no views.
func (s *Service) prepare(ctx context.Context, d dialect) error {
	if _, err := s.db.ExecContext(ctx, "SELECT 1 FROM iceberg_tables WHERE 1 = 0"); err != nil {
		for _, statement := range []string{createTables, createNamespaces} {
			if _, err := s.db.ExecContext(ctx, statement+d.tableOptions); err != nil {
				return s.failed("create the catalog's tables", err)
			}
		}
	}
	tablesOnly := " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)"
	if _, err := s.db.ExecContext(ctx, "SELECT iceberg_type FROM iceberg_tables WHERE 1 = 0"); err != nil {
		tablesOnly = ""
	}
	const one = "catalog_name = ? AND table_namespace = ? AND table_name = ?"
	s.sql = statements{
		list:    "SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = ?" + tablesOnly,
		get:     "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables WHERE " + one + tablesOnly,
		insert:  "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES (?, ?, ?, ?)",
		replace: "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? WHERE " + one + " AND metadata_location = ?",
		remove:  "DELETE FROM iceberg_tables WHERE " + one + " AND metadata_location = ?",
	}
	if d.numbered {
		for _, text := range []*string{&s.sql.list, &s.sql.get, &s.sql.insert, &s.sql.replace, &s.sql.remove} {
			*text = numbered(*text)
		}
	}
	return nil
}

// numbered writes the placeholders as $1, $2, ...
func numbered(statement string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		fmt.Fprintf(&b, "$%d", n)
		statement = after
	}
}
