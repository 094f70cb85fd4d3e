package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

func TestAJobRunsOnceAndKeepsItsAnswer(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		large := bytes.Repeat([]byte("x"), inlineBytes+1)
		small := w.submit(spec("a"))
		if w.after(0, small.ID, Running); w.Counts()[Running] != 1 {
			t.Errorf("counts %v", w.Counts())
		}
		if _, _, err := w.Result(t.Context(), small.ID); !errors.Is(err, ErrNotEnded) {
			t.Errorf("a result before the end: %v", err)
		}
		j := w.after(100*time.Millisecond, small.ID, Done)
		if j.Attempts != 1 || j.Ended.IsZero() || j.Owner != "" || j.Result.Status != 200 {
			t.Errorf("record %+v", j)
		}
		w.answers(func(context.Context, *Job) (*Answer, error) { return &Answer{Status: 203, Body: large}, nil })
		big := w.submit(spec("b"))
		if j := w.after(time.Second, big.ID, Done); !j.Result.Apart || j.Result.Body != nil {
			t.Errorf("a large result stands in the record")
		}
		for id, want := range map[string][]byte{small.ID: []byte(`answer to "a"`), big.ID: large} {
			if j, body, err := w.Result(t.Context(), id); err != nil || !bytes.Equal(body, want) || j.Result.Bytes != len(want) {
				t.Errorf("result of %d bytes, %v", len(body), err)
			}
		}
		if got := w.ran(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("ran %v", got)
		}
	})
}

func TestAttemptsPauseLongerEachTimeAndThenTheJobIsDead(t *testing.T) {
	inBubble(t, Options{Settings: Settings{MaxAttempts: 3, Backoff: 10 * time.Second}}, func(t *testing.T, w *world) {
		w.answers(status(500))
		j := w.submit(spec("a"))
		if j := w.after(0, j.ID, Queued); j.Attempts != 1 || j.Fault == nil {
			t.Errorf("after the first attempt %+v", j)
		}
		w.after(7*time.Second, j.ID, Queued)
		if got := len(w.ran()); got != 1 {
			t.Errorf("%d attempts within 7 s of a pause of 8 to 10 s", got)
		}
		w.after(3*time.Second, j.ID, Queued)
		if got := len(w.ran()); got != 2 {
			t.Errorf("%d attempts after 10 s", got)
		}
		w.after(13*time.Second, j.ID, Queued) // the second pause is 16 to 20 s
		dead := w.after(8*time.Second, j.ID, Dead)
		if dead.Attempts != 3 || dead.Result == nil || dead.Result.Status != 500 {
			t.Errorf("dead %+v", dead)
		}
		w.answers(status(200))
		if again, err := w.Retry(t.Context(), j.ID); err != nil || again.Attempts != 0 {
			t.Errorf("sent again: %+v, %v", again, err)
		}
		w.after(time.Second, j.ID, Done)
		if _, err := w.Retry(t.Context(), j.ID); !errors.Is(err, ErrEnded) {
			t.Errorf("a done job sent again: %v", err)
		}
	})
}

func TestWhatCantGoWellFailsAtOnce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		for name, f := range map[string]func(context.Context, *Job) (*Answer, error){
			"404": status(404), "bad": refuses(request.ProblemInvalidParams),
			"large": func(context.Context, *Job) (*Answer, error) {
				return &Answer{Status: 200, Body: make([]byte, MaxResultBytes+1)}, nil
			},
		} {
			w.answers(f)
			j := w.submit(spec(name))
			if j := w.after(0, j.ID, Failed); j.Attempts != 1 || j.Fault == nil {
				t.Errorf("%s: %+v", name, j)
			}
		}
	})
}

func TestWhatNeverReachedTheUpstreamIsNoAttempt(t *testing.T) {
	inBubble(t, Options{Settings: Settings{MaxAttempts: 1}}, func(t *testing.T, w *world) {
		w.answers(refuses(request.ProblemBreakerOpen))
		j := w.submit(spec("a"))
		if j := w.after(time.Hour, j.ID, Queued); j.Attempts != 0 {
			t.Errorf("%d attempts", j.Attempts)
		}
		w.answers(status(200))
		w.after(10*time.Second, j.ID, Done)
		w.answers(func(context.Context, *Job) (*Answer, error) { panic("a test") })
		j = w.submit(spec("b"))
		w.after(0, j.ID, Dead)
	})
}

func TestAJobWaitsForItsTimeAndNotBeyondItsDeadline(t *testing.T) {
	inBubble(t, Options{Settings: Settings{MaxWait: time.Hour}}, func(t *testing.T, w *world) {
		now := time.Now()
		s := spec("later")
		s.RunAt = now.Add(time.Minute)
		j := w.submit(s)
		w.after(59*time.Second, j.ID, Queued)
		w.after(2*time.Second, j.ID, Done)

		s = spec("too late")
		s.RunAt, s.Deadline = time.Now().Add(time.Minute), time.Now().Add(time.Second)
		j = w.submit(s)
		if j := w.after(time.Minute, j.ID, Failed); j.Fault.Problem != request.ProblemDeadline {
			t.Errorf("fault %+v", j.Fault)
		}
		w.answers(slowly(time.Minute))
		s = spec("slow")
		s.Deadline = time.Now().Add(10 * time.Second)
		j = w.submit(s)
		w.after(9*time.Second, j.ID, Running)
		w.after(2*time.Second, j.ID, Failed)

		w.answers(refuses(request.ProblemReducedCapacity))
		j = w.submit(spec("never"))
		w.after(58*time.Minute, j.ID, Queued)
		w.after(3*time.Minute, j.ID, Dead)
	})
}

func TestACancelledJobStaysCancelled(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Running: 1}}, func(t *testing.T, w *world) {
		given := make(chan struct{})
		w.answers(func(ctx context.Context, _ *Job) (*Answer, error) {
			<-ctx.Done()
			close(given)
			return &Answer{Status: 200}, nil // too late
		})
		running, queued := w.submit(spec("a")), w.submit(spec("b"))
		w.after(time.Second, running.ID, Running)
		w.after(0, queued.ID, Queued)
		for _, id := range []string{queued.ID, running.ID} {
			if j, err := w.Cancel(t.Context(), id); err != nil || j.State != Cancelled {
				t.Errorf("cancel: %+v, %v", j, err)
			}
			if _, err := w.Cancel(t.Context(), id); !errors.Is(err, ErrEnded) {
				t.Errorf("cancel twice: %v", err)
			}
		}
		<-given
		w.after(time.Hour, running.ID, Cancelled)
		w.after(0, queued.ID, Cancelled)
		if got := w.ran(); len(got) != 1 {
			t.Errorf("ran %v", got)
		}
		if _, err := w.Cancel(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("cancel of nothing: %v", err)
		}
	})
}

func TestOneIdempotencyKeyIsOneJob(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		s := spec("a")
		s.Tenant, s.Key, s.Fingerprint = "one", "order-7", "f1"
		ids := make(chan string, 20)
		var all sync.WaitGroup
		for range cap(ids) {
			all.Go(func() {
				j, _, err := w.Submit(t.Context(), s)
				if err != nil {
					t.Error(err)
					return
				}
				ids <- j.ID
			})
		}
		all.Wait()
		first := <-ids
		for range cap(ids) - 1 {
			if id := <-ids; id != first {
				t.Errorf("jobs %s and %s", first, id)
			}
		}
		w.after(time.Second, first, Done)
		if j, replayed, err := w.Submit(t.Context(), s); err != nil || !replayed || j.State != Done {
			t.Errorf("replay %v, %v", replayed, err)
		}
		s.Fingerprint = "f2"
		if _, _, err := w.Submit(t.Context(), s); !errors.Is(err, ErrKeyReused) {
			t.Errorf("another body: %v", err)
		}
		if got := w.ran(); len(got) != 1 {
			t.Errorf("ran %d times", len(got))
		}
		s.Tenant = "two" // another's key is another key
		if j, replayed, err := w.Submit(t.Context(), s); err != nil || replayed || j.ID == first {
			t.Errorf("another tenant: replayed %v, %v", replayed, err)
		}
	})
}

func TestTheUrgentGoFirstAndTenantsInTurn(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Running: 1}}, func(t *testing.T, w *world) {
		put := func(tenant string, u request.Urgency, n int) {
			for i := range n {
				s := spec(fmt.Sprint(tenant, u, ".", i))
				s.Tenant, s.Urgency = tenant, u
				w.submit(s)
			}
		}
		put("first", 3, 1) // takes the only slot
		synctest.Wait()
		put("big", 5, 40)
		put("small", 5, 2)
		put("big", 7, 1)
		put("big", 1, 1)
		time.Sleep(time.Minute)
		got := w.ran()
		want := []string{"first3.0", "big1.0", "big5.0", "small5.0", "big5.1", "small5.1", "big5.2"}
		if len(got) != 45 || !slices.Equal(got[:len(want)], want) {
			t.Errorf("ran %v", got)
		}
		if i := slices.Index(got, "big7.0"); i > fairPick {
			t.Errorf("the least urgent was the %d. of %d", i+1, len(got))
		}
	})
}

func TestWhatWasUnderWayAtTheEndRunsAgain(t *testing.T) {
	inBubble(t, Options{Settings: Settings{MaxAttempts: 1}}, func(t *testing.T, w *world) {
		w.answers(slowly(time.Minute))
		j := w.submit(spec("a"))
		w.after(time.Second, j.ID, Running)
		w.stop(time.Second) // cuts it
		w.start()
		if j := w.after(0, j.ID, Running); j.Attempts != 1 {
			t.Errorf("%d attempts", j.Attempts)
		}
		w.after(time.Minute, j.ID, Done)

		// A process that was killed leaves its name in the record.
		lost := &Job{ID: "lost", Route: "movie", Call: []byte(`"lost"`), State: Running, Owner: "somebody", Attempts: 1, MaxAttempts: 2, Created: time.Now()}
		if err := w.Service.store.create(t.Context(), lost); err != nil {
			t.Fatal(err)
		}
		w.stop(time.Second)
		w.start()
		if j := w.after(time.Hour, "lost", Done); j.Attempts != 2 {
			t.Errorf("%d attempts", j.Attempts)
		}
	})
}

func TestAnEngineThatIsAwayCostsNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &away{Engine: newMemory()}
		w := &world{t: t, engine: a, o: Options{Engine: a}, answer: slowly(time.Second)}
		w.start()
		running := w.submit(spec("a"))
		synctest.Wait()
		a.set(true, false)
		if _, _, err := w.Submit(t.Context(), spec("b")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("submit: %v", err)
		}
		time.Sleep(time.Minute)
		a.set(false, false)
		w.after(time.Minute, running.ID, Done)

		second := w.submit(spec("c"))
		a.set(true, true) // writes take place, and nobody is told
		time.Sleep(time.Minute)
		a.set(false, false)
		w.after(time.Minute, second.ID, Done)
		if got := w.ran(); !slices.Equal(got, []string{"a", "c"}) {
			t.Errorf("ran %v", got)
		}
		w.stop(time.Hour)
		_ = a.Close(context.Background())
	})
}

func TestOldJobsGoAndFullIsSaid(t *testing.T) {
	inBubble(t, Options{Settings: Settings{MaxStored: 3, Retention: time.Hour}}, func(t *testing.T, w *world) {
		w.answers(func(context.Context, *Job) (*Answer, error) {
			return &Answer{Status: 200, Body: make([]byte, 10_000)}, nil
		})
		var ids []string
		for i := range 3 {
			ids = append(ids, w.submit(spec(fmt.Sprint(i))).ID)
		}
		if _, _, err := w.Submit(t.Context(), spec("more")); !errors.Is(err, ErrFull) {
			t.Errorf("a fourth: %v", err)
		}
		w.after(59*time.Minute, ids[0], Done)
		time.Sleep(3 * time.Minute)
		for _, id := range ids {
			if _, err := w.Job(t.Context(), id); !errors.Is(err, ErrNotFound) {
				t.Errorf("an old job: %v", err)
			}
		}
		if n := w.index.size(); n != 0 || len(w.listed(Filter{})) != 0 {
			t.Errorf("%d are known still", n)
		}
		w.submit(spec("more"))
	})
}

func TestListsFilterAndTurnPages(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		for i := range 10 {
			s := spec(fmt.Sprint(i))
			s.Tenant = fmt.Sprint("t", i%2)
			if i >= 8 {
				s.RunAt = time.Now().Add(time.Hour)
			}
			w.submit(s)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		one := "t1"
		if got := w.listed(Filter{Tenant: &one}); len(got) != 5 || got[0].State != Queued || !got[0].Created.After(got[1].Created) {
			t.Errorf("list %+v", got)
		}
		if got := w.listed(Filter{States: []State{Queued}}); len(got) != 2 {
			t.Errorf("%d queued", len(got))
		}
		page := w.listed(Filter{Limit: 4})
		next := w.listed(Filter{Limit: 10, Before: page[3].ID})
		if len(page) != 4 || len(next) != 6 || !page[3].Created.After(next[0].Created) {
			t.Errorf("pages of %d and %d", len(page), len(next))
		}
	})
}

func TestAWatchTellsOfEachChange(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		j := w.submit(spec("a"))
		watch := w.Watch(j.ID)
		defer watch.Close()
		for state := w.job(j.ID).State; !state.Ended(); state = w.job(j.ID).State {
			<-watch.C
		}
	})
}

// However attempts, cancels, restarts and losses of the engine fall, each accepted job ends once, and
// stays in its end.
func TestEachJobEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		a := &away{Engine: newMemory()}
		w := &world{t: t, engine: a, o: Options{Engine: a, Settings: Settings{Running: 8, MaxAttempts: 3}}}
		var mu sync.Mutex
		w.answer = func(ctx context.Context, j *Job) (*Answer, error) {
			mu.Lock()
			d, s := time.Duration(rng.IntN(2000))*time.Millisecond, []int{200, 200, 404, 500}[rng.IntN(4)]
			mu.Unlock()
			if err := wait(ctx, d); err != nil {
				return nil, err
			}
			return &Answer{Status: s}, nil
		}
		w.start()
		var ids []string
		ends := make(map[string]State)
		for range 800 {
			mu.Lock()
			n := rng.IntN(20)
			mu.Unlock()
			switch {
			case n < 12:
				if j, _, err := w.Submit(t.Context(), spec("a")); err == nil {
					ids = append(ids, j.ID)
				}
			case n < 15 && len(ids) > 0:
				_, _ = w.Cancel(t.Context(), ids[len(ids)-1])
			case n == 15:
				a.set(true, false)
			case n == 16:
				a.set(true, true)
			case n == 17:
				a.set(false, false)
				w.stop(100 * time.Millisecond)
				w.start()
			default:
				a.set(false, false)
			}
			time.Sleep(300 * time.Millisecond)
			for _, id := range ids[max(0, len(ids)-40):] {
				j, err := w.Job(t.Context(), id)
				if err != nil {
					continue // the engine is away
				}
				if was, ended := ends[id]; ended && j.State != was {
					t.Fatalf("a job that was %s is %s", was, j.State)
				}
				if j.State.Ended() {
					ends[id] = j.State
				}
			}
		}
		a.set(false, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, id := range ids {
			if j := w.job(id); !j.State.Ended() {
				t.Errorf("a job is still %s: %+v", j.State, j)
			}
		}
		if len(ids) < 200 {
			t.Errorf("only %d jobs were accepted", len(ids))
		}
		w.stop(time.Hour)
		_ = a.Close(context.Background())
	})
}

func TestAListWaitsUntilTheRecordsAreRead(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, w *world) {
		w.submit(spec("a"))
		o := w.o
		o.Run = slowly(time.Second)
		s, err := New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := s.List(t.Context(), Filter{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("before anything was read: %v, %v", found, err)
		}
		w.stop(time.Minute)
		s.Start()
		defer s.Stop(t.Context())
		if found, err := s.List(t.Context(), Filter{}); err != nil || len(found) != 1 {
			t.Errorf("%v, %v", found, err)
		}
	})
}
