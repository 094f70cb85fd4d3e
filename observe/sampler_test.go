package observe

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestASampleIsTakenAtEachIntervalAndKeptForTheRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSampler(SamplerOptions{Window: NewWindow(WindowOptions{}), Interval: time.Second, Retention: 10 * time.Second})
		s.Start()
		s.Start()
		defer s.Stop()
		time.Sleep(4*time.Second + 500*time.Millisecond)
		if n := len(s.Samples(time.Time{})); n != 4 {
			t.Errorf("%d samples after 4.5 s", n)
		}
		time.Sleep(30 * time.Second)
		all := s.Samples(time.Time{})
		if len(all) != 10 {
			t.Fatalf("%d samples are kept of 10 s", len(all))
		}
		for i := 1; i < len(all); i++ {
			if !all[i].At.After(all[i-1].At) {
				t.Fatalf("sample %d is not after the one before", i)
			}
		}
		if n := len(s.Samples(all[6].At)); n != 3 {
			t.Errorf("%d samples since the seventh, want 3", n)
		}
	})
}

func TestTheIntervalChangesLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSampler(SamplerOptions{Window: NewWindow(WindowOptions{}), Interval: time.Minute, Retention: time.Hour})
		s.Start()
		defer s.Stop()
		time.Sleep(2*time.Minute + time.Second)
		s.Apply(time.Second, 5*time.Second)
		synctest.Wait()
		if n := len(s.Samples(time.Time{})); n != 2 {
			t.Errorf("%d samples survived the change, want 2", n)
		}
		time.Sleep(20*time.Second + time.Millisecond)
		if n := len(s.Samples(time.Time{})); n != 5 {
			t.Errorf("%d samples are kept, want 5", n)
		}
		s.Apply(time.Nanosecond, 1000*time.Hour)
		if n := len(s.samples); n != MaxSamples {
			t.Errorf("the ring holds %d samples, want the cap of %d", n, MaxSamples)
		}
	})
}

func TestStopEndsTheSamplingAndStartGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSampler(SamplerOptions{Window: NewWindow(WindowOptions{}), Interval: time.Second})
		s.Stop()
		s.Start()
		time.Sleep(2*time.Second + time.Millisecond)
		s.Stop()
		s.Stop()
		time.Sleep(time.Minute)
		if n := len(s.Samples(time.Time{})); n != 2 {
			t.Errorf("%d samples, want 2", n)
		}
		s.Start()
		time.Sleep(time.Second + time.Millisecond)
		s.Stop()
		if n := len(s.Samples(time.Time{})); n != 3 {
			t.Errorf("%d samples after the second start, want 3", n)
		}
	})
}

func TestASampleHasTheProcessTheSignalsAndTheFacts(t *testing.T) {
	w := NewWindow(WindowOptions{})
	w.OnCall(call(time.Now(), time.Millisecond, OutcomeRefused))
	var seen []Sample
	s := NewSampler(SamplerOptions{
		Window:   w,
		Facts:    func() []Fact { return []Fact{{"breaker_open", "m", 1}, {"reload_failed", "", 0}} },
		OnSample: func(s Sample) { seen = append(seen, s) },
	})
	sample := s.Take()
	if len(seen) != 1 || sample.Process.Goroutines < 1 || sample.Process.HeapBytes == 0 {
		t.Errorf("seen %d, process %+v", len(seen), sample.Process)
	}
	for _, c := range []struct {
		signal, upstream string
		want             float64
	}{{"breaker_open", "m", 1}, {"reload_failed", "", 0}, {"refused_ratio", "m", 1}, {"refused_ratio", "", 1}, {"rate", "m", 0}} {
		if v, ok := sample.Value(c.signal, c.upstream); !ok || v != c.want {
			t.Errorf("%s of %q is %v, %v", c.signal, c.upstream, v, ok)
		}
	}
	for _, c := range [][2]string{{"nothing", "m"}, {"rate", "absent"}} {
		if _, ok := sample.Value(c[0], c[1]); ok {
			t.Errorf("%v has a value", c)
		}
	}
}
