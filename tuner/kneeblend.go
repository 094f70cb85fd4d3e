package tuner

import "math"

// What a blend goes by.
const (
	// blendCalls is how many calls the shares of routes are taken over, timesCalls their times.
	blendCalls = 4000
	timesCalls = 300
	// mostBlended bounds the routes that are told apart; the calls of others do not count.
	mostBlended = 256
)

// blend is the mix of routes by which epochs are compared: twice the share of slow calls is no congestion. Its
// zero value knows no route.
type blend struct {
	Routes map[string]blended `json:"routes,omitempty"`
	calls  float64
}

// blended is one route of a blend: its share of the calls, and lately the mean and the variance of its
// times in seconds.
type blended struct {
	Share    float64 `json:"share"`
	Mean     float64 `json:"mean_seconds"`
	Variance float64 `json:"variance"`
	calls    float64
}

// measure returns the logarithm of the time of a call of the blend in an epoch, and the variance of it.
// shift is by how much the blend's own change moves it from now on. ok is false without a good call.
func (b *blend) measure(e *Epoch) (y, v, shift float64, ok bool) {
	if e.OK == 0 {
		return 0, 0, 0, false
	}
	if len(b.Routes) == 0 {
		b.Routes = make(map[string]blended)
	}
	b.admit(e)
	now, noise := b.times(e)
	before := b.total(now)
	if before <= 0 {
		return 0, 0, 0, false
	}
	for name, r := range b.Routes {
		v += r.Share * r.Share * noise[name]
	}
	y, v = math.Log(before), v/(before*before)
	b.follow(e, now)
	return y, v, math.Log(b.total(now) / before), true
}

// admit takes in routes that were not seen before, at no share yet unless they are the first.
func (b *blend) admit(e *Epoch) {
	first := len(b.Routes) == 0
	for name, r := range e.Routes {
		if _, known := b.Routes[name]; known || r.N == 0 || len(b.Routes) >= mostBlended {
			continue
		}
		share := 0.0
		if first {
			share = float64(r.N) / float64(e.OK)
		}
		b.Routes[name] = blended{Share: share, Mean: r.mean(), Variance: r.variance()}
	}
}

// times are the mean time of each route in the epoch, and the variance of that mean. A route that was not
// called is taken to have changed as the others did.
func (b *blend) times(e *Epoch) (now, noise map[string]float64) {
	now, noise = make(map[string]float64, len(b.Routes)), make(map[string]float64, len(b.Routes))
	var seen, known float64
	for name, r := range e.Routes {
		if have, ok := b.Routes[name]; ok && r.N > 0 {
			now[name] = r.mean()
			own := r.variance()
			if r.N < 20 { // too few to tell how much they vary
				own = max(own, have.Variance)
			}
			noise[name] = own / float64(r.N)
			seen += have.Share * r.mean()
			known += have.Share * have.Mean
		}
	}
	ratio := 1.0
	if known > 0 {
		ratio = seen / known
	}
	for name, have := range b.Routes {
		if _, ok := now[name]; !ok {
			now[name] = have.Mean * ratio
			noise[name] = have.Variance / 2
		}
	}
	return now, noise
}

func (b *blend) total(times map[string]float64) float64 {
	sum := 0.0
	for name, r := range b.Routes {
		sum += r.Share * times[name]
	}
	return sum
}

// follow lets shares and times follow the epoch.
func (b *blend) follow(e *Epoch, now map[string]float64) {
	b.calls = min(b.calls+float64(e.OK), blendCalls)
	toShare := float64(e.OK) / max(b.calls, float64(e.OK))
	sum := 0.0
	for name, r := range b.Routes {
		n := float64(e.Routes[name].N)
		r.Share += toShare * (n/float64(e.OK) - r.Share)
		if n > 0 {
			r.calls += n
			to := n / min(r.calls, timesCalls+n)
			r.Mean += to * (now[name] - r.Mean)
			r.Variance += to * (e.Routes[name].variance() - r.Variance)
		}
		if r.Share < 1e-6 {
			delete(b.Routes, name)
			continue
		}
		sum += r.Share
		b.Routes[name] = r
	}
	for name, r := range b.Routes {
		r.Share /= sum
		b.Routes[name] = r
	}
}
