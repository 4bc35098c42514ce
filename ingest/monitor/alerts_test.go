package monitor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestAlerts: examples/alerts.yaml is a Prometheus rule file, every metric it names exists, and docs/monitoring.md lists its alerts.
func TestAlerts(t *testing.T) {
	file, err := os.Open("../../examples/alerts.yaml")
	require.NoError(t, err)
	defer file.Close()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&rules))
	require.NotEmpty(t, rules.Groups)
	metrics := described()
	seen := map[string]bool{}
	var documented []string
	for _, group := range rules.Groups {
		assert.NotEmpty(t, group.Name)
		for _, rule := range group.Rules {
			assert.Regexp(t, `^Tidemark[A-Za-z]+$`, rule.Alert)
			assert.False(t, seen[rule.Alert], "%s is there twice", rule.Alert)
			seen[rule.Alert] = true
			if rule.For != "" {
				_, err := time.ParseDuration(rule.For)
				assert.NoError(t, err, rule.Alert)
			}
			assert.Contains(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
			documented = append(documented, "`"+rule.Alert+"` | "+rule.Labels["severity"])
			assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			assert.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			assert.Equal(t, strings.Count(rule.Expr, "("), strings.Count(rule.Expr, ")"), rule.Expr)
			names := regexp.MustCompile(`\btidemark_[a-z_]+`).FindAllString(rule.Expr, -1)
			assert.NotEmpty(t, names, rule.Alert)
			for _, name := range names {
				whole := name // a summary shows as two
				for _, part := range []string{"tidemark_table_commit_seconds", "tidemark_table_commit_bytes"} {
					if name == part+"_sum" || name == part+"_count" {
						whole = part
					}
				}
				assert.True(t, slices.Contains(metrics, whole), "%s: there is no metric %s", rule.Alert, name)
			}
		}
	}
	page, err := os.ReadFile("../../docs/monitoring.md")
	require.NoError(t, err)
	assert.Equal(t, documented, regexp.MustCompile("(?m)`Tidemark[A-Za-z]+` \\| [a-z]+").FindAllString(string(page), -1), "docs/monitoring.md has every alert, in order")
}
