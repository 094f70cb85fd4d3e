package app

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestABrokenFileChangesNothingAndSaysWhy(t *testing.T) {
	up := new(counted)
	h := open(t, smallest, up)
	before := h.current.Load()
	base := before.Config.Upstreams["movies"].BaseURL
	h.write("upstreams:\n  movies:\n    base_url: " + base + "\n    base_ulr: x\n  other: {}\ncache: {max_bytes: lots}\n")
	if _, err := h.Reload("signal"); err == nil {
		t.Fatal("a broken file was taken")
	}
	if h.current.Load() != before {
		t.Error("the configuration in force was changed")
	}
	h.get("/proxy/movies/x").expect(t, 200)
	for _, want := range []string{"base_ulr", "did you mean", "base_url", "max_bytes"} {
		if !strings.Contains(h.log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, h.log)
		}
	}
	var view struct {
		LastReload struct {
			OK     bool
			Error  string
			Errors []struct {
				Key  string
				Line int
			}
		} `json:"last_reload"`
	}
	a := h.do("GET", h.adminURL("/admin/v1/config"), "").expect(t, 200)
	if err := json.Unmarshal([]byte(a.body), &view); err != nil {
		t.Fatal(err)
	}
	if r := view.LastReload; r.OK || len(r.Errors) < 3 || r.Errors[0].Line == 0 {
		t.Errorf("GET config tells of the reload: %+v", r)
	}
	h.do("GET", h.adminURL("/metrics"), "").expect(t, 200,
		`penstock_config_reloads_total{result="failed"} 1`, "penstock_config_last_reload_successful 0")
	h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 422, "base_ulr", "did you mean")
	h.do("GET", h.adminURL("/"), "").expect(t, 200, "The last reload failed")

	h.write(strings.ReplaceAll(smallest, "UPSTREAM", base))
	h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 200, `"changes":[]`)
	h.do("GET", h.adminURL("/metrics"), "").expect(t, 200, "penstock_config_last_reload_successful 1")
}

func TestAReloadThatCantBeCarriedOutChangesNothing(t *testing.T) {
	h := open(t, smallest, new(counted))
	base := h.current.Load().Config.Upstreams["movies"].BaseURL
	for name, config := range map[string]string{
		"a missing secret": "upstreams:\n  movies:\n    base_url: " + base + "\n    credentials: [{header: Authorization, env: PENSTOCK_TEST_ABSENT}]\n  new:\n    base_url: " + base + "\n",
		"an unknown knob":  "upstreams:\n  movies: {base_url: \"" + base + "\"}\n  new: {base_url: \"" + base + "\"}\nknobs: {workers.nobody: 3}\n",
		"a bad pin":        "upstreams:\n  movies: {base_url: \"" + base + "\"}\n  new: {base_url: \"" + base + "\"}\nknobs: {workers.movies: 100000}\n",
	} {
		h.write(config)
		if _, err := h.Reload("api"); err == nil {
			t.Errorf("%s was taken", name)
		}
		if _, ok := h.Proxy("new"); ok {
			t.Errorf("%s: the new upstream is served all the same", name)
		}
		if _, ok := h.knobs.Lookup("workers.new"); ok {
			t.Errorf("%s: the new upstream's knob stayed", name)
		}
	}
	h.get("/proxy/movies/x").expect(t, 200)
}

func TestAReloadAddsChangesAndRemovesWhileRequestsGoOn(t *testing.T) {
	var failed, served atomic.Int64
	up := new(counted)
	h := open(t, smallest, up)
	base := h.current.Load().Config.Upstreams["movies"].BaseURL
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for i := range 8 {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				req, _ := http.NewRequest("GET", h.dataURL("/proxy/movies/load"), nil)
				req.Header.Set("Cache-Control", []string{"", "no-cache"}[(n+i)%2])
				resp, err := h.client.Do(req)
				if err != nil || resp.StatusCode != 200 {
					failed.Add(1)
				}
				if err == nil {
					resp.Body.Close()
				}
				served.Add(1)
			}
		})
	}
	for n := range 20 {
		workers := []string{"3", "40"}[n%2]
		more := []string{"", "  extra:\n    base_url: " + base + "\n"}[n%2]
		h.write("upstreams:\n  movies:\n    base_url: " + base + "\n    workers: {count: " + workers + "}\n    pool: {idle_timeout: " + workers + "s}\n" + more)
		if _, err := h.Reload("signal"); err != nil {
			t.Fatal(err)
		}
		at := served.Load()
		h.eventually("requests go on", func() bool { return served.Load() > at+20 })
		if _, ok := h.Proxy("extra"); ok != (n%2 == 1) {
			t.Errorf("after reload %d extra is there: %v", n, ok)
		}
	}
	cancel()
	load.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), served.Load())
	}
	if k, _ := h.knobs.Lookup("workers.movies"); k.Value() != 40 {
		t.Errorf("workers %v, want 40", k.Value())
	}
}

func TestFilePinsComeAndGoWithReloads(t *testing.T) {
	h := open(t, smallest, new(counted))
	base := h.current.Load().Config.Upstreams["movies"].BaseURL
	k, _ := h.knobs.Lookup("workers.movies")
	plain := strings.ReplaceAll(smallest, "UPSTREAM", base)
	h.write(plain + "knobs:\n  workers.movies: 7\n")
	if _, err := h.Reload("signal"); err != nil {
		t.Fatal(err)
	}
	if st := k.State(); st.Value != 7 || st.Pin == nil || !st.Pin.FromFile {
		t.Errorf("after the pin: %+v", st)
	}
	h.do("DELETE", h.adminURL("/admin/v1/knobs/workers.movies/pin"), "").expect(t, 422, "config file")
	h.write(plain)
	if _, err := h.Reload("signal"); err != nil {
		t.Fatal(err)
	}
	if st := k.State(); st.Pin != nil {
		t.Errorf("after its removal: %+v", st)
	}
	h.do("GET", h.adminURL("/admin/v1/decisions?knob=workers.movies"), "").expect(t, 200, `"rule":"pin"`)
}

func TestAChangedFileIsTakenByItself(t *testing.T) {
	h := open(t, smallest, new(counted))
	base := h.current.Load().Config.Upstreams["movies"].BaseURL
	ctx, cancel := context.WithCancel(context.Background())
	var poller sync.WaitGroup
	h.o.PollInterval = time.Millisecond
	poller.Go(func() { h.poll(ctx) })
	defer poller.Wait()
	defer cancel()
	h.write("") // as in the middle of a write
	next := h.config + ".new"
	if err := os.WriteFile(next, []byte("upstreams:\n  movies:\n    base_url: "+base+"\n    workers: {count: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, h.config); err != nil {
		t.Fatal(err)
	}
	h.eventually("the change is in force", func() bool {
		k, _ := h.knobs.Lookup("workers.movies")
		return k.Value() == 5
	})
}
