package tuner

import (
	"math"
	"slices"
	"time"

	"penstock/observe"
)

const (
	// fullRatio: a call tells something about the limit if it found this share of it in flight.
	fullRatio = 0.95
	// epochTrips is how many round trips of the slow calls an epoch lasts at least.
	epochTrips = 1.75
	// tailShare: the slow calls' round trip is that which all but this share of the time spent in calls
	// keeps within.
	tailShare = 0.03
	// recentMost is how many durations that is judged by.
	recentMost = 512
	// epochSamples is the least number of calls that an epoch rests on.
	epochSamples = 12
	// epochMost bounds the calls that an epoch keeps; more tell no more.
	epochMost = 4096
	// staleTrips ends an epoch that finds no calls at its limit.
	staleTrips = 12
	// epochLeast is the least that an epoch lasts; it bounds what the search costs where calls are quick.
	epochLeast = 20 * time.Millisecond
	// capTrips: what a call takes beyond so many round trips of the slow calls counts with its mean of
	// many epochs. Such calls are too rare for one epoch to tell how rare.
	capTrips = 1.25
	// capCalls is how many calls that mean is taken over, capFollow how fast the cap follows.
	capCalls  = 4000
	capFollow = 0.1
)

// RouteTimes are the durations of one route's good calls in an epoch, in seconds.
type RouteTimes struct {
	N          int
	Sum, SumSq float64
}

func (r RouteTimes) mean() float64 { return r.Sum / float64(max(r.N, 1)) }

// variance is of one call; a small number of calls hides it, so it is never taken below a hundredth of
// the mean squared.
func (r RouteTimes) variance() float64 {
	m := r.mean()
	if r.N < 2 {
		return m * m
	}
	v := (r.SumSq - r.Sum*m) / float64(r.N-1)
	return max(v, 1e-4*m*m)
}

// Epoch is what calls showed that started under one limit while the limit was used up.
type Epoch struct {
	// Limit is the number of permits, Span how long it took to find out about it.
	Limit float64
	Span  time.Duration
	// Calls are all calls, OK the good ones, Overload those that ended in 503 or a timeout, Refused
	// those refused for the quota.
	Calls, OK, Overload, Refused int
	// InFlight is the mean number in flight that a starting call found, itself included.
	InFlight float64
	// Routes are the times of the good calls by route.
	Routes map[string]RouteTimes
	// Answers are the good ones that ended by the clock in a while under this limit, Counted how many that is a second;
	// 0: not known yet. Hanging is the share of the permits then held by calls that don't end, 0 if none are believed to.
	Answers int
	Counted float64
	Hanging float64
}

// mean is the mean duration of a good call, in seconds.
func (e *Epoch) mean() float64 {
	sum, n := 0.0, 0
	for _, r := range e.Routes {
		sum += r.Sum
		n += r.N
	}
	return sum / float64(max(n, 1))
}

// goodput is good calls per second, by Little's law.
func (e *Epoch) goodput() float64 {
	m := e.mean()
	if m <= 0 || e.Calls == 0 {
		return 0
	}
	return e.InFlight / m * float64(e.OK) / float64(e.Calls)
}

// against compares the durations with those of ref at the same mix of routes: how many times as long
// they are, and one standard deviation of the logarithm of that. ok is false if they share no route.
func (e *Epoch) against(ref *Epoch) (ratio, noise float64, ok bool) {
	var sum, refSum, variance, refVariance float64
	for name, r := range e.Routes {
		b, known := ref.Routes[name]
		if !known || b.N == 0 || r.N == 0 {
			continue
		}
		n := float64(r.N)
		sum += r.Sum
		refSum += n * b.mean()
		variance += n * r.variance()
		refVariance += n * n * b.variance() / float64(b.N)
	}
	if sum <= 0 || refSum <= 0 {
		return 1, math.Inf(1), false
	}
	return sum / refSum, math.Sqrt(variance/(sum*sum) + refVariance/(refSum*refSum)), true
}

// join adds what o measured under the same limit.
func (e *Epoch) join(o *Epoch) {
	n, m := float64(e.Calls), float64(o.Calls)
	e.InFlight = (e.InFlight*n + o.InFlight*m) / max(n+m, 1)
	e.Calls += o.Calls
	e.OK += o.OK
	e.Overload += o.Overload
	e.Refused += o.Refused
	routes := make(map[string]RouteTimes, len(e.Routes))
	for name, r := range e.Routes {
		routes[name] = r
	}
	for name, r := range o.Routes {
		b := routes[name]
		routes[name] = RouteTimes{b.N + r.N, b.Sum + r.Sum, b.SumSq + r.SumSq}
	}
	e.Routes = routes
}

// signals are the epoch's numbers as a CallSignals, for Judge and the ledger.
func (e *Epoch) signals() observe.CallSignals {
	m := e.mean()
	mean := time.Duration(m * float64(time.Second))
	rate := 0.0
	if m > 0 {
		rate = e.InFlight / m
	}
	return observe.CallSignals{
		Count: uint64(e.Calls), Items: uint64(e.Calls),
		Outcomes: observe.Outcomes{
			OK: uint64(e.OK), Overload: uint64(e.Overload), Refused: uint64(e.Refused),
			Error: uint64(max(e.Calls-e.OK-e.Overload-e.Refused, 0)),
		},
		Rate: rate, Throughput: rate, Goodput: e.goodput(), MeanInFlight: e.InFlight, MaxInFlight: int(e.InFlight), Mean: mean, P50: mean, P95: mean,
	}
}

// gauge gathers the calls of one upstream into epochs. It is not safe for concurrent use.
type gauge struct {
	limit   float64
	since   time.Time // when the limit came into force
	from    time.Time // start of the first call that counts; zero: none yet
	samples []observe.Call
	next    time.Time // no epoch ends before it

	recent durations     // of all good calls, whatever the limit
	trip   time.Duration // of the slow calls, at the last look
	ended  time.Time     // when the last epoch ended, or the limit came into force
	cap    time.Duration
	excess map[string]beyond // by route
	hung   hung
	again  bool        // an epoch under this limit has ended
	ends   []time.Time // of calls, whatever their start, since the first call that counts; at most epochMost
	most   int         // calls in flight that a start has found under this limit
}

// beyond is what the calls of a route take beyond the cap.
type beyond struct{ calls, mean float64 }

// durations are the last ones.
type durations struct {
	ring [recentMost]time.Duration
	n    int
}

func (d *durations) add(x time.Duration) {
	d.ring[d.n%recentMost] = x
	d.n++
}

// slow is the duration that calls with all but tailShare of the time spent keep within: a few calls that
// take long weigh as much as the permits that they hold.
func slow(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	var total, sum time.Duration
	for _, d := range ds {
		total += d
	}
	for _, d := range ds {
		if sum += d; float64(sum) >= (1-tailShare)*float64(total) {
			return d
		}
	}
	return 0
}

// reset begins a new epoch under limit.
func (g *gauge) reset(limit float64, now time.Time) {
	g.hung.begin(now.Add(g.trip))
	g.again, g.ends, g.most = false, g.ends[:0], 0
	g.limit, g.since, g.ended, g.from, g.next, g.samples = limit, now, now, time.Time{}, time.Time{}, g.samples[:0]
}

// restart begins a new epoch under the same limit, with the calls that the last one left out. Were they
// dropped, the quick ones among them would be missing from the next.
func (g *gauge) restart(cut, now time.Time) {
	kept := g.samples[:0]
	from := time.Time{}
	for _, c := range g.samples {
		if c.Start.After(cut) {
			kept = append(kept, c)
			if from.IsZero() || c.Start.Before(from) {
				from = c.Start
			}
		}
	}
	g.again, g.ends = true, slices.DeleteFunc(g.ends, func(t time.Time) bool { return t.Before(from) })
	g.since, g.ended, g.from, g.next, g.samples = cut.Add(1), now, from, now.Add(epochLeast), kept
}

// cut is the last start that an epoch ending now may count: of later ones only the quick have ended.
func (g *gauge) cut(now time.Time) time.Time { return now.Add(-g.trip) }

// add takes a finished call and reports the epoch that it completes, if any.
//
// Calls of the cohort before the last change do not count, nor those that found the limit not used up,
// or not yet reached from above after a cut. An epoch lasts nearly two round trips of the slow calls,
// and leaves out the calls that started so late that only quick ones of their kind have ended.
func (g *gauge) add(c observe.Call, now time.Time) (Epoch, bool) {
	if good(c.Outcome) {
		g.recent.add(c.Duration)
	}
	if !c.Start.Before(g.since) && float64(c.InFlight) < math.Floor(fullRatio*g.limit) {
		g.hung.begin(now.Add(g.trip)) // the demand paused, and so did the ends of calls
	}
	switch {
	case good(c.Outcome):
		g.hung.end(c.Duration, now)
	case c.Outcome == observe.OutcomeTimeout:
		g.hung.gaveUp(c.Duration, g.trip)
	}
	if c.Start.Before(g.since) || c.Outcome == observe.OutcomeCanceled || c.Outcome == observe.OutcomeDown {
		return Epoch{}, false
	}
	g.most = max(g.most, c.InFlight)
	if !g.from.IsZero() && len(g.ends) < epochMost {
		g.ends = append(g.ends, now)
	}
	n := float64(c.InFlight)
	if n <= g.limit && n >= math.Floor(fullRatio*g.limit) && len(g.samples) < epochMost {
		if g.from.IsZero() || c.Start.Before(g.from) {
			g.from = c.Start
		}
		c.Header = nil
		g.samples = append(g.samples, c)
	}
	return g.end(now)
}

func good(o observe.Outcome) bool { return o == observe.OutcomeOK || o == observe.OutcomeClient }

func (g *gauge) end(now time.Time) (Epoch, bool) {
	if len(g.samples) < epochSamples || now.Before(g.next) {
		return Epoch{}, false
	}
	g.trip = g.roundTrip()
	if length := time.Duration(epochTrips * float64(g.trip)); now.Sub(g.from) < length {
		// Not the whole time at once: a few calls that took long may make way for quicker ones.
		g.next = now.Add(max(g.from.Add(length).Sub(now)/3, epochLeast))
		return Epoch{}, false
	}
	e := g.epoch(g.cut(now))
	e.Span = now.Sub(g.ended)
	if e.Calls < epochSamples || !g.hung.correct(&e, g.trip, now, !g.again, g.unended(e.Calls, g.cut(now))) {
		g.next = now.Add(g.trip / 4)
		return Epoch{}, false
	}
	return e, true
}

// unended is the share of the calls that started until cut and have not ended. While the limit is used up each end makes
// room for a start, so there were as many starts as ends. What has not ended takes longer than what has, and an
// epoch that left it out would find the upstream quick.
func (g *gauge) unended(calls int, cut time.Time) float64 {
	started := 0.0
	for _, t := range g.ends {
		if !t.After(cut) {
			started++
		}
	}
	if started == 0 || len(g.ends) >= epochMost || len(g.samples) >= epochMost {
		return 0
	}
	return max(0, 1-float64(calls)/started-2/math.Sqrt(started))
}

// roundTrip is that of the slow calls, lately or in this epoch, whichever is longer: after a change of
// the limit the one knows nothing of the new durations yet, and the other at first only the quick ones.
func (g *gauge) roundTrip() time.Duration {
	own := make([]time.Duration, 0, len(g.samples))
	for _, c := range g.samples[max(0, len(g.samples)-recentMost):] {
		if good(c.Outcome) {
			own = append(own, c.Duration)
		}
	}
	return max(slow(own), slow(slices.Clone(g.recent.ring[:min(g.recent.n, recentMost)])), time.Microsecond)
}

// epoch sums up the calls that started until cut. Overload counts whenever it came.
func (g *gauge) epoch(cut time.Time) Epoch {
	e := Epoch{Limit: g.limit, Routes: make(map[string]RouteTimes)}
	g.setCap()
	over := make(map[string]float64)
	inFlight := 0
	for _, c := range g.samples {
		overload := c.Outcome == observe.OutcomeOverload || c.Outcome == observe.OutcomeTimeout
		if c.Start.After(cut) && !overload {
			continue
		}
		e.Calls++
		inFlight += c.InFlight
		switch {
		case good(c.Outcome):
			e.OK++
			x := min(c.Duration, g.cap).Seconds()
			over[c.Route] += (c.Duration - min(c.Duration, g.cap)).Seconds()
			r := e.Routes[c.Route]
			e.Routes[c.Route] = RouteTimes{r.N + 1, r.Sum + x, r.SumSq + x*x}
		case overload:
			e.Overload++
		case c.Outcome == observe.OutcomeRefused:
			e.Refused++
		}
	}
	e.InFlight = float64(inFlight) / float64(max(e.Calls, 1))
	g.addExcess(&e, over)
	return e
}

func (g *gauge) setCap() {
	to := time.Duration(capTrips * float64(g.trip))
	if g.cap == 0 || to > 2*g.cap {
		g.cap = to
		clear(g.excess)
	}
	g.cap += time.Duration(capFollow * float64(to-g.cap))
}

// addExcess gives each call its share of what calls of its route take beyond the cap.
func (g *gauge) addExcess(e *Epoch, over map[string]float64) {
	if g.excess == nil {
		g.excess = make(map[string]beyond)
	}
	for name, r := range e.Routes {
		x := g.excess[name]
		x.calls = min(x.calls, capCalls) + float64(r.N)
		mean := x.mean + float64(r.N)/x.calls*(over[name]/float64(r.N)-x.mean)
		x.mean = mean
		g.excess[name] = x
		if mean > 0 {
			e.Routes[name] = RouteTimes{r.N, r.Sum + float64(r.N)*mean, r.SumSq + 2*mean*r.Sum + float64(r.N)*mean*mean}
		}
	}
}

// idle reports whether the epoch has gone on for so long without enough calls that an experiment
// under its limit should be given up.
func (g *gauge) idle(now time.Time) bool {
	return len(g.samples) < epochSamples && now.Sub(g.since) > max(staleTrips*g.trip, time.Second)
}
