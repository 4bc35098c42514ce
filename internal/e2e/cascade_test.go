package e2e

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/internal/testenv"
)

const cascading = `CREATE TABLE app.parent (id INT NOT NULL PRIMARY KEY);
CREATE TABLE app.child (id INT NOT NULL PRIMARY KEY, parent INT, CONSTRAINT child_of_parent FOREIGN KEY (parent) REFERENCES app.parent (id) ON DELETE CASCADE);
INSERT INTO app.parent VALUES (1), (2); INSERT INTO app.child VALUES (10, 1), (20, 2)`

// TestCascades: a server that does not log what a foreign key changes cannot serve the child table, and ingest says so at
// the start instead of letting it drift; the other tables are followed.
func TestCascades(t *testing.T) {
	s := testenv.MySQL(t, testenv.Args("--innodb-native-foreign-keys=ON"))
	s.Exec(t, schema, cascading)
	texts := []string{"app.child", "child_of_parent", "ON DELETE CASCADE", "innodb_native_foreign_keys", "--cascades ignore"}
	lake := localLake(t)
	for range 2 {
		ends(t, startIngest(t, lake, testenv.URL(s), "--until", "caught-up"), 1, texts...)
		equal(t, s, lake.byDuckDB(t))
		if got := lake.checkpoints(t); got["child"].Table != "" || got["parent"].Table == "" {
			t.Errorf("the lake has %v, want the parent and not the child", got)
		}
	}
	code, out, log := run(t, nil, append([]string{"doctor", "--source", testenv.URL(s), "--tables", "app.*"}, lake.args...)...)
	if code != 0 {
		t.Errorf("doctor: exit code %d\n%s", code, log)
	}
	for _, want := range texts {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
	says(t, out, `  cascades    foreign key child_of_parent of app\.child to app\.parent ON DELETE CASCADE: its binary log does not show those changes \(innodb_native_foreign_keys=ON\); .*`)
	code, out, log = run(t, nil, append([]string{"doctor", "--json", "--source", testenv.URL(s), "--tables", "app.*"}, lake.args...)...)
	var list []struct {
		Hides    string           `json:"hides_cascades"`
		Cascades []map[string]any `json:"hidden_cascades"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 1 || len(list[0].Cascades) != 1 {
		t.Fatalf("doctor --json: exit code %d, %v\n%s%s", code, err, out, log)
	}
	want := map[string]any{"name": "child_of_parent", "child": "app.child", "parent": "app.parent", "on_update": "NO ACTION", "on_delete": "CASCADE"}
	if c := list[0]; c.Hides != "innodb_native_foreign_keys=ON" || !reflect.DeepEqual(c.Cascades[0], want) {
		t.Errorf("doctor --json: %+v", c)
	}

	ignored := localLake(t)
	p := startIngest(t, ignored, testenv.URL(s), "--until", "caught-up", "--cascades", "ignore")
	ends(t, p, 0, "child_of_parent", "the lake will miss")
	s.Exec(t, "DELETE FROM app.parent WHERE id = 1")
	catchUp(t, ignored, testenv.URL(s), "--cascades", "ignore")
	if rows := ignored.byDuckDB(t)(t, "child", "SELECT id FROM %s ORDER BY id"); len(rows) != 2 {
		t.Errorf("the lake's child has %v: this server logs cascades after all", rows)
	}
}

// TestLoggedCascades: where the server logs what a foreign key changes, the child is followed like any table.
func TestLoggedCascades(t *testing.T) {
	s := testenv.MySQL(t)
	s.Exec(t, schema, cascading)
	lake := localLake(t)
	catchUp(t, lake, testenv.URL(s))
	s.Exec(t, "DELETE FROM app.parent WHERE id = 1")
	catchUp(t, lake, testenv.URL(s))
	if rows := lake.byDuckDB(t)(t, "child", "SELECT id FROM %s ORDER BY id"); len(rows) != 1 || rows[0][0] != "20" {
		t.Errorf("the lake's child has %v, want the row 20", rows)
	}
}
