package tenant

import (
	"container/list"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Quota counts one tenant's requests against its rates.
type Quota struct {
	windows []window
	policy  string
	over    counter

	mu sync.Mutex // makes check and take one step
}

// window is one rate at work.
type window struct {
	rate      Rate
	name      string
	quota     float64 // what the headers call q: requests in so many whole seconds
	perSecond float64
	limiter   *rate.Limiter
}

// newQuota makes a full quota, nil for no rates.
func newQuota(rates []Rate, over counter) *Quota {
	if len(rates) == 0 {
		return nil
	}
	q := &Quota{over: over, windows: make([]window, len(rates))}
	var policies []string
	for i, r := range rates {
		r = r.withDefaults()
		w := &q.windows[i]
		*w = window{rate: r, name: "default", perSecond: r.perSecond(), limiter: rate.NewLimiter(rate.Limit(r.perSecond()), r.Burst)}
		if len(rates) > 1 {
			w.name += "-" + strconv.Itoa(i+1)
		}
		// The header has whole numbers only: a window is told as one of whole seconds that admits
		// at least one request.
		seconds := math.Ceil(r.Per.Seconds())
		w.quota = math.Floor(w.perSecond * seconds * (1 + 1e-12))
		if w.quota < 1 {
			w.quota, seconds = 1, math.Ceil(1/w.perSecond)
		}
		policies = append(policies, fmt.Sprintf("%q;q=%s;w=%s", w.name, integer(w.quota), integer(seconds)))
	}
	q.policy = strings.Join(policies, ", ")
	return q
}

// maxInteger is the largest integer of a structured field (RFC 9651, section 3.3.1).
const maxInteger = 999_999_999_999_999

func integer(f float64) string { return strconv.FormatInt(int64(min(f, maxInteger)), 10) }

// Take counts one request if every window has room for it; else it counts none and says how long
// that will take, were nothing else counted. policy and state are the values of the headers
// RateLimit-Policy and RateLimit afterwards.
func (q *Quota) Take() (policy, state string, wait time.Duration) {
	q.mu.Lock()
	now := time.Now()
	for i := range q.windows {
		w := &q.windows[i]
		if missing := 1 - w.limiter.TokensAt(now); missing > 0 {
			// A microsecond more, lest rounding has the client come just too early.
			wait = max(wait, duration(missing/w.perSecond)+time.Microsecond)
		}
	}
	if wait == 0 {
		for i := range q.windows {
			q.windows[i].limiter.AllowN(now, 1)
		}
	}
	state = q.state(now)
	q.mu.Unlock()
	if wait > 0 {
		q.over.Inc()
	}
	return q.policy, state, wait
}

// Look gives what Take would, and counts nothing.
func (q *Quota) Look() (policy, state string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.policy, q.state(time.Now())
}

// state writes for each window how many requests are left, and in how many seconds all will be.
func (q *Quota) state(now time.Time) string {
	b := make([]byte, 0, 40*len(q.windows))
	for i := range q.windows {
		w := &q.windows[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		tokens := max(0, w.limiter.TokensAt(now))
		full := min(w.quota, float64(w.rate.Burst))
		b = append(append(append(b, '"'), w.name...), '"')
		b = append(append(b, ";r="...), integer(min(math.Floor(tokens), w.quota))...)
		b = append(append(b, ";t="...), integer(math.Ceil(max(0, full-tokens)/w.perSecond))...)
	}
	return string(b)
}

// duration converts seconds, which may be huge, to a duration of at most a year.
func duration(seconds float64) time.Duration {
	const most = 365 * 24 * time.Hour
	if !(seconds < most.Seconds()) {
		return most
	}
	return time.Duration(seconds * float64(time.Second))
}

// maxStrangers bounds the quotas of tenants that are not listed. Of more, those that asked longest
// ago are forgotten, and begin anew with a full quota.
const maxStrangers = 10_000

// table has the quotas of the tenants that are not listed.
type table struct {
	rates []Rate
	over  counter

	mu    sync.Mutex
	names map[string]*list.Element // of *named
	order *list.List               // who asked last comes first
}

type named struct {
	name  string
	quota *Quota
}

func newTable(rates []Rate, over counter) *table {
	return &table{rates: rates, over: over, names: make(map[string]*list.Element), order: list.New()}
}

// quota finds the quota of a name, or makes it.
func (t *table) quota(name string) *Quota {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.names[name]; e != nil {
		t.order.MoveToFront(e)
		return e.Value.(*named).quota
	}
	if t.order.Len() >= maxStrangers {
		delete(t.names, t.order.Remove(t.order.Back()).(*named).name)
	}
	name = strings.Clone(name) // which may be a part of the whole request header
	n := &named{name, newQuota(t.rates, t.over)}
	t.names[name] = t.order.PushFront(n)
	return n.quota
}
