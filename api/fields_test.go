package api

import (
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"penstock/request"
)

func TestCacheStatusFollowsRFC9211(t *testing.T) {
	check := func(want string, c request.CacheStatus) {
		t.Helper()
		if got := cacheStatus(&c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if want == "" {
			return
		}
		if _, err := httpsfv.UnmarshalList([]string{want}); err != nil {
			t.Errorf("%q is no structured field: %v", want, err)
		}
	}
	check("", request.CacheStatus{})
	check("penstock; hit; ttl=30", request.CacheStatus{Hit: true, HasTTL: true, TTL: 30900 * time.Millisecond})
	check("penstock; hit; ttl=-1; detail=served-stale", request.CacheStatus{Hit: true, HasTTL: true, TTL: -time.Millisecond, Detail: "served-stale"})
	check("penstock; fwd=miss; stored; collapsed", request.CacheStatus{Fwd: "miss", Stored: true, Collapsed: true})
	check("penstock; fwd=stale; fwd-status=503; ttl=-5; detail=stale-if-error", request.CacheStatus{Fwd: "stale", FwdStatus: 503, HasTTL: true, TTL: -5 * time.Second, Detail: "stale-if-error"})
	check(`penstock; fwd=bypass; detail="two \"words\""`, request.CacheStatus{Fwd: "bypass", Detail: "two \"words\"\n"})
}

func TestServerTimingIsInMilliseconds(t *testing.T) {
	ms := time.Millisecond
	check := func(want string, c request.CacheStatus, timing request.Timing) {
		t.Helper()
		if got := serverTiming(&c, timing); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check("", request.CacheStatus{}, request.Timing{})
	check("cache;desc=hit", request.CacheStatus{Hit: true}, request.Timing{})
	check("cache;desc=miss, queue;dur=3, batch;dur=5, upstream;dur=210.25", request.CacheStatus{Fwd: "miss"}, request.Timing{Queue: 3 * ms, Batch: 5 * ms, Upstream: 210*ms + 250*time.Microsecond})
	check("queue;dur=0.001", request.CacheStatus{}, request.Timing{Queue: time.Microsecond})
}

func TestServerTimingCanBeSwitchedOff(t *testing.T) {
	h := newDataHandler(t, hits(), func(o *DataOptions) { o.ServerTiming = func() bool { return false } })
	if w := ask(h, "GET", "/proxy/movies/x", ""); w.Header().Get("Server-Timing") != "" || w.Header().Get("Cache-Status") != "penstock; hit; ttl=42" {
		t.Errorf("header %v", w.Header())
	}
}
