package app

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestTheJobsPageShowsJobsAndStreams(t *testing.T) {
	h := open(t, bulkConfig+"data_dir: "+t.TempDir()+"\n", newMovies())
	resp, feed := h.stream("/v1/stream/movie?size=200")
	defer resp.Body.Close()
	id := resp.Header.Get("X-Stream-Id")
	list := h.do("GET", h.adminURL("/admin/v1/streams"), "").expect(t, 200, id, `"size":200`)
	if other := h.do("GET", h.adminURL("/admin/v1/streams?tenant=other"), ""); strings.Contains(other.body, id) || !strings.Contains(list.body, `"running"`) {
		t.Errorf("of another tenant: %s; of all: %s", other.body, list.body)
	}
	job := h.askWith("POST", "/v1/jobs", `{"route":"movie","params":{"id":"gone"},"run_at":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`, "X-Tenant", "<i>")
	if job.status != http.StatusAccepted {
		t.Fatalf("%d %s", job.status, job.body)
	}
	_, jobID, _ := strings.Cut(job.header.Get("Location"), "/v1/jobs/")
	page := h.do("GET", h.adminURL("/jobs?tenant=%3Ci%3E&job="+jobID), "").expect(t, 200, id, jobID, "&lt;i&gt;", "gone", "Due")
	if strings.Contains(page.body, "<i>") {
		t.Error("a tenant's name is not escaped")
	}
	h.do("GET", h.adminURL("/jobs?state=dead&job=none"), "").expect(t, 200, "There is no job", "None is kept that matches")
	h.do("DELETE", h.adminURL("/admin/v1/streams/"+id), "").expect(t, 200, `"cancelled"`)
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("a cancelled stream ends as if it were whole")
	}
	_ = feed.Close()
}

func TestTheJobsPageSaysWhyThereAreNone(t *testing.T) {
	h := open(t, smallest, newMovies())
	h.do("GET", h.adminURL("/jobs"), "").expect(t, 200, "set data_dir", "No stream is under way")
}

func TestSecretParamsAreNotShown(t *testing.T) {
	got := maskParams(map[string]any{"id": 4, "api_key": "s3cret", "inner": map[string]any{"Password": "s3cret", "x": 1}})
	inner, _ := got["inner"].(map[string]any)
	if got["id"] != 4 || got["api_key"] != "***" || inner["Password"] != "***" || inner["x"] != 1 {
		t.Errorf("%v", got)
	}
}
