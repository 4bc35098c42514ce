package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/internal/fault"
	"github.com/tidemark/tidemark/lake/catalog"
	"github.com/tidemark/tidemark/lake/rest"
	"github.com/tidemark/tidemark/lake/store"
)

type object = map[string]any

// service is a handler over a local lake whose store can be made to fail.
type service struct {
	handler http.Handler
	faults  *fault.Faulty
	catalog *catalog.Bucket
}

func newService(t *testing.T, readers rest.S3) *service {
	t.Helper()
	s, err := store.OpenLocal(t.TempDir())
	check(t, err)
	f := fault.Store(s)
	c := catalog.NewBucket(f)
	return &service{rest.New(rest.Options{Catalog: c, Readers: readers}), f, c}
}

// call returns the status and the decoded body. A string as body is sent as it is.
func (s *service) call(t *testing.T, method, path string, body any, header ...string) (int, object) {
	t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		var err error
		text, err = json.Marshal(b)
		check(t, err)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(text))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	answer, err := io.ReadAll(w.Result().Body)
	check(t, err)
	var o object
	if len(answer) > 0 && json.Unmarshal(answer, &o) != nil {
		o = object{"text": string(answer)}
	}
	return w.Code, o
}

// kind is the exception's name in an error's body.
func kind(o object) string {
	e, _ := o["error"].(object)
	return fmt.Sprint(e["type"])
}

func tableBody(name string) object {
	return object{"name": name, "schema": object{"type": "struct", "schema-id": 0, "fields": []object{{"id": 1, "name": "id", "required": true, "type": "long"}}}}
}

func setProperty(k, v string, requirements ...object) object {
	if requirements == nil {
		requirements = []object{}
	}
	return object{"requirements": requirements, "updates": []object{{"action": "set-properties", "updates": object{k: v}}}}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := newService(t, rest.S3{Endpoint: "http://minio:9000", Region: "eu-west-1", PathStyle: true})
	_, config := s.call(t, "GET", "/v1/config?warehouse=anything", nil)
	want := "map[client.region:eu-west-1 s3.endpoint:http://minio:9000 s3.path-style-access:true s3.region:eu-west-1]"
	if fmt.Sprint(config["defaults"]) != want || len(config["endpoints"].([]any)) != 17 {
		t.Errorf("config: %v", config)
	}
	wrongUUID := object{"type": "assert-table-uuid", "uuid": "00000000-0000-0000-0000-000000000001"}
	elsewhere := tableBody("elsewhere")
	elsewhere["location"] = "s3://other/place"
	for _, step := range []struct {
		method, path string
		body         any
		status       int
		kind         string
	}{
		{"GET", "/v1/namespaces?pageToken=", nil, 200, ""},
		{"GET", "/v1/namespaces?parent=db", nil, 404, "NoSuchNamespaceException"},
		{"HEAD", "/v1/namespaces/db", nil, 404, "NoSuchNamespaceException"},
		{"GET", "/v1/namespaces/db/tables", nil, 404, "NoSuchNamespaceException"},
		{"POST", "/v1/namespaces/db/tables", tableBody("t"), 404, "NoSuchNamespaceException"},
		{"POST", "/v1/namespaces", object{"namespace": []string{"a", "b"}}, 400, "BadRequestException"},
		{"POST", "/v1/namespaces", object{"namespace": []string{"db"}, "properties": object{"location": "s3://other"}}, 400, "BadRequestException"},
		{"POST", "/v1/namespaces", object{"namespace": []string{"db"}, "properties": object{"owner": "me"}}, 200, ""},
		{"POST", "/v1/namespaces", object{"namespace": []string{"db"}}, 409, "AlreadyExistsException"},
		{"HEAD", "/v1/namespaces/db", nil, 204, ""},
		{"GET", "/v1/namespaces/db", nil, 200, ""},
		{"GET", "/v1/namespaces/db/tables", nil, 200, ""},
		{"GET", "/v1/namespaces/db/tables/t", nil, 404, "NoSuchTableException"},
		{"HEAD", "/v1/namespaces/db/tables/t", nil, 404, "NoSuchTableException"},
		{"POST", "/v1/namespaces/db/tables/t", setProperty("a", "b"), 404, "NoSuchTableException"},
		{"POST", "/v1/namespaces/db/tables/t", setProperty("a", "b", wrongUUID), 404, "NoSuchTableException"},
		{"POST", "/v1/namespaces/db/tables", "{", 400, "BadRequestException"},
		{"POST", "/v1/namespaces/db/tables", object{"name": "t"}, 400, "BadRequestException"},
		{"POST", "/v1/namespaces/db/tables", elsewhere, 400, "BadRequestException"},
		{"POST", "/v1/namespaces/db/tables", tableBody("t"), 200, ""},
		{"POST", "/v1/namespaces/db/tables", tableBody("t"), 409, "AlreadyExistsException"},
		{"GET", "/v1/namespaces/db/tables/t?snapshots=refs", nil, 200, ""},
		{"HEAD", "/v1/namespaces/db/tables/t", nil, 204, ""},
		{"POST", "/v1/namespaces/db/tables/t", setProperty("a", "b"), 200, ""},
		{"POST", "/v1/namespaces/db/tables/t", setProperty("a", "b", wrongUUID), 409, "CommitFailedException"},
		{"POST", "/v1/namespaces/db/tables/t", setProperty("a", "b", object{"type": "assert-create"}), 409, "CommitFailedException"},
		{"POST", "/v1/namespaces/db/tables/t", object{"updates": []object{{"action": "no-such-thing"}}}, 400, "BadRequestException"},
		{"POST", "/v1/namespaces/db/tables/t", object{"updates": []object{{"action": "set-location", "location": "s3://other/x"}}}, 400, "BadRequestException"},
		{"POST", "/v1/namespaces/db/tables/t", object{"requirements": []object{}, "updates": []object{}}, 200, ""},
		{"GET", "/v1/namespaces/db/views", nil, 406, "UnsupportedOperationException"},
	} {
		status, answer := s.call(t, step.method, step.path, step.body, "Authorization", "Bearer None")
		if status != step.status || step.kind != "" && kind(answer) != step.kind {
			t.Errorf("%s %s %v: %d %v, want %d %s", step.method, step.path, step.body, status, answer, step.status, step.kind)
		}
	}
	_, answer := s.call(t, "GET", "/v1/namespaces/db/tables/t", nil)
	if fmt.Sprint(answer["metadata"].(object)["properties"]) != "map[a:b]" || !strings.HasSuffix(answer["metadata-location"].(string), "/db/t/metadata/v2.metadata.json") {
		t.Errorf("at last: %v", answer)
	}
	if status, _ := s.call(t, "POST", "/v1/namespaces/db/tables/t", setProperty("a", "evil"), "Sec-Fetch-Site", "cross-site"); status != 403 {
		t.Errorf("another site's page in a browser: %d", status)
	}
}

func TestStagedCreate(t *testing.T) {
	t.Parallel()
	s := newService(t, rest.S3{})
	s.call(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}})
	staged := tableBody("t")
	staged["stage-create"] = true
	status, answer := s.call(t, "POST", "/v1/namespaces/db/tables", staged)
	if status != 200 || answer["metadata-location"] != nil {
		t.Fatalf("stage: %d %v", status, answer)
	}
	if status, _ := s.call(t, "HEAD", "/v1/namespaces/db/tables/t", nil); status != 404 {
		t.Errorf("a staged table is visible: %d", status)
	}
	m := answer["metadata"].(object)
	commit := object{"requirements": []object{{"type": "assert-create"}}, "updates": []object{
		{"action": "assign-uuid", "uuid": m["table-uuid"]},
		{"action": "upgrade-format-version", "format-version": 3},
		{"action": "add-schema", "schema": m["schemas"].([]any)[0], "last-column-id": 1},
		{"action": "set-current-schema", "schema-id": -1},
		{"action": "add-spec", "spec": object{"spec-id": 0, "fields": []any{}}},
		{"action": "set-default-spec", "spec-id": -1},
		{"action": "add-sort-order", "sort-order": object{"order-id": 0, "fields": []any{}}},
		{"action": "set-default-sort-order", "sort-order-id": -1},
		{"action": "set-location", "location": m["location"]},
		{"action": "set-properties", "updates": object{"k": "v"}},
	}}
	status, answer = s.call(t, "POST", "/v1/namespaces/db/tables/t", commit)
	if status != 200 {
		t.Fatalf("commit: %d %v", status, answer)
	}
	got := answer["metadata"].(object)
	if got["table-uuid"] != m["table-uuid"] || got["format-version"] != 3.0 || got["location"] != m["location"] || fmt.Sprint(got["properties"]) != "map[k:v]" {
		t.Errorf("made: %v", got)
	}
	if status, answer = s.call(t, "POST", "/v1/namespaces/db/tables/t", commit); status != 409 {
		t.Errorf("made twice: %d %v", status, answer)
	}
	if status, answer = s.call(t, "POST", "/v1/namespaces/db/tables", staged); status != 409 {
		t.Errorf("staged over a table: %d %v", status, answer)
	}
}

func TestRacingCommitsAllCount(t *testing.T) {
	t.Parallel()
	s := newService(t, rest.S3{})
	s.call(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}})
	s.call(t, "POST", "/v1/namespaces/db/tables", tableBody("t"))
	var g sync.WaitGroup
	for i := range 5 {
		g.Go(func() {
			if status, answer := s.call(t, "POST", "/v1/namespaces/db/tables/t", setProperty(fmt.Sprint(i), "x")); status != 200 {
				t.Errorf("commit %d: %d %v", i, status, answer)
			}
		})
	}
	g.Wait()
	_, answer := s.call(t, "GET", "/v1/namespaces/db/tables/t", nil)
	if p := answer["metadata"].(object)["properties"].(object); len(p) != 5 {
		t.Errorf("properties: %v", p)
	}
}

func TestNamesInLowerCase(t *testing.T) {
	t.Parallel()
	s := newService(t, rest.S3{})
	s.call(t, "POST", "/v1/namespaces", object{"namespace": []string{"Shop"}})
	for _, name := range []string{"Orders", "Two", "two"} {
		s.call(t, "POST", "/v1/namespaces/Shop/tables", tableBody(name))
	}
	for path, want := range map[string]int{
		"/v1/namespaces/shop": 200, "/v1/namespaces/shop/tables": 200, "/v1/namespaces/shop/tables/orders": 200, "/v1/namespaces/Shop/tables/ORDERS": 200,
		"/v1/namespaces/shop/tables/two": 200, "/v1/namespaces/Shop/tables/TWO": 404, "/v1/namespaces/shops": 404,
	} {
		if status, answer := s.call(t, "GET", path, nil); status != want {
			t.Errorf("GET %s: %d %v, want %d", path, status, answer, want)
		}
	}
	status, answer := s.call(t, "POST", "/v1/namespaces/shop/tables/orders", setProperty("a", "b"))
	if status != 200 || !strings.HasSuffix(fmt.Sprint(answer["metadata-location"]), "/Shop/Orders/metadata/v2.metadata.json") {
		t.Errorf("commit: %d %v", status, answer)
	}
}

func TestUnknownFieldsStay(t *testing.T) {
	t.Parallel()
	s := newService(t, rest.S3{})
	s.call(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}})
	s.call(t, "POST", "/v1/namespaces/db/tables", tableBody("t"))
	id := catalog.Identifier{DB: "db", Table: "t"}
	v, err := s.catalog.Load(t.Context(), id)
	check(t, err)
	_, err = s.catalog.Swap(t.Context(), v, bytes.Replace(v.Metadata, []byte("{"), []byte(`{"from-the-future":{"x":[1,2]},`), 1))
	check(t, err)
	status, answer := s.call(t, "POST", "/v1/namespaces/db/tables/t", setProperty("a", "b"))
	if m := answer["metadata"].(object); status != 200 || fmt.Sprint(m["from-the-future"]) != "map[x:[1 2]]" || fmt.Sprint(m["properties"]) != "map[a:b]" {
		t.Errorf("%d %v", status, m)
	}
}

// TestFaultyStore lets each operation of a commit fail in each way: 200 must mean applied, 409 not applied.
func TestFaultyStore(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) *service {
		s := newService(t, rest.S3{})
		s.call(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}})
		s.call(t, "POST", "/v1/namespaces/db/tables", tableBody("t"))
		s.faults.Forget()
		return s
	}
	plain := begin(t)
	plain.call(t, "POST", "/v1/namespaces/db/tables/t", setProperty("a", "b"))
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for _, plan := range fault.Each(plain.faults.Events()) {
			plan.Mode = mode
			t.Run(plan.String(), func(t *testing.T) {
				t.Parallel()
				s := begin(t)
				s.faults.Set(plan)
				status, answer := s.call(t, "POST", "/v1/namespaces/db/tables/t", setProperty("a", "b"))
				if s.faults.Struck() != 1 {
					t.Errorf("struck %d times", s.faults.Struck())
				}
				s.faults.Set()
				v, err := catalog.NewBucket(s.faults).Load(t.Context(), catalog.Identifier{DB: "db", Table: "t"})
				check(t, err)
				applied := bytes.Contains(v.Metadata, []byte(`"a":"b"`))
				if status == 200 && !applied || status == 409 && applied || status != 200 && status != 409 && status != 500 {
					t.Errorf("answered %d (%v), applied: %v", status, answer, applied)
				}
				if plan.Op == fault.PutIfAbsent && mode == fault.After && status != 200 {
					t.Errorf("a commit that is there was not found: %d %v", status, answer)
				}
				if plan.Op == fault.PutIfAbsent && mode == fault.Before && kind(answer) != "CommitStateUnknownException" {
					t.Errorf("got %d %v", status, answer)
				}
			})
		}
	}
}
