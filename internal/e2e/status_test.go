package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/internal/testenv"
)

// tableStatus is one table of `tidemark status --json`.
type tableStatus struct {
	Table         string `json:"table"`
	FormatVersion int    `json:"format_version"`
	Rows          int64  `json:"rows"`
	DataFiles     int    `json:"data_files"`
	DeleteFiles   int    `json:"delete_files"`
	DeletedRows   int64  `json:"deleted_rows"`
	Bytes         int64  `json:"bytes"`
	Checkpoint    *struct {
		State   string `json:"state"`
		GTIDSet string `json:"gtid_set"`
		Time    string `json:"time"`
	} `json:"checkpoint"`
	Age float64 `json:"age_seconds"`
}

// status returns what `tidemark status --json` says, by table name.
func (p *place) status(t testing.TB) map[string]tableStatus {
	t.Helper()
	code, out, log := run(t, p.env, append([]string{"status", "--json"}, p.args...)...)
	if code != 0 {
		t.Fatalf("status: exit code %d\n%s", code, log)
	}
	var list []tableStatus
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("status: %v\n%s", err, out)
	}
	m := map[string]tableStatus{}
	for _, s := range list {
		m[strings.TrimPrefix(s.Table, "app.")] = s
	}
	return m
}

// TestStatus: status and checkpoint show tell what is in the lake, and the checkpoint of each table.
func TestStatus(t *testing.T) {
	for _, format := range []string{"3", "2"} {
		t.Run("v"+format, func(t *testing.T) {
			s := testenv.MySQL(t)
			s.Exec(t, schema)
			lake := localLake(t)
			if got := lake.status(t); len(got) != 0 {
				t.Errorf("an empty lake has %v", got)
			}
			began := time.Now()
			catchUp(t, lake, testenv.URL(s), "--format-version", format, "--compact", "off")
			s.Exec(t, "DELETE FROM app.hot WHERE id = 2", "INSERT INTO app.hot VALUES (4, 4), (5, 5)")
			catchUp(t, lake, testenv.URL(s), "--compact", "off")
			set := s.Executed(t)

			var bytes int64
			files, err := filepath.Glob(lake.path("hot") + "/data/*.parquet")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range files {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(name, "-deletes") {
					bytes += info.Size()
				}
			}
			got := lake.status(t)
			if len(got) != len(tables) {
				t.Errorf("%d tables, want %d", len(got), len(tables))
			}
			hot := got["hot"]
			if hot.Rows != 4 || hot.DataFiles != 2 || hot.DeleteFiles != 1 || hot.DeletedRows != 1 || hot.Bytes != bytes || hot.FormatVersion != int(format[0]-'0') {
				t.Errorf("status has %+v, want 4 rows, 2 data files of %d bytes, 1 delete file with 1 row, format version %s", hot, bytes, format)
			}
			for name, table := range got {
				c := table.Checkpoint
				if c == nil || c.State != "live" || c.GTIDSet != set {
					t.Errorf("%s: the checkpoint is %+v, want live at %s", name, c, set)
					continue
				}
				at, err := time.Parse(time.RFC3339Nano, c.Time)
				if err != nil || table.Age < 0 || table.Age > time.Since(began).Seconds()+60 || at.After(time.Now()) {
					t.Errorf("%s: age %v of %s (%v)", name, table.Age, c.Time, err)
				}
			}

			code, out, log := run(t, nil, append([]string{"status"}, lake.args...)...)
			if code != 0 {
				t.Fatalf("status: exit code %d\n%s", code, log)
			}
			says(t, out, "TABLE +STATE +ROWS +DATA FILES +DELETE FILES +BYTES +AGE +CHECKPOINT", `app\.hot +live +4 +2 +1 +\d+(\.\d)? (K?i)?B +\d+ s +`+set)
			code, out, log = run(t, nil, append([]string{"status", "--tables", "app.w*"}, lake.args...)...)
			if code != 0 || strings.Contains(out, "app.hot") || !strings.Contains(out, "app.wide") {
				t.Errorf("status --tables: exit code %d\n%s%s", code, out, log)
			}

			code, out, log = run(t, nil, append([]string{"checkpoint", "show"}, lake.args...)...)
			if code != 0 {
				t.Fatalf("checkpoint show: exit code %d\n%s", code, log)
			}
			says(t, out, `app\.hot \(live\)`, "  GTID set  "+set, "  read from "+s.UUID()+`, bin\.\d+:\d+, transaction of 20[-0-9]+T[0-9:.]+Z`, `  writer    pipeline tidemark, epoch 2, commit [-0-9a-f]+`)
			if c := lake.checkpoints(t)["hot"].Checkpoint; c.Pipeline != "tidemark" || c.Epoch != 2 || c.ServerUUID != s.UUID() {
				t.Errorf("checkpoint show --json: %+v", c)
			}
		})
	}
}
