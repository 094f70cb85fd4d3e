package regret

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"penstock/observe"
	"penstock/request"
)

// world is a modelled upstream: so many slots of so much service, a queue before them, and what
// happens when there is too much.
type world struct {
	slots   func(t time.Duration) float64
	service func(t time.Duration, route string) time.Duration
	// spread: a service lasts uniformly within this share around its mean.
	spread float64
	// random services are exponential instead.
	random bool
	// pareto is the shape of services with a Pareto distribution of the same mean instead; 0: not those.
	pareto float64
	// newest: the last to come is served first.
	newest bool
	// thrash: with n calls inside and k slots, each service takes 1 + thrash*(n-k)/k times as long.
	thrash float64
	// room is how many calls may be inside; more are refused with 503. 0: any number.
	room int
	// down tells when nothing answers.
	down  func(t time.Duration) bool
	quota *quota
}

// refusal is how long a 429 or a 503 takes.
const refusal = 5 * time.Millisecond

// job is one call inside the upstream.
type job struct {
	route string
	done  chan struct{}
}

// upstream is a world at work; the BatchDoer behind the scheduler.
type upstream struct {
	w       world
	born    time.Time
	timeout time.Duration
	onCall  func(observe.Call)
	onStart func(time.Time) any
	onEnd   func(token any, c observe.Call)

	mu      sync.Mutex
	random  *rand.Rand
	queue   []*job
	busy    int
	outside int    // calls under way as our side sees them
	inside  int    // calls that the upstream works on, also those our side gave up
	quota   *meter // nil: none
}

func (u *upstream) now() time.Duration { return time.Since(u.born) }

func (u *upstream) Plan(*request.Request) request.BatchPlan { return request.BatchPlan{Max: 1} }

func (u *upstream) DoBatch(context.Context, []*request.Request) []request.Result { return nil }

// Do answers one call and reports it.
func (u *upstream) Do(_ context.Context, r *request.Request) (*request.Response, error) {
	c := observe.Call{Upstream: "m", Route: r.Route.Name, Start: time.Now(), Items: 1}
	var token any
	u.mu.Lock()
	u.outside++
	c.InFlight = u.outside
	if u.onStart != nil {
		token = u.onStart(c.Start)
	}
	var j *job
	status := http.StatusOK
	switch {
	case u.w.down != nil && u.w.down(u.now()):
		status = 0
	case !u.quota.admit(u.now()):
		status = http.StatusTooManyRequests
	case u.w.room > 0 && u.inside >= u.w.room:
		status = http.StatusServiceUnavailable
	default:
		j = &job{route: r.Route.Name, done: make(chan struct{})}
		u.inside++
		u.queue = append(u.queue, j)
		u.serve()
	}
	u.mu.Unlock()

	if j == nil {
		time.Sleep(refusal)
	} else {
		timer := time.NewTimer(u.timeout)
		select {
		case <-j.done:
			timer.Stop()
		case <-timer.C: // the upstream works on
			status = http.StatusGatewayTimeout
		}
	}
	c.Status, c.Duration, c.Outcome = status, time.Since(c.Start), outcomes[status]
	u.mu.Lock()
	c.Quota = u.quota.tell(u.now())
	u.outside--
	if u.onEnd != nil {
		u.onEnd(token, c)
	}
	u.mu.Unlock()
	if u.onCall != nil {
		u.onCall(c)
	}
	if status == 0 || status == http.StatusGatewayTimeout {
		return nil, &request.Error{Problem: request.ProblemUpstreamTimeout}
	}
	return &request.Response{Status: status, Body: request.NewBody(nil)}, nil
}

var outcomes = map[int]observe.Outcome{
	0: observe.OutcomeDown, http.StatusOK: observe.OutcomeOK, http.StatusTooManyRequests: observe.OutcomeRefused,
	http.StatusServiceUnavailable: observe.OutcomeOverload, http.StatusGatewayTimeout: observe.OutcomeTimeout,
}

// serve starts what has a slot.
func (u *upstream) serve() {
	now := u.now()
	slots := u.w.slots(now)
	for len(u.queue) > 0 && float64(u.busy) < slots {
		j := u.queue[0]
		if last := len(u.queue) - 1; u.w.newest {
			j, u.queue = u.queue[last], u.queue[:last]
		} else {
			u.queue = u.queue[1:]
		}
		u.busy++
		s := u.w.service(now, j.route).Seconds() * u.variation()
		if over := float64(u.inside) - slots; over > 0 {
			s *= 1 + u.w.thrash*over/slots
		}
		time.AfterFunc(time.Duration(s*float64(time.Second)), func() { u.finish(j) })
	}
}

// variation is how many times the mean a service lasts.
func (u *upstream) variation() float64 {
	switch {
	case u.w.random:
		return u.random.ExpFloat64()
	case u.w.pareto > 0:
		least := (u.w.pareto - 1) / u.w.pareto
		return least * math.Pow(1-u.random.Float64(), -1/u.w.pareto)
	}
	return 1 + u.w.spread*(2*u.random.Float64()-1)
}

func (u *upstream) finish(j *job) {
	u.mu.Lock()
	u.busy--
	u.inside--
	u.serve()
	u.mu.Unlock()
	close(j.done)
}
