package tuner

import "time"

// What hung goes by. Trips are round trips of the slow calls.
const (
	// hungTrips is how far hung looks back at least.
	hungTrips = 8
	// hungEnough is how far it has to look back to believe what it sees.
	hungEnough = 3
	// hungLeast is the share of the calls in flight that must be missing to be believed.
	hungLeast = 0.15
	// hungClose is that share if calls hung before, which is remembered for hungWary windows.
	hungClose = 0.03
	hungWary  = 200
	// hungGone is how many calls must have been given up for want of an answer until those that are missing are taken to
	// hang: they may be slow ones that have not ended yet.
	hungGone = 3
)

// hung finds calls that hang inside the upstream: where the newest are served first, or in no order, the
// calls that end are the quick ones, and their times say little. By Little's law the times of the calls that
// ended in a while come to the number in flight times the while. What is missing from that is in calls
// that don't end.
type hung struct {
	since time.Time
	sum   float64 // seconds of the calls that were answered since
	ends  float64 // and their number
	known bool    // calls were seen to hang lately
	gone  int     // calls that our side gave up after many round trips
	wary  int     // so many windows are watched closely, since calls hung
}

// begin counts from a moment on, when the number in flight has come to rest.
func (h *hung) begin(at time.Time) { h.since, h.sum, h.ends = at, 0, 0 }

func (h *hung) end(d time.Duration, now time.Time) {
	if now.After(h.since) {
		h.sum += d.Seconds()
		h.ends++
	}
}

// gaveUp takes a call that ended without an answer for want of time.
func (h *hung) gaveUp(d, trip time.Duration) {
	if d <= hungTrips*trip {
		return
	}
	if h.gone++; h.gone >= hungGone {
		h.wary = hungWary
	}
}

// correct lengthens the times of an epoch to what they would be if those that hang had ended, too. It
// reports false if the first epoch under a limit has to go on for that to be told; unended is the share of its calls that
// have not ended yet.
func (h *hung) correct(e *Epoch, trip time.Duration, now time.Time, first bool, unended float64) bool {
	if h.since.IsZero() {
		h.begin(now)
	}
	while := now.Sub(h.since)
	trips := float64(while) / float64(trip)
	if trips < 0.5 {
		return !first || unended < hungLeast
	}
	missing := 1 - h.sum/while.Seconds()/e.InFlight
	if trips >= hungEnough {
		e.Answers, e.Counted = int(h.ends), h.ends/while.Seconds()
	}
	if trips >= hungTrips {
		h.since, h.sum, h.ends = now.Add(-while/2), h.sum/2, h.ends/2 // the older half fades
		h.known = missing > hungLeast/2 && (h.known || missing > hungLeast)
		h.wary = max(0, h.wary-1)
	}
	// Where many calls began at once they also end at once, which in a short while looks like calls that hang.
	least := hungLeast + 0.25/trips
	if h.wary > 0 {
		if least = hungClose + 0.25/trips; trips < hungEnough {
			return false
		}
	}
	if trips < hungEnough {
		if h.known {
			least = hungLeast
		}
		return !first || missing < least && unended < hungLeast
	}
	if missing > least && missing < 0.95 {
		h.known = true
		if h.gone >= hungGone {
			e.Hanging, h.wary = missing, hungWary
		}
		for name, r := range e.Routes {
			by := 1 / (1 - missing)
			e.Routes[name] = RouteTimes{r.N, r.Sum * by, r.SumSq * by * by}
		}
	}
	return true
}
