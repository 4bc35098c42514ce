package store

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// tempDir is the folder of a local store that holds files not yet published. No listing shows it.
const tempDir = ".tidemark-tmp"

// maxName is the longest name in bytes: what S3 allows for a key, the store's prefix included.
const maxName = 1024

// NameError is a name that no store takes.
type NameError struct {
	Name string
	Why  string
}

func (e *NameError) Error() string { return fmt.Sprintf("object name %q: %s", e.Name, e.Why) }

// checkName refuses what could leave the root or mean different objects in different stores. Names are otherwise
// taken as they are: a store never escapes. What turns foreign text into a name (package catalog, for databases and
// tables) does that, because only there it is known which slash belongs to the text.
func checkName(name string) error {
	why := ""
	switch {
	case name == "":
		why = "it is empty"
	case len(name) > maxName:
		why = fmt.Sprintf("it is longer than %d bytes", maxName)
	case !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0:
		why = "it is not UTF-8 text without NUL"
	default:
		for segment := range strings.SplitSeq(name, "/") {
			switch segment {
			case "", ".", "..":
				why = fmt.Sprintf("it has the segment %q, which would not stay below the root", segment)
			case tempDir:
				why = "files being written are kept under that name"
			}
		}
	}
	if why == "" {
		return nil
	}
	return &NameError{name, why}
}

// checkPrefix does the same for the prefix of a listing.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	folder, slash := strings.CutSuffix(prefix, "/")
	if !slash {
		return &NameError{prefix, "a prefix is empty or ends in a slash"}
	}
	return checkName(folder)
}
