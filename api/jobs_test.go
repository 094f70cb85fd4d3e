package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"penstock/request"
)

// fakeJobs holds one job, mine, of no tenant.
type fakeJobs struct {
	state string
	err   error
	got   JobSpec
}

func (f *fakeJobs) job() Job {
	j := Job{ID: "mine", State: f.state, Route: "movie", Params: map[string]any{"id": "m1"}, Urgency: 3, Created: time.Unix(1, 0).UTC(), Attempts: 1, MaxAttempts: 5}
	if f.state == "done" {
		j.Ended, j.Result = time.Unix(2, 0).UTC(), &JobResult{Status: 200, Bytes: 2, URL: "/v1/jobs/mine/result"}
	}
	if f.state == "dead" {
		j.Error = &JobError{"urn:penstock:problem:upstream-down", "t", "d"}
		j.Webhook = &JobWebhook{URL: "http://example.org/", State: "failed", Attempts: 8, Error: "e"}
	}
	return j
}

func (f *fakeJobs) Submit(_ context.Context, s JobSpec) (Job, bool, error) {
	f.got = s
	return f.job(), s.Key != "", f.err
}

func (f *fakeJobs) Job(_ context.Context, id string) (Job, error) {
	if id != "mine" {
		return Job{}, request.Errorf(request.ProblemNotFound, "no such job")
	}
	return f.job(), nil
}

func (f *fakeJobs) Jobs(context.Context, JobFilter) ([]Job, error) { return []Job{f.job()}, f.err }

func (f *fakeJobs) Result(context.Context, string) (*request.Response, error) {
	if f.state != "done" {
		return nil, request.Errorf(request.ProblemConflict, "not yet")
	}
	return reply(200, "{}"), nil
}

func (f *fakeJobs) change(ctx context.Context, id string) (Job, error) {
	if f.err != nil {
		return Job{}, f.err
	}
	return f.Job(ctx, id)
}

func (f *fakeJobs) Cancel(ctx context.Context, id string) (Job, error) { return f.change(ctx, id) }
func (f *fakeJobs) Retry(ctx context.Context, id string) (Job, error)  { return f.change(ctx, id) }
func (f *fakeJobs) Watch(string) (<-chan struct{}, func())             { return nil, func() {} }
func (f *fakeJobs) Counts() map[string]int                             { return map[string]int{"done": 1} }

func withJobs(j Jobs) func(*DataOptions) {
	return func(o *DataOptions) { o.Jobs = j }
}

func jobCases(t *testing.T) (all []contractCase) {
	const path, good = "/v1/jobs", `{"route":"movie","params":{"id":"m1"},"delay_ms":10}`
	post := func(target, body string, header ...string) *http.Request {
		r := httptest.NewRequest("POST", target, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	get := func(target string) *http.Request { return httptest.NewRequest("GET", target, nil) }
	data := func(f *fakeJobs, more ...func(*DataOptions)) http.Handler {
		return newDataHandler(t, replies(200, "{}"), append(more, withJobs(f))...)
	}
	unknown := func(o *DataOptions) { o.Tenants = keyTenants{} }
	conflict := &fakeJobs{state: "done", err: request.Errorf(request.ProblemConflict, "ended")}
	done, running, dead := &fakeJobs{state: "done"}, &fakeJobs{state: "running"}, &fakeJobs{state: "dead"}
	over := func(o *DataOptions) { o.Tenants = overTenants{} }
	away := &request.Error{Problem: request.ProblemUnavailable, Detail: "away", RetryAfter: time.Second}
	all = append(all,
		contractCase{"post", "/v1/requests", "202", data(running), post("/v1/requests", good, "Prefer", "respond-async")},
		contractCase{"post", path, "202", data(running), post(path, good)},
		contractCase{"post", path, "202", data(dead), post(path, good, "Idempotency-Key", `"k"`, "Prefer", "wait=5")},
		contractCase{"post", path, "400", data(done), post(path, `{"route":"movie","params":{"id":"?"},"run_at":7}`)},
		contractCase{"post", path, "401", data(done, unknown), post(path, good)},
		contractCase{"post", path, "403", data(done), post(path, `{"route":"movie","params":{"id":"m1"},"webhook":"http://a/"}`)},
		contractCase{"post", path, "404", data(done), post(path, `{"route":"film"}`)},
		contractCase{"post", path, "413", data(done), post(path, strings.Repeat(" ", maxJobBytes)+good)},
		contractCase{"post", path, "422", data(&fakeJobs{err: request.Errorf(request.ProblemUnprocessable, "key")}), post(path, good)},
		contractCase{"post", path, "429", data(done, over), post(path, good)},
		contractCase{"post", path, "503", data(&fakeJobs{err: away}), post(path, good)},
		contractCase{"post", path, "503", newDataHandler(t, replies(200, "")), post(path, good)},
		contractCase{"get", path, "200", data(done), get(path + "?state=done,dead&limit=1")},
		contractCase{"get", path, "400", data(done), get(path + "?state=lost")},
		contractCase{"get", path, "401", data(done, unknown), get(path)},
		contractCase{"get", path, "503", data(&fakeJobs{err: away}), get(path)},
		contractCase{"get", path + "/{id}", "200", data(dead), get(path + "/mine")},
		contractCase{"get", path + "/{id}", "401", data(done, unknown), get(path + "/mine")},
		contractCase{"get", path + "/{id}", "404", data(done), get(path + "/other")},
		contractCase{"get", path + "/{id}/result", "default", data(done), get(path + "/mine/result")},
		contractCase{"get", path + "/{id}/result", "401", data(done, unknown), get(path + "/mine/result")},
		contractCase{"get", path + "/{id}/result", "404", data(done), get(path + "/other/result")},
		contractCase{"get", path + "/{id}/result", "409", data(running), get(path + "/mine/result")},
		contractCase{"get", path + "/{id}/events", "200", data(done), get(path + "/mine/events")},
		contractCase{"get", path + "/{id}/events", "401", data(done, unknown), get(path + "/mine/events")},
		contractCase{"get", path + "/{id}/events", "404", data(done), get(path + "/other/events")})
	bad := get(path + "/mine")
	bad.Header.Set("Prefer", "wait=never")
	all = append(all, contractCase{"get", path + "/{id}", "400", data(done), bad})
	for _, op := range []string{"/cancel", "/retry"} {
		all = append(all,
			contractCase{"post", path + "/{id}" + op, "200", data(done), post(path+"/mine"+op, "")},
			contractCase{"post", path + "/{id}" + op, "401", data(done, unknown), post(path+"/mine"+op, "")},
			contractCase{"post", path + "/{id}" + op, "404", data(done), post(path+"/other"+op, "")},
			contractCase{"post", path + "/{id}" + op, "409", data(conflict), post(path+"/mine"+op, "")})
	}
	return append(all, adminJobCases(t, done, conflict, get, post)...)
}

func adminJobCases(t *testing.T, done, conflict *fakeJobs, get func(string) *http.Request, post func(string, string, ...string) *http.Request) (all []contractCase) {
	const path = "/admin/v1/jobs"
	plane := func(f *fakeJobs) http.Handler { return newAdminHandler(t, func(o *AdminOptions) { o.Jobs = f }) }
	all = append(all,
		contractCase{"get", path, "200", plane(done), get(path + "?tenant=a&state=done")},
		contractCase{"get", path, "400", plane(done), get(path + "?limit=none")},
		contractCase{"get", path, "503", plane(&fakeJobs{err: request.Errorf(request.ProblemUnavailable, "away")}), get(path)},
		contractCase{"get", path + "/{id}", "200", plane(done), get(path + "/mine")},
		contractCase{"get", path + "/{id}", "404", plane(done), get(path + "/other")})
	for _, op := range []string{"/cancel", "/retry"} {
		all = append(all,
			contractCase{"post", path + "/{id}" + op, "200", plane(done), post(path+"/mine"+op, "")},
			contractCase{"post", path + "/{id}" + op, "404", plane(done), post(path+"/other"+op, "")},
			contractCase{"post", path + "/{id}" + op, "409", plane(conflict), post(path+"/mine"+op, "")})
	}
	return all
}

// keyTenants know nobody, overTenants know somebody who has used up the rate.
type keyTenants struct{}

func (keyTenants) Identify(*http.Request) (Tenant, error) {
	return Tenant{}, request.Errorf(request.ProblemUnauthorized, "no key")
}

type overTenants struct{}

func (overTenants) Identify(*http.Request) (Tenant, error) {
	return Tenant{Quota: usedUp{}}, nil
}

type usedUp struct{}

func (usedUp) Take() (string, string, time.Duration) {
	return `"default";q=1;w=1`, `"default";r=0;t=1`, time.Second
}
func (usedUp) Look() (string, string) { return `"default";q=1;w=1`, `"default";r=0;t=1` }

func TestASubmissionKeepsWhatTheJobNeeds(t *testing.T) {
	f := &fakeJobs{state: "queued"}
	w := ask(newDataHandler(t, replies(200, ""), withJobs(f)), "POST", "/v1/jobs",
		`{"route":"movie","params":{"id":"m1"},"deadline_ms":1000,"delay_ms":5000,"urgency":6,"max_attempts":2}`,
		"Priority", "u=1", "Idempotency-Key", `"a\"b"`, "Prefer", "wait=0")
	if w.Code != 400 { // a wait of no time is no wait
		t.Errorf("wait=0: %d", w.Code)
	}
	w = ask(newDataHandler(t, replies(200, ""), withJobs(f)), "POST", "/v1/jobs",
		`{"route":"movie","params":{"id":"m1"},"deadline_ms":1000,"delay_ms":5000,"urgency":6,"max_attempts":2}`,
		"Priority", "u=1", "Idempotency-Key", `"a\"b"`)
	got := f.got
	if w.Code != 202 || got.Key != `a"b` || got.Urgency != 6 || got.MaxAttempts != 2 || got.Route != "movie" || w.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %+v", w.Code, got)
	}
	if bytes.Contains(got.Call, []byte("delay_ms")) || !bytes.Contains(got.Call, []byte(`"id":"m1"`)) {
		t.Errorf("kept %s", got.Call)
	}
	if d := got.Deadline.Sub(got.RunAt); d != time.Second {
		t.Errorf("the deadline is %v after the job is due", d)
	}
	first := got.Fingerprint
	ask(newDataHandler(t, replies(200, ""), withJobs(f)), "POST", "/v1/jobs",
		` {"max_attempts":2, "params":{"id":"m1"},"deadline_ms":1000,"urgency":6,"delay_ms":5000,"route":"movie"}`)
	if f.got.Fingerprint != first || first == "" {
		t.Errorf("fingerprints %s and %s of the same request", first, f.got.Fingerprint)
	}
}

// echoBulk answers every line with its params.
type echoBulk struct{}

func (echoBulk) Run(ctx context.Context, s BulkStream) error {
	if s.Select == "bad" {
		return request.Errorf(request.ProblemBadRequest, "bad path")
	}
	in := bufio.NewScanner(s.In)
	for n := s.First; in.Scan(); n++ {
		var params map[string]any
		_ = json.Unmarshal(in.Bytes(), &params)
		_, err := s.Build(ctx, n, params)
		if err := s.Write(append(s.Encode(n, reply(200, "{}"), []byte("{}"), err), '\n')); err != nil {
			return err
		}
	}
	return in.Err()
}

func bulkCases(t *testing.T) []contractCase {
	const path = "/v1/stream/{route}"
	h := newDataHandler(t, replies(200, ""), func(o *DataOptions) { o.Bulk = echoBulk{} })
	unknown := newDataHandler(t, replies(200, ""), func(o *DataOptions) { o.Tenants = keyTenants{} })
	post := func(target string) *http.Request {
		return httptest.NewRequest("POST", target, strings.NewReader("{\"id\":\"m1\"}\n{\"id\":\"?\"}\n"))
	}
	ask(h, "POST", "/v1/stream/movie", "{}")
	d := h.(*data)
	id := d.bulk.List(nil)[0].ID
	plane := newAdminHandler(t, func(o *AdminOptions) { o.Streams = d.bulk })
	locked := newAdminHandler(t, func(o *AdminOptions) { o.Streams, o.Token = d.bulk, func() string { return "s3cret" } })
	shown := newAdminHandler(t, func(o *AdminOptions) { o.Streams, o.ReadOnly = d.bulk, func() bool { return true } })
	admin := func(method, path string) *http.Request {
		return httptest.NewRequest(method, "/admin/v1/streams"+path, nil)
	}
	return []contractCase{
		{"get", "/admin/v1/streams", "200", plane, admin("GET", "?tenant=")},
		{"get", "/admin/v1/streams", "401", locked, admin("GET", "")},
		{"delete", "/admin/v1/streams/{id}", "200", plane, admin("DELETE", "/"+id)},
		{"delete", "/admin/v1/streams/{id}", "404", plane, admin("DELETE", "/x")},
		{"delete", "/admin/v1/streams/{id}", "401", locked, admin("DELETE", "/x")},
		{"delete", "/admin/v1/streams/{id}", "403", shown, admin("DELETE", "/x")},
		{"post", path, "200", h, post("/v1/stream/movie?offset=7&order=ready&size=100")},
		{"post", path, "400", h, post("/v1/stream/movie?order=up")},
		{"post", path, "400", h, post("/v1/stream/movie?select=bad")},
		{"post", path, "401", unknown, post("/v1/stream/movie")},
		{"post", path, "404", h, post("/v1/stream/film")},
		{"post", path, "503", newDataHandler(t, replies(200, "")), post("/v1/stream/movie")},
		{"get", "/v1/streams", "200", h, httptest.NewRequest("GET", "/v1/streams", nil)},
		{"get", "/v1/streams", "401", unknown, httptest.NewRequest("GET", "/v1/streams", nil)},
		{"get", "/v1/streams/{id}/events", "200", h, httptest.NewRequest("GET", "/v1/streams/"+id+"/events", nil)},
		{"get", "/v1/streams/{id}/events", "401", unknown, httptest.NewRequest("GET", "/v1/streams/x/events", nil)},
		{"get", "/v1/streams/{id}/events", "404", h, httptest.NewRequest("GET", "/v1/streams/x/events", nil)},
		{"delete", "/v1/streams/{id}", "200", h, httptest.NewRequest("DELETE", "/v1/streams/"+id, nil)},
		{"delete", "/v1/streams/{id}", "401", unknown, httptest.NewRequest("DELETE", "/v1/streams/x", nil)},
		{"delete", "/v1/streams/{id}", "404", h, httptest.NewRequest("DELETE", "/v1/streams/x", nil)},
	}
}
