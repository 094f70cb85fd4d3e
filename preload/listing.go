package preload

import (
	"bytes"
	"encoding/json"
	"strings"
)

const (
	// maxListingBytes is the longest answer that is searched for ids.
	maxListingBytes = 256 << 10
	// maxGroups and maxIDs bound what is kept of one answer.
	maxGroups = 8
	maxIDs    = 64
	// maxIDBytes is the longest value that may be an id.
	maxIDBytes = 64
	// minIDs is the least number of values at one place that make it a list.
	minIDs = 2
)

// listing is the ids in an answer, by the place in it where they stood ("movies[].id").
type listing struct {
	shape  uint64 // of the request
	groups []idGroup
}

type idGroup struct {
	place string
	ids   []string
}

// readListing finds the lists of ids in a JSON answer; nil: there are none. Malformed JSON gives what
// came before the fault.
func readListing(body []byte) *listing {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	w := walker{d: d, groups: make(map[string]*idGroup)}
	w.value("", false, 0)
	var l listing
	for _, g := range w.order {
		if len(g.ids) >= minIDs {
			l.groups = append(l.groups, *g)
		}
	}
	if len(l.groups) == 0 {
		return nil
	}
	return &l
}

type walker struct {
	d      *json.Decoder
	groups map[string]*idGroup
	order  []*idGroup
	budget int // tokens read
}

const (
	maxTokens = 20_000
	maxDepth  = 12
)

// value reads one value at a place; inList: it stands in an array.
func (w *walker) value(place string, inList bool, depth int) bool {
	if w.budget++; w.budget > maxTokens || depth > maxDepth {
		return false
	}
	t, err := w.d.Token()
	if err != nil {
		return false
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			for w.d.More() {
				if !w.value(place+"[]", true, depth+1) {
					return false
				}
			}
		} else {
			for w.d.More() {
				name, err := w.d.Token()
				if err != nil {
					return false
				}
				if !w.value(place+"."+name.(string), inList, depth+1) {
					return false
				}
			}
		}
		_, err = w.d.Token() // the end
		return err == nil
	case string:
		w.add(place, v, inList)
	case json.Number:
		if _, whole := wholeNumber(v.String()); whole {
			w.add(place, v.String(), inList)
		}
	}
	return true
}

// add takes a value that may be an id. A URL counts by its last segment too short to be prose.
func (w *walker) add(place, v string, inList bool) {
	if !inList || v == "" || len(v) > maxIDBytes || strings.ContainsAny(v, " \t\r\n") {
		return
	}
	g := w.groups[place]
	if g == nil {
		if len(w.order) == maxGroups {
			return
		}
		g = &idGroup{place: place}
		w.groups[place] = g
		w.order = append(w.order, g)
	}
	if len(g.ids) < maxIDs {
		g.ids = append(g.ids, v)
	}
}
