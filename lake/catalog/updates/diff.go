package updates

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// diff is the way from base to what follows it.
type diff struct {
	base    Document
	refs    map[string]reference // of base
	moved   map[string]bool      // references that change
	own     bool                 // properties of tidemark's change
	schemas bool                 // the list of schemas grows
	specs   bool                 // the list of partition specs grows

	updates []any
	last    []any // come after the others: a snapshot may go once nothing refers to it
}

// reference is a branch or a tag, with whatever else is set for it.
type reference map[string]json.RawMessage

// guards are the references that every commit requires to be where they were.
var guards = []string{"main", "tidemark_load", writerTag}

// derived are the fields that the service sets by itself, from the updates.
var derived = map[string]bool{
	"last-updated-ms": true, "last-sequence-number": true, "next-row-id": true, "last-column-id": true, "last-partition-id": true,
	"current-snapshot-id": true, "snapshot-log": true, "metadata-log": true, "schema": true, "partition-spec": true, "table-uuid": true,
}

type update map[string]any

// compare finds what is different.
func compare(base, next []byte) (*diff, error) {
	d := &diff{moved: map[string]bool{}}
	var after Document
	if err := errors.Join(json.Unmarshal(base, &d.base), json.Unmarshal(next, &after)); err != nil {
		return nil, fmt.Errorf("table metadata: %w", err)
	}
	done := map[string]bool{}
	for _, part := range []struct {
		keys    []string
		compare func(before, after Document) error
	}{
		{[]string{"format-version"}, d.format},
		{[]string{"schemas", "current-schema-id"}, d.elements("schemas", "schema-id", "add-schema", "schema", "current-schema-id", "set-current-schema", "schema-id", &d.schemas)},
		{[]string{"partition-specs", "default-spec-id"}, d.elements("partition-specs", "spec-id", "add-spec", "spec", "default-spec-id", "set-default-spec", "spec-id", &d.specs)},
		{[]string{"sort-orders", "default-sort-order-id"}, d.elements("sort-orders", "order-id", "add-sort-order", "sort-order", "default-sort-order-id", "set-default-sort-order", "sort-order-id", new(bool))},
		{[]string{"location"}, d.location},
		{[]string{"snapshots"}, d.snapshots},
		{[]string{"refs"}, d.references},
		{[]string{"statistics"}, d.statistics("statistics", "set-statistics", "remove-statistics")},
		{[]string{"partition-statistics"}, d.statistics("partition-statistics", "set-partition-statistics", "remove-partition-statistics")},
		{[]string{"properties"}, d.properties},
	} {
		if err := part.compare(d.base, after); err != nil {
			return nil, fmt.Errorf("table metadata: %s: %w", part.keys[0], err)
		}
		for _, k := range part.keys {
			done[k] = true
		}
	}
	for k, v := range after {
		if !done[k] && !derived[k] && !same(v, d.base[k]) {
			return nil, fmt.Errorf("table metadata: there is no update by which a catalog changes %q", k)
		}
	}
	return d, nil
}

// commit is the request. What it requires, beside that the table is the same, is what the commit was made on.
func (d *diff) commit() *Commit {
	c := &Commit{Updates: append(d.updates, d.last...)}
	require := func(kind string, fields update) {
		fields["type"] = kind
		c.Requirements = append(c.Requirements, fields)
	}
	require("assert-table-uuid", update{"uuid": d.base["table-uuid"]})
	require("assert-current-schema-id", update{"current-schema-id": d.base["current-schema-id"]})
	if d.schemas {
		require("assert-last-assigned-field-id", update{"last-assigned-field-id": d.base["last-column-id"]})
	}
	if d.specs {
		require("assert-last-assigned-partition-id", update{"last-assigned-partition-id": d.base["last-partition-id"]})
		require("assert-default-spec-id", update{"default-spec-id": d.base["default-spec-id"]})
	}
	names := slices.Clone(guards)
	for name := range d.moved {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		at := d.refs[name]["snapshot-id"]
		if at == nil {
			at = json.RawMessage("null")
		}
		require("assert-ref-snapshot-id", update{"ref": name, "snapshot-id": at})
	}
	return c
}

// unguarded reports whether the commit changes properties of tidemark's and moves nothing that others require.
func (d *diff) unguarded() bool {
	return d.own && !slices.ContainsFunc(guards, func(name string) bool { return d.moved[name] })
}

func (d *diff) add(action string, fields update) {
	fields["action"] = action
	d.updates = append(d.updates, fields)
}

func (d *diff) format(before, after Document) error {
	if !same(before["format-version"], after["format-version"]) {
		d.add("upgrade-format-version", update{"format-version": after["format-version"]})
	}
	return nil
}

func (d *diff) location(before, after Document) error {
	if !same(before["location"], after["location"]) {
		d.add("set-location", update{"location": after["location"]})
	}
	return nil
}

// elements compares a list that only grows and a field that names one of its elements.
func (d *diff) elements(list, key, addAction, addField, current, setAction, setField string, grown *bool) func(before, after Document) error {
	return func(before, after Document) error {
		was, err := byID(before[list], key)
		if err != nil {
			return err
		}
		is, err := byID(after[list], key)
		if err != nil {
			return err
		}
		var fresh []string
		for _, id := range slices.Sorted(maps.Keys(is)) {
			old, there := was[id]
			switch {
			case !there:
				*grown = true
				fresh = append(fresh, id)
				fields := update{addField: is[id]}
				if addAction == "add-schema" {
					fields["last-column-id"] = after["last-column-id"]
				}
				d.add(addAction, fields)
			case !same(old, is[id]):
				return fmt.Errorf("%s %s was changed in place", key, id)
			}
		}
		for id := range was {
			if is[id] == nil {
				return fmt.Errorf("%s %s was removed", key, id)
			}
		}
		if same(before[current], after[current]) {
			return nil
		}
		target := after[current]
		if len(fresh) > 0 && fresh[len(fresh)-1] == string(target) {
			target = json.RawMessage("-1") // the one added last, whatever id the service gives it
		}
		d.add(setAction, update{setField: target})
		return nil
	}
}

func (d *diff) snapshots(before, after Document) error {
	was, err := byID(before["snapshots"], "snapshot-id")
	if err != nil {
		return err
	}
	is, err := byID(after["snapshots"], "snapshot-id")
	if err != nil {
		return err
	}
	for id, text := range is {
		if was[id] == nil {
			d.add("add-snapshot", update{"snapshot": text})
		}
	}
	var gone []json.RawMessage
	for _, id := range slices.Sorted(maps.Keys(was)) {
		if is[id] == nil {
			gone = append(gone, json.RawMessage(id))
		}
	}
	if len(gone) > 0 {
		d.last = append(d.last, update{"action": "remove-snapshots", "snapshot-ids": gone})
	}
	return nil
}

func (d *diff) references(before, after Document) error {
	is := map[string]reference{}
	if err := errors.Join(get(before["refs"], &d.refs), get(after["refs"], &is)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		ref := is[name]
		if maps.EqualFunc(ref, d.refs[name], same) {
			continue
		}
		d.moved[name] = true
		fields := update{"ref-name": name}
		for k, v := range ref {
			fields[k] = v
		}
		d.add("set-snapshot-ref", fields)
	}
	for _, name := range slices.Sorted(maps.Keys(d.refs)) {
		if is[name] == nil {
			d.moved[name] = true
			d.add("remove-snapshot-ref", update{"ref-name": name})
		}
	}
	return nil
}

func (d *diff) statistics(field, set, remove string) func(before, after Document) error {
	return func(before, after Document) error {
		was, err := byID(before[field], "snapshot-id")
		if err != nil {
			return err
		}
		is, err := byID(after[field], "snapshot-id")
		if err != nil {
			return err
		}
		for id, text := range is {
			if !same(was[id], text) {
				d.add(set, update{"snapshot-id": json.RawMessage(id), field: text})
			}
		}
		for id := range was {
			if is[id] == nil {
				d.add(remove, update{"snapshot-id": json.RawMessage(id)})
			}
		}
		return nil
	}
}

func (d *diff) properties(before, after Document) error {
	was, is := map[string]string{}, map[string]string{}
	if err := errors.Join(get(before["properties"], &was), get(after["properties"], &is)); err != nil {
		return err
	}
	set, removed := map[string]string{}, []string{}
	for k, v := range is {
		if old, there := was[k]; !there || old != v {
			set[k] = v
			d.own = d.own || strings.HasPrefix(k, "tidemark.")
		}
	}
	for k := range was {
		if _, there := is[k]; !there {
			removed = append(removed, k)
			d.own = d.own || strings.HasPrefix(k, "tidemark.")
		}
	}
	if len(set) > 0 {
		d.add("set-properties", update{"updates": set})
	}
	if len(removed) > 0 {
		slices.Sort(removed)
		d.add("remove-properties", update{"removals": removed})
	}
	return nil
}

// byID indexes the elements of a list by a number in them.
func byID(list json.RawMessage, key string) (map[string]json.RawMessage, error) {
	var elements []json.RawMessage
	if err := get(list, &elements); err != nil {
		return nil, err
	}
	m := make(map[string]json.RawMessage, len(elements))
	for _, text := range elements {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			return nil, err
		}
		m[string(fields[key])] = text
	}
	return m, nil
}

// get reads a field that may be absent.
func get(text json.RawMessage, v any) error {
	if text == nil {
		return nil
	}
	return json.Unmarshal(text, v)
}

// same compares JSON texts but for blanks.
func same(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
