package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"penstock/jobs"
)

const jobsConfig = `
data_dir: DIR
upstreams: {movies: {base_url: UPSTREAM, retry: {max_attempts: 1}}}
routes:
  movie: {upstream: movies, path: "/movies/{id}", params: {id: {pattern: "[a-z0-9]+"}}, cache: {mode: "off"}}
jobs: {max_attempts: 2, backoff: 10ms, webhook_hosts: [RECEIVER], webhook_secret: {env: PENSTOCK_TEST_HOOKS}}
`

func withJobs(dir, hooks string) string {
	return strings.NewReplacer("DIR", dir, "RECEIVER", hooks).Replace(jobsConfig)
}

// movies answers by id: gone is 404, broken 500, slow waits until it is let go.
type movies struct{ slow chan struct{} }

func (m *movies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/movies/gone":
		http.NotFound(w, r)
	case "/movies/broken":
		http.Error(w, "broken", http.StatusInternalServerError)
	case "/movies/slow":
		select {
		case <-m.slow:
		case <-r.Context().Done():
		}
		fallthrough
	default:
		w.Header().Set("Content-Type", "text/plain")
		_, _ = fmt.Fprint(w, "movie ", r.URL.Path)
	}
}

func newMovies() *movies { return &movies{slow: make(chan struct{})} }

type jobView struct {
	ID, State, Tenant string
	Attempts          int
	Result            *struct{ Status int }
	Error             *struct{ Type, Detail string }
	Webhook           *struct{ State string }
}

func (a answer) job(t *testing.T) jobView {
	t.Helper()
	var v jobView
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return v
}

func movieJob(id, more string) string {
	return fmt.Sprintf(`{"route":"movie","params":{"id":%q}%s}`, id, more)
}

// ends waits for a job's end.
func (h *house) ends(id, want string) jobView {
	h.t.Helper()
	for {
		j := h.askWith("GET", "/v1/jobs/"+id, "", "Prefer", "wait=20").job(h.t)
		switch j.State {
		case "queued", "running":
			continue
		}
		if j.State != want {
			h.t.Errorf("job %+v, want %s", j, want)
		}
		return j
	}
}

func TestAJobIsAcceptedRunAndItsAnswerKept(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_HOOKS", "s3cret")
	dir := t.TempDir()
	h := open(t, withJobs(dir, "example.org"), newMovies())
	got := h.askWith("POST", "/v1/jobs", movieJob("m1", ""))
	if got.status != 202 || got.header.Get("Retry-After") == "" {
		t.Fatalf("submit: %d %s", got.status, got.body)
	}
	j := got.job(t)
	if got.header.Get("Location") != "/v1/jobs/"+j.ID {
		t.Errorf("location %q", got.header.Get("Location"))
	}
	h.ends(j.ID, "done")
	result := h.askWith("GET", "/v1/jobs/"+j.ID+"/result", "")
	if result.status != 200 || result.body != "movie /movies/m1" || result.header.Get("Content-Type") != "text/plain" {
		t.Errorf("result %d %q %v", result.status, result.body, result.header)
	}
	async := h.askWith("POST", "/v1/requests", movieJob("m2", ""), "Prefer", "respond-async, wait=20")
	if async.status != 202 || async.header.Get("Preference-Applied") != "respond-async" || async.job(t).State != "done" {
		t.Errorf("respond-async: %d %s", async.status, async.body)
	}
	failed := h.ends(h.askWith("POST", "/v1/jobs", movieJob("gone", "")).job(t).ID, "failed")
	dead := h.ends(h.askWith("POST", "/v1/jobs", movieJob("broken", "")).job(t).ID, "dead")
	if failed.Attempts != 1 || dead.Attempts != 2 || dead.Result.Status != 500 || dead.Error == nil {
		t.Errorf("failed %+v, dead %+v", failed, dead)
	}
	h = h.restart()
	if again := h.askWith("GET", "/v1/jobs/"+j.ID+"/result", ""); again.body != result.body {
		t.Errorf("after a restart: %d %q", again.status, again.body)
	}
	list := h.do("GET", h.adminURL("/admin/v1/jobs?state=dead"), "")
	if !strings.Contains(list.body, dead.ID) || strings.Contains(list.body, j.ID) || !strings.Contains(list.body, `"done":2`) {
		t.Errorf("the operator's list: %s", list.body)
	}
	if h.do("POST", h.adminURL("/admin/v1/jobs/"+dead.ID+"/retry"), "").status != 200 {
		t.Error("a dead job can't be sent again")
	}
	h.ends(dead.ID, "dead")
}

func TestAJobOfAnotherTenantIsNotThere(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_HOOKS", "s3cret")
	m := newMovies()
	h := open(t, withJobs(t.TempDir(), "example.org"), m)
	defer close(m.slow)
	j := h.askWith("POST", "/v1/jobs", movieJob("slow", ""), "X-Tenant", "a", "Idempotency-Key", `"k1"`).job(t)
	for _, path := range []string{"", "/result", "/events"} {
		if got := h.askWith("GET", "/v1/jobs/"+j.ID+path, "", "X-Tenant", "b"); got.status != 404 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	for _, path := range []string{"/cancel", "/retry"} {
		if got := h.askWith("POST", "/v1/jobs/"+j.ID+path, "", "X-Tenant", "b"); got.status != 404 {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := h.askWith("GET", "/v1/jobs", "", "X-Tenant", "b"); strings.Contains(got.body, j.ID) {
		t.Errorf("listed: %s", got.body)
	}
	other := h.askWith("POST", "/v1/jobs", movieJob("m1", ""), "X-Tenant", "b", "Idempotency-Key", `"k1"`)
	if other.status != 202 || other.job(t).ID == j.ID {
		t.Errorf("another's key: %d %s", other.status, other.body)
	}
	again := h.askWith("POST", "/v1/jobs", ` { "params" : {"id":"slow"}, "route":"movie" }`, "X-Tenant", "a", "Idempotency-Key", "k1")
	if again.status != 202 || again.job(t).ID != j.ID || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("replay: %d %s", again.status, again.body)
	}
	if got := h.askWith("POST", "/v1/jobs", movieJob("m2", ""), "X-Tenant", "a", "Idempotency-Key", "k1"); got.status != 422 {
		t.Errorf("another body: %d %s", got.status, got.body)
	}
	if got := h.askWith("POST", "/v1/jobs/"+j.ID+"/cancel", "", "X-Tenant", "a"); got.job(t).State != "cancelled" {
		t.Errorf("cancel: %s", got.body)
	}
	if got := h.askWith("POST", "/v1/jobs/"+j.ID+"/cancel", "", "X-Tenant", "a"); got.status != 409 {
		t.Errorf("cancel twice: %d %s", got.status, got.body)
	}
	if got := h.askWith("GET", "/v1/jobs/"+j.ID+"/result", "", "X-Tenant", "a"); got.status != 409 {
		t.Errorf("no result: %d %s", got.status, got.body)
	}
}

func TestAJobsEventsEndWithItsEnd(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_HOOKS", "s3cret")
	m := newMovies()
	h := open(t, withJobs(t.TempDir(), "example.org"), m)
	j := h.askWith("POST", "/v1/jobs", movieJob("slow", "")).job(t)
	resp, err := h.client.Get(h.dataURL("/v1/jobs/" + j.ID + "/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	close(m.slow)
	all, err := io.ReadAll(resp.Body) // ends by itself
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" || !strings.Contains(string(all), `"state":"done"`) {
		t.Errorf("%v: %s", err, all)
	}
}

func TestAWebhookGoesOnlyToAllowedHosts(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_HOOKS", "s3cret")
	type hook struct {
		header http.Header
		body   []byte
	}
	got := make(chan hook, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- hook{r.Header, body}
	}))
	defer receiver.Close()
	u, _ := url.Parse(receiver.URL)
	h := open(t, withJobs(t.TempDir(), `"`+u.Host+`"`), newMovies())
	if refused := h.askWith("POST", "/v1/jobs", movieJob("m1", `,"webhook":"http://169.254.169.254/"`)); refused.status != 403 {
		t.Errorf("a foreign host: %d %s", refused.status, refused.body)
	}
	j := h.askWith("POST", "/v1/jobs", movieJob("m1", `,"webhook":"`+receiver.URL+`/done"`)).job(t)
	hooked := <-got
	sign := jobs.Sign("s3cret", hooked.header.Get("Webhook-Id"), hooked.header.Get("Webhook-Timestamp"), hooked.body)
	if hooked.header.Get("Webhook-Signature") != sign || !strings.Contains(string(hooked.body), j.ID) {
		t.Errorf("webhook %v %s", hooked.header, hooked.body)
	}
}

func TestBadJobsAreRefusedWithAllTheirFaults(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_HOOKS", "s3cret")
	h := open(t, withJobs(t.TempDir(), "example.org"), newMovies())
	for body, want := range map[string]string{
		`{`:                                     `bad JSON`,
		`null`:                                  `null is no request`,
		`[]`:                                    `array`,
		`{"route":"film","params":{"id":"m1"}}`: `no route is named`,
		movieJob("?", ""):                       `id`,
		movieJob("m1", `,"run_at":"tomorrow"`):  `run_at must be a time`,
		movieJob("m1", `,"run_at":"2027-01-01T00:00:00Z","delay_ms":5,"max_attempts":0,"webhook":"ftp://x","urgency":9`): `has 4 faults`,
		movieJob("m1", `,"delay":5`): `delay_ms`,
	} {
		if got := h.askWith("POST", "/v1/jobs", body); got.status/100 != 4 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	if got := h.askWith("POST", "/v1/jobs", movieJob("m1", ""), "Idempotency-Key", strings.Repeat("k", 300)); got.status != 400 {
		t.Errorf("a long key: %d %s", got.status, got.body)
	}
	for _, query := range []string{"state=lost", "limit=0"} {
		if got := h.askWith("GET", "/v1/jobs?"+query, ""); got.status != 400 {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	off := open(t, "upstreams: {movies: {base_url: UPSTREAM}}\nroutes: {movie: {upstream: movies, path: /m}}", newMovies())
	if got := off.askWith("POST", "/v1/jobs", `{"route":"movie"}`); got.status != 503 || !strings.Contains(got.body, "data_dir") {
		t.Errorf("without data_dir: %d %s", got.status, got.body)
	}
	if got := off.askWith("POST", "/v1/requests", `{"route":"movie"}`, "Prefer", "respond-async"); got.status != 200 {
		t.Errorf("without data_dir a preference is passed over: %d %s", got.status, got.body)
	}
}
