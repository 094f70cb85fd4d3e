package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/request"
)

// journal is a ledger whose changes a test makes.
type journal struct {
	mu        sync.Mutex
	rev       uint64
	wake      chan struct{}
	followers int
}

func newJournal() *journal { return &journal{wake: make(chan struct{}, 1)} }

func (j *journal) change(n uint64) {
	j.mu.Lock()
	j.rev += n
	j.mu.Unlock()
	j.wake <- struct{}{}
}

func (j *journal) List(DecisionQuery) any { return nil }

func (j *journal) Get(string) (any, bool) { return nil, false }

func (j *journal) Rev() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rev
}

func (j *journal) Changes(rev uint64, q DecisionQuery) (list []DecisionEvent) {
	for i := rev + 1; i <= j.Rev() && len(list) < q.Limit; i++ {
		list = append(list, DecisionEvent{Rev: i, Decision: map[string]uint64{"n": i}})
	}
	return list
}

func (j *journal) Follow() (<-chan struct{}, func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.followers++
	return j.wake, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.followers--
	}
}

// line is a client's connection: what was written, and whether it still takes anything.
type line struct {
	header http.Header

	mu       sync.Mutex
	b        bytes.Buffer
	full     bool
	deadline time.Time
}

func (l *line) Header() http.Header { return l.header }

func (l *line) WriteHeader(int) {}

func (l *line) Flush() {}

func (l *line) SetWriteDeadline(t time.Time) error {
	l.deadline = t
	return nil
}

func (l *line) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		time.Sleep(time.Until(l.deadline)) // the bubble's time
		return 0, os.ErrDeadlineExceeded
	}
	return l.b.Write(p)
}

// take returns what came since the last take.
func (l *line) take() string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

// stream opens an event stream; ended is closed when the handler has returned.
func stream(t *testing.T, ctx context.Context, j *journal, query, last string) (l *line, ended chan struct{}) {
	t.Helper()
	h := newAdminHandler(t, func(o *AdminOptions) { o.Decisions = j })
	r := httptest.NewRequest("GET", "/admin/v1/decisions/stream"+query, nil).WithContext(ctx)
	r.Header.Set("Last-Event-ID", last)
	l, ended = &line{header: make(http.Header)}, make(chan struct{})
	go func() {
		defer close(ended)
		h.ServeHTTP(l, r)
	}()
	synctest.Wait()
	return l, ended
}

func TestTheDecisionStreamSendsWhatComesAndKeepsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		j := newJournal()
		j.rev = 7
		l, ended := stream(t, ctx, j, "", "")
		if got := l.take(); got != "retry: 2000\n\n" || l.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("it begins with %q, %v", got, l.header)
		}
		j.change(2)
		want := "id: 8\nevent: decision\ndata: {\"n\":8}\n\nid: 9\nevent: decision\ndata: {\"n\":9}\n\n"
		if got := l.take(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(eventKeepAlive)
		if got := l.take(); got != ": alive\n\n" {
			t.Errorf("after 15 s: %q", got)
		}
		cancel()
		<-ended
		if j.followers != 0 || !l.deadline.IsZero() {
			t.Errorf("left behind: %d followers, a deadline %v", j.followers, l.deadline)
		}
	})
}

func TestTheDecisionStreamReplaysAfterTheLastEventSeen(t *testing.T) {
	check := func(query, last string, rev uint64, events int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			j := newJournal()
			j.rev = rev
			l, ended := stream(t, ctx, j, query, last)
			if got := strings.Count(l.take(), "event: decision"); got != events {
				t.Errorf("%q after %q: %d events, want %d", query, last, got, events)
			}
			cancel()
			<-ended
		})
	}
	check("", "5", 7, 2)
	check("", "9", 7, 0)
	check("", "1", 2*maxDecisions, 2*maxDecisions-1)
	check("?since=2026-01-02T03:04:05%2B01:00", "", 4, 4)
	check("?since=2026-01-02T03:04:05Z", "3", 4, 1)
}

func TestAClientThatDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		l, ended := stream(t, t.Context(), j, "", "")
		l.take()
		l.mu.Lock()
		l.full = true
		l.mu.Unlock()
		start := time.Now()
		j.change(1)
		<-ended
		if took := time.Since(start); took != eventTimeout || j.followers != 0 {
			t.Errorf("dropped after %v; %d followers", took, j.followers)
		}
	})
}

func TestHeadOfTheDecisionStreamEndsAtOnce(t *testing.T) {
	w := ask(newAdminHandler(t), "HEAD", "/admin/v1/decisions/stream", "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/event-stream" || w.Body.Len() != 0 {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
	none := newAdminHandler(t, func(o *AdminOptions) { o.Decisions = nil })
	wantProblem(t, ask(none, "GET", "/admin/v1/decisions/stream", ""), request.ProblemNotFound)
}

func TestDecisionsAreAskedForBySinceAndVerdict(t *testing.T) {
	d := new(fakeDecisions)
	h := newAdminHandler(t, func(o *AdminOptions) { o.Decisions = d })
	w := ask(h, "GET", "/admin/v1/decisions?since=2026-01-02T03:04:05Z&verdict=worse&knob=a", "")
	want := DecisionQuery{Knob: "a", Verdict: "worse", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Limit: defaultDecisions}
	if !json.Valid(w.Body.Bytes()) || w.Code != 200 || d.last != want {
		t.Errorf("%d, asked %+v, want %+v", w.Code, d.last, want)
	}
}
