package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/store"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var id = catalog.Identifier{DB: "Shop", Table: "orders"}

func local(t *testing.T) store.Store {
	t.Helper()
	s, err := store.OpenLocal(t.TempDir())
	check(t, err)
	return s
}

func minio(t *testing.T) store.Store {
	t.Helper()
	b := testenv.MinIO(t)
	s, err := store.OpenS3(t.Context(), b.Name, "lake", store.S3Options{Endpoint: b.Endpoint, Region: b.Region, AccessKey: b.AccessKey, SecretKey: b.SecretKey})
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hint(t *testing.T, s store.Store) string {
	t.Helper()
	b, err := s.Get(t.Context(), "Shop/orders/metadata/version-hint.text")
	check(t, err)
	return string(b)
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Store{"local": local(t), "MinIO": minio(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b := catalog.NewBucket(s)
			if _, err := b.Load(ctx, id); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no table yet: %v", err)
			}
			v, err := b.Create(ctx, id, []byte("1"))
			check(t, err)
			if _, err := b.Create(ctx, id, []byte("x")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("created twice: %v", err)
			}
			first := v
			for n := 2; n <= 12; n++ {
				v, err = b.Swap(ctx, v, fmt.Append(nil, n))
				check(t, err)
				if v.N != n || v.HintErr != nil || hint(t, s) != fmt.Sprint(n) {
					t.Fatalf("after commit %d: version %d, hint %q, %v", n, v.N, hint(t, s), v.HintErr)
				}
			}
			if _, err := b.Swap(ctx, first, []byte("x")); !errors.Is(err, catalog.ErrConflict) {
				t.Errorf("an old base: %v", err)
			}
			for _, other := range []*catalog.Bucket{b, catalog.NewBucket(s)} {
				got, err := other.Load(ctx, id)
				if err != nil || got.N != 12 || string(got.Metadata) != "12" || got.ID != id {
					t.Errorf("Load: %+v, %v", got, err)
				}
			}
			if want := s.URI("Shop/orders/metadata/v12.metadata.json"); b.MetadataURI(id, 12) != want || b.Location(id) != s.URI("Shop/orders") {
				t.Errorf("addresses: %s, %s", b.MetadataURI(id, 12), b.Location(id))
			}
		})
	}
}

func TestLoadWhateverTheHintSays(t *testing.T) {
	t.Parallel()
	for _, h := range []string{"40", "39", "31", "1", "17", "2", "41", "100", "", "0", "-3", "forty", "40\n", "absent"} {
		t.Run(h, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s := local(t)
			b := catalog.NewBucket(s)
			v, err := b.Create(ctx, id, []byte("1"))
			for n := 2; n <= 40 && err == nil; n++ {
				v, err = b.Swap(ctx, v, fmt.Append(nil, n))
			}
			check(t, err)
			for n := 1; n <= 5; n++ { // as when old ones are removed
				check(t, s.Delete(ctx, id.MetadataName(n)))
			}
			if h == "absent" {
				check(t, s.Delete(ctx, "Shop/orders/metadata/version-hint.text"))
			} else {
				check(t, s.Put(ctx, "Shop/orders/metadata/version-hint.text", []byte(h)))
			}
			fresh := catalog.NewBucket(s)
			got, err := fresh.Load(ctx, id)
			if err != nil || got.N != 40 {
				t.Fatalf("Load: %v, %v", got, err)
			}
			ids, err := fresh.Tables(ctx)
			if err != nil || len(ids) != 1 || ids[0] != id {
				t.Errorf("Tables: %v, %v", ids, err)
			}
			next, err := fresh.Swap(ctx, got, []byte("41"))
			check(t, err)
			if next.N != 41 || hint(t, s) != "41" {
				t.Errorf("after the next commit: %d, hint %q", next.N, hint(t, s))
			}
		})
	}
}

func TestLoadCosts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := store.Count(local(t))
	b := catalog.NewBucket(s)
	v, err := b.Create(ctx, id, []byte("1"))
	check(t, err)
	gets := func(f func()) int64 {
		before := s.Tally().Calls
		f()
		after := s.Tally().Calls
		if after["list"] != before["list"] {
			t.Error("it listed")
		}
		return after["get"] - before["get"]
	}
	if n := gets(func() { v, err = b.Swap(ctx, v, []byte("2")); check(t, err) }); n != 1 {
		t.Errorf("Swap: %d gets, want 1", n)
	}
	if n := gets(func() { _, err := b.Load(ctx, id); check(t, err) }); n != 1 {
		t.Errorf("Load after our own Swap: %d gets, want 1", n)
	}
	if n := gets(func() { _, err := catalog.NewBucket(s).Load(ctx, id); check(t, err) }); n != 3 {
		t.Errorf("first Load: %d gets, want 3", n)
	}
}

// TestRacingWriters lets writers with catalogs of their own count: each number must be committed once, in one line.
func TestRacingWriters(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Store{"local": local(t), "MinIO": minio(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			_, err := catalog.NewBucket(s).Create(ctx, id, []byte(""))
			check(t, err)
			var g sync.WaitGroup
			const writers, commits = 6, 10
			for w := range writers {
				g.Go(func() {
					b := catalog.NewBucket(s)
					for done := 0; done < commits; {
						v, err := b.Load(ctx, id)
						if err != nil {
							t.Error(err)
							return
						}
						_, err = b.Swap(ctx, v, fmt.Appendf(v.Metadata[:len(v.Metadata):len(v.Metadata)], "%c%d ", 'a'+w, done))
						switch {
						case err == nil:
							done++
						case !errors.Is(err, catalog.ErrConflict):
							t.Error(err)
							return
						}
					}
				})
			}
			g.Wait()
			v, err := catalog.NewBucket(s).Load(ctx, id)
			check(t, err)
			marks := strings.Fields(string(v.Metadata))
			seen := map[string]bool{}
			for _, m := range marks {
				seen[m] = true
			}
			if v.N != 1+writers*commits || len(marks) != writers*commits || len(seen) != len(marks) {
				t.Errorf("version %d with %d marks, %d different: %s", v.N, len(marks), len(seen), v.Metadata)
			}
			if hint(t, s) != fmt.Sprint(v.N) {
				t.Errorf("the hint stayed at %s, the newest is %d", hint(t, s), v.N)
			}
		})
	}
}

// TestCrashPoints lets every operation of a create and two commits fail, in each way, and then asks a fresh process.
func TestCrashPoints(t *testing.T) {
	t.Parallel()
	story := func(ctx context.Context, s store.Store) (acknowledged int, err error) {
		b := catalog.NewBucket(s)
		v, err := b.Create(ctx, id, []byte("1"))
		for n := 2; err == nil; n++ {
			acknowledged = v.N
			if n > 3 {
				break
			}
			v, err = b.Swap(ctx, v, fmt.Append(nil, n))
		}
		return acknowledged, err
	}
	plain := fault.Store(local(t))
	if n, err := story(t.Context(), plain); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for _, mode := range fault.Modes() {
		for _, plan := range fault.Each(plain.Events()) {
			plan.Mode = mode
			t.Run(plan.String(), func(t *testing.T) {
				t.Parallel()
				inner := local(t)
				s := fault.Store(inner, plan)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := make(chan struct{})
				go func() { // a hang ends when somebody loses patience
					defer close(done)
					for ctx.Err() == nil {
						runtime.Gosched()
						if s.Struck() > 0 {
							cancel()
							s.Set()
							return
						}
					}
				}()
				if mode == fault.Before || mode == fault.After {
					cancel()
					<-done
					ctx = t.Context()
				}
				acknowledged, err := story(ctx, s)
				cancel()
				<-done
				if errors.Is(err, catalog.ErrConflict) || errors.Is(err, fs.ErrExist) {
					t.Errorf("a fault was taken for a conflict: %v", err)
				}
				fresh := catalog.NewBucket(inner)
				v, loadErr := fresh.Load(t.Context(), id)
				n := 0
				if loadErr == nil {
					n = v.N
				} else if !errors.Is(loadErr, fs.ErrNotExist) {
					t.Fatal(loadErr)
				}
				if n < acknowledged || n > acknowledged+1 {
					t.Errorf("acknowledged %d (%v), a fresh process finds %d", acknowledged, err, n)
				}
				if n > 0 && string(v.Metadata) != fmt.Sprint(n) {
					t.Errorf("version %d holds %q", n, v.Metadata)
				}
				if n == 0 {
					v, err = fresh.Create(t.Context(), id, []byte("1"))
				} else {
					v, err = fresh.Swap(t.Context(), v, fmt.Append(nil, n+1))
				}
				check(t, err)
				if hint(t, inner) != fmt.Sprint(v.N) {
					t.Errorf("after going on: hint %s, version %d", hint(t, inner), v.N)
				}
			})
		}
	}
}

func TestHintFailureIsNotTheCommits(t *testing.T) {
	t.Parallel()
	s := fault.Store(local(t), fault.Plan{Op: fault.Put, Match: "version-hint.text"})
	b := catalog.NewBucket(s)
	v, err := b.Create(t.Context(), id, []byte("1"))
	check(t, err)
	if !errors.Is(v.HintErr, fault.ErrInjected) {
		t.Errorf("HintErr = %v", v.HintErr)
	}
	v, err = b.Swap(t.Context(), v, []byte("2"))
	if err != nil || v.N != 2 || v.HintErr == nil {
		t.Errorf("Swap: %+v, %v", v, err)
	}
	if v, err = b.Load(t.Context(), id); err != nil || v.N != 2 || v.HintErr != nil {
		t.Errorf("Load: %+v, %v", v, err)
	}
}

// TestSlowHintWriter lets the writer of version 2 write its hint after that of version 3.
func TestSlowHintWriter(t *testing.T) {
	t.Parallel()
	inner := local(t)
	_, err := catalog.NewBucket(inner).Create(t.Context(), id, []byte("1"))
	check(t, err)
	slow := fault.Store(inner)
	b := catalog.NewBucket(slow)
	v, err := b.Load(t.Context(), id)
	check(t, err)
	overtaken := overtake{Store: slow, other: func() {
		other := catalog.NewBucket(inner)
		two, err := other.Load(t.Context(), id)
		if err == nil {
			_, err = other.Swap(t.Context(), two, []byte("3"))
		}
		if err != nil {
			t.Error(err)
		}
	}}
	v, err = catalog.NewBucket(&overtaken).Swap(t.Context(), v, []byte("2"))
	check(t, err)
	if v.N != 2 || hint(t, inner) != "3" {
		t.Errorf("version %d, hint %s: want 2 and 3", v.N, hint(t, inner))
	}
}

// overtake runs another writer between the commit and its hint, once.
type overtake struct {
	store.Store
	other func()
	once  sync.Once
}

func (o *overtake) Put(ctx context.Context, name string, body []byte) error {
	o.once.Do(o.other)
	return o.Store.Put(ctx, name, body)
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]store.Store{"local": local(t), "MinIO": minio(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			b := catalog.NewBucket(s)
			check(t, store.CheckConditionalPut(ctx, s)) // its object is no database
			check(t, b.CreateDatabase(ctx, "empty", map[string]string{"owner": "me"}))
			if err := b.CreateDatabase(ctx, "empty", nil); !errors.Is(err, fs.ErrExist) {
				t.Errorf("made twice: %v", err)
			}
			ids := []catalog.Identifier{
				{DB: "Odd/Name", Table: "..x"},
				{DB: "Odd/Name", Table: "a b%20c?*#[1]"},
				{DB: "Odd/Name", Table: "表-ünï_1.2"},
				{DB: "Odd/Name", Table: "𝒳@0040"},
				{DB: "odd", Table: "X"},
				{DB: "odd", Table: "x"},
			}
			for _, id := range ids {
				_, err := b.Create(ctx, id, []byte(id.String()))
				check(t, err)
			}
			check(t, s.Put(ctx, "odd/no-table/data/file", nil))
			got, err := b.Tables(ctx)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(ids) {
				t.Errorf("Tables: %v, %v\nwant    %v", got, err, ids)
			}
			for _, id := range ids {
				if v, err := catalog.NewBucket(s).Load(ctx, id); err != nil || string(v.Metadata) != id.String() {
					t.Errorf("Load(%s): %v", id, err)
				}
			}
			dbs, err := b.Databases(ctx)
			if err != nil || fmt.Sprint(dbs) != "[Odd/Name empty odd]" {
				t.Errorf("Databases: %v, %v", dbs, err)
			}
			if p, err := b.Database(ctx, "empty"); err != nil || p["owner"] != "me" {
				t.Errorf("Database(empty): %v, %v", p, err)
			}
			if p, err := b.Database(ctx, "odd"); err != nil || len(p) != 0 {
				t.Errorf("Database(odd): %v, %v", p, err)
			}
			if _, err := b.Database(ctx, "none"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Database(none): %v", err)
			}
		})
	}
}
