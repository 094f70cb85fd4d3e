package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestWhatWaitsIsListedByTenantAndUrgency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), &fake{do: slow(time.Second)})
		defer s.Close()
		var all []*asked
		for _, r := range []struct {
			tenant  string
			urgency request.Urgency
		}{{"first", 0}, {"a", 3}, {"a", 3}, {"a", 7}, {"b", 0}} {
			all = append(all, begin(t, s, r.tenant, ask(r.tenant, r.urgency)))
		}
		background := ask("preloader", 7)
		background.Background = true
		all = append(all, begin(t, s, "background", background))

		list := s.Waiting(10)
		if len(list) != 2 || list[0].Tenant != "a" || list[0].Total != 3 || list[0].ByUrgency[3] != 2 || list[0].ByUrgency[7] != 1 ||
			list[1].Tenant != "b" || list[1].ByUrgency[0] != 1 || list[1].Total != 1 {
			t.Errorf("waiting: %+v", list)
		}
		if list = s.Waiting(1); len(list) != 1 || list[0].Tenant != "a" {
			t.Errorf("the first of them: %+v", list)
		}
		for _, a := range all {
			if _, err := a.wait(); err != nil {
				t.Error(err)
			}
		}
		if list = s.Waiting(10); len(list) != 0 {
			t.Errorf("after all have gone: %+v", list)
		}
	})
}
