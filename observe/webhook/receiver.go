package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"penstock/observe"
)

const (
	// firstRetry and maxRetry bound the delay before another attempt, doubled for each further one.
	firstRetry = time.Second
	maxRetry   = 5 * time.Minute
	// giveUp is how many attempts a notice gets before the group waits for RepeatInterval.
	giveUp = 20
	// maxAnswer is what is read of a receiver's answer, to keep the connection.
	maxAnswer = 64 << 10
)

// receiver sends the notices of one webhook, one after the other, on a goroutine of its own.
type receiver struct {
	o      Options
	log    *slog.Logger
	client *http.Client
	own    *http.Transport // nil: it was given
	wake   chan struct{}
	quit   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards what follows
	groups map[string]*group
	alerts int // in all groups
	status Status
}

// Status is how a receiver fares. Its URL is masked.
type Status struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Queued is how many groups wait to be told of.
	Queued int `json:"queued"`
	// Sent and Failed count notices, Failed each attempt; Dropped counts alerts that were too many.
	Sent      uint64    `json:"sent"`
	Failed    uint64    `json:"failed"`
	Dropped   uint64    `json:"dropped"`
	LastSent  time.Time `json:"last_sent,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

func newReceiver(o Options, log *slog.Logger) *receiver {
	o = o.withDefaults()
	r := &receiver{
		o: o, log: log, wake: make(chan struct{}, 1), done: make(chan struct{}),
		groups: make(map[string]*group), status: Status{Name: o.Name, URL: maskedURL(o.URL)},
	}
	transport := o.Transport
	if transport == nil {
		r.own = &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: o.Timeout, ForceAttemptHTTP2: true,
		}
		transport = r.own
	}
	r.client = &http.Client{
		Transport: transport, Timeout: o.Timeout,
		// A redirect would send the body, and perhaps a credential, to where nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx, quit := context.WithCancel(context.Background())
	r.quit = quit
	go r.run(ctx)
	return r
}

func (r *receiver) close() {
	r.quit()
	<-r.done
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}

// tell notes changes of alerts. It waits for nobody.
func (r *receiver) tell(changed []observe.Alert) {
	now := time.Now()
	r.mu.Lock()
	for _, a := range changed {
		g := r.groups[a.Rule]
		if g == nil {
			if !a.ResolvedAt.IsZero() {
				continue
			}
			g = &group{name: a.Rule, members: make(map[string]*member)}
			r.groups[a.Rule] = g
		}
		if g.members[a.Fingerprint] == nil && a.ResolvedAt.IsZero() && r.alerts >= MaxAlerts {
			r.status.Dropped++
			continue
		}
		before := len(g.members)
		g.put(a, &r.o, now)
		r.alerts += len(g.members) - before
		r.tidy(g)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// tidy forgets a group that has nothing to tell. The caller holds mu.
func (r *receiver) tidy(g *group) {
	if len(g.members) == 0 && g.due.IsZero() {
		delete(r.groups, g.name)
	}
}

func (r *receiver) run(ctx context.Context) {
	defer close(r.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		g, wait := r.next(time.Now())
		if g != nil {
			r.deliver(ctx, g)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// next finds the group whose notice has been due longest, or says how long nothing is.
func (r *receiver) next(now time.Time) (*group, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var first *group
	for _, g := range r.groups {
		if !g.due.IsZero() && (first == nil || g.due.Before(first.due)) {
			first = g
		}
	}
	switch {
	case first == nil:
		return nil, time.Hour
	case first.due.After(now):
		return nil, first.due.Sub(now)
	}
	return first, 0
}

// deliver makes one attempt.
func (r *receiver) deliver(ctx context.Context, g *group) {
	r.mu.Lock()
	alerts, known := g.snapshot()
	r.mu.Unlock()
	if len(alerts) == 0 {
		r.mu.Lock()
		g.due = time.Time{}
		r.tidy(g)
		r.mu.Unlock()
		return
	}
	wait, again, err := r.post(ctx, newNotice(&r.o, g.name, alerts))
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(g.members)
	defer func() { r.alerts += len(g.members) - before }()
	if err == nil {
		g.delivered(known, &r.o, now)
		r.status.Sent++
		r.status.LastSent, r.status.LastError = now, ""
		r.tidy(g)
		return
	}
	r.status.Failed++
	r.status.LastError = err.Error()
	g.failures++
	if again && g.failures < giveUp {
		g.due = now.Add(max(wait, backoff(g.failures)))
		r.log.Warn("an alert notice was not taken and is sent again", "webhook", r.o.Name, "group", g.name, "attempt", g.failures, "again_in", g.due.Sub(now), "error", err)
		return
	}
	// It counts as told: what ended must not be kept for ever for a receiver that wants none of it.
	r.log.Error("an alert notice was given up: check monitoring.alert_webhooks."+r.o.Name, "group", g.name, "attempts", g.failures, "error", err)
	g.delivered(known, &r.o, now)
	r.tidy(g)
}

// backoff is the delay before attempt n+1: twice as long each time, spread so that receivers of many
// processes are not met by all at once.
func backoff(n int) time.Duration {
	d := min(firstRetry<<min(n-1, 20), maxRetry)
	return d/2 + rand.N(d/2+1)
}

// post sends a notice. again says whether another attempt may help, wait how long the receiver asked
// to be left alone. The error names neither the URL nor a header.
func (r *receiver) post(ctx context.Context, body []byte) (wait time.Duration, again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.o.URL, bytes.NewReader(body))
	if err != nil {
		return 0, false, errors.New("the address can't be used")
	}
	for name, values := range r.o.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "penstock")
	resp, err := r.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL
		}
		return 0, true, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch {
	case resp.StatusCode < 300:
		return 0, false, nil
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout:
		again = true
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		wait = min(time.Duration(min(seconds, 1e6))*time.Second, maxRetry)
	}
	return wait, again, fmt.Errorf("the receiver answered %d", resp.StatusCode)
}

func (r *receiver) state() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	for _, g := range r.groups {
		if g.news || g.failures > 0 {
			s.Queued++
		}
	}
	return s
}
