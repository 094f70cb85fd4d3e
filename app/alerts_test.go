package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/observe"
	"penstock/scheduler"
)

// hook is a webhook's receiver on a real socket.
type hook struct {
	url     string
	notices chan received
}

// received is what Alertmanager's webhook form has of interest.
type received struct {
	Version, Status, Receiver, ExternalURL string
	Alerts                                 []struct {
		Status       string
		Labels       map[string]string
		GeneratorURL string
	}
	auth string
}

func newHook(t *testing.T) *hook {
	h := &hook{notices: make(chan received, 100)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n received
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Errorf("the notice is no JSON: %v", err)
		}
		n.auth = r.Header.Get("Authorization")
		h.notices <- n
	}))
	t.Cleanup(s.Close)
	h.url = s.URL + "/hook/url-s3cret"
	return h
}

const alertConfig = `
upstreams:
  movies: {base_url: UPSTREAM}
monitoring:
  sampling_interval: 100ms
  public_url: https://penstock.example/x
  alert_rules:
    ReloadFailed: {labels: {team: films}}
  alert_webhooks:
    ops: {url: HOOK, group_wait: 1s, group_interval: 1s, credential: {header: Authorization, prefix: "Bearer ", file: KEY}}
`

func TestAnAlertIsToldToAWebhookWhenItFiresAndWhenItEnds(t *testing.T) {
	hook := newHook(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("h00k-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("HOOK", hook.url, "KEY", key).Replace(alertConfig)
	h := open(t, config, http.NotFoundHandler())
	good, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	h.write("upstreams: [faulty")
	h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 422)
	n := <-hook.notices
	if n.Version != "4" || n.Status != "firing" || n.Receiver != "ops" || n.ExternalURL != "https://penstock.example/x/" || n.auth != "Bearer h00k-key" {
		t.Errorf("the notice is %+v", n)
	}
	if a := n.Alerts[0]; a.Labels["alertname"] != "ReloadFailed" || a.Labels["team"] != "films" || a.GeneratorURL != "https://penstock.example/x/alerts" {
		t.Errorf("the alert is %+v", a)
	}
	h.eventually("the notice counts as sent", func() bool { return h.webhooks.Totals().Sent == 1 })
	view := h.do("GET", h.adminURL("/admin/v1/alerts"), "").expect(t, 200, `"rule":"ReloadFailed"`, `"state":"firing"`, `"since":"`, `"sent":1`, `/***"`)
	if strings.Contains(view.body, "s3cret") || strings.Contains(view.body, "h00k") {
		t.Errorf("a secret is shown: %s", view.body)
	}
	h.do("GET", h.adminURL("/metrics"), "").expect(t, 200, `penstock_alerts{state="firing"} 1`, `penstock_alert_notices_total{result="sent"} 1`)

	h.write(string(good))
	h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 200)
	if n := <-hook.notices; n.Status != "resolved" || n.Alerts[0].Labels["alertname"] != "ReloadFailed" {
		t.Errorf("the second notice is %+v", n)
	}
	h.eventually("the notice counts as sent", func() bool { return h.webhooks.Totals().Sent == 2 })
	h.do("GET", h.adminURL("/admin/v1/alerts"), "").expect(t, 200, `"alerts":[]`, `"resolved_at":"`)
}

func TestAFaultyRuleOrWebhookChangesNothing(t *testing.T) {
	h := open(t, "upstreams:\n  movies: {base_url: UPSTREAM}\nmonitoring: {alert_rules: {X: {signal: rate, threshold: 5}}}\n", http.NotFoundHandler())
	good, _ := os.ReadFile(h.config)
	for _, bad := range []string{"X: {signal: rat, threshold: 7}", "X: {signal: rate, scope: world}"} {
		h.write(strings.Replace(string(good), "X: {signal: rate, threshold: 5}", bad, 1))
		h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 422, "monitoring.alert_rules.X")
	}
	h.write(string(good) + "  \n")
	h.do("GET", h.adminURL("/admin/v1/alerts"), "").expect(t, 200, `"name":"X"`, `"threshold":5`)
	h.write(strings.Replace(string(good), "threshold: 5", "threshold: 9", 1))
	h.do("POST", h.adminURL("/admin/v1/config/reload"), "").expect(t, 200)
	h.do("GET", h.adminURL("/admin/v1/alerts"), "").expect(t, 200, `"threshold":9`, `"source":"config"`)
}

func TestEveryListedSignalHasAValueInARunningApp(t *testing.T) {
	config := `
data_dir: DIR
upstreams:
  movies: {base_url: UPSTREAM, rates: [{limit: 1000, per: 1m}]}
`
	h := open(t, strings.Replace(config, "DIR", t.TempDir(), 1), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	h.get("/proxy/movies/a").expect(t, 200)
	var got observe.Sample
	a := h.App
	probe := observe.NewSampler(observe.SamplerOptions{Window: a.window, Facts: a.facts, OnSample: func(s observe.Sample) { got = s }})
	probe.Take()
	for _, sig := range observe.AlertSignals() {
		for _, scope := range sig.Scopes {
			upstream := ""
			switch scope {
			case observe.ScopeUpstream:
				upstream = "movies"
			case observe.ScopeRoute:
				if _, ok := got.Routes[observe.RouteName{Upstream: "movies", Route: "proxy"}]; !ok {
					t.Fatalf("the route has no signals: %v", got.Routes)
				}
				continue
			}
			if _, ok := got.Value(sig.Name, upstream); !ok {
				t.Errorf("%s of the %s has no value", sig.Name, scope)
			}
		}
	}
}

func TestAQuotaIsNearlyUsedByItsFullestLongWindow(t *testing.T) {
	rate := func(per float64, burst int, tokens float64) scheduler.RateStats {
		return scheduler.RateStats{Per: per, Burst: burst, Tokens: tokens}
	}
	if used, ok := quotaUsed([]scheduler.RateStats{rate(1, 10, 0)}, nil); ok {
		t.Errorf("a window of a second counts as %v", used)
	}
	if used, ok := quotaUsed([]scheduler.RateStats{rate(1, 10, 0), rate(60, 100, 75), rate(3600, 1000, 100)}, nil); !ok || used != .9 {
		t.Errorf("got %v, %v", used, ok)
	}
	if used, _ := quotaUsed([]scheduler.RateStats{rate(60, 10, -1e-9), rate(60, 10, 11)}, nil); used != 1 {
		t.Errorf("got %v", used)
	}
	day := scheduler.QuotaStats{Per: 86400, Limit: 1000, Left: 50}
	if used, ok := quotaUsed([]scheduler.RateStats{rate(60, 100, 75)}, []scheduler.QuotaStats{day}); !ok || used != .95 {
		t.Errorf("with a learned window: %v, %v", used, ok)
	}
	day.Expire = true
	if _, ok := quotaUsed(nil, []scheduler.QuotaStats{day}); ok {
		t.Error("a window that is believed no more counts")
	}
}
