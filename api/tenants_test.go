package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/request"
)

// headerTenants believes X-Tenant.
type headerTenants struct{}

func (headerTenants) Identify(r *http.Request) (Tenant, error) {
	v := r.Header["X-Tenant"]
	if len(v) > 1 || len(v) == 1 && (len(v[0]) > 128 || !visible(v[0])) {
		return Tenant{}, badHeader("X-Tenant", "must be one value")
	}
	delete(r.Header, "X-Tenant")
	if len(v) == 0 {
		return Tenant{}, nil
	}
	return Tenant{Name: v[0]}, nil
}

// oneTenant lets in who shows the key "good", as what it is.
type oneTenant struct{ Tenant }

func (o oneTenant) Identify(r *http.Request) (Tenant, error) {
	if r.Header.Get("X-Api-Key") != "good" {
		return Tenant{}, &request.Error{Problem: request.ProblemUnauthorized, Detail: "send a key"}
	}
	r.Header.Del("X-Api-Key")
	return o.Tenant, nil
}

// countdown is a quota of so many requests.
type countdown struct{ left int }

func (c *countdown) Take() (policy, state string, wait time.Duration) {
	if c.left == 0 {
		wait = 90 * time.Second
	} else {
		c.left--
	}
	policy, state = c.Look()
	return policy, state, wait
}

func (c *countdown) Look() (policy, state string) {
	return `"default";q=5;w=60`, `"default";r=` + strconv.Itoa(c.left) + `;t=60`
}

func withTenant(t Tenant) func(*DataOptions) {
	return func(o *DataOptions) { o.Tenants = oneTenant{t} }
}

// worked are the paths that do work, and shown those that only show something.
var (
	worked = []struct{ method, path, body string }{
		{"GET", "/proxy/movies/x", ""}, {"DELETE", "/proxy/movies/x", ""}, {"GET", "/proxy/nothing/x", ""},
		{"POST", "/v1/requests", `{"route":"brands"}`}, {"POST", "/v1/requests", `nonsense`}, {"POST", "/v1/batch", `[{"route":"brands"}]`},
	}
	shown = []string{"/v1/routes", "/v1/stats"}
)

func TestStrangersGetNothingButHealth(t *testing.T) {
	h := newDataHandler(t, func(context.Context, *request.Request) (*request.Response, error) {
		t.Error("a stranger's request went on")
		return reply(200, "{}"), nil
	}, withTenant(Tenant{Name: "a"}))
	check := func(method, path, body string) {
		for _, header := range [][]string{nil, {"X-Api-Key", "bad"}} {
			w := ask(h, method, path, body, header...)
			wantProblem(t, w, request.ProblemUnauthorized)
			if got := w.Header().Get("Www-Authenticate"); !strings.HasPrefix(got, "Bearer") {
				t.Errorf("%s %s: WWW-Authenticate is %q", method, path, got)
			}
		}
	}
	for _, c := range worked {
		check(c.method, c.path, c.body)
	}
	for _, path := range shown {
		check("GET", path, "")
	}
	for _, path := range []string{"/healthz", "/readyz", "/v1/openapi.yaml"} {
		if w := ask(h, "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestTheTenantTravelsAndItsKeyDoesNot(t *testing.T) {
	var got *request.Request
	h := newDataHandler(t, keep(&got), withTenant(Tenant{Name: "acme"}))
	for _, c := range []struct{ method, path, body string }{worked[0], worked[3], worked[5]} {
		if w := ask(h, c.method, c.path, c.body, "X-Api-Key", "good", "Authorization", "Basic theirs"); w.Code != 200 {
			t.Fatalf("%s: %d %s", c.path, w.Code, w.Body)
		}
		if got.Tenant != "acme" || got.Header.Get("X-Api-Key") != "" {
			t.Errorf("%s: tenant %q, header %v", c.path, got.Tenant, got.Header)
		}
		if proxied := strings.HasPrefix(c.path, proxyPrefix); proxied != (got.Header.Get("Authorization") != "") {
			t.Errorf("%s: the upstream's own credentials: %v", c.path, got.Header)
		}
	}
}

func TestUrgencyStopsAtTheTenantsCeiling(t *testing.T) {
	var got *request.Request
	h := newDataHandler(t, keep(&got), withTenant(Tenant{MaxUrgency: 4}))
	for _, c := range []struct {
		path, body, header string
		want               request.Urgency
	}{
		{"/proxy/movies/x", "", "u=0", 4},
		{"/proxy/movies/x", "", "u=4", 4},
		{"/proxy/movies/x", "", "u=6", 6},
		{"/proxy/movies/x", "", "", 4}, // the route says 3
		{"/v1/requests", `{"route":"movie","params":{"id":"1"},"urgency":0}`, "", 4},
		{"/v1/requests", `{"route":"movie","params":{"id":"1"}}`, "u=1", 4},
		{"/v1/requests", `{"route":"movie","params":{"id":"1"}}`, "", 4},
		{"/v1/requests", `{"route":"brands"}`, "", 5},
		{"/v1/requests", `{"route":"movie","params":{"id":"1"},"urgency":7}`, "u=0", 7},
		{"/v1/batch", `[{"route":"movie","params":{"id":"1"},"urgency":0}]`, "", 4},
		{"/v1/batch", `[{"route":"movie","params":{"id":"1"}}]`, "u=2", 4},
	} {
		header := []string{"X-Api-Key", "good"}
		if c.header != "" {
			header = append(header, "Priority", c.header)
		}
		got = nil
		if w := ask(h, "POST", c.path, c.body, header...); w.Code != 200 || got == nil {
			t.Fatalf("%+v: %d %s", c, w.Code, w.Body)
		}
		if got.Urgency() != c.want {
			t.Errorf("%+v: urgency %d", c, got.Urgency())
		}
	}
}

func TestEachRequestCountsAndIsRefusedOverTheRate(t *testing.T) {
	quota := &countdown{left: 5}
	upstream := replies(200, `{}`, "Ratelimit", `"theirs";r=9;t=1`, "Ratelimit-Policy", `"theirs";q=9;w=1`)
	h := newDataHandler(t, upstream, withTenant(Tenant{Quota: quota}))
	for _, path := range shown {
		ask(h, "GET", path, "", "X-Api-Key", "good")
	}
	ask(h, "GET", "/proxy/movies/x", "", "X-Api-Key", "bad")
	if quota.left != 5 {
		t.Fatalf("%d left: looking and being refused counts", quota.left)
	}
	for i, c := range worked[:5] {
		w := ask(h, c.method, c.path, c.body, "X-Api-Key", "good")
		if w.Code == 429 || w.Header().Get("Ratelimit-Policy") != `"default";q=5;w=60` || w.Header().Get("Ratelimit") != `"default";r=`+strconv.Itoa(4-i)+`;t=60` {
			t.Errorf("%s: %d %v", c.path, w.Code, w.Header())
		}
	}
	for _, c := range worked[:5] {
		w := ask(h, c.method, c.path, c.body, "X-Api-Key", "good")
		wantProblem(t, w, request.ProblemRateLimited)
		if w.Header().Get("Retry-After") != "90" || w.Header().Get("Ratelimit") != `"default";r=0;t=60` || w.Header().Get("Ratelimit-Policy") == "" {
			t.Errorf("%s: %v", c.path, w.Header())
		}
	}
}

func TestEachItemOfABatchCounts(t *testing.T) {
	quota := &countdown{left: 3}
	h := newDataHandler(t, replies(200, `{}`), withTenant(Tenant{Quota: quota}), withLimits(Limits{InFlight: 1}))
	w := ask(h, "POST", "/v1/batch?order=input", `[{"route":"brands"},{"route":"brands"},{"nonsense":1},{"id":"over","route":"brands"},{"route":"brands"}]`, "X-Api-Key", "good")
	if w.Code != 200 || w.Header().Get("Ratelimit") != `"default";r=3;t=60` {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if len(lines) != 6 {
		t.Fatalf("%d lines: %s", len(lines), w.Body)
	}
	for i, want := range []string{`"status":200`, `"status":200`, `"status":400`, `"id":"over"`, `"status":429`, `"ok":2,"failed":3`} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %s, want %s", i, lines[i], want)
		}
	}
	if !strings.Contains(lines[3], `"status":429`) || !strings.Contains(lines[3], `"retry_after":90`) || !strings.Contains(lines[3], "quota-exceeded") {
		t.Errorf("an item over the rate gets %s", lines[3])
	}
}

// tenantCases are the documented refusals of the data plane.
func tenantCases(t *testing.T) (all []contractCase) {
	strange := newDataHandler(t, replies(200, "{}"), withTenant(Tenant{}))
	over := newDataHandler(t, replies(200, "{}"), withTenant(Tenant{Quota: new(countdown)}))
	add := func(method, documented, target string, works bool) {
		r := httptest.NewRequest(strings.ToUpper(method), target, nil)
		all = append(all, contractCase{method, documented, "401", strange, r})
		if works {
			r = r.Clone(r.Context())
			r.Header.Set("X-Api-Key", "good")
			all = append(all, contractCase{method, documented, "429", over, r})
		}
	}
	for _, m := range operationMethods {
		add(m, "/proxy/{upstream}/{path}", "/proxy/movies/x", true)
	}
	add("post", "/v1/requests", "/v1/requests", true)
	add("post", "/v1/batch", "/v1/batch", false)
	for _, path := range shown {
		add("get", path, path, false)
	}
	return all
}
