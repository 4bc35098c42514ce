package catalog

import "context"

// Catalog says which metadata are a table's newest, and lets one writer at a time replace them. Bucket is one that needs
// no service; those that do are in the folders below. It is safe for concurrent use, by any number of processes.
//
// The table's files, metadata among them, are in the lake at Identifier.Path whichever catalog it is.
type Catalog interface {
	// Tables returns all tables, sorted.
	Tables(ctx context.Context) ([]Identifier, error)
	// Load returns the newest version. Its error matches fs.ErrNotExist when there is no such table.
	Load(ctx context.Context, id Identifier) (*Version, error)
	// Create makes a table with its first version, and its database where that is missing. It fails with fs.ErrExist when
	// the table is there. After any other error it may have been created.
	Create(ctx context.Context, id Identifier, metadata []byte) (*Version, error)
	// Swap makes metadata the next version, provided that nobody else's change came after base. A catalog that writes
	// metadata itself may merge in changes that concern neither rows nor position (other properties, tags); the version
	// returned has what came of it. Errors:
	//
	//   - ErrConflict: definitely not applied. Load and decide again.
	//   - anything else, a context that ended included: the outcome is unknown. Load, and look for your commit in it.
	Swap(ctx context.Context, base *Version, metadata []byte) (*Version, error)
	// Drop ends a table, provided that base is its newest version; its files stay. why is for people. Errors are those of Swap.
	Drop(ctx context.Context, base *Version, why string) error
	// Point shows a version that is committed to readers that use no catalog, where the catalog has such. HintErr of what
	// it returns says whether it went well.
	Point(ctx context.Context, v *Version) *Version
	// Prune removes metadata files that newest made out of date, as far as that is the catalog's business. The newest keep
	// versions stay.
	Prune(ctx context.Context, newest *Version, keep int) (removed int, err error)
	// PruneOnly reports whether nothing but Prune may remove a metadata file, since its name has to stay taken.
	PruneOnly() bool
}
