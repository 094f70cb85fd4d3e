package request

import (
	"net/http"
	"testing"
)

func TestCloneOwnsItsHeadersAndHasNotStarted(t *testing.T) {
	r := &Request{ID: "a", Key: "k", Tenant: "t", Header: http.Header{"A": {"1"}}, Background: true}
	r.SetUrgency(5)
	r.MarkStarted()
	c := r.Clone()
	c.Header.Set("A", "2")
	if r.Header.Get("A") != "1" {
		t.Error("the copy shares the header map")
	}
	if c.Started() || c.Urgency() != 5 || c.Key != "k" || c.Tenant != "t" || !c.InBackground() {
		t.Errorf("the copy differs: %+v", c)
	}
}

func TestJoinEndsBackgroundEvenWithoutPromotion(t *testing.T) {
	r := &Request{Background: true}
	r.SetUrgency(LeastUrgent)
	calls := 0
	r.OnPromote(func(Urgency) { calls++ })
	r.Join(LeastUrgent)
	if r.InBackground() || calls != 1 {
		t.Errorf("background %v, %d calls; want false, 1", r.InBackground(), calls)
	}
	r.Join(2)
	if r.Urgency() != 2 || calls != 2 {
		t.Errorf("urgency %v, %d calls; want 2, 2", r.Urgency(), calls)
	}
	r.Join(4)
	if r.Urgency() != 2 || calls != 2 {
		t.Error("a less urgent joiner changed something")
	}
}
