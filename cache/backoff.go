package cache

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/maypok86/otter/v2"

	"penstock/request"
)

const (
	// failuresBefore is how many calls for one key must fail in a row before it is given a rest: a
	// single failure says nothing, and RFC 9111 lets none be reused that does not say how long it holds.
	failuresBefore = 3
	// maxFailing bounds how many failing keys are remembered.
	maxFailing = 16 << 10
	// failingTime is how long a key is remembered that is not asked for.
	failingTime = 5 * time.Minute
)

// failing are the keys whose calls fail again and again while others of the upstream may be well, which
// no breaker sees. Each is given rests that double, with jitter. It is safe for concurrent use.
type failing struct {
	keys *otter.Cache[string, rest]
}

// rest is how often a key has failed in a row, and until when it is left alone.
type rest struct {
	failures int
	until    time.Time
}

func newFailing() (*failing, error) {
	keys, err := otter.New(&otter.Options[string, rest]{
		MaximumSize: maxFailing, ExpiryCalculator: otter.ExpiryWriting[string, rest](failingTime),
	})
	return &failing{keys}, err
}

// add counts one more failure of a key. base is the first rest, most the longest.
func (f *failing) add(key string, base, most time.Duration, now time.Time) {
	f.keys.Compute(key, func(r rest, found bool) (rest, otter.ComputeOp) {
		if !found {
			r = rest{}
		}
		if now.Before(r.until) {
			return r, otter.CancelOp // calls that began together count once
		}
		r.failures++
		if r.failures >= failuresBefore {
			pause := base << min(r.failures-failuresBefore, 20)
			if pause > most || pause <= 0 {
				pause = most
			}
			r.until = now.Add(pause*3/4 + rand.N(pause/2+1))
		}
		return r, otter.WriteOp
	})
}

// forget is told of a success.
func (f *failing) forget(key string) {
	if _, ok := f.keys.GetIfPresent(key); ok {
		f.keys.Invalidate(key)
	}
}

// resting is how long the key is still left alone; 0: it is not.
func (f *failing) resting(key string, now time.Time) time.Duration {
	r, ok := f.keys.GetIfPresent(key)
	if !ok {
		return 0
	}
	return max(0, r.until.Sub(now))
}

func (f *failing) close() { f.keys.StopAllGoroutines() }

// restFor is the error of a key that is given a rest.
func restFor(left time.Duration) *request.Error {
	e := request.Errorf(request.ProblemBreakerOpen,
		"the upstream failed for this key several times in a row, so it is given a rest (setting: cache.error_backoff)")
	e.RetryAfter = left
	return e
}

// note learns from what a flight came to: err or a status.
func (f *flight) note(err error, status int) {
	o := f.c.settings.Load()
	if f.key == "" || o.ErrorBackoff <= 0 || !f.q.stores() {
		return
	}
	key := restKey(f.key, f.req)
	if err == nil && !failed(status) {
		f.c.failing.forget(key)
		return
	}
	if err == nil || upstreamsFault(err) {
		f.c.failing.add(key, o.ErrorBackoff, o.ErrorBackoffMax, time.Now())
	}
}

// restKey is the key under which failures are counted: what one tenant, or one set of credentials, makes
// the upstream stumble over must not close the key to others.
func restKey(key string, r *request.Request) string {
	key += "\x00" + r.Tenant
	if len(r.Header["Authorization"])+len(r.Header["Cookie"]) > 0 {
		key += "\x00" + credentials(r.Header)
	}
	return key
}

// upstreamsFault reports whether an error tells of a call that the upstream failed, and not of one
// that was never made.
func upstreamsFault(err error) bool {
	e, ok := errors.AsType[*request.Error](err)
	if !ok {
		return false
	}
	switch e.Problem {
	case request.ProblemUpstreamDown, request.ProblemUpstreamTimeout, request.ProblemUpstreamInvalid:
		return true
	}
	return false
}

// stores reports whether answers may be stored at all for this question.
func (q question) stores() bool { return q.mode != request.CacheOff && !q.noStore }
