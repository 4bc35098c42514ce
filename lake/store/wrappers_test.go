package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/apache/iceberg-go"
	icebergio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table/dv"

	"github.com/tidemark/tidemark/lake/store"
)

func TestCache(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner, err := store.OpenLocal(t.TempDir())
	check(t, err)
	counted := store.Count(inner)
	c := store.Cache(counted, 1000)
	for i := range 10 {
		check(t, c.Put(ctx, fmt.Sprintf("m%d.avro", i), bytes.Repeat([]byte{byte(i)}, 200)))
	}
	check(t, c.Put(ctx, "big.avro", make([]byte, 500)))
	check(t, c.Put(ctx, "v1.metadata.json", []byte("x")))
	gets := func(name string) int64 {
		before := counted.Tally().Calls["get"]
		_, err := c.Get(ctx, name)
		check(t, err)
		r, err := c.Open(ctx, "m9.avro")
		check(t, err)
		if r.Size() != 200 {
			t.Errorf("Size() = %d", r.Size())
		}
		check(t, r.Close())
		return counted.Tally().Calls["get"] - before
	}
	for _, want := range []struct {
		name string
		gets int64
	}{{"m9.avro", 0}, {"m5.avro", 0}, {"m4.avro", 1}, {"m4.avro", 0}, {"big.avro", 1}, {"big.avro", 1}, {"v1.metadata.json", 1}, {"v1.metadata.json", 1}} {
		if n := gets(want.name); n != want.gets {
			t.Errorf("Get(%s) asked the store %d times, want %d", want.name, n, want.gets)
		}
	}
	check(t, c.Delete(ctx, "m9.avro"))
	if _, err := c.Get(ctx, "m9.avro"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Delete: %v", err)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	const want = "map[GET:2 LIST:1 POST:2 PUT:4]"
	var requests string
	for range 5 { // a request that a busy server makes the client repeat counts twice
		if requests = countRequests(t); requests == want {
			return
		}
	}
	t.Errorf("requests: %s, not %s", requests, want)
}

// countRequests does one thing of each kind, checks how it was counted, and returns the requests that it took.
func countRequests(t *testing.T) string {
	ctx := t.Context()
	c := store.Count(store.Cache(minio(t, store.S3Options{}), 1<<20))
	check(t, c.Put(ctx, "a", make([]byte, 100)))
	w, err := c.Create(ctx, "b")
	check(t, err)
	_, err = w.Write(make([]byte, 17<<20))
	check(t, err)
	check(t, w.Close())
	r, err := c.Open(ctx, "b")
	check(t, err)
	_, err = r.ReadAt(make([]byte, 10), 5)
	check(t, err)
	_, err = r.ReadAt(make([]byte, 10), 17<<20-10) // in what Open read
	check(t, err)
	for _, err := range c.List(ctx, "") {
		check(t, err)
	}
	tally := c.Tally()
	if fmt.Sprint(tally.Calls) != "map[close:1 create:1 list:1 open:1 put:1 read:2 write:1]" || tally.Wrote != 100+17<<20 || tally.Read != 20 {
		t.Errorf("tally: %+v", tally)
	}
	return fmt.Sprint(store.Requests(c))
}

// TestIcebergIO writes a deletion vector and reads it back through iceberg-go.
func TestIcebergIO(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		files := store.IcebergIO(t.Context(), s)
		data, puffin := s.URI("db/t/data/x.parquet"), s.URI("db/t/data/x.puffin")
		w := dv.NewDVWriter(files, func(int32) *iceberg.PartitionSpec { return iceberg.UnpartitionedSpec })
		check(t, w.Add(data, []int64{3, 5, 1 << 33}, 0, nil))
		made, err := w.Flush(t.Context(), puffin)
		check(t, err)
		bitmap, err := dv.ReadDV(files, made[0])
		check(t, err)
		if !bitmap.Contains(5) || !bitmap.Contains(1<<33) || bitmap.Contains(4) {
			t.Error("the deletion vector came back different")
		}

		out, err := files.Create(s.URI("a/b"))
		check(t, err)
		_, err = out.ReadFrom(bytes.NewReader([]byte("hello")))
		check(t, err)
		check(t, out.Close())
		f, err := files.Open(s.URI("a/b"))
		check(t, err)
		_, err = f.Seek(1, io.SeekStart)
		check(t, err)
		rest, err := io.ReadAll(f)
		if err != nil || string(rest) != "ello" {
			t.Errorf("read %q, %v", rest, err)
		}
		info, err := files.Stat(s.URI("a/b"))
		if err != nil || info.Size() != 5 || info.Name() != "b" {
			t.Errorf("Stat: %v, %v", info, err)
		}
		var seen []string
		check(t, files.WalkDir(s.URI("a"), func(uri string, d fs.DirEntry, err error) error { seen = append(seen, uri); return err }))
		check(t, files.WalkDir(s.URI(""), func(uri string, d fs.DirEntry, err error) error { seen = append(seen, uri); return err }))
		if want := []string{s.URI("a/b"), s.URI("a/b"), puffin}; fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("walked %v, want %v", seen, want)
		}
		check(t, files.Remove(s.URI("a/b")))
		if _, err := files.Open(s.URI("a/b")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open after Remove: %v", err)
		}
		if _, err := files.ReadFile("s3://elsewhere/x"); err == nil {
			t.Error("a file outside the lake was read")
		}
		var _ icebergio.WriteFileIO = files
	})
}
