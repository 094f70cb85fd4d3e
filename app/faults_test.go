package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const withRoutes = `
upstreams:
  movies:
    base_url: UPSTREAM
    max_response_bytes: 2KiB
    timeouts: {total: 100ms}
    retry: {max_attempts: 1}
    breaker: {enabled: false}
  dead:
    base_url: http://127.0.0.1:1
    retry: {max_attempts: 1}
routes:
  movie:
    upstream: movies
    path: /movies/{id}
    params: {id: {pattern: "[0-9]+"}}
    cache: {ttl: 1m}
  dead:
    upstream: dead
    path: /x
server: {max_body_bytes: 4KiB}
`

// badUpstream hangs, answers too much, or breaks off, by path.
func badUpstream(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/movies/1":
		<-r.Context().Done()
	case "/movies/2":
		w.Header().Set("Content-Length", "4096")
		_, _ = w.Write(make([]byte, 4<<10))
	case "/movies/4": // as long, but without saying so
		for range 4 {
			_, _ = w.Write(make([]byte, 1<<10))
			w.(http.Flusher).Flush()
		}
	case "/movies/3":
		panic(http.ErrAbortHandler)
	default:
		_, _ = w.Write([]byte(`{"ok":true}`))
	}
}

func TestEveryBadInputIsAClearProblemDocument(t *testing.T) {
	h := open(t, withRoutes, http.HandlerFunc(badUpstream))
	for name, c := range map[string]struct {
		body    string
		status  int
		problem string
		detail  string
	}{
		"unknown route":      {`{"route":"movei","params":{"id":1}}`, 404, "unknown-route", "movei"},
		"missing param":      {`{"route":"movie"}`, 400, "invalid-params", `"id"`},
		"unknown param":      {`{"route":"movie","params":{"id":9,"x":1}}`, 400, "invalid-params", `"x"`},
		"param off pattern":  {`{"route":"movie","params":{"id":"abc"}}`, 400, "invalid-params", "pattern"},
		"bad JSON":           {`{"route":`, 400, "bad-request", ""},
		"not an object":      {`[1]`, 400, "bad-request", ""},
		"unknown field":      {`{"route":"movie","parms":{}}`, 400, "bad-request", "parms"},
		"trailing garbage":   {`{"route":"movie","params":{"id":9}} x`, 400, "bad-request", ""},
		"bad urgency":        {`{"route":"movie","params":{"id":9},"urgency":9}`, 400, "bad-request", "urgency"},
		"bad deadline":       {`{"route":"movie","params":{"id":9},"deadline_ms":-1}`, 400, "bad-request", "deadline"},
		"bad cache":          {`{"route":"movie","params":{"id":9},"cache":"maybe"}`, 400, "bad-request", "cache"},
		"oversize body":      {`{"route":"movie","params":{"id":"` + strings.Repeat("1", 5000) + `"}}`, 413, "body-too-large", "max_body_bytes"},
		"empty body":         {``, 400, "bad-request", ""},
		"upstream down":      {`{"route":"dead"}`, 502, "upstream-down", ""},
		"upstream hanging":   {`{"route":"movie","params":{"id":1}}`, 504, "upstream-timeout", ""},
		"answer too large":   {`{"route":"movie","params":{"id":2}}`, 502, "answer-too-large", "max_response_bytes"},
		"unknown too large":  {`{"route":"movie","params":{"id":4}}`, 502, "answer-too-large", "max_response_bytes"},
		"answer broken off":  {`{"route":"movie","params":{"id":3}}`, 502, "", ""},
		"deadline too short": {`{"route":"movie","params":{"id":1},"deadline_ms":10}`, 504, "deadline", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do("POST", h.dataURL("/v1/requests"), c.body)
			var doc struct {
				Type, Title, Detail, Instance string
				Status                        int
				RequestID                     string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
				t.Fatalf("no JSON: %s", a.body)
			}
			if a.status != c.status || doc.Status != c.status || a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("status %d (%d), type %s: %s", a.status, doc.Status, a.header.Get("Content-Type"), a.body)
			}
			if !strings.HasSuffix(doc.Type, c.problem) || !strings.Contains(doc.Detail, c.detail) ||
				doc.Title == "" || doc.Instance == "" || doc.RequestID == "" {
				t.Errorf("want problem %q with %q in its detail: %s", c.problem, c.detail, a.body)
			}
			if strings.Contains(a.body, "127.0.0.1") {
				t.Errorf("the document tells of a host: %s", a.body)
			}
		})
	}
	h.do("POST", h.dataURL("/v1/requests"), `{"route":"movie","params":{"id":9}}`).expect(t, 200, "ok")
	h.get("/proxy/nobody/x").expect(t, 404, "unknown-upstream")
	h.get("/proxy/movies/a/../../x").expect(t, 400, "bad-request")
	h.get("/proxy/movies/a/%2e%2e/%2e%2e/x").expect(t, 400, "bad-request")
	h.get("/nothing").expect(t, 404, "not-found")
	h.do("DELETE", h.dataURL("/v1/requests"), "").expect(t, 405, "method-not-allowed")
}
