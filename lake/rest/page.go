package rest

import (
	"encoding/base64"
	"net/http"
	"strconv"
)

// defaultPage is how many entries a page has when the client wants pages but does not say how large.
const defaultPage = 1000

// page is what part of a list a client wants (protocol, PageToken): everything unless it sends a token, if only an empty one.
// A token is the name of the last entry it got, so a list may change between pages.
type page struct {
	after string
	limit int // 0: everything
}

func pageOf(r *http.Request) (page, error) {
	q := r.URL.Query()
	if !q.Has("pageToken") {
		return page{}, nil
	}
	p := page{limit: defaultPage}
	if size := q.Get("pageSize"); size != "" {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			return p, badRequest("pageSize %q: expected a number from 1", size)
		}
		p.limit = n
	}
	after, err := base64.RawURLEncoding.DecodeString(q.Get("pageToken"))
	if err != nil {
		return p, badRequest("pageToken %q is not one of this service", q.Get("pageToken"))
	}
	p.after = string(after)
	return p, nil
}

// cut takes one entry more than the page holds, if there are that many, and returns the page and the token for the next
// one: nil for the last. name is the name of an entry.
func cut[T any](p page, list []T, name func(T) string) ([]T, *string) {
	if p.limit == 0 || len(list) <= p.limit {
		return list, nil
	}
	list = list[:p.limit]
	token := base64.RawURLEncoding.EncodeToString([]byte(name(list[len(list)-1])))
	return list, &token
}

// fetch is how many entries to ask for, to know whether there are more.
func (p page) fetch() int {
	if p.limit == 0 {
		return 0
	}
	return p.limit + 1
}
