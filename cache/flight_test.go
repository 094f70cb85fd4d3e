package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// crowd asks from n clients at once and returns how many answers each body had.
func crowd(t *testing.T, c *Cache, n int, make func(i int) *request.Request) map[string]int {
	t.Helper()
	var mu sync.Mutex
	bodies := map[string]int{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			resp, err := c.Do(t.Context(), make(i))
			body := ""
			if err != nil {
				body = "error: " + err.Error()
			} else {
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					b = []byte("broken: " + err.Error())
				}
				_ = resp.Body.Close()
				body = fmt.Sprintf("%d %s", resp.Status, b)
			}
			mu.Lock()
			bodies[body]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return bodies
}

// slow answers after half a second.
func slow(f func(r *request.Request) *request.Response) *origin {
	return &origin{do: func(ctx context.Context, r *request.Request) (*request.Response, error) {
		select {
		case <-time.After(500 * time.Millisecond):
			return f(r), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}
}

func TestStampede(t *testing.T) {
	const clients = 200
	cases := map[string]struct {
		answer   func(r *request.Request) *request.Response
		header   func(i int) []string
		calls    int64
		takes    time.Duration
		distinct int
	}{
		"cacheable": {
			answer: func(*request.Request) *request.Response { return reply(200, "x", "Cache-Control", "max-age=60") },
			calls:  1, takes: 500 * time.Millisecond, distinct: 1,
		},
		"no headers at all": {
			answer: func(*request.Request) *request.Response { return reply(200, "x") },
			calls:  1, takes: 500 * time.Millisecond, distinct: 1,
		},
		"503": {
			answer: func(*request.Request) *request.Response { return reply(503, "x") },
			calls:  1, takes: 500 * time.Millisecond, distinct: 1,
		},
		"no-store": {
			answer: func(*request.Request) *request.Response { return reply(200, "x", "Cache-Control", "no-store") },
			calls:  clients, takes: time.Second, distinct: 1,
		},
		"private": {
			answer: func(*request.Request) *request.Response {
				return reply(200, "x", "Cache-Control", "private, max-age=60")
			},
			calls: clients, takes: time.Second, distinct: 1,
		},
		"set-cookie": {
			answer: func(*request.Request) *request.Response {
				return reply(200, "x", "Cache-Control", "max-age=60", "Set-Cookie", "a=b")
			},
			calls: clients, takes: time.Second, distinct: 1,
		},
		"per-user authorization": {
			answer: func(r *request.Request) *request.Response {
				return reply(200, r.Header.Get("Authorization"), "Cache-Control", "max-age=60")
			},
			header: func(i int) []string { return []string{"Authorization", itoa(i)} },
			calls:  clients, takes: 500 * time.Millisecond, distinct: clients,
		},
		"per-user cookie": {
			answer: func(r *request.Request) *request.Response { return reply(200, r.Header.Get("Cookie")) },
			header: func(i int) []string { return []string{"Cookie", itoa(i)} },
			calls:  clients, takes: 500 * time.Millisecond, distinct: clients,
		},
		"one user's authorization": {
			answer: func(r *request.Request) *request.Response {
				return reply(200, r.Header.Get("Authorization"), "Cache-Control", "max-age=60")
			},
			header: func(int) []string { return []string{"Authorization", "me"} },
			calls:  clients, takes: 500 * time.Millisecond, distinct: 1,
		},
		"two variants": {
			answer: func(r *request.Request) *request.Response {
				return reply(200, r.Header.Get("Accept-Language"), "Cache-Control", "max-age=60", "Vary", "Accept-Language")
			},
			header: func(i int) []string { return []string{"Accept-Language", itoa(i % 2)} },
			calls:  2, takes: time.Second, distinct: 2,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := slow(tc.answer)
				c := newCache(t, testOptions(), o)
				start := time.Now()
				bodies := crowd(t, c, clients, func(i int) *request.Request {
					var h []string
					if tc.header != nil {
						h = tc.header(i)
					}
					return get(httpRoute(), "k", h...)
				})
				if took := time.Since(start); took != tc.takes {
					t.Errorf("took %v, want %v", took, tc.takes)
				}
				if len(bodies) != tc.distinct {
					t.Errorf("%d different answers, want %d", len(bodies), tc.distinct)
				}
				o.wantCalls(t, tc.calls)
				if tc.calls == clients && tc.takes == time.Second {
					// It is remembered: the next ones do not wait for each other.
					start = time.Now()
					crowd(t, c, clients, func(i int) *request.Request {
						var h []string
						if tc.header != nil {
							h = tc.header(i)
						}
						return get(httpRoute(), "k", h...)
					})
					if took := time.Since(start); took != 500*time.Millisecond {
						t.Errorf("the second wave took %v", took)
					}
				}
			})
		})
	}
}

func TestTheAnswerOfAClientThatLeftGoesToNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := slow(func(r *request.Request) *request.Response {
			return reply(200, r.ID, "Cache-Control", "private")
		})
		c := newCache(t, testOptions(), o)
		ctx, cancel := context.WithCancel(t.Context())
		a := get(httpRoute(), "k")
		a.ID = "a"
		go func() { _, _ = c.Do(ctx, a) }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		b := get(httpRoute(), "k")
		b.ID = "b"
		if got := do(t, c, b).body; got != "b" {
			t.Errorf("b got the private answer of %q", got)
		}
	})
}

func TestFirstClientLeavesAndTheOthersGetTheirAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := slow(func(*request.Request) *request.Response { return reply(200, "x", "Cache-Control", "max-age=60") })
		c := newCache(t, testOptions(), o)
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := c.Do(ctx, get(httpRoute(), "k"))
			left <- err
		}()
		synctest.Wait()
		time.AfterFunc(100*time.Millisecond, cancel)
		bodies := crowd(t, c, 20, func(int) *request.Request { return get(httpRoute(), "k") })
		if bodies["200 x"] != 20 {
			t.Errorf("answers: %v", bodies)
		}
		err := <-left
		wantProblem(t, err, request.ProblemClientClosed)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not wrap the context's cause", err)
		}
		o.wantCalls(t, 1)
	})
}

func TestAbandonedCall(t *testing.T) {
	for name, tc := range map[string]struct {
		started          bool
		abandon          request.OnAbandon
		cancelled, store bool
	}{
		"begun, finish":     {true, request.AbandonDefault, false, true},
		"begun, cancel":     {true, request.AbandonCancel, true, false},
		"not begun, finish": {false, request.AbandonFinish, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended error
				next := request.DoerFunc(func(ctx context.Context, r *request.Request) (*request.Response, error) {
					if tc.started {
						r.MarkStarted()
					}
					select {
					case <-ctx.Done():
						ended = context.Cause(ctx)
						return nil, ended
					case <-time.After(time.Second):
						return reply(200, "x", "Cache-Control", "max-age=60"), nil
					}
				})
				c := newCache(t, testOptions(), next)
				route := httpRoute()
				route.OnAbandon = tc.abandon
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				var wg sync.WaitGroup
				for range 5 {
					wg.Go(func() {
						_, err := c.Do(ctx, get(route, "k"))
						wantProblem(t, err, request.ProblemDeadline)
					})
				}
				wg.Wait()
				synctest.Wait()
				if (ended != nil) != tc.cancelled {
					t.Errorf("cancelled: %v, want %v", ended, tc.cancelled)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := c.Stats().Entries == 1; got != tc.store {
					t.Errorf("stored %v, want %v", got, tc.store)
				}
			})
		})
	}
}

func TestUnkeyedSafeCallOutlivesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finished := false
		o := &origin{do: func(ctx context.Context, _ *request.Request) (*request.Response, error) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
				finished = true
			}
			return reply(200, "x"), nil
		}}
		c := newCache(t, testOptions(), o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Do(ctx, get(httpRoute(), "")); err == nil {
			t.Fatal("no error")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !finished {
			t.Error("the call was cancelled with its client")
		}
	})
}

func TestUnsafeCallIsCancelledWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{do: func(ctx context.Context, _ *request.Request) (*request.Response, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}
		c := newCache(t, testOptions(), o)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		r := get(httpRoute(), "")
		r.Method = http.MethodPost
		if _, err := c.Do(ctx, r); err == nil {
			t.Error("no error")
		}
	})
}

func TestJoinerPromotesTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := slow(func(*request.Request) *request.Response { return reply(200, "x", "Cache-Control", "max-age=60") })
		c := newCache(t, testOptions(), o)
		prefetch := get(httpRoute(), "k")
		prefetch.Background = true
		prefetch.SetUrgency(request.LeastUrgent)
		ask := func(r *request.Request) {
			if resp, err := c.Do(t.Context(), r); err == nil {
				_ = resp.Body.Close()
			}
		}
		go ask(prefetch)
		synctest.Wait()
		flight := o.last()
		if flight == prefetch || !flight.InBackground() {
			t.Error("the flight does not own a background copy")
		}
		real := get(httpRoute(), "k")
		real.SetUrgency(1)
		go ask(real)
		synctest.Wait()
		if flight.Urgency() != 1 || flight.InBackground() {
			t.Errorf("urgency %v, background %v after a joiner of urgency 1", flight.Urgency(), flight.InBackground())
		}
		time.Sleep(time.Second)
	})
}

func TestWaitersWithMoreTimeStartAgainWhenTheLeaderRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{}
		o.do = func(_ context.Context, r *request.Request) (*request.Response, error) {
			time.Sleep(100 * time.Millisecond)
			if !r.Deadline.IsZero() {
				return nil, request.Errorf(request.ProblemDeadline, "too late")
			}
			return reply(200, "x", "Cache-Control", "max-age=60"), nil
		}
		c := newCache(t, testOptions(), o)
		leader := get(httpRoute(), "k")
		leader.Deadline = time.Now().Add(50 * time.Millisecond)
		failed := make(chan error, 1)
		go func() {
			_, err := c.Do(t.Context(), leader)
			failed <- err
		}()
		synctest.Wait()
		bodies := crowd(t, c, 20, func(int) *request.Request { return get(httpRoute(), "k") })
		if bodies["200 x"] != 20 {
			t.Errorf("answers: %v", bodies)
		}
		wantProblem(t, <-failed, request.ProblemDeadline)
		o.wantCalls(t, 2)
	})
}

func TestUpstreamErrorIsSharedByItsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
			time.Sleep(time.Second)
			return nil, request.Errorf(request.ProblemUpstreamDown, "no")
		}}
		c := newCache(t, testOptions(), o)
		bodies := crowd(t, c, 50, func(int) *request.Request { return get(httpRoute(), "k") })
		if bodies["error: upstream-down: no"] != 50 {
			t.Errorf("answers: %v", bodies)
		}
		o.wantCalls(t, 1)
	})
}

func TestPanicBelowReachesEveryWaiterAsAProblem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{do: func(context.Context, *request.Request) (*request.Response, error) {
			time.Sleep(time.Second)
			panic("broken")
		}}
		c := newCache(t, testOptions(), o)
		bodies := crowd(t, c, 10, func(int) *request.Request { return get(httpRoute(), "k") })
		for b, n := range bodies {
			if !strings.HasPrefix(b, "error: internal") || n != 10 {
				t.Errorf("answers: %v", bodies)
			}
		}
	})
}

func TestCloseEndsFlights(t *testing.T) {
	o := &origin{do: func(ctx context.Context, _ *request.Request) (*request.Response, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	c, err := New(testOptions(), o)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		_, err := c.Do(context.Background(), get(httpRoute(), "k"))
		failed <- err
	}()
	for o.calls.Load() == 0 {
		waitTick()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
	_, err = c.Do(context.Background(), get(httpRoute(), "k"))
	wantProblem(t, err, request.ProblemShuttingDown)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
