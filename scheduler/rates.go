package scheduler

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"penstock/knob"
)

// window is one rate window at work.
type window struct {
	Rate
	limiter *rate.Limiter
	// pace: it is the window of Options.PaceRate, which is none while off.
	pace, off bool
	// share is the part of it, 0..1, that is this scheduler's (see Share).
	share float64
}

// paceBurst is how long a pace may save up what was not used: as little as timers need.
const paceBurst = 10 * time.Millisecond

// addPace adds the window of a PaceRate, with the tokens that the one in old has. It comes last.
func (ws windows) addPace(k knob.Float, old windows, now time.Time) windows {
	if k.Knob == nil {
		return ws
	}
	w := window{pace: true, off: true, share: 1, Rate: Rate{Per: time.Second}}
	if n := len(old); n > 0 && old[n-1].pace {
		w = old[n-1]
	}
	ws = append(ws, w)
	ws.setPace(k, now)
	return ws
}

// setPace follows the knob.
func (ws windows) setPace(k knob.Float, now time.Time) {
	n := len(ws)
	if n == 0 || !ws[n-1].pace {
		return
	}
	w, v := &ws[n-1], k.Get()
	off := !(v > 0) || math.IsInf(v, 1)
	if w.off == off && (off || v == w.Limit) {
		return
	}
	if w.off = off; off {
		return
	}
	w.Limit, w.Burst = v, max(1, int(math.Ceil(v*paceBurst.Seconds())))
	if w.limiter == nil {
		w.limiter = rate.NewLimiter(rate.Limit(w.perSecond()), w.depth())
		return
	}
	w.limiter.SetLimitAt(now, rate.Limit(w.perSecond()))
	w.limiter.SetBurstAt(now, w.depth())
}

// windows are checked together and taken from together. They are guarded by the scheduler's
// lock, so that nothing comes between check and take.
type windows []window

// newWindows makes windows for rates. A window of old with the same Per goes on with the tokens
// that it has.
func newWindows(rates []Rate, old windows, now time.Time) windows {
	used := make([]bool, len(old))
	all := make(windows, 0, len(rates))
	for _, r := range rates {
		r = r.withDefaults()
		w := window{Rate: r, share: 1}
		for i := range old {
			if !used[i] && !old[i].pace && old[i].Per == r.Per {
				used[i] = true
				w.limiter, w.share = old[i].limiter, old[i].share
				w.limiter.SetLimitAt(now, rate.Limit(w.perSecond()))
				w.limiter.SetBurstAt(now, w.depth())
				break
			}
		}
		if w.limiter == nil {
			w.limiter = rate.NewLimiter(rate.Limit(r.perSecond()), r.Burst)
		}
		all = append(all, w)
	}
	return all
}

// wait is how long until every window has a token, and the window that takes longest; 0 and -1
// if all have one now. With spare, a tenth of each window's burst is left to others; with ahead, the pace is
// not kept to.
func (ws windows) wait(now time.Time, spare, ahead bool) (time.Duration, int) {
	longest, binding := time.Duration(0), -1
	for i := range ws {
		if ahead && ws[i].pace {
			continue
		}
		need := 1.0
		if spare {
			depth := ws[i].depth()
			need += float64(min(depth-1, (depth+9)/10))
		}
		if d := ws[i].until(need, now); d > longest {
			longest, binding = d, i
		}
	}
	return longest, binding
}

// until is how long it takes until n tokens are there, were none taken.
func (w *window) until(n float64, now time.Time) time.Duration {
	if w.off {
		return 0
	}
	missing := n - w.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	// A microsecond more, so that rounding never has the timer come just too early.
	return seconds(missing/max(w.perSecond(), 1e-9)) + time.Microsecond
}

// take takes one token of each window; the caller has seen wait give 0 at the same now.
func (ws windows) take(now time.Time) {
	for i := range ws {
		if !ws[i].off {
			ws[i].limiter.AllowN(now, 1)
		}
	}
}

// seconds converts s, which may be huge, to a duration of at most a day.
func seconds(s float64) time.Duration {
	const most = 24 * time.Hour
	if !(s < most.Seconds()) {
		return most
	}
	return time.Duration(s * float64(time.Second))
}
