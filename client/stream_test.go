package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock/client"
	"penstock/request"
)

func TestAStreamGivesItsAnswersAndTheirEnd(t *testing.T) {
	whole := true
	c, asked := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Priority") != "u=7" || r.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("headers %v", r.Header)
		}
		w.Header().Set("X-Stream-Id", "s1")
		_, _ = io.WriteString(w, `{"line":3,"status":200,"body":"`+strings.Repeat("x", 200_000)+"\"}\n"+`{"status":404,"line":4}`+"\n")
		if whole {
			_, _ = io.WriteString(w, `{"summary":{"state":"done","lines":2}}`+"\n")
		}
	}, client.Options{})
	u := request.Urgency(7)
	read := func() (lines []client.StreamLine, err error) {
		s, err := c.Stream(t.Context(), client.StreamQuery{Route: "mo/vie", Ready: true, Select: "$.a", Offset: 2, Plain: true, Urgency: &u}, strings.NewReader("{}\n{}\n"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for {
			l, _, err := s.Next()
			if lines = append(lines, l); err != nil {
				return lines, err
			}
		}
	}
	lines, err := read()
	if !errors.Is(err, io.EOF) || len(lines) != 3 || lines[0].Line != 3 || lines[1].Status != 404 || lines[2].Summary.Lines != 2 {
		t.Errorf("%+v, %v", lines, err)
	}
	if want := "POST /v1/stream/mo%2Fvie?numbered=false&offset=2&order=ready&select=%24.a {}\n{}"; *asked != want {
		t.Errorf("asked %q, want %q", *asked, want)
	}
	whole = false
	if _, err := read(); !errors.Is(err, client.ErrStreamIncomplete) {
		t.Errorf("a stream without a summary ends with %v", err)
	}
}

func FuzzParseStreamLine(f *testing.F) {
	for _, s := range []string{`{"line":17,"status":200,"body":1}`, `{"line":1,"status":404}`, `{"line":99999999999999999999,"status":200}`, `{"summary":{}}`, `{"line":1,"status":200`, `{"line":01,"status":200}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := client.ParseStreamLine(raw)
		if err != nil {
			return
		}
		if l.Summary == nil && (l.Line < 1 || l.Status == 0) {
			t.Fatalf("%q gives %+v", raw, l)
		}
		var slow client.StreamLine
		if json.Unmarshal(raw, &slow) == nil && strings.Count(string(raw), `"line"`) == 1 && strings.Count(string(raw), `"status"`) == 1 &&
			!strings.Contains(strings.ToLower(string(raw[1:])), `\u`) && strings.HasPrefix(string(raw), `{"line":`) && slow.Line != l.Line {
			t.Fatalf("%q gives %+v, and %+v with care", raw, l, slow)
		}
	})
}
