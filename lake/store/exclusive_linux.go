package store

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// publishExclusive gives the file its final name unless that is taken (link(2), renameat2(2)).
func publishExclusive(temp, final string) error {
	err := os.Link(temp, final)
	switch {
	case err == nil || errors.Is(err, fs.ErrExist):
		// Over NFS a repeated request can find the link that its first sending made: then the file has both names.
		if err != nil && linked(temp, final) {
			return nil
		}
		return err
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EMLINK):
		if e := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, final, unix.RENAME_NOREPLACE); e != nil {
			return &os.LinkError{Op: "rename without replacing", Old: temp, New: final, Err: e}
		}
		return nil
	}
	return err
}
