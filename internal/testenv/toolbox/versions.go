package toolbox

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
)

//go:embed versions.env
var versionsFile string

//go:embed requirements.txt
var requirementsFile string

// versions maps a name of versions.env to its value.
type versions map[string]string

func pinnedVersions() (versions, error) {
	v := versions{}
	lines := bufio.NewScanner(strings.NewReader(versionsFile))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("versions.env line %d: %q is not NAME=VALUE", n, line)
		}
		v[name] = value
	}
	return v, nil
}

// digest names a folder after what it was made from.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:6])
}
