package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// each runs a test over every kind of store, each empty.
func each(t *testing.T, test func(*testing.T, store.Store)) {
	t.Helper()
	t.Parallel()
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		s, err := store.Open(t.Context(), "file://"+t.TempDir()+"/a lake", store.S3Options{})
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
	t.Run("MinIO", func(t *testing.T) {
		t.Parallel()
		test(t, minio(t, store.S3Options{}))
	})
	t.Run("wrapped", func(t *testing.T) {
		t.Parallel()
		s, err := store.OpenLocal(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		test(t, store.Count(store.Cache(s, 1<<20)))
	})
}

func minio(t testing.TB, opt store.S3Options) *store.S3 {
	t.Helper()
	b := testenv.MinIO(t)
	opt.Endpoint, opt.Region, opt.AccessKey, opt.SecretKey = b.Endpoint, b.Region, b.AccessKey, b.SecretKey
	s, err := store.OpenS3(t.Context(), b.Name, "some/prefix", opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names that real tables and files may lead to.
func names() []string {
	return []string{
		"plain", "db/t/metadata/v1.metadata.json", "db/t/metadata/snap-1.avro", "a b/c d", "per%20cent/100%", "ünï/çødé/表", "dots/.hidden/..x/x..",
		"plus+and&amp;/q?a=b#c", "quote'\"/star*[x]{y}~", "a-b", "a.b", "a/c-d/e", "a/c/f", `back\slash`,
	}
}

func TestObjectsComeBack(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		for _, name := range names() {
			body := []byte("body of " + name)
			_, err := s.Get(ctx, name)
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get(%q) before: %v, want fs.ErrNotExist", name, err)
			}
			check(t, s.Put(ctx, name, []byte("older and longer than what replaces it: "+name)))
			check(t, s.Put(ctx, name, body))
			got, err := s.Get(ctx, name)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("Get(%q) = %q, %v", name, got, err)
			}
			back, err := s.Name(s.URI(name))
			if err != nil || back != name {
				t.Errorf("Name(%s) = %q, %v", s.URI(name), back, err)
			}
		}
		var listed []string
		for o, err := range s.List(ctx, "") {
			check(t, err)
			listed = append(listed, o.Name)
			if o.Size != int64(len("body of "+o.Name)) || o.ModTime.IsZero() {
				t.Errorf("listed as %+v", o)
			}
		}
		want := slices.Sorted(slices.Values(names()))
		if !slices.Equal(listed, want) {
			t.Errorf("List: %q\nwant  %q", listed, want)
		}
		check(t, s.Delete(ctx, names()...))
		check(t, s.Delete(ctx, names()[0]))
		for o, err := range s.List(ctx, "") {
			t.Errorf("after Delete there is %+v, %v", o, err)
		}
	})
}

func TestListing(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		for o, err := range s.List(ctx, "nothing/") {
			t.Errorf("an empty listing has %v, %v", o, err)
		}
		for _, n := range []string{"db/t/1", "db/t/2", "db/t2/3", "db/f", "other/x/y"} {
			check(t, s.Put(ctx, n, nil))
		}
		var got []string
		for o, err := range s.List(ctx, "db/t/") {
			check(t, err)
			got = append(got, o.Name)
		}
		if fmt.Sprint(got) != "[db/t/1 db/t/2]" {
			t.Errorf("List(db/t/) = %v", got)
		}
		for prefix, want := range map[string]string{"": "[db other]", "db/": "[t t2]", "db/t/": "[]", "no/": "[]"} {
			dirs, err := s.ListDirs(ctx, prefix)
			if err != nil || fmt.Sprint(dirs) != want {
				t.Errorf("ListDirs(%q) = %v, %v; want %s", prefix, dirs, err, want)
			}
		}
		n := 0
		for _, err := range s.List(ctx, "") {
			check(t, err)
			if n++; n == 2 {
				break // the iterator takes it
			}
		}
	})
}

func TestListingOfManyPages(t *testing.T) {
	t.Parallel()
	s := minio(t, store.S3Options{})
	var want []string
	var g sync.WaitGroup
	work := make(chan string)
	for range 16 {
		g.Go(func() {
			for name := range work {
				if err := s.Put(context.Background(), name, []byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 2300 {
		name := fmt.Sprintf("many/%d/%d", i%7, i)
		want = append(want, name)
		work <- name
	}
	close(work)
	g.Wait()
	slices.Sort(want)
	var got []string
	for o, err := range s.List(t.Context(), "many/") {
		check(t, err)
		got = append(got, o.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %d, want %d in order", len(got), len(want))
	}
	check(t, s.Delete(t.Context(), want...))
	for o, err := range s.List(t.Context(), "") {
		t.Fatalf("left: %v, %v", o, err)
	}
}

func TestNamesThatLeaveTheRoot(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		for _, name := range []string{"", "/abs", "../x", "a/../../x", "a//b", "a/", "./x", "nul\x00", "bad\xffutf8", ".tidemark-tmp/x", strings.Repeat("x", 1025)} {
			var wrong *store.NameError
			if err := s.Put(ctx, name, nil); !errors.As(err, &wrong) {
				t.Errorf("Put(%q): %v", name, err)
			}
			if _, err := s.Get(ctx, name); !errors.As(err, &wrong) {
				t.Errorf("Get(%q): %v", name, err)
			}
			if err := s.Delete(ctx, name); !errors.As(err, &wrong) {
				t.Errorf("Delete(%q): %v", name, err)
			}
		}
		for _, uri := range []string{"file:///etc/passwd", "s3://other/x", s.URI("../x"), s.URI("")[:len(s.URI(""))-1] + "-sibling/x", "gs://x/y", ""} {
			if name, err := s.Name(uri); err == nil {
				t.Errorf("Name(%q) = %q, want an error", uri, name)
			}
		}
	})
}

func TestPutIfAbsentHasOneWinner(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		for version := range 20 {
			name := fmt.Sprintf("db/t/metadata/v%d.metadata.json", version)
			var won atomic.Int64
			var winner atomic.Pointer[[]byte]
			var g sync.WaitGroup
			start := make(chan struct{})
			for racer := range 10 {
				g.Go(func() {
					<-start
					body := bytes.Repeat([]byte{byte(racer)}, 20000)
					switch err := s.PutIfAbsent(t.Context(), name, body); {
					case err == nil:
						won.Add(1)
						winner.Store(&body)
					case !errors.Is(err, fs.ErrExist):
						t.Errorf("a loser got %v, want fs.ErrExist", err)
					}
				})
			}
			close(start)
			g.Wait()
			if won.Load() != 1 {
				t.Fatalf("%s: %d winners", name, won.Load())
			}
			if got, err := s.Get(t.Context(), name); err != nil || !bytes.Equal(got, *winner.Load()) {
				t.Errorf("%s: what is there is not the winner's: %v", name, err)
			}
		}
		check(t, store.CheckConditionalPut(t.Context(), s))
		check(t, store.CheckConditionalPut(t.Context(), s))
	})
}

func TestStreamsAndRanges(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx := t.Context()
		random := rand.NewChaCha8([32]byte{7})
		for _, size := range []int{0, 1, 64 << 10, 100_000, 8 << 20, 8<<20 + 1, 21<<20 + 12345} {
			name := fmt.Sprintf("stream/%d", size)
			want := make([]byte, size)
			_, _ = random.Read(want)
			w, err := s.Create(ctx, name)
			check(t, err)
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(3<<20))
				_, err := w.Write(rest[:n])
				check(t, err)
				rest = rest[n:]
			}
			if _, err := s.Get(ctx, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is visible before Close: %v", name, err)
			}
			check(t, w.Close())
			check(t, w.Close())
			check(t, w.Abort())
			got, err := s.Get(ctx, name)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: %d bytes came back, equal %v, %v", name, len(got), bytes.Equal(got, want), err)
			}
			r, err := s.Open(ctx, name)
			check(t, err)
			if r.Size() != int64(size) {
				t.Errorf("Size() = %d, want %d", r.Size(), size)
			}
			for range 50 {
				off, n := rand.IntN(size+1), rand.IntN(200_000)
				p := make([]byte, n)
				k, err := r.ReadAt(p, int64(off))
				end := min(off+n, size)
				eof := errors.Is(err, io.EOF)
				if short := off+n > size || off == size; short != eof && n > 0 || err != nil && !eof {
					t.Fatalf("%s ReadAt(%d bytes at %d): %d, %v", name, n, off, k, err)
				}
				if !bytes.Equal(p[:k], want[off:end]) {
					t.Fatalf("%s ReadAt(%d bytes at %d) gives %d other bytes", name, n, off, k)
				}
			}
			check(t, r.Close())
		}
		if _, err := s.Open(ctx, "absent"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(absent): %v", err)
		}
	})
}

func TestAbortLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		for _, size := range []int{10, 20 << 20} {
			w, err := s.Create(t.Context(), "x/y")
			check(t, err)
			_, err = w.Write(make([]byte, size))
			check(t, err)
			check(t, w.Abort())
			check(t, w.Abort())
		}
		for o, err := range s.List(t.Context(), "") {
			t.Errorf("left: %v, %v", o, err)
		}
	})
}

func TestContextEnds(t *testing.T) {
	each(t, func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := s.Create(ctx, "x")
		check(t, err)
		_, err = w.Write(make([]byte, 9<<20))
		check(t, err)
		cancel()
		if err := w.Close(); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		if err := s.Put(ctx, "x", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Put: %v", err)
		}
		if _, err := s.Get(ctx, "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v", err)
		}
		if _, err := s.Get(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after all that: %v", err)
		}
	})
}
