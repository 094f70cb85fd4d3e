package api

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"penstock/request"
)

func TestPriorityFollowsRFC9218(t *testing.T) {
	check := func(want int, values ...string) {
		t.Helper()
		u, ok := priority(http.Header{"Priority": values})
		if ok != (want >= 0) || ok && int(u) != want {
			t.Errorf("%q: got %v, %v, want %d", values, u, ok, want)
		}
	}
	check(0, "u=0")
	check(7, "u=7")
	check(1, "u=1, i")
	check(4, "i, u=4")
	check(4, "u=4;x=1, foo=bar")
	check(5, "u=2", "u=5") // later members replace earlier ones (RFC 9651)
	for _, bad := range []string{"", "i", "u", "u=8", "u=-1", "u=1.5", `u="1"`, "u=a", "u=(1 2)", "u=1,", "U=1", "u=:", "u=/", "u==", "u=1 , ,"} {
		check(-1, bad)
	}
	check(-1)
}

func FuzzPriority(f *testing.F) {
	for _, s := range []string{"u=1", "u=1, i", "u=9", "i;u=1", `u="x`, "u=(1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, ok := priority(http.Header{"Priority": {s}})
		if u > request.LeastUrgent || !ok && u != 0 {
			t.Errorf("%q: %v, %v", s, u, ok)
		}
	})
}

func FuzzPrefer(f *testing.F) {
	for _, s := range []string{"wait=1", `respond-async, wait="10"; a=b`, `a="\", wait=5`, "WAIT = 3", ",,;=", `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := preferWait([]string{s})
		if d < 0 || d > maxDeadline || d%time.Second != 0 || err != nil && d != 0 {
			t.Errorf("%q: %v, %v", s, d, err)
		}
	})
}

func TestPreferFindsWaitOutsideQuotes(t *testing.T) {
	check := func(want time.Duration, values ...string) {
		t.Helper()
		if got, err := preferWait(values); got != want || err != nil {
			t.Errorf("%q: %v, %v, want %v", values, got, err, want)
		}
	}
	check(time.Second, "wait=1")
	check(time.Second, "WAIT = 1 ; foo")
	check(2*time.Second, "respond-async", "wait=2, wait=3")
	check(0, `x="wait=1"`)
	check(0, `x="\",wait=1"`)
	check(0, "waiting=1", "", ",", "return=minimal; wait=5")
}

func FuzzParseCall(f *testing.F) {
	for _, s := range []string{`{"route":"movie","params":{"id":1e999},"urgency":3,"deadline_ms":5,"cache":"no-store","id":"x"}`, `{`, `null`, `[]`,
		`{"route":1,"rute":2}`, `{"id":-0.5e3}`, "{\"\xff\":1}", ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseCall(raw)
		if c == nil || c.id != nil && !json.Valid(c.id) {
			t.Fatalf("%q: call %+v", raw, c)
		}
		if err != nil {
			f := classify(t.Context(), err)
			if f.Problem != request.ProblemBadRequest || f.Detail == "" {
				t.Errorf("%q: %+v", raw, f.Error)
			}
			if _, err := json.Marshal(f.document("id", "/")); err != nil {
				t.Error(err)
			}
			return
		}
		if c.route == "" || c.deadline < 0 || c.deadline > maxDeadline {
			t.Errorf("%q: call %+v", raw, c)
		}
	})
}

func FuzzDotSegments(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e", "/%25%32%65", "/a%", `/\..`, "/..;", "/%zz.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		found := hasDotSegment(p)
		if !found && hasDotSegment(unescapeOnce(p)) {
			t.Errorf("%q hides a dot segment", p)
		}
		if !found && dotSegmentIn(p) {
			t.Errorf("%q has a dot segment", p)
		}
	})
}

func TestClosestFindsTypingErrorsOnly(t *testing.T) {
	names := []string{"route", "params", "urgency", "deadline_ms", "cache"}
	for name, want := range map[string]string{"rout": "route", "paramz": "params", "urgancy": "urgency", "deadlinems": "deadline_ms", "xyz": "", "": "", "c": ""} {
		if got := closest(name, names); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
