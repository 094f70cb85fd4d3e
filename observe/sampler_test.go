package observe

import (
	"testing"
	"testing/synctest"
	"time"
)

// counting returns a sampler and how many samples it has taken.
func counting(interval time.Duration) (*Sampler, *int) {
	n := new(int)
	return NewSampler(SamplerOptions{Window: NewWindow(WindowOptions{}), Interval: interval, OnSample: func(Sample) { *n++ }}), n
}

func TestASampleIsTakenAtEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := counting(time.Second)
		s.Start()
		s.Start()
		time.Sleep(4*time.Second + 500*time.Millisecond)
		s.Stop()
		if *n != 4 {
			t.Errorf("%d samples after 4.5 s", *n)
		}
		if at := s.Last().At; time.Since(at) != 500*time.Millisecond {
			t.Errorf("the last sample is %s old", time.Since(at))
		}
	})
}

func TestTheIntervalChangesLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := counting(time.Minute)
		s.Start()
		time.Sleep(2*time.Minute + time.Second)
		s.Apply(time.Second)
		synctest.Wait()
		time.Sleep(5*time.Second + time.Millisecond)
		s.Stop()
		if *n != 2+5 {
			t.Errorf("%d samples, want 2 and then 5", *n)
		}
		s.Apply(time.Nanosecond)
		if s.currentInterval() != MinSamplingInterval {
			t.Errorf("the interval is %s", s.currentInterval())
		}
	})
}

func TestStopEndsTheSamplingAndStartGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := counting(time.Second)
		s.Stop()
		s.Start()
		time.Sleep(2*time.Second + time.Millisecond)
		s.Stop()
		s.Stop()
		time.Sleep(time.Minute)
		if *n != 2 {
			t.Errorf("%d samples, want 2", *n)
		}
		s.Start()
		time.Sleep(time.Second + time.Millisecond)
		s.Stop()
		if *n != 3 {
			t.Errorf("%d samples after the second start, want 3", *n)
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
