//go:build !linux

package store

import (
	"errors"
	"io/fs"
	"os"
)

// publishExclusive gives the file its final name unless that is taken (link(2)).
func publishExclusive(temp, final string) error {
	err := os.Link(temp, final)
	if errors.Is(err, fs.ErrExist) && linked(temp, final) {
		return nil
	}
	return err
}
