package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// steadyFilms are ids of films that do not change while a test runs.
func steadyFilms(t *testing.T, w *batchWorld, n int) []string {
	t.Helper()
	var ids []string
	for id := 10; len(ids) < n; id++ {
		rec := httptest.NewRecorder()
		w.api.ServeHTTP(rec, httptest.NewRequest("GET", "/movies/"+jsonText(id), nil))
		if rec.Code != http.StatusOK {
			t.Fatalf("film %d: %d %s", id, rec.Code, rec.Body)
		}
		if strings.HasSuffix(rec.Header().Get("Cache-Control"), "max-age=3600") {
			ids = append(ids, jsonText(id))
		}
	}
	return ids
}

func jsonText(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// unbatched are the answers that a Penstock without batching gives.
func unbatched(t *testing.T, w *batchWorld, route string, ids []string) map[string]answer {
	t.Helper()
	h := openBatching(t, w, false)
	want := make(map[string]answer)
	for _, id := range ids {
		want[id] = h.ask(route, id)
	}
	if n := len(w.made()); n != len(ids) {
		t.Fatalf("%d upstream calls without batching, want %d", n, len(ids))
	}
	w.reset()
	return want
}

// eachForm runs a test for each form, in front of a demo API of its own, with eight ids and what
// a Penstock without batching answers to them.
func eachForm(t *testing.T, test func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer)) {
	for _, f := range batchForms {
		t.Run(f.name, func(t *testing.T) {
			w := newBatchWorld(t)
			ids := steadyFilms(t, w, 8)
			want := unbatched(t, w, f.name, ids)
			test(t, f, w, openBatching(t, w, true), ids, want)
		})
	}
}

func TestABatchOfEachFormAnswersAsSingleCallsWould(t *testing.T) {
	eachForm(t, func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer) {
		got := h.askTogether(w, f.name, ids, 3)
		for _, id := range ids {
			for _, a := range got[id] {
				if a.status != http.StatusOK || !same(a, want[id]) {
					t.Errorf("id %s: batched %d %s\nunbatched %d %s", id, a.status, a.body, want[id].status, want[id].body)
				}
			}
		}
		if calls := w.made(); len(calls) != 1 {
			t.Errorf("24 clients of 8 ids cost %d calls, want 1: %q", len(calls), calls)
		}
		for _, id := range ids { // each is cached under its own key
			a := h.ask(f.name, id)
			if s := a.header.Get("Cache-Status"); !strings.HasPrefix(s, "penstock; hit") || !same(a, want[id]) {
				t.Errorf("id %s again: %q %d %s", id, s, a.status, a.body)
			}
		}
		if n := len(w.made()); n != 1 {
			t.Errorf("%d calls after asking again, want still 1", n)
		}
		st := h.Stats().Upstreams["movies"]
		if r := st.Batcher.Routes[f.name]; r.Batches != 1 || r.Items != 8 || r.Splits != 0 || r.Missing != 0 {
			t.Errorf("batcher stats %+v", r)
		}
	})
}

func TestAnUnknownIdCostsOnlyItself(t *testing.T) {
	eachForm(t, func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer) {
		if f.unknown == "" {
			return // this endpoint of the demo API has an answer to every id
		}
		bad := openBatching(t, w, false).ask(f.name, f.unknown)
		w.reset()
		got := h.askTogether(w, f.name, append(slices.Clone(ids), f.unknown), 1)
		for _, id := range ids {
			if a := got[id][0]; !same(a, want[id]) {
				t.Errorf("id %s: %d %s", id, a.status, a.body)
			}
		}
		a := got[f.unknown][0]
		switch f.name {
		case "path": // null in an array: the answer is Penstock's
			a.expect(t, http.StatusNotFound, "urn:penstock:problem:not-found")
		default:
			if !same(a, bad) {
				t.Errorf("the unknown id: batched %d %s\nunbatched %d %s", a.status, a.body, bad.status, bad.body)
			}
		}
		limit := 1
		if f.name == "query" { // retry_missing
			limit = 2
		}
		if calls := w.made(); len(calls) != limit {
			t.Errorf("%d calls, want %d: %q", len(calls), limit, calls)
		}
	})
}

func TestAPoisonousIdFailsAlone(t *testing.T) {
	eachForm(t, func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer) {
		poison := ids[5]
		w.inject(poison, "", nil)
		got := h.askTogether(w, f.name, ids, 1)
		for _, id := range ids {
			a := got[id][0]
			switch {
			case id == poison:
				a.expect(t, http.StatusBadRequest, "a bad id")
			case !same(a, want[id]):
				t.Errorf("id %s: %d %s", id, a.status, a.body)
			}
		}
		if calls := w.made(); len(calls) != 7 { // 8, 4+4, 2+2, 1+1
			t.Errorf("one bad id of eight cost %d calls, want 7: %q", len(calls), calls)
		}
		w.inject("", "", nil)
		w.reset()
		for _, id := range ids {
			if a := h.ask(f.name, id); !same(a, want[id]) {
				t.Errorf("id %s later: %d %s", id, a.status, a.body)
			}
		}
		if calls := w.made(); len(calls) != 1 {
			t.Errorf("%d calls later, want 1, for the one that failed: %q", len(calls), calls)
		}
	})
}

func TestAMembersOwnFailureIsItsOwn(t *testing.T) {
	eachForm(t, func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer) {
		w.inject("", f.items, func(items []json.RawMessage) []json.RawMessage {
			var item map[string]any
			if err := json.Unmarshal(items[0], &item); err != nil {
				t.Error(err)
			}
			f.spoil(item)
			items[0] = json.RawMessage(jsonText(item))
			return items
		})
		id, a := odd(t, h.askTogether(w, f.name, ids, 1), want, 1)
		if a.status != f.spoiled || f.spoiled == 200 && !strings.Contains(a.body, "injected") {
			t.Errorf("id %s: %d %s, want %d", id, a.status, a.body, f.spoiled)
		}
		if calls := w.made(); len(calls) != 1 {
			t.Errorf("%d calls, want 1: %q", len(calls), calls)
		}
	})
}

func TestAShortAnswerCostsOnlyWhomItLeavesOut(t *testing.T) {
	eachForm(t, func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer) {
		w.inject("", f.items, func(items []json.RawMessage) []json.RawMessage { return items[1:] })
		got := h.askTogether(w, f.name, ids, 1)
		calls := 1
		switch {
		case f.byOrder: // halved down to single calls, since nothing says who is missing
			calls = 15
			odd(t, got, want, 0)
		case f.dropped == 200: // retry_missing
			calls = 2
			odd(t, got, want, 0)
		default:
			if id, a := odd(t, got, want, 1); a.status != f.dropped {
				t.Errorf("id %s: %d %s, want %d", id, a.status, a.body, f.dropped)
			}
		}
		if made := w.made(); len(made) != calls {
			t.Errorf("%d calls, want %d: %q", len(made), calls, made)
		}
	})
}

func TestAReorderedAnswerFindsItsMembers(t *testing.T) {
	eachForm(t, func(t *testing.T, f batchForm, w *batchWorld, h *house, ids []string, want map[string]answer) {
		if f.byOrder {
			return // nothing in an item of this form says whose it is; docs/batching.md says so
		}
		w.inject("", f.items, func(items []json.RawMessage) []json.RawMessage {
			slices.Reverse(items)
			items[0], items[3] = items[3], items[0]
			return items
		})
		odd(t, h.askTogether(w, f.name, ids, 1), want, 0)
		if calls := w.made(); len(calls) != 1 {
			t.Errorf("%d calls, want 1: %q", len(calls), calls)
		}
	})
}

// odd finds the one answer that is not as wanted; n says how many there must be, 0 or 1.
func odd(t *testing.T, got map[string][]answer, want map[string]answer, n int) (id string, a answer) {
	t.Helper()
	var ids []string
	for i, all := range got {
		if !same(all[0], want[i]) {
			ids = append(ids, i)
			id, a = i, all[0]
		}
	}
	if len(ids) != n {
		for _, i := range ids {
			t.Errorf("id %s: %d %s\nwant %d %s", i, got[i][0].status, got[i][0].body, want[i].status, want[i].body)
		}
		t.Fatalf("%d answers differ from the unbatched ones, want %d", len(ids), n)
	}
	return id, a
}
