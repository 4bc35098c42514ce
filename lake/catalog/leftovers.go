package catalog

import (
	"context"
	"fmt"
	"sync"

	"github.com/tidemark/tidemark/lake/store"
)

// Leftovers are files that commits of this process left behind, by table. What a crash makes it forget are orphans.
type Leftovers struct {
	mu   sync.Mutex
	uris map[Identifier][]string
}

// Add notes a file.
func (l *Leftovers) Add(id Identifier, uri string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.uris == nil {
		l.uris = map[Identifier][]string{}
	}
	l.uris[id] = append(l.uris[id], uri)
}

// Prune deletes the files of a table, and forgets them. Those that are not in the store are another program's.
func (l *Leftovers) Prune(ctx context.Context, s store.Store, id Identifier) (removed int, err error) {
	l.mu.Lock()
	list := l.uris[id]
	delete(l.uris, id)
	l.mu.Unlock()
	for _, uri := range list {
		name, err := s.Name(uri)
		if err != nil {
			continue
		}
		if err := s.Delete(ctx, name); err != nil {
			return removed, fmt.Errorf("prune %s: %w", id, err)
		}
		removed++
	}
	return removed, nil
}
