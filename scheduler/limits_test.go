package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// stream is an answer's body that is not held in memory.
type stream struct {
	io.Reader
	closed bool
}

func (s *stream) Close() error { s.closed = true; return nil }

// streamTo is a stream that writes itself.
type streamTo struct{ stream }

func (s *streamTo) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, s.Reader) }

func streaming(body io.ReadCloser) *fake {
	return &fake{do: func(context.Context, *request.Request) (*request.Response, error) {
		return &request.Response{Status: 200, Body: body, ContentLength: -1}, nil
	}}
}

func expectInFlight(t *testing.T, s *Scheduler, want int, when string) {
	t.Helper()
	if st := s.Stats(); st.InFlight != want {
		t.Errorf("%d permits are taken %s, want %d", st.InFlight, when, want)
	}
}

func TestPermitIsHeldUntilTheBodyEnds(t *testing.T) {
	for name, end := range map[string]func(io.ReadCloser){
		"read to its end": func(b io.ReadCloser) { _, _ = io.ReadAll(b) },
		"closed":          func(b io.ReadCloser) { b.Close(); b.Close() },
		"written out":     func(b io.ReadCloser) { _, _ = io.Copy(new(bytes.Buffer), b) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range []io.ReadCloser{&stream{Reader: strings.NewReader("hello")}, &streamTo{stream{Reader: strings.NewReader("hello")}}} {
				s := New(options(1), streaming(body))
				defer s.Close()
				resp, err := s.Do(t.Context(), ask("a", 3))
				if err != nil {
					t.Fatal(err)
				}
				_, before := body.(io.WriterTo)
				if _, after := resp.Body.(io.WriterTo); after != before {
					t.Errorf("%T: WriterTo is %v behind the scheduler, %v before it", body, after, before)
				}
				expectInFlight(t, s, 1, "before the body ended")
				end(resp.Body)
				expectInFlight(t, s, 0, "after the body was "+name)
				resp.Body.Close()
				expectInFlight(t, s, 0, "after another Close")
			}
		})
	}
}

func TestPermitIsFreedByABodyThatFails(t *testing.T) {
	broken := errors.New("broken")
	s := New(options(1), streaming(&stream{Reader: io.MultiReader(strings.NewReader("hel"), errReader{broken})}))
	defer s.Close()
	resp, err := s.Do(t.Context(), ask("a", 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, broken) {
		t.Errorf("reading gave %v, want the body's own error", err)
	}
	expectInFlight(t, s, 0, "after the body failed")
	if s.all.known() {
		t.Error("a broken call was taken as a measurement")
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestCancelledCallHoldsItsPermitForTheUsualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), &fake{do: slow(time.Second)})
		defer s.Close()
		for range 5 {
			if _, err := begin(t, s, "", ask("a", 3)).wait(); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		gone := begin(t, s, "", ask("a", 3))
		next := begin(t, s, "", ask("a", 3))
		<-time.After(100 * time.Millisecond)
		gone.cancel(nil)
		if _, err := gone.wait(); err == nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("the cancelled request gave %v after %v, want an error at once", err, time.Since(start))
		}
		synctest.Wait()
		if st := s.Stats(); st.InFlight != 1 || st.Held != 1 || st.Queued != 1 {
			t.Errorf("stats %+v, want one permit held and one request queued", st)
		}
		if _, err := next.wait(); err != nil || next.resp.Timing.Queue != time.Second {
			t.Errorf("the next waited %v (%v), want as long as such a call takes, 1s", next.resp.Timing.Queue, err)
		}
	})
}

func TestDrainDoesNotWaitForHeldPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), &fake{do: slow(time.Minute)})
		defer s.Close()
		a := begin(t, s, "", ask("a", 3))
		<-time.After(time.Second)
		stop := time.AfterFunc(time.Second, func() { a.cancel(nil) })
		defer stop.Stop()
		start := time.Now()
		if err := s.Drain(t.Context()); err != nil || time.Since(start) != time.Second {
			t.Errorf("drained after %v with %v, want 1s, when the call was given up", time.Since(start), err)
		}
		if st := s.Stats(); st.Held != 1 {
			t.Errorf("stats %+v, want the permit still held", st)
		}
	})
}

func TestHeldPermitIsBoundedByTheRoutesTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(options(1), &fake{do: slow(time.Second)})
		defer s.Close()
		if _, err := begin(t, s, "", ask("a", 3)).wait(); err != nil {
			t.Fatal(err)
		}
		r := ask("a", 3)
		r.Route = &request.Route{Name: testRoute.Name, Timeout: 300 * time.Millisecond}
		gone := begin(t, s, "", r)
		next := begin(t, s, "", ask("a", 3))
		<-time.After(100 * time.Millisecond)
		gone.cancel(nil)
		if _, err := next.wait(); err != nil || next.resp.Timing.Queue != 300*time.Millisecond {
			t.Errorf("the next waited %v (%v), want the route's timeout, 300ms", next.resp.Timing.Queue, err)
		}
	})
}

// An upstream that has become slower than every deadline must not look fast for ever.
func TestCallsCutShortRaiseTheEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(1)
		s := New(o, &fake{do: slow(time.Minute)})
		defer s.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Do(ctx, ask("a", 3)); err == nil {
			t.Fatal("the call should have been cut short")
		}
		if st := s.Stats(); st.ServiceTime != 2 || st.Held != 1 {
			t.Errorf("stats %+v, want a service time of twice the cut and the permit held", st)
		}
	})
}

func TestRateWindowsAreTakenTogetherOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(100)
		o.Rates = []Rate{{Limit: 10, Burst: 10}, {Limit: 60, Per: time.Minute, Burst: 3}}
		s := New(o, &fake{})
		defer s.Close()
		start := time.Now()
		var all []*asked
		for range 5 {
			all = append(all, begin(t, s, "", ask("a", 3)))
		}
		st := s.Stats()
		if st.Queued != 2 || st.Binding != "rate 1" || st.Rates[0].Tokens != 7 || st.Rates[1].Tokens != 0 {
			t.Errorf("stats %+v, want 2 queued, bound by window 1, and 7 tokens left in window 0", st)
		}
		for i, a := range all {
			if _, err := a.wait(); err != nil {
				t.Error(err)
			}
			want := time.Duration(max(0, i-2)) * time.Second
			if off := (a.resp.Timing.Queue - want).Abs(); off > time.Millisecond {
				t.Errorf("request %d waited %v, want %v", i, a.resp.Timing.Queue, want)
			}
		}
		if d := time.Since(start).Round(time.Millisecond); d != 2*time.Second {
			t.Errorf("took %v, want 2s", d)
		}
	})
}

func TestRateIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		o := options(1)
		o.Rates = []Rate{{Limit: 50, Burst: 5}}
		s := New(o, &fake{do: func(context.Context, *request.Request) (*request.Response, error) {
			at = append(at, time.Now()) // one permit: nobody else is here
			return answer(""), nil
		}})
		defer s.Close()
		var all []*asked
		for range 200 {
			all = append(all, begin(t, s, "", ask("a", 3)))
		}
		for _, a := range all {
			if _, err := a.wait(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range at {
			for j := i; j < len(at); j++ {
				if span := at[j].Sub(at[i]).Seconds(); float64(j-i+1) > 50*span+5+1e-6 {
					t.Fatalf("%d calls in %.3f s, over 50 a second and a burst of 5", j-i+1, span)
				}
			}
		}
		if d := at[len(at)-1].Sub(at[0]); d > 4*time.Second {
			t.Errorf("200 calls at 50/s took %v, more than the rate needs", d)
		}
	})
}

func TestBackgroundLeavesTokensToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(100)
		o.Rates = []Rate{{Limit: 10, Per: time.Hour, Burst: 10}}
		s := New(o, &fake{})
		defer s.Close()
		for range 12 {
			r := ask("", request.LeastUrgent)
			r.Background = true
			begin(t, s, "", r)
		}
		if st := s.Stats(); st.Dispatched != 9 || st.Background != 3 {
			t.Errorf("stats %+v, want one token of ten left by background work", st)
		}
		if _, err := begin(t, s, "", ask("a", 3)).wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestApplyKeepsTokensAndWakesWhoeverMayGoNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(100)
		o.Rates = []Rate{{Limit: 1, Per: time.Hour, Burst: 2}}
		s := New(o, &fake{})
		defer s.Close()
		for range 4 {
			begin(t, s, "", ask("a", 3))
		}
		s.Apply(o)
		if st := s.Stats(); st.Queued != 2 || st.Rates[0].Tokens > 0.001 {
			t.Errorf("stats %+v: applying the same options gave tokens", st)
		}
		o.Rates, o.QueueLength = []Rate{{Limit: 7200, Per: time.Hour, Burst: 1}}, 1
		s.Apply(o)
		if st := s.Stats(); st.Queued != 2 || st.QueueLength != 1 {
			t.Errorf("stats %+v: a shorter queue must drop nobody", st)
		}
		start := time.Now()
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start).Round(time.Millisecond); d != time.Second {
			t.Errorf("drained in %v, want 1s at the new rate of 2/s", d)
		}
		o.Rates = nil
		s.Apply(o)
		for range 50 {
			if _, err := s.Do(t.Context(), ask("a", 3)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRateDefaultsAndValidation(t *testing.T) {
	for _, c := range []struct {
		rate  Rate
		burst int
	}{{Rate{Limit: 10}, 10}, {Rate{Limit: 5000, Per: 24 * time.Hour}, 1}, {Rate{Limit: 0.5}, 1}, {Rate{Limit: 1e300}, 1e9}} {
		if got := c.rate.withDefaults(); got.Burst != c.burst || got.Per <= 0 {
			t.Errorf("%+v became %+v, want a burst of %d", c.rate, got, c.burst)
		}
	}
	for _, r := range []Rate{{}, {Limit: -1}, {Limit: 1, Per: -1}, {Limit: 1, Burst: -1}} {
		if (Options{Rates: []Rate{r}}).Validate() == nil {
			t.Errorf("%+v passed validation", r)
		}
	}
	if (Options{UrgencyShare: 0.2}).Validate() == nil {
		t.Error("an urgency share of 0.2 passed validation")
	}
	if err := (Options{Rates: []Rate{{Limit: 1}}, UrgencyShare: 0.1}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhicheverLimitBindsIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(2)
		o.Rates = []Rate{{Limit: 100, Burst: 4}}
		o.Workers = knob.FixedInt(2)
		s := New(o, &fake{do: slow(time.Second)})
		defer s.Close()
		var all []*asked
		for i := range 4 {
			all = append(all, begin(t, s, fmt.Sprint(i), ask("a", 3)))
		}
		if st := s.Stats(); st.Binding != "permits" {
			t.Errorf("binding is %q, want permits", st.Binding)
		}
		for _, a := range all {
			_, _ = a.wait()
		}
		<-time.After(10 * time.Second)
		shares := s.Stats().BindingShares
		if sum := shares["none"] + shares["permits"] + shares["rate 0"]; sum < 0.999 || sum > 1.001 || shares["permits"] <= 0 {
			t.Errorf("shares %v, want a sum of 1 and some for permits", shares)
		}
	})
}
