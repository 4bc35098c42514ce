package ingest

import (
	"fmt"
	"strings"
	"testing"
)

func TestPartitions(t *testing.T) {
	var p Partitions
	if err := p.Set("shop.orders = day(created_at), bucket(16, customer_id); shop.log=; shop.*=month(`at`);"); err != nil {
		t.Fatal(err)
	}
	const text = "shop.orders=day(created_at), bucket(16, customer_id); shop.log=; shop.*=month(at)"
	if p.String() != text {
		t.Errorf("read %q, want %q", p.String(), text)
	}
	for name, want := range map[string]string{"shop.orders": "[day(created_at) bucket(16, customer_id)]", "shop.log": "[]", "shop.items": "[month(at)]", "crm.x": "none"} {
		got := "none"
		if rule := p.of(splitName(name)); rule != nil {
			got = fmt.Sprint(rule.fields)
		}
		if got != want {
			t.Errorf("%s is partitioned by %s, want %s", name, got, want)
		}
	}
	for text, want := range map[string]string{
		"shop.orders":             "expected TABLES=LIST",
		"orders=a":                "expected DATABASE.TABLE",
		"shop.*,!shop.log=a":      "excludes nothing",
		"shop.*=weekly(a)":        "no transform",
		"shop.*=day(a);shop.x=b)": "not closed",
	} {
		if err := new(Partitions).Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
