package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"penstock/knob"
	"penstock/request"
)

// script answers the calls in turn; the last answer stays. "refused" is a failed dial, "hang"
// waits for the context, a number a status, and "503 3" has Retry-After: 3.
func script(steps ...string) (rt http.RoundTripper, times *[]time.Duration) {
	began := time.Now()
	times = new([]time.Duration)
	return roundTripFunc(func(r *http.Request) (*http.Response, error) {
		step := steps[min(len(*times), len(steps)-1)]
		*times = append(*times, time.Since(began))
		switch step {
		case "refused":
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		case "certificate":
			return nil, errors.New("tls: bad certificate")
		case "hang":
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}
		code, after, _ := strings.Cut(step, " ")
		var status int
		fmt.Sscan(code, &status)
		a := answer(status, "body of "+code)
		if after != "" {
			a.Header.Set("Retry-After", after)
		}
		return a, nil
	}), times
}

func TestIdempotentCallsAreRetriedOnConnectionErrorsAndStatuses(t *testing.T) {
	for _, tc := range []struct {
		name, steps string
		set         func(*request.Request)
		calls       int
		outcomes    string
		status      int // 0: an error
	}{
		{"refused once", "refused,200", nil, 2, "down ok", 200},
		{"refused always", "refused", nil, 3, "down down down", 0},
		{"unavailable once", "503,200", nil, 2, "overload ok", 200},
		{"unavailable always", "503", nil, 3, "overload overload overload", 503},
		{"other errors", "500", nil, 1, "error", 500},
		{"refused by quota", "429,429,404", nil, 3, "refused refused client", 404},
		{"bad certificate", "certificate", nil, 1, "down", 0},
		{"short Retry-After", "503 1,200", nil, 2, "overload ok", 200},
		{"long Retry-After", "503 2,200", nil, 1, "overload", 503},
		{"Retry-After past everything", "503 99999999999999999999,200", nil, 1, "overload", 503},
		{"silly Retry-After", "503 soon,200", nil, 2, "overload ok", 200},
		{"post", "refused,200", func(r *request.Request) { r.Method = "POST" }, 1, "down", 0},
		{"post with key", "502,200", func(r *request.Request) {
			r.Method = "POST"
			r.Header.Set("Idempotency-Key", `"a"`)
			r.Data = []byte("x")
		}, 2, "error ok", 200},
		{"batch of look-ups", "502,200", func(r *request.Request) {
			r.Method, r.Items, r.Route.Method, r.Data = "POST", 2, "GET", []byte("x")
		}, 2, "error ok", 200},
		{"batch of writes", "502,200", func(r *request.Request) {
			r.Method, r.Items, r.Route.Method, r.Data = "POST", 2, "POST", []byte("x")
		}, 1, "error", 502},
		{"put", "504,200", func(r *request.Request) { r.Method = "PUT"; r.Data = []byte("x") }, 2, "timeout ok", 200},
		{"stream", "502,200", func(r *request.Request) {
			r.Method, r.Stream, r.StreamLength = "PUT", io.NopCloser(strings.NewReader("x")), 1
		}, 1, "error", 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt, times := script(strings.Split(tc.steps, ",")...)
				c, rec := newClient(t, Options{RoundTripper: rt})
				r := get("/")
				if tc.set != nil {
					tc.set(r)
				}
				began := time.Now()
				resp, err := c.Do(context.Background(), r)
				took := time.Since(began)
				if (err == nil) != (tc.status != 0) {
					t.Fatalf("err %v, want status %d", err, tc.status)
				}
				if err == nil {
					b, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					if resp.Status != tc.status || string(b) != fmt.Sprintf("body of %d", tc.status) || resp.Timing.Upstream != took {
						t.Errorf("%d %q, timing %s of %s", resp.Status, b, resp.Timing.Upstream, took)
					}
				}
				if len(*times) != tc.calls || rec.outcomes() != tc.outcomes {
					t.Errorf("%d calls, reported %q", len(*times), rec.outcomes())
				}
				if st := c.State(); st.InFlight != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestRetryAfterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, date := range []bool{false, true} {
			after := "1"
			if date {
				after = time.Now().Truncate(time.Second).Add(2 * time.Second).UTC().Format(http.TimeFormat)
			}
			rt, times := script("503 "+after, "200")
			c, _ := newClient(t, Options{RoundTripper: rt, Retry: Retry{MaxDelay: 3 * time.Second}})
			do(t, c, get("/"))
			if gap := (*times)[1] - (*times)[0]; gap < time.Second || gap > 2*time.Second {
				t.Errorf("Retry-After %q: waited %s", after, gap)
			}
		}
	})
}

func TestNoRetryThatTheDeadlineWouldNotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, times := script("503 1", "200")
		c, _ := newClient(t, Options{RoundTripper: rt, Timeouts: Timeouts{Total: 900 * time.Millisecond}})
		if resp, _ := do(t, c, get("/")); resp.Status != 503 || len(*times) != 1 {
			t.Errorf("total: %d after %d calls", resp.Status, len(*times))
		}
		rt, times = script("503 1", "200")
		c, _ = newClient(t, Options{RoundTripper: rt})
		ctx, cancel := context.WithTimeout(context.Background(), 900*time.Millisecond)
		defer cancel()
		resp, err := c.Do(ctx, get("/"))
		if err != nil || resp.Status != 503 || len(*times) != 1 {
			t.Fatalf("deadline: %v after %d calls", err, len(*times))
		}
		resp.Body.Close()
	})
}

func TestWaitForARetryEndsWithTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, times := script("503 1", "200")
		c, rec := newClient(t, Options{RoundTripper: rt})
		why := errors.New("gone")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
		began := time.Now()
		_, err := c.Do(ctx, get("/"))
		if !errors.Is(err, why) || time.Since(began) != 100*time.Millisecond || len(*times) != 1 || rec.outcomes() != "overload" {
			t.Errorf("%v after %s and %d calls, reported %q", err, time.Since(began), len(*times), rec.outcomes())
		}
	})
}

func TestTotalTimeoutSpansTheRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, times := script("refused", "hang")
		c, rec := newClient(t, Options{RoundTripper: rt, Timeouts: Timeouts{Total: 2 * time.Second}})
		began := time.Now()
		_, err := c.Do(context.Background(), get("/"))
		wantProblem(t, err, request.ProblemUpstreamTimeout, "http_response_timeout")
		if took := time.Since(began); took != 2*time.Second || len(*times) != 2 || rec.outcomes() != "down timeout" {
			t.Errorf("took %s, %d calls, reported %q", took, len(*times), rec.outcomes())
		}
	})
}

func TestRetriesStayInsideTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, times := script("503")
		ratio := knob.FixedFloat(0.2)
		c, _ := newClient(t, Options{RoundTripper: rt, Breaker: Breaker{Disabled: true}, Retry: Retry{BudgetRatio: ratio, MaxAttempts: 10, BaseDelay: 1, MaxDelay: 1}})
		burst := func(n int) (retries int) {
			before := len(*times)
			for range n {
				do(t, c, get("/"))
			}
			return len(*times) - before - n
		}
		if got := burst(1000); got < 200 || got > budgetReserve+200 {
			t.Errorf("%d retries of 1000 calls, want a fifth and the reserve", got)
		}
		if got := burst(1000); got < 199 || got > 201 {
			t.Errorf("%d retries of 1000 calls, want a fifth", got)
		}
		if c.State().RetryBudget > 1 {
			t.Errorf("%+v", c.State())
		}
		pass(time.Hour)
		if got := burst(1); got != 9 {
			t.Errorf("%d retries after an idle hour, want the attempts' bound", got)
		}
		if err := ratio.SetBase(0, knob.SourceFile); err != nil {
			t.Fatal(err)
		}
		if got := burst(10); got != 0 {
			t.Errorf("%d retries at ratio 0", got)
		}
	})
}

func TestJitterIsFull(t *testing.T) {
	for retry, ceiling := range map[int]time.Duration{0: 100, 1: 200, 3: 800, 4: 1000, 61: 1000, 500: 1000} {
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range 5000 {
			d := jitter(100, 1000, retry)
			low, high = min(low, d), max(high, d)
		}
		if high > ceiling || high < ceiling*9/10 || low > ceiling/10 {
			t.Errorf("retry %d: within [%d, %d], want [0, %d]", retry, low, high, ceiling)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "9223372036854775807", "99999999999999999999", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, told := request.RetryAfter(http.Header{"Retry-After": {s}}, testTime)
		if d < 0 || !told && d != 0 {
			t.Fatalf("%q: %s, %v", s, d, told)
		}
	})
}

// A discarded answer must not hold the retry up, however slowly its body comes.
func TestDiscardedBodiesAreReadOnlyForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c, rec := newClient(t, Options{RoundTripper: roundTripFunc(func(*http.Request) (*http.Response, error) {
			if calls++; calls > 1 {
				return answer(200, "ok"), nil
			}
			a := answer(503, "")
			r, w := io.Pipe()
			t.Cleanup(func() { w.Close() })
			a.Body, a.ContentLength = r, -1
			return a, nil
		})})
		began := time.Now()
		_, body := do(t, c, get("/"))
		if took := time.Since(began); body != "ok" || took > drainTime+DefaultBaseDelay || rec.outcomes() != "overload ok" {
			t.Errorf("%q after %s, reported %q", body, took, rec.outcomes())
		}
	})
}
