package compaction

import (
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/lake/catalog"
)

// TestStatements: what engines are asked to run, with names that need quotes, and for a table without a key.
func TestStatements(t *testing.T) {
	w := Work{
		Table: catalog.Identifier{DB: "my-shop", Table: `o"rd'ers`}, Key: []string{"id", "order `no`"}, Options: Options{},
		Groups: []Group{{Files: []File{{Path: "s3://b/it's.parquet"}, {Path: "s3://b/2.parquet"}}}, {Files: []File{{Path: "s3://b/3.parquet"}}}},
	}
	w.Options.EnsureDefaults()
	trino, err := NewTrino(TrinoConfig{URI: "https://trino.example:8443", Password: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	spark := NewSpark(SparkConfig{})
	const options = `options => map('target-file-size-bytes', '268435456', 'min-file-size-bytes', '201326592', 'max-file-size-bytes', '536870912', ` +
		`'min-input-files', '4', 'max-file-group-size-bytes', '2147483648', 'delete-file-threshold', '10', 'delete-ratio-threshold', '0.2', 'partial-progress.enabled', 'true'))`
	keyless := w
	keyless.Key = nil
	for _, c := range []struct {
		engine Engine
		work   Work
		want   []string
	}{
		{trino, w, []string{
			`ALTER TABLE "lake"."my-shop"."o""rd'ers" EXECUTE optimize(file_size_threshold => '1PB') WHERE "$path" IN ('s3://b/it''s.parquet', 's3://b/2.parquet')`,
			`ALTER TABLE "lake"."my-shop"."o""rd'ers" EXECUTE optimize(file_size_threshold => '1PB') WHERE "$path" IN ('s3://b/3.parquet')`,
		}},
		{spark, w, []string{"CALL lake.system.rewrite_data_files(table => '`my-shop`.`o\"rd\\'ers`', strategy => 'sort', sort_order => 'id ASC NULLS FIRST, `order ``no``` ASC NULLS FIRST', " + options}},
		{spark, keyless, []string{"CALL lake.system.rewrite_data_files(table => '`my-shop`.`o\"rd\\'ers`', strategy => 'binpack', " + options}},
		{spark, Work{}, nil},
	} {
		if got := c.engine.Statements(c.work); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.engine.Name(), got, c.want)
		}
	}
}
