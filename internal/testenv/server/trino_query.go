package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// trinoPage is one answer of Trino's client protocol (trino.io, "Trino client REST API"): rows come page by page, each naming the next.
type trinoPage struct {
	NextURI string `json:"nextUri"`
	Columns []struct {
		Type string `json:"type"`
	} `json:"columns"`
	Data  [][]any `json:"data"`
	Error *struct {
		Message string `json:"message"`
		Name    string `json:"errorName"`
		Failure struct {
			Cause *trinoCause `json:"cause"`
		} `json:"failureInfo"`
	} `json:"error"`
}

type trinoCause struct {
	Type    string      `json:"type"`
	Message string      `json:"message"`
	Cause   *trinoCause `json:"cause"`
}

// Query runs one statement and returns its rows in the normal form (see Null). Name tables in full: catalog.db.table.
func (t *Trino) Query(ctx context.Context, sql string) ([][]string, error) {
	var rows [][]string
	page, err := t.page(ctx, http.MethodPost, t.URL+"/v1/statement", sql)
	for {
		if err != nil {
			return nil, fmt.Errorf("trino: %w: %s", err, shorten(sql))
		}
		for _, values := range page.Data {
			row := make([]string, len(values))
			for i, v := range values {
				if row[i], err = normalTrino(v, page.Columns[i].Type); err != nil {
					return nil, fmt.Errorf("trino: column %d: %w: %s", i, err, shorten(sql))
				}
			}
			rows = append(rows, row)
		}
		if page.NextURI == "" {
			return rows, nil
		}
		page, err = t.page(ctx, http.MethodGet, page.NextURI, "")
	}
}

func (t *Trino) page(ctx context.Context, method, url, body string) (page trinoPage, err error) {
	for {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			return page, err
		}
		req.Header.Set("X-Trino-User", "test")
		req.Header.Set("X-Trino-Time-Zone", "UTC")
		req.Header.Set("X-Trino-Client-Capabilities", "PARAMETRIC_DATETIME") // else timestamps come cut to milliseconds
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return page, err
		}
		answer, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return page, err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			numbers := json.NewDecoder(bytes.NewReader(answer))
			numbers.UseNumber()
			if err := numbers.Decode(&page); err != nil {
				return page, err
			}
			if page.Error != nil {
				text := page.Error.Name + ": " + page.Error.Message
				for c := page.Error.Failure.Cause; c != nil; c = c.Cause {
					text += "; caused by " + c.Type + ": " + c.Message
				}
				return page, errors.New(text)
			}
			return page, nil
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout: // the protocol says: ask again
			wait := time.NewTimer(100 * time.Millisecond)
			select {
			case <-ctx.Done():
				wait.Stop()
				return page, ctx.Err()
			case <-wait.C:
			}
		default:
			return page, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
		}
	}
}

// CreateCatalog makes an iceberg catalog over a REST service. The tables' files may lie on the local disk (file:///...) or, with s3
// given, in its buckets.
func (t *Trino) CreateCatalog(ctx context.Context, name, restURI string, s3 *MinIO) error {
	properties := []string{
		`"iceberg.catalog.type"='rest'`, `"iceberg.rest-catalog.uri"='` + restURI + `'`,
		`"iceberg.register-table-procedure.enabled"='true'`, `"iceberg.expire-snapshots.min-retention"='0s'`, `"iceberg.remove-orphan-files.min-retention"='0s'`,
		`"fs.native-local.enabled"='true'`, `"local.location"='/'`,
	}
	if s3 != nil {
		properties = append(properties, `"fs.native-s3.enabled"='true'`, `"s3.path-style-access"='true'`,
			`"s3.endpoint"='`+s3.Endpoint+`'`, `"s3.region"='`+s3.Region+`'`, `"s3.aws-access-key"='`+s3.AccessKey+`'`, `"s3.aws-secret-key"='`+s3.SecretKey+`'`)
	}
	_, err := t.Query(ctx, fmt.Sprintf("CREATE CATALOG %s USING iceberg WITH (%s)", name, strings.Join(properties, ", ")))
	return err
}

// CreateCatalogOf makes a catalog of the lines of a properties file.
func (t *Trino) CreateCatalogOf(ctx context.Context, name, properties string) error {
	connector, with := "", []string(nil)
	for line := range strings.Lines(properties) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "connector.name" {
			connector = value
		} else {
			with = append(with, fmt.Sprintf(`"%s"='%s'`, key, value))
		}
	}
	_, err := t.Query(ctx, fmt.Sprintf("CREATE CATALOG %s USING %s WITH (%s)", name, connector, strings.Join(with, ", ")))
	return err
}

// DropCatalog forgets a catalog; its tables stay.
func (t *Trino) DropCatalog(ctx context.Context, name string) error {
	_, err := t.Query(ctx, "DROP CATALOG "+name)
	return err
}

func normalTrino(v any, columnType string) (string, error) {
	kind, _, _ := strings.Cut(columnType, "(")
	switch v := v.(type) {
	case nil:
		return Null, nil
	case bool:
		return strconv.FormatBool(v), nil
	case json.Number:
		if kind != "real" && kind != "double" {
			return v.String(), nil
		}
		f, err := v.Float64()
		return normalFloat(f, kind == "real"), err
	case string:
		switch {
		case kind == "varbinary":
			raw, err := base64.StdEncoding.DecodeString(v)
			return normalBytes(raw), err
		case kind == "real", kind == "double": // NaN, Infinity
			f, err := strconv.ParseFloat(v, 64)
			return normalFloat(f, kind == "real"), err
		case strings.HasSuffix(columnType, "with time zone"):
			text, utc := strings.CutSuffix(v, " UTC")
			if !utc {
				return "", fmt.Errorf("%q is not in UTC", v)
			}
			return normalTimestamp(text, "Z"), nil
		case kind == "timestamp":
			return normalTimestamp(v, ""), nil
		}
		return v, nil
	}
	text, err := json.Marshal(v)
	return string(text), err
}

func getJSON(ctx context.Context, url string, into any) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
