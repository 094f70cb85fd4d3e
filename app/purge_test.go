package app

import (
	"strings"
	"testing"

	"penstock/tuner"
)

func TestAPurgeIsInTheLedgerWithItsAuthor(t *testing.T) {
	h := open(t, smallest, new(counted))
	h.do("GET", h.dataURL("/proxy/movies/a"), "")
	if got := h.do("POST", h.adminURL("/admin/v1/cache/purge"), `{"upstream":"movies"}`); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	found := h.ledger.Decisions(tuner.Filter{Knob: "cache"})
	if len(found) != 1 || found[0].Rule != "purge" || found[0].Author != "operator" || found[0].Upstream != "movies" || !strings.Contains(found[0].Reason, "the upstream movies of the cache: ") {
		t.Fatalf("%+v", found)
	}
	for range 2 * purgesAtOnce { // most come at once
		h.do("POST", h.adminURL("/admin/v1/cache/purge"), `{"key":"secret"}`)
	}
	found = h.ledger.Decisions(tuner.Filter{Knob: "cache"})
	if len(found) < purgesAtOnce || len(found) >= 2*purgesAtOnce {
		t.Errorf("%d lines of %d purges", len(found), 1+2*purgesAtOnce)
	}
	if strings.Contains(found[0].Reason, "secret") {
		t.Errorf("%s", found[0].Reason)
	}
}
