// Package examples holds what a first user reads and runs: the shop database, the local stack (examples/stack), queries.
package examples

import (
	_ "embed"
	"strings"
)

//go:embed shop.sql
var shop string

// Shop is shop.sql as a server takes it: the mysql client's DELIMITER lines, which let that client find the end of a procedure, are gone.
func Shop() string {
	var lines []string
	for line := range strings.Lines(shop) {
		if !strings.HasPrefix(line, "DELIMITER") {
			lines = append(lines, strings.ReplaceAll(line, "$$", ";"))
		}
	}
	return strings.Join(lines, "")
}
