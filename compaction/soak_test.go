package compaction

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
	"github.com/tidemark/tidemark/lake"
	"github.com/tidemark/tidemark/lake/catalog"
)

// soaked are the dimensions of a table that must not grow with its age.
type soaked struct {
	metadataBytes int64
	snapshots     int
	manifests     int
	dataFiles     int
	deleteFiles   int
	objects       int   // in the table's folder
	bytes         int64 // of those

	commit, plan time.Duration // medians; told, not judged
}

func (s soaked) dimensions() map[string]float64 {
	return map[string]float64{
		"bytes of the metadata file": float64(s.metadataBytes), "snapshots": float64(s.snapshots), "manifests": float64(s.manifests), "data files": float64(s.dataFiles),
		"delete files": float64(s.deleteFiles), "objects": float64(s.objects), "bytes of all objects": float64(s.bytes),
	}
}

// soak is a table whose time is sped up: each commit takes a step of it.
type soak struct {
	*bench
	now     time.Time
	step    time.Duration
	options Options

	commits, plans []time.Duration
	rewrites       int
	expired        int
	orphans        int
}

// TestSoakStaysFlat makes 240 commits, or 10,000 under make soak, on one table that stays of a size, with compaction, expiry,
// upkeep of the manifests, pruning of metadata files and removal of orphans as a running ingest and a daily tidemark
// compact have them. In the last quarter of its life the table must be no larger, in any dimension, than in the second.
func TestSoakStaysFlat(t *testing.T) {
	for _, format := range []int{3, 2} {
		t.Run(fmt.Sprintf("v%d", format), func(t *testing.T) {
			commits, step, slack := 240, 2*time.Hour, 1.25
			if os.Getenv("TIDEMARK_SOAK") != "" {
				commits, step, slack = 10_000, 5*time.Minute, 1.1
			}
			s := newSoak(t, format, step)
			// Rows 0 to 3999 are there from the start; most commits change some, a few rows come and go.
			s.must(s.upsert(numbers(0, 4000), nil))
			const samples = 40
			var seen []soaked
			for n := 1; n <= commits; n++ {
				s.change()
				if n%8 == 0 {
					s.compact()
				}
				if n%25 == 0 {
					s.upkeep()
				}
				if every := int(24 * time.Hour / step); n%every == every/2 {
					s.daily()
				}
				if n%(commits/samples) == 0 {
					seen = append(seen, s.sample())
				}
			}
			for i, x := range seen {
				if i%4 == 3 {
					t.Logf("after %5d commits: metadata %d bytes, %d snapshots, %d manifests, %d data files, %d delete files, %d objects with %d bytes; a commit takes %s, planning %s",
						(i+1)*commits/samples, x.metadataBytes, x.snapshots, x.manifests, x.dataFiles, x.deleteFiles, x.objects, x.bytes, x.commit.Round(time.Microsecond), x.plan.Round(time.Microsecond))
				}
			}
			flat(t, seen[samples/4:samples/2], seen[samples*3/4:], slack)
			if s.rewrites < commits/50 || s.expired < commits/2 || s.orphans == 0 {
				t.Errorf("%d rewrites, %d expired snapshots, %d orphans: the test tests little", s.rewrites, s.expired, s.orphans)
			}
			s.equal(testenv.DuckDB(t))
		})
	}
}

// flat demands that no dimension is larger late than it was early, but for chance: so many times, and a few.
func flat(t *testing.T, early, late []soaked, slack float64) {
	t.Helper()
	highest := func(samples []soaked) map[string]float64 {
		most := map[string]float64{}
		for _, x := range samples {
			for what, n := range x.dimensions() {
				most[what] = max(most[what], n)
			}
		}
		return most
	}
	before, after := highest(early), highest(late)
	for _, what := range slices.Sorted(maps.Keys(before)) {
		if after[what] > slack*before[what]+4 {
			t.Errorf("%s grow: at most %.0f in the second quarter, %.0f in the last", what, before[what], after[what])
		}
	}
}

func newSoak(t *testing.T, format int, step time.Duration) *soak {
	t.Helper()
	s := &soak{now: time.Now(), step: step, options: Options{TargetFileSize: 32 << 10, MinInputs: 4}}
	s.options.EnsureDefaults()
	s.bench = newBench(t, format, shapes[0], nil)
	clock := func() time.Time { return s.now }
	s.lake.Clock = clock
	s.lake.Catalog = catalog.NewBucketAt(s.lake.Store, clock)
	var err error
	if s.table, err = lake.Open(t.Context(), s.lake, id); err != nil {
		t.Fatal(err)
	}
	return s
}

// change makes a commit: updates of rows all over, one row that comes and one that goes.
func (s *soak) change() {
	s.t.Helper()
	s.now = s.now.Add(s.step)
	put := map[int]bool{4000 + s.rng.IntN(400): true}
	for range 10 + s.rng.IntN(20) {
		put[s.rng.IntN(4000)] = true
	}
	var del []int
	if n := 4000 + s.rng.IntN(400); !put[n] {
		del = append(del, n)
	}
	began := time.Now()
	s.must(s.upsert(slices.Sorted(maps.Keys(put)), del))
	s.commits = append(s.commits, time.Since(began))
}

// compact does what is worth doing.
func (s *soak) compact() {
	s.t.Helper()
	began := time.Now()
	v, err := OpenView(s.t.Context(), s.lake, id)
	s.must(err)
	plan := v.Plan(s.options)
	s.plans = append(s.plans, time.Since(began))
	for _, g := range plan.Groups {
		r, err := v.Prepare(s.t.Context(), g, s.options)
		s.must(err)
		m, err := r.Publish(s.t.Context(), s.table)
		if errors.Is(err, lake.ErrStale) {
			continue
		}
		s.must(err)
		s.must(m.Apply(s.index))
		for n := range s.rows {
			k, _ := s.encode(n)
			s.places[n], _ = s.index.Get(k)
		}
		s.rewrites++
	}
}

// upkeep is what an ingest does now and then.
func (s *soak) upkeep() {
	s.t.Helper()
	_, err := s.table.Tidy(s.t.Context())
	s.must(err)
	e, err := s.table.Expire(s.t.Context(), lake.ExpireOptions{Now: s.now})
	s.must(err)
	s.expired += e.Snapshots
}

// daily is the rest of a tidemark compact, after a rewrite that broke off: its files are orphans.
func (s *soak) daily() {
	s.t.Helper()
	f, err := s.strayFile()
	s.must(err)
	o, err := RemoveOrphans(s.t.Context(), s.lake, id, OrphanOptions{Now: time.Now().Add(100 * time.Hour)}) // files have the machine's times
	s.must(err)
	if !slices.Contains(o.Names, f) {
		s.t.Fatalf("orphans %v: %s is not among them", o.Names, f)
	}
	s.orphans += len(o.Names)
}

func (s *soak) strayFile() (string, error) {
	name := path.Join(id.Path(), "data", fmt.Sprintf("%08x.parquet", rand.Uint32()))
	return name, s.lake.Store.Put(s.t.Context(), name, []byte("broken off"))
}

func middle(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(d))[len(d)/2]
}

func (s *soak) sample() soaked {
	s.t.Helper()
	v, err := s.lake.Catalog.Load(s.t.Context(), id)
	s.must(err)
	var document struct {
		Snapshots []struct{} `json:"snapshots"`
	}
	s.must(json.Unmarshal(v.Metadata, &document))
	out := soaked{
		metadataBytes: int64(len(v.Metadata)), snapshots: len(document.Snapshots), manifests: s.table.Manifests(),
		dataFiles: len(s.table.Files()), deleteFiles: s.table.DeleteFiles(), commit: middle(s.commits), plan: middle(s.plans),
	}
	s.commits, s.plans = nil, nil
	for o, err := range s.lake.Store.List(s.t.Context(), id.Path()+"/") {
		s.must(err)
		out.objects++
		out.bytes += o.Size
	}
	return out
}
