package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEventsAreReadAsTheStandardSays(t *testing.T) {
	const text = "\ufeff: a comment\nretry: 10\n\nid: 1\nevent: decision\ndata: a\ndata:b\n\n" +
		"data: same id\r\n\r\nid: 2\rdata\r\revent: nothing\n\nid: 3\ndata: cut off\n"
	var got []string
	err := readEvents(iotest.OneByteReader(strings.NewReader(text)), func(e event) error {
		got = append(got, e.id+"|"+e.name+"|"+string(e.data))
		return nil
	})
	want := "1|decision|a\nb;1||same id;2||"
	if s := strings.Join(got, ";"); s != want || err != io.EOF {
		t.Errorf("got %q, %v, want %q", s, err, want)
	}
	stop := errors.New("enough")
	if err := readEvents(strings.NewReader("data: a\n\n"), func(event) error { return stop }); err != stop {
		t.Errorf("it ends with %v", err)
	}
	if err := readEvents(strings.NewReader("data: "+strings.Repeat("x", maxEventBytes+1)), nil); err == nil || err == io.EOF {
		t.Errorf("a line without end: %v", err)
	}
}

func FuzzEventsNeverFail(f *testing.F) {
	f.Add("id: 1\ndata: a\r\n\n", 3)
	f.Add("data\r\rdata:\n\n\x00:\n", 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		read := func(r io.Reader) (list []string) {
			if err := readEvents(r, func(e event) error {
				list = append(list, e.id+"|"+e.name+"|"+string(e.data))
				return nil
			}); err != io.EOF {
				t.Errorf("%q: %v", text, err)
			}
			return list
		}
		whole, bits := read(strings.NewReader(text)), read(iotest.HalfReader(strings.NewReader(text)))
		if strings.Join(whole, ";") != strings.Join(bits, ";") {
			t.Errorf("%q read whole gives %q, in bits %q", text, whole, bits)
		}
	})
}

func TestTailingGoesOnFromTheLastEvent(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RequestURI()+" "+r.Header.Get("Last-Event-ID")+r.Header.Get("Authorization"))
		if r.Header.Get("Last-Event-ID") == "9" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			_, _ = io.WriteString(w, `{"type":"urn:penstock:problem:shutting-down","status":503,"detail":"too many"}`)
			return
		}
		_, _ = io.WriteString(w, "retry: 1\n\nid: 8\nevent: decision\ndata: {\"id\":\"a\",\"rev\":8}\n\nid: 9\nevent: other\ndata: x\n\nid: 10\ndata: cut")
	}))
	defer s.Close()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	a, err := NewAdmin(s.URL, "t", hc)
	if err != nil {
		t.Fatal(err)
	}
	var got []Decision
	last, err := a.TailDecisions(t.Context(), DecisionQuery{Knob: "k"}, "", func(d Decision) error {
		got = append(got, d)
		return nil
	})
	if _, ok := errors.AsType[*ConnError](err); !ok || !errors.Is(err, ErrBroken) || last != "9" || len(got) != 1 || got[0].Rev != 8 {
		t.Errorf("got %+v, last %q, %v", got, last, err)
	}
	_, err = a.TailDecisions(t.Context(), DecisionQuery{}, last, nil)
	if p, ok := errors.AsType[*Problem](err); !ok || p.Status != 503 {
		t.Errorf("refused: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.TailDecisions(ended, DecisionQuery{}, "", nil); err == nil {
		t.Error("an ended context is no error")
	}
	if want := "/admin/v1/decisions/stream?knob=k Bearer t;/admin/v1/decisions/stream 9Bearer t"; strings.Join(asked, ";") != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
}
