package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	icebergio "github.com/apache/iceberg-go/io"
)

// FileIO is a store as iceberg-go wants it: files are named by the URIs in table metadata.
type FileIO struct {
	ctx context.Context
	s   Store
}

var (
	_ icebergio.ReadFileIO      = (*FileIO)(nil)
	_ icebergio.WriteFileIO     = (*FileIO)(nil)
	_ icebergio.ListableIO      = (*FileIO)(nil)
	_ icebergio.StatIO          = (*FileIO)(nil)
	_ icebergio.BulkRemovableIO = (*FileIO)(nil)
)

// IcebergIO lets iceberg-go read and write through the store. Its interfaces carry no context: ctx is that of all
// operations made through the result.
func IcebergIO(ctx context.Context, s Store) *FileIO { return &FileIO{ctx, s} }

// Open opens a file for reading and seeking.
func (f *FileIO) Open(uri string) (icebergio.File, error) {
	name, err := f.s.Name(uri)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: uri, Err: err}
	}
	r, err := f.s.Open(f.ctx, name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: uri, Err: err}
	}
	return &icebergFile{SectionReader: io.NewSectionReader(r, 0, r.Size()), r: r, name: name}, nil
}

type icebergFile struct {
	*io.SectionReader
	r    Reader
	name string
}

func (f *icebergFile) Close() error { return f.r.Close() }

func (f *icebergFile) Stat() (fs.FileInfo, error) {
	return fileInfo{Info{Name: f.name, Size: f.r.Size()}}, nil
}

// fileInfo is an Info as the standard library wants it.
type fileInfo struct{ o Info }

func (i fileInfo) Name() string               { return path.Base(i.o.Name) }
func (i fileInfo) Size() int64                { return i.o.Size }
func (i fileInfo) Mode() fs.FileMode          { return 0o444 }
func (i fileInfo) ModTime() time.Time         { return i.o.ModTime }
func (i fileInfo) IsDir() bool                { return false }
func (i fileInfo) Sys() any                   { return nil }
func (i fileInfo) Type() fs.FileMode          { return 0 }
func (i fileInfo) Info() (fs.FileInfo, error) { return i, nil }

// ReadFile returns a copy, which the caller may change.
func (f *FileIO) ReadFile(uri string) ([]byte, error) {
	name, err := f.s.Name(uri)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: uri, Err: err}
	}
	b, err := f.s.Get(f.ctx, name)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: uri, Err: err}
	}
	return bytes.Clone(b), nil
}

// Stat tells a file's size. Its time of change is not known.
func (f *FileIO) Stat(uri string) (fs.FileInfo, error) {
	file, err := f.Open(uri)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	return info, errors.Join(err, file.Close())
}

// Create opens a file for writing; it is there once it is closed.
func (f *FileIO) Create(uri string) (icebergio.FileWriter, error) {
	name, err := f.s.Name(uri)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: uri, Err: err}
	}
	w, err := f.s.Create(f.ctx, name)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: uri, Err: err}
	}
	return icebergWriter{w}, nil
}

type icebergWriter struct{ Writer }

func (w icebergWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w.Writer}, r)
}

// WriteFile writes a whole file.
func (f *FileIO) WriteFile(uri string, body []byte) error {
	name, err := f.s.Name(uri)
	if err == nil {
		err = f.s.Put(f.ctx, name, body)
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: uri, Err: err}
	}
	return nil
}

// Remove deletes a file.
func (f *FileIO) Remove(uri string) error {
	_, err := f.DeleteFiles(f.ctx, []string{uri})
	return err
}

// DeleteFiles deletes files; one that is absent counts as deleted.
func (f *FileIO) DeleteFiles(ctx context.Context, uris []string) ([]string, error) {
	names := make([]string, len(uris))
	for i, uri := range uris {
		var err error
		if names[i], err = f.s.Name(uri); err != nil {
			return nil, &fs.PathError{Op: "delete", Path: uri, Err: err}
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if err := f.s.Delete(ctx, names...); err != nil {
		return nil, err
	}
	return uris, nil
}

// WalkDir visits every file below root. There are no folders in a store, so none are visited.
func (f *FileIO) WalkDir(root string, visit fs.WalkDirFunc) error {
	prefix := ""
	if root+"/" != f.s.URI("") && root != f.s.URI("") {
		name, err := f.s.Name(trimSlash(root))
		if err != nil {
			return &fs.PathError{Op: "walk", Path: root, Err: err}
		}
		prefix = name + "/"
	}
	for o, err := range f.s.List(f.ctx, prefix) {
		if err != nil {
			return err
		}
		err := visit(f.s.URI(o.Name), fileInfo{o}, nil)
		switch {
		case errors.Is(err, fs.SkipAll):
			return nil
		case err != nil && !errors.Is(err, fs.SkipDir):
			return err
		}
	}
	return nil
}

func trimSlash(s string) string {
	for len(s) > 0 && s[len(s)-1] == '/' {
		s = s[:len(s)-1]
	}
	return s
}
