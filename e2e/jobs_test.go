package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// submit has the demo accept a job, and gives its id.
func (d *demo) submit(t *testing.T, tenant, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", d.data+"/v1/jobs", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Tenant", tenant)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var j struct{ ID string }
	if err := json.NewDecoder(resp.Body).Decode(&j); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return j.ID
}

// busyJobs has something of everything stand on the page of jobs: it goes on until ctx ends.
func (d *demo) busyJobs(ctx context.Context, t *testing.T) {
	for i := range 12 {
		d.submit(t, [...]string{"shop", "mobile", "reports"}[i%3], fmt.Sprintf(`{"route":"movie","params":{"id":%d}}`, i+1))
	}
	d.submit(t, "reports", fmt.Sprintf(`{"route":"movie","params":{"id":99},"run_at":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)))
	d.submit(t, "mobile", `{"route":"movie","params":{"id":99999999}}`)
	const lines = 40_000
	in, feed := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, "POST", fmt.Sprintf("%s/v1/stream/search?size=%d", d.data, lines*20), in)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Priority", "u=7")
	r.Header.Set("X-Tenant", "nightly")
	go func() {
		for i := range lines {
			if _, err := fmt.Fprintf(feed, "{\"q\":\"line %6d\"}\n", i); err != nil {
				return
			}
		}
		_ = feed.Close()
	}()
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}()
}

func TestJobsAreLookedAtCancelledAndSentAgain(t *testing.T) {
	d := startDemo(t)
	id := d.submit(t, `<b>shop</b>`, fmt.Sprintf(`{"route":"movie","params":{"id":4},"run_at":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339)))
	b := open(t)
	axe := readAxe(t)
	b.visit(d.admin + "/jobs")
	b.until(fmt.Sprintf(`document.getElementById('list').innerText.includes(%q) && document.getElementById('list').innerText.includes('<b>shop</b>')`, id))
	b.run(`document.querySelector('#list th a').click()`)
	b.until(`document.getElementById('job')?.innerText.includes('queued')`)
	b.accessible(axe)
	b.overhear()
	b.click(`#job button.cancel`)
	b.until(`document.getElementById('ask').open`)
	b.click(`#ask button[value=yes]`)
	b.until(`window.heard.includes('is cancelled') && document.getElementById('job').innerText.includes('cancelled')`)
	b.click(`#job button.again`)
	b.until(`window.heard.includes('is sent again') && !document.getElementById('job').innerText.includes('cancelled')`)
	b.run(`document.querySelector('#job .close').click()`)
	b.until(`!document.getElementById('job')`)
	b.run(`[...document.querySelectorAll('.tile a')].find(a => a.textContent === 'cancelled').click()`)
	b.until(`document.getElementById('l-h').textContent.includes('cancelled') && location.search === '?state=cancelled'`)
}

func TestAStreamShowsItsProgressAndIsCancelled(t *testing.T) {
	d := startDemo(t)
	in, feed := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", d.data+"/v1/stream/movie?size=100", in)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(feed, "{\"id\":1}\n{\"id\":2}\n") }() // and no more
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := open(t)
	b.visit(d.admin + "/jobs")
	b.until(`document.getElementById('streams').innerText.includes('running') && document.getElementById('streams').innerText.includes('18.0 %')`)
	b.overhear()
	b.click(`#streams button.cancel`)
	b.until(`document.getElementById('ask').open`)
	b.click(`#ask button[value=yes]`)
	b.until(`window.heard.includes('The stream is cancelled') && document.getElementById('streams').innerText.includes('cancelled')`)
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("a cancelled stream ends as if it were whole")
	}
	_ = feed.Close()
}
