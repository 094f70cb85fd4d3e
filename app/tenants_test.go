package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"penstock/tenant"
)

// askWith sends a request with headers: name, value, name, value ...
func (h *house) askWith(method, path, body string, header ...string) answer {
	h.t.Helper()
	req, err := http.NewRequest(method, h.dataURL(path), strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b := new(strings.Builder)
	if err := resp.Write(b); err != nil {
		h.t.Fatal(err)
	}
	_, text, _ := strings.Cut(b.String(), "\r\n\r\n")
	return answer{resp.StatusCode, resp.Header, text}
}

// from sends a request as if it came from that address.
func (h *house) from(remoteAddr, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = remoteAddr
	w := httptest.NewRecorder()
	h.data.http.Handler.ServeHTTP(w, r)
	return w
}

// seen remembers the header of the last request.
type seen struct {
	mu   sync.Mutex
	last http.Header
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.last = r.Header.Clone()
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "max-age=60")
	_, _ = fmt.Fprint(w, "answer to ", r.URL.Path)
}

func (s *seen) header(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.Get(name)
}

func TestWithoutKeysTheServiceIsOpenToThisMachineAndSaysSo(t *testing.T) {
	up := new(seen)
	h := open(t, smallest, up)
	h.askWith("GET", "/proxy/movies/a", "", "Authorization", "Bearer theirs", "X-Api-Key", "theirs too", "X-Tenant", "shop").expect(t, 200, "answer to /a")
	if up.header("Authorization") != "Bearer theirs" || up.header("X-Api-Key") != "theirs too" || up.header("X-Tenant") != "" {
		t.Errorf("the upstream saw %v", up.last)
	}
	if !strings.Contains(h.log.String(), "no API keys are configured") {
		t.Errorf("the log does not say how open the service is:\n%s", h.log)
	}
	if w := h.from("192.0.2.7:1234", "/proxy/movies/a"); w.Code != 401 || !strings.Contains(w.Body.String(), "tenants.anonymous") {
		t.Errorf("a client of the network got %d %s", w.Code, w.Body)
	}
	if w := h.from("192.0.2.7:1234", "/readyz"); w.Code != 200 {
		t.Errorf("readiness: %d", w.Code)
	}
	h.write(strings.Replace(h.read(), "upstreams:", "tenants: {anonymous: any}\nupstreams:", 1))
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	if w := h.from("192.0.2.7:1234", "/proxy/movies/a"); w.Code != 200 {
		t.Errorf("with anonymous: any a client of the network got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(h.log.String(), "tenants.anonymous is any") {
		t.Errorf("the log does not tell of the change:\n%s", h.log)
	}
}

func (h *house) read() string {
	return fmt.Sprintf("upstreams:\n  movies:\n    base_url: %s\n", h.current.Load().Config.Upstreams["movies"].BaseURL)
}

func TestKeysAreAskedForAndTakeEffectAtOnce(t *testing.T) {
	up := new(seen)
	h := open(t, smallest, up)
	h.askWith("GET", "/proxy/movies/a", "").expect(t, 200)
	key, other := tenant.NewKey(), tenant.NewKey()
	withKeys := h.read() + `    pass_headers: [Authorization]
routes:
  film: {upstream: movies, path: "/films/{id}"}
tenants:
  accounts:
    shop: {keys: ["` + tenant.HashOf(key).String() + `"], rates: [{limit: 3, per: 1h}]}
    batch: {keys: ["` + tenant.HashOf(other).String() + `"], max_urgency: 5, weight: 4, cache_share: 0}
`
	h.write(withKeys)
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	h.askWith("GET", "/proxy/movies/a", "").expect(t, 401, "urn:penstock:problem:unauthorized", "X-Api-Key")
	h.askWith("GET", "/v1/stats", "").expect(t, 401)
	h.askWith("GET", "/v1/stats", "", "X-Api-Key", other).expect(t, 200)
	h.askWith("GET", "/proxy/movies/a", "", "Authorization", "Bearer "+key+"x").expect(t, 401)
	a := h.askWith("GET", "/proxy/movies/b", "", "Authorization", "Bearer "+key, "X-Tenant", "batch").expect(t, 200, "answer to /b")
	if a.header.Get("RateLimit") != `"default";r=2;t=1200` || a.header.Get("RateLimit-Policy") != `"default";q=3;w=3600` {
		t.Errorf("header %v", a.header)
	}
	if up.header("Authorization") != "" || up.header("X-Tenant") != "" {
		t.Errorf("the upstream saw %v", up.last)
	}
	h.askWith("POST", "/v1/requests", `{"route":"film","params":{"id":1}}`, "Authorization", "Bearer "+key).expect(t, 200, "answer to /films/1")
	if up.header("Authorization") != "" {
		t.Error("the key reached the upstream through pass_headers")
	}
	hit := h.askWith("GET", "/proxy/movies/b", "", "X-Api-Key", key).expect(t, 200)
	if !strings.Contains(hit.header.Get("Cache-Status"), "hit") {
		t.Errorf("Cache-Status %q", hit.header.Get("Cache-Status"))
	}
	over := h.askWith("GET", "/proxy/movies/b", "", "X-Api-Key", key).expect(t, 429, "quota-exceeded")
	if over.header.Get("Retry-After") != "1200" {
		t.Errorf("Retry-After %q: hits must count too", over.header.Get("Retry-After"))
	}

	// Another tenant has a rate, an urgency and a share of its own.
	for range 2 {
		a = h.askWith("GET", "/proxy/movies/c", "", "X-Api-Key", other, "Priority", "u=0", "Authorization", "Bearer theirs").expect(t, 200)
	}
	if a.header.Get("RateLimit") != "" || strings.Contains(a.header.Get("Cache-Status"), "hit") {
		t.Errorf("header %v", a.header)
	}
	if up.header("Authorization") != "Bearer theirs" {
		t.Error("the upstream's own credentials did not pass beside X-Api-Key")
	}

	// The rate outlives a reload that leaves it; a key that is taken away ends at once.
	h.write(strings.Replace(withKeys, "weight: 4", "weight: 2", 1))
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	h.askWith("GET", "/proxy/movies/b", "", "X-Api-Key", key).expect(t, 429)
	if w := h.tenants.Weight("batch"); w != 2 {
		t.Errorf("weight %v", w)
	}
	h.write(strings.Replace(withKeys, tenant.HashOf(key).String(), tenant.HashOf(tenant.NewKey()).String(), 1))
	if _, err := h.Reload("test"); err != nil {
		t.Fatal(err)
	}
	h.askWith("GET", "/proxy/movies/b", "", "X-Api-Key", key).expect(t, 401)
	h.askWith("GET", "/proxy/movies/b", "", "X-Api-Key", other).expect(t, 200)
	if strings.Contains(h.log.String(), key) || strings.Contains(h.log.String(), other) {
		t.Error("the log holds a key")
	}
}

func TestAFaultyHashChangesNothing(t *testing.T) {
	h := open(t, smallest, new(seen))
	h.write(h.read() + "tenants: {accounts: {a: {keys: [psk_hunter2]}}}\n")
	_, err := h.Reload("test")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("%v", err)
	}
	h.askWith("GET", "/proxy/movies/a", "").expect(t, 200)
}

func TestManyTenantsAndHostileKeys(t *testing.T) {
	h := open(t, smallest+"tenants: {default: {rates: [{limit: 1, per: 1h}]}}\n", new(seen))
	for i := range 300 {
		h.askWith("GET", "/proxy/movies/a", "", "X-Tenant", fmt.Sprint("t", i)).expect(t, 200)
	}
	h.askWith("GET", "/proxy/movies/a", "", "X-Tenant", "t7").expect(t, 429)
	h.askWith("GET", "/proxy/movies/a", "", "X-Tenant", "a b").expect(t, 400)

	key := tenant.NewKey()
	k := open(t, smallest+"tenants: {accounts: {a: {keys: ['"+tenant.HashOf(key).String()+"']}}}\n", new(seen))
	k.askWith("GET", "/proxy/movies/a", "", "X-Api-Key", strings.Repeat("x", 60_000)).expect(t, 401)
	if a := k.askWith("GET", "/proxy/movies/a", "", "X-Api-Key", strings.Repeat("x", 1<<20)); a.status != 431 {
		t.Errorf("a megabyte of key: %d", a.status)
	}
	k.askWith("GET", "/proxy/movies/a", "", "X-Api-Key", key).expect(t, 200)
}
