package configs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Entry is one key of the configuration in force.
type Entry struct {
	Key string
	// Value is as it would be written; "***" for a secret.
	Value string
	Origin
}

// Effective lists every key with its value and origin, secrets masked, in the order of the
// reference. A list is one entry.
func Effective(l *Loaded) []Entry {
	var entries []Entry
	eachLeaf(root(), reflect.ValueOf(*l.Config), "", func(s *spec, v reflect.Value, path string) {
		if !inList(path) {
			entries = append(entries, Entry{Key: path, Value: maskedText(s, v, path), Origin: l.Sources[path]})
		}
	})
	return entries
}

// inList reports keys of list elements, which are shown with their list.
func inList(path string) bool { return strings.Contains(path, "[") }

// Change is one key that differs between two configurations.
type Change struct {
	Key string
	// From and To are masked as in Effective; empty: the key was not there.
	From, To string
	// RestartNeeded: the running service can't take the change.
	RestartNeeded bool
}

// Diff lists what changed, in order of keys. What is inherited in both is left out: the change of
// its section is listed. Of a new or removed upstream or route only what was written is listed. A
// changed secret shows as a change from "***" to "***". A nil from is an empty configuration.
func Diff(from, to *Loaded) []Change {
	before, after := shown(from), shown(to)
	var changes []Change
	for _, key := range slices.Sorted(maps.Keys(after)) {
		a := after[key]
		b, was := before[key]
		if was && (a.exact == b.exact || a.inherited && b.inherited) || !was && !a.written {
			continue
		}
		changes = append(changes, Change{Key: key, From: b.masked, To: a.masked, RestartNeeded: a.spec.restart})
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		b := before[key]
		if _, is := after[key]; !is && b.written {
			changes = append(changes, Change{Key: key, From: b.masked, RestartNeeded: b.spec.restart})
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	return changes
}

type shownValue struct {
	spec          *spec
	masked, exact string
	// written: somebody set it for this very key.
	inherited, written bool
}

func shown(l *Loaded) map[string]shownValue {
	m := make(map[string]shownValue)
	if l == nil {
		return m
	}
	eachLeaf(root(), reflect.ValueOf(*l.Config), "", func(s *spec, v reflect.Value, path string) {
		if inList(path) {
			return
		}
		o := l.Sources[path]
		m[path] = shownValue{
			spec: s, masked: maskedText(s, v, path), exact: exactText(s, v),
			inherited: o.Inherits != "", written: o.Inherits == "" && o.File != "",
		}
	})
	return m
}

// exactText is equal for equal values only; it is compared and never shown.
func exactText(s *spec, v reflect.Value) string {
	if s.kind == kindList || s.kind == kindAny {
		if data, err := json.Marshal(v.Interface()); err == nil {
			return string(data)
		}
	}
	return fmt.Sprint(v.Interface())
}
