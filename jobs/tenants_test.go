package jobs

import (
	"testing"
	"time"
)

func TestEachTenantsJobsAreCountedByState(t *testing.T) {
	x, now := newIndex(), time.Now()
	revision := uint64(0)
	put := func(id, tenant string, state State) {
		revision++
		x.put(&Job{ID: id, Tenant: tenant, State: state, Created: now}, revision, now)
	}
	put("a", "shop", Queued)
	put("b", "shop", Done)
	put("c", "reports", Queued)
	put("d", "reports", Dead)
	put("e", "", Done)
	put("a", "shop", Done)
	revision++
	x.remove("e", revision)
	got := x.Tenants(10)
	if len(got) != 2 || got[0].Tenant != "reports" || got[0].Counts[Queued] != 1 || got[0].Counts[Dead] != 1 || got[1].Counts[Done] != 2 || len(got[1].Counts) != 1 {
		t.Errorf("counts %+v", got)
	}
	if got := x.Tenants(1); len(got) != 1 {
		t.Errorf("%d tenants, want 1", len(got))
	}
}
