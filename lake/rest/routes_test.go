package rest_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/lake/rest"
)

// send is call for a test that looks at headers.
func (s *service) send(t *testing.T, method, path string, header ...string) (int, http.Header) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code, w.Header()
}

// want calls and compares the status, and the error's type where one is wanted.
func (s *service) want(t *testing.T, method, path string, body any, status int, exception string) object {
	t.Helper()
	got, answer := s.call(t, method, path, body)
	if got != status || exception != "" && kind(answer) != exception {
		t.Errorf("%s %s %v: %d %v, want %d %s", method, path, body, got, answer, status, exception)
	}
	if got >= 400 {
		if model, ok := answer["error"].(object); !ok || model["code"] != float64(got) || model["message"] == "" || model["type"] == "" {
			t.Errorf("%s %s: no proper error body: %v", method, path, answer)
		}
	}
	return answer
}

func newDatabase(t *testing.T, tables ...string) *service {
	t.Helper()
	s := newService(t, rest.S3{})
	s.want(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}}, 200, "")
	for _, name := range tables {
		s.want(t, "POST", "/v1/namespaces/db/tables", tableBody(name), 200, "")
	}
	return s
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	s := newDatabase(t, "t")
	const db = "/v1/namespaces/db"
	s.want(t, "DELETE", db, nil, 409, "NamespaceNotEmptyException")
	s.want(t, "DELETE", "/v1/namespaces/none", nil, 404, "NoSuchNamespaceException")
	s.want(t, "POST", db+"/properties", object{"updates": object{"a": "1", "b": "2"}}, 200, "")
	answer := s.want(t, "POST", db+"/properties", object{"updates": object{"a": "3"}, "removals": []string{"b", "c"}}, 200, "")
	if fmt.Sprint(answer) != "map[missing:[c] removed:[b] updated:[a]]" {
		t.Errorf("changed: %v", answer)
	}
	if p := s.want(t, "GET", db, nil, 200, "")["properties"].(object); p["a"] != "3" || p["b"] != nil || !strings.HasSuffix(p["location"].(string), "/db") {
		t.Errorf("properties: %v", p)
	}
	s.want(t, "POST", db+"/properties", object{"updates": object{"a": "3"}, "removals": []string{"a"}}, 422, "UnprocessableEntityException")
	s.want(t, "POST", db+"/properties", object{"updates": object{"location": "s3://other"}}, 400, "BadRequestException")
	s.want(t, "POST", "/v1/namespaces/none/properties", object{"updates": object{"a": "3"}}, 404, "NoSuchNamespaceException")
	s.want(t, "DELETE", db+"/tables/t", nil, 204, "")
	s.want(t, "DELETE", db, nil, 204, "")
	s.want(t, "HEAD", db, nil, 404, "")
	if list := s.want(t, "GET", "/v1/namespaces", nil, 200, "")["namespaces"].([]any); len(list) != 0 {
		t.Errorf("namespaces: %v", list)
	}
	s.want(t, "POST", "/v1/namespaces", object{"namespace": []string{"db"}}, 200, "")
}

func TestPages(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 23 {
		names = append(names, fmt.Sprintf("t%02d", i))
	}
	s := newDatabase(t, names...)
	for i := range 5 {
		s.want(t, "POST", "/v1/namespaces", object{"namespace": []string{fmt.Sprintf("n%d", i)}}, 200, "")
	}
	s.want(t, "DELETE", "/v1/namespaces/db/tables/t09", nil, 204, "")
	s.want(t, "DELETE", "/v1/namespaces/db/tables/t22", nil, 204, "")
	for _, size := range []int{1, 3, 7, 20, 21, 22, 1000} {
		var got []string
		for token, pages := any(""), 0; token != nil; pages++ {
			answer := s.want(t, "GET", fmt.Sprintf("/v1/namespaces/db/tables?pageToken=%s&pageSize=%d", token, size), nil, 200, "")
			list := answer["identifiers"].([]any)
			if len(list) > size || len(list) == 0 || pages > 30 {
				t.Fatalf("page of %d: %v", size, list)
			}
			for _, one := range list {
				got = append(got, one.(object)["name"].(string))
			}
			token = answer["next-page-token"]
		}
		if len(got) != 21 || !slices.IsSorted(got) || slices.Contains(got, "t09") {
			t.Errorf("pages of %d: %v", size, got)
		}
	}
	first := s.want(t, "GET", "/v1/namespaces?pageToken=&pageSize=4", nil, 200, "")
	second := s.want(t, "GET", fmt.Sprintf("/v1/namespaces?pageToken=%v&pageSize=4", first["next-page-token"]), nil, 200, "")
	if fmt.Sprint(first["namespaces"], second["namespaces"], second["next-page-token"]) != "[[db] [n0] [n1] [n2]] [[n3] [n4]] <nil>" {
		t.Errorf("namespaces: %v %v", first, second)
	}
	if all := s.want(t, "GET", "/v1/namespaces/db/tables?pageSize=2", nil, 200, ""); len(all["identifiers"].([]any)) != 21 || all["next-page-token"] != nil {
		t.Errorf("a client that knows no pages: %v", all)
	}
	s.want(t, "GET", "/v1/namespaces?pageToken=&pageSize=0", nil, 400, "BadRequestException")
	s.want(t, "GET", "/v1/namespaces/db/tables?pageToken=%25&pageSize=1", nil, 400, "BadRequestException")
}

func TestConditionalLoad(t *testing.T) {
	t.Parallel()
	s := newDatabase(t, "t")
	const path = "/v1/namespaces/db/tables/t"
	tag := func(query string) string {
		_, header := s.send(t, "GET", path+query)
		return header.Get("ETag")
	}
	all, refs := tag(""), tag("?snapshots=refs")
	if all == "" || refs == "" || all == refs {
		t.Fatalf("ETags: %s, %s", all, refs)
	}
	for _, header := range []string{all, "W/" + all, `"x", ` + all, "*"} {
		if status, answer := s.send(t, "GET", path, "If-None-Match", header); status != 304 || answer.Get("ETag") != all {
			t.Errorf("If-None-Match %s: %d", header, status)
		}
	}
	if status, _ := s.send(t, "GET", path, "If-None-Match", refs); status != 200 {
		t.Errorf("the tag of another representation: %d", status)
	}
	s.want(t, "POST", path, setProperty("a", "b"), 200, "")
	if status, answer := s.send(t, "GET", path, "If-None-Match", all); status != 200 || answer.Get("ETag") == all {
		t.Errorf("after a commit: %d %s", status, answer.Get("ETag"))
	}
	s.want(t, "GET", path+"?snapshots=some", nil, 400, "BadRequestException")
}

func TestDropRenameRegister(t *testing.T) {
	t.Parallel()
	s := newDatabase(t, "one", "two")
	const tables = "/v1/namespaces/db/tables/"
	rename := func(from, db, to string) object {
		return object{"source": object{"namespace": []string{"db"}, "name": from}, "destination": object{"namespace": []string{db}, "name": to}}
	}
	s.want(t, "POST", "/v1/tables/rename", rename("one", "db", "two"), 409, "AlreadyExistsException")
	s.want(t, "POST", "/v1/tables/rename", rename("one", "db", "one"), 409, "AlreadyExistsException")
	s.want(t, "POST", "/v1/tables/rename", rename("none", "db", "three"), 404, "NoSuchTableException")
	s.want(t, "POST", "/v1/tables/rename", rename("one", "none", "three"), 404, "NoSuchNamespaceException")
	s.want(t, "POST", "/v1/tables/rename", object{"source": object{"namespace": []string{"db"}, "name": "one"}}, 400, "BadRequestException")
	before := s.want(t, "GET", tables+"one", nil, 200, "")["metadata"].(object)
	s.want(t, "POST", "/v1/tables/rename", rename("one", "db", "three"), 204, "")
	after := s.want(t, "GET", tables+"three", nil, 200, "")["metadata"].(object)
	if before["table-uuid"] != after["table-uuid"] || before["location"] != after["location"] {
		t.Errorf("renamed: %v", after)
	}
	s.want(t, "GET", tables+"one", nil, 404, "NoSuchTableException")
	s.want(t, "POST", tables+"one", setProperty("a", "b"), 404, "NoSuchTableException")
	anew := s.want(t, "POST", "/v1/namespaces/db/tables", tableBody("one"), 200, "")["metadata"].(object)
	if anew["location"] == after["location"] || !strings.HasPrefix(anew["location"].(string), after["location"].(string)+"-") {
		t.Errorf("a new table shares the folder of the renamed one: %v, %v", anew["location"], after["location"])
	}

	s.want(t, "DELETE", tables+"two?purgeRequested=maybe", nil, 400, "BadRequestException")
	last := s.want(t, "POST", tables+"two/unregister", nil, 200, "")
	s.want(t, "DELETE", tables+"two", nil, 404, "NoSuchTableException")
	register := object{"name": "two", "metadata-location": last["metadata-location"]}
	s.want(t, "POST", "/v1/namespaces/none/register", register, 404, "NoSuchNamespaceException")
	s.want(t, "POST", "/v1/namespaces/db/register", register, 200, "")
	s.want(t, "POST", "/v1/namespaces/db/register", register, 409, "AlreadyExistsException")
	register["overwrite"] = true
	s.want(t, "POST", tables+"two", setProperty("a", "b"), 200, "")
	again := s.want(t, "POST", "/v1/namespaces/db/register", register, 200, "")
	if again["metadata"].(object)["table-uuid"] != last["metadata"].(object)["table-uuid"] || again["metadata"].(object)["properties"] != nil {
		t.Errorf("registered over: %v", again)
	}
	for _, bad := range []string{"s3://other/x.json", "file:///etc/passwd", s.catalog.Store().URI("none"), s.catalog.Store().URI("db/two/metadata/version-hint.text")} {
		s.want(t, "POST", "/v1/namespaces/db/register", object{"name": "bad", "metadata-location": bad}, 400, "BadRequestException")
	}
	s.want(t, "POST", tables+"two/metrics", object{"report-type": "scan-report", "table-name": "two"}, 204, "")
	s.want(t, "POST", tables+"none/metrics", object{"report-type": "scan-report"}, 404, "NoSuchTableException")
	s.want(t, "POST", tables+"two/metrics", object{}, 400, "BadRequestException")
	s.want(t, "POST", tables+"two/plan", object{}, 406, "UnsupportedOperationException")
}

// TestRequirements breaks each requirement of the protocol in turn (TableRequirement).
func TestRequirements(t *testing.T) {
	t.Parallel()
	s := newDatabase(t, "t")
	const path = "/v1/namespaces/db/tables/t"
	uuid := s.want(t, "GET", path, nil, 200, "")["metadata"].(object)["table-uuid"]
	for _, c := range []struct{ good, bad object }{
		{object{"type": "assert-table-uuid", "uuid": uuid}, object{"type": "assert-table-uuid", "uuid": "00000000-0000-0000-0000-000000000001"}},
		{object{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": nil}, object{"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 7}},
		{object{"type": "assert-last-assigned-field-id", "last-assigned-field-id": 1}, object{"type": "assert-last-assigned-field-id", "last-assigned-field-id": 2}},
		{object{"type": "assert-current-schema-id", "current-schema-id": 0}, object{"type": "assert-current-schema-id", "current-schema-id": 1}},
		{object{"type": "assert-last-assigned-partition-id", "last-assigned-partition-id": 999}, object{"type": "assert-last-assigned-partition-id", "last-assigned-partition-id": 1000}},
		{object{"type": "assert-default-spec-id", "default-spec-id": 0}, object{"type": "assert-default-spec-id", "default-spec-id": 1}},
		{object{"type": "assert-default-sort-order-id", "default-sort-order-id": 0}, object{"type": "assert-default-sort-order-id", "default-sort-order-id": 1}},
		{nil, object{"type": "assert-create"}},
	} {
		if c.good != nil {
			s.want(t, "POST", path, setProperty("kept", "x", c.good), 200, "")
		}
		s.want(t, "POST", path, setProperty("lost", "x", c.bad), 409, "CommitFailedException")
		s.want(t, "POST", "/v1/transactions/commit", object{"table-changes": []object{transactionPart("t", setProperty("lost", "x", c.bad))}}, 409, "CommitFailedException")
	}
	for _, bad := range []object{{"type": "assert-the-moon"}, {}, {"type": "assert-table-uuid"}, {"type": "assert-table-uuid", "uuid": "x"}} {
		s.want(t, "POST", path, setProperty("lost", "x", bad), 400, "BadRequestException")
	}
	s.want(t, "POST", path, setProperty("lost", "x", object{"type": "assert-create"}, object{"type": "assert-table-uuid", "uuid": uuid}), 400, "BadRequestException")
	if p := s.want(t, "GET", path, nil, 200, "")["metadata"].(object)["properties"]; fmt.Sprint(p) != "map[kept:x]" {
		t.Errorf("properties: %v", p)
	}
}

func transactionPart(table string, commit object) object {
	commit["identifier"] = object{"namespace": []string{"db"}, "name": table}
	return commit
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	s := newDatabase(t, "a", "b", "c")
	const commit = "/v1/transactions/commit"
	state := func() string {
		var all []string
		for _, name := range []string{"a", "b", "c"} {
			v := s.want(t, "GET", "/v1/namespaces/db/tables/"+name, nil, 200, "")
			all = append(all, fmt.Sprint(v["metadata"].(object)["properties"]))
		}
		return strings.Join(all, " ")
	}
	wrong := object{"type": "assert-default-spec-id", "default-spec-id": 1}
	right := object{"type": "assert-default-spec-id", "default-spec-id": 0}
	s.want(t, "POST", commit, object{"table-changes": []object{transactionPart("a", setProperty("k", "1")), transactionPart("b", setProperty("k", "1", wrong))}}, 409, "CommitFailedException")
	s.want(t, "POST", commit, object{"table-changes": []object{transactionPart("a", setProperty("k", "1")), transactionPart("none", setProperty("k", "1"))}}, 404, "NoSuchTableException")
	s.want(t, "POST", commit, object{"table-changes": []object{transactionPart("a", setProperty("k", "1")), transactionPart("a", setProperty("k", "2"))}}, 400, "BadRequestException")
	s.want(t, "POST", commit, object{"table-changes": []object{setProperty("k", "1")}}, 400, "BadRequestException")
	s.want(t, "POST", commit, object{}, 400, "BadRequestException")
	if got := state(); got != "<nil> <nil> <nil>" {
		t.Errorf("half applied: %s", got)
	}
	s.want(t, "POST", commit, object{"table-changes": []object{
		transactionPart("a", setProperty("k", "1", right)), transactionPart("b", setProperty("k", "2")),
		transactionPart("c", object{"requirements": []object{right}, "updates": []object{}}),
	}}, 204, "")
	if got := state(); got != "map[k:1] map[k:2] <nil>" {
		t.Errorf("applied: %s", got)
	}
}

func TestProperErrors(t *testing.T) {
	t.Parallel()
	s := newDatabase(t, "t")
	s.want(t, "GET", "/v1/nonsense", nil, 406, "UnsupportedOperationException")
	s.want(t, "PUT", "/v1/namespaces", nil, 406, "UnsupportedOperationException")
	s.want(t, "POST", "/v1/namespaces", string(bytes.Repeat([]byte("x"), 100)), 400, "BadRequestException")
	s.want(t, "GET", "/v1/namespaces/db/tables/"+strings.Repeat("x", 2000), nil, 400, "BadRequestException")
	status, answer := s.call(t, "POST", "/v1/namespaces", object{}, "Sec-Fetch-Site", "cross-site")
	if status != 403 || kind(answer) != "ForbiddenException" {
		t.Errorf("another site's page: %d %v", status, answer)
	}
}
