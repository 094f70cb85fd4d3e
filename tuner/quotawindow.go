package tuner

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Kinds of quota, and where the knowledge of one comes from.
const (
	KindBucket  = "bucket"  // tokens that come at a steady rate
	KindFixed   = "fixed"   // so many calls from one multiple of the period to the next
	KindRolling = "rolling" // so many calls in any stretch of the period

	SourceHeaders = "headers" // the upstream's answers tell it
	SourceLearned = "learned" // from refusals
)

// QuotaWindow is what is known of one quota.
type QuotaWindow struct {
	Name string `json:"name"`
	// Kind is bucket, fixed or rolling; empty: not known.
	Kind string `json:"kind"`
	// Limit is how many calls a Period admits; 0: not known.
	Limit  float64       `json:"limit"`
	Period time.Duration `json:"period_ns"`
	Source string        `json:"source"`
	// Confidence is 0..1; told ones have 1.
	Confidence float64 `json:"confidence"`
	// Met is when the limit was last met, or told of.
	Met time.Time `json:"met"`
	// Remaining and Reset are what was told last; Remaining below 0 if it was not.
	Remaining float64   `json:"remaining"`
	Reset     time.Time `json:"reset"`
	// Others is how many calls per second others seem to make on the same quota.
	Others float64 `json:"others_per_second,omitempty"`
	// Steady counts the periods since the limit was last met or changed, Step is how many calls more are
	// tried next.
	Steady int     `json:"steady,omitempty"`
	Step   float64 `json:"step,omitempty"`
	// Trial is when the limit was last raised on trial, from From; zero: it is not on trial.
	Trial time.Time `json:"trial"`
	From  float64   `json:"from,omitempty"`

	// Used is how many calls it counted when it was saved, at Saved.
	Used  float64   `json:"used,omitempty"`
	Saved time.Time `json:"saved,omitzero"`

	told toldWindow
}

func windowName(p time.Duration) string {
	switch p {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	case 24 * time.Hour:
		return "day"
	}
	return p.String()
}

// counted are the windows that are counted: long ones whose limit and period are known.
func (s *QuotaState) counted() []*QuotaWindow {
	var out []*QuotaWindow
	for i := range s.Windows {
		if w := &s.Windows[i]; w.Limit > 0 && w.Period >= long {
			out = append(out, w)
		}
	}
	return out
}

// used is how many of our calls a window counts at a time, as far as they have ended.
func (s *QuotaState) used(w *QuotaWindow, now time.Time) float64 {
	if w.Source == SourceHeaders && w.Remaining >= 0 {
		if w.Reset.Before(now) && !w.sliding() {
			return 0
		}
		return max(w.Limit-w.Remaining, 0)
	}
	return s.usedSince(w, now.Add(-w.Period), now)
}

func (s *QuotaState) usedSince(w *QuotaWindow, rolling, now time.Time) float64 {
	from := rolling
	if w.Kind == KindFixed {
		from = now.Truncate(w.Period)
	}
	return s.log.count(periodIndex(w.Period), from, now)
}

// rate is the calls per second that use up a window evenly, its calls being late by jitter at most.
func (w *QuotaWindow) rate(jitter time.Duration) float64 {
	return w.Limit / (w.Period + jitter).Seconds()
}

// adopt takes in a window that a closure told of.
func (s *QuotaState) adopt(w QuotaWindow) {
	s.note = quotaNote{"window", fmt.Sprintf("nothing was admitted until a %s window of %s would have let more in, after %.0f calls in it", w.Kind, w.Period, w.Limit)}
	if w.Period < long {
		w.Name = "short"
		s.Short = w
		s.Pace.Top = max(w.Limit/w.Period.Seconds(), leastPace)
		s.Pace.Pace = max(s.Pace.Top*(1-gentleCut), leastPace)
		return
	}
	// A closure that a told window explains teaches nothing of others.
	for i := range s.Windows {
		if o := &s.Windows[i]; o.Source == SourceHeaders && o.Remaining == 0 {
			return
		}
	}
	// A shorter one that allows as much can't bind beside it: it was a first guess.
	s.Windows = slices.DeleteFunc(s.Windows, func(o QuotaWindow) bool {
		return o.Source == SourceLearned && o.Period < w.Period && o.Limit >= 0.95*w.Limit
	})
	i := slices.IndexFunc(s.Windows, func(o QuotaWindow) bool {
		// What was full, or is of about the same length, is the same window, known better now.
		return o.Source == SourceLearned && (o.Period == w.Period || o.Name == "unusual" || w.Name == "unusual" || s.used(&o, s.closed.refused) >= usedUpRatio*o.Limit)
	})
	if i >= 0 {
		if o := s.Windows[i]; o.Kind == w.Kind && o.Period == w.Period {
			w.Confidence, w.Steady = max(w.Confidence, min(o.Confidence+0.1, 0.99)), min(o.Steady, 0)
		}
		s.Windows[i] = w
		return
	}
	if len(s.Windows) < maxWindows {
		s.Windows = append(s.Windows, w)
	}
	if s.Pace.Pace > 0 && s.Short.Limit == 0 && s.Pace.Pace <= 1.2*w.rate(0) {
		s.Pace, s.Short = PaceState{}, QuotaWindow{} // the pace was all due to this window
	}
}

const (
	// restPeriods is how many periods a learned limit rests before more is tried; doubled, up to
	// longestRest, each time more was refused.
	restPeriods = 2
	longestRest = 16
	// trialRatio is how much more is tried first.
	trialRatio = 0.01
	// testedRatio of a limit sent in a period tests it; a rolling window is counted in parts, which costs a
	// little of it.
	testedRatio = 0.96
)

// Look is called at each interval: it ends trials of learned limits, and begins them. It reports whether
// anything changed.
func (s *QuotaState) Look(now time.Time) bool {
	changed := false
	for _, w := range s.counted() {
		if w.Source == SourceLearned && s.try(w, now) {
			changed = true
		}
	}
	return s.forget(now) || changed
}

// try raises a limit that is used up without refusals by a little: one refusal in a hundred calls at
// most, and twice as much after each time that it was no more refused.
func (s *QuotaState) try(w *QuotaWindow, now time.Time) bool {
	if now.Sub(w.Met) < w.Period+s.trip {
		return false
	}
	// One period has gone by since the last look at it. Was the limit used, so that it was tested?
	i := periodIndex(w.Period)
	from, to := now.Add(-w.Period).Add(periods[i]/sliceCount), now
	if w.Kind == KindFixed {
		to = now.Truncate(w.Period)
		from, to = to.Add(-w.Period), to.Add(-1)
	}
	n := s.log.count(i, from, to)
	w.Met = now
	switch {
	case !w.Trial.IsZero() && n > w.From && !from.Before(w.Trial.Add(-w.Period)):
		// More than was known passed in one period: the quota is larger.
		s.note = quotaNote{"limit-raised", fmt.Sprintf("%.0f calls in %s were admitted, more than the %.0f that were known", n, w.Period, w.From)}
		w.Confidence = min(w.Confidence+0.1, 0.99)
		w.Step *= 2
		return s.begin(w, now)
	case !w.Trial.IsZero() && now.Sub(w.Trial) > 3*w.Period:
		// Nobody wanted more.
		w.Limit, w.Trial, w.From, w.Steady = w.From, time.Time{}, 0, 0
		return true
	case !w.Trial.IsZero() || n < testedRatio*w.Limit-1:
		return false
	}
	w.Steady++
	w.Confidence = min(w.Confidence+0.05, 0.99)
	if w.Steady < s.rest(w) {
		return true
	}
	w.Step = max(1, trialRatio*w.Limit/2)
	if w.Kind != KindFixed {
		w.Step = max(w.Step, math.Ceil(w.Limit/40)) // more than what counting in parts leaves unused
	}
	return s.begin(w, now)
}

// rest is how many periods a limit stays before more is tried: as many as keep refusals under one for
// two hundred calls.
func (s *QuotaState) rest(w *QuotaWindow) int {
	return min(max(restPeriods, int(200/max(w.Limit, 1))), longestRest)
}

func (s *QuotaState) begin(w *QuotaWindow, now time.Time) bool {
	w.From, w.Trial = w.Limit, now
	w.Limit += max(1, min(w.Step, w.Limit))
	w.Steady = 0
	return true
}

// contradict answers a refusal that the fixed windows known do not explain: where a rolling one of the same length
// does, it was that. It reports whether it was.
func (s *QuotaState) contradict(now time.Time) bool {
	for _, w := range s.counted() {
		if w.Source != SourceLearned || w.Kind != KindFixed || s.used(w, now) >= usedUpRatio*w.Limit {
			continue
		}
		if s.log.count(periodIndex(w.Period), now.Add(-w.Period), now) < usedUpRatio*w.Limit {
			continue
		}
		w.Kind, w.Confidence = KindRolling, max(w.Confidence-0.1, 0.1)
		if s.Guesses == nil {
			s.Guesses = make(map[string]float64)
		}
		s.Guesses[guess(KindFixed, w.Period)] = max(s.Guesses[guess(KindFixed, w.Period)]-1.5, -3)
		s.Guesses[guess(KindRolling, w.Period)] = min(s.Guesses[guess(KindRolling, w.Period)]+0.5, 6)
		s.note = quotaNote{"rolling", fmt.Sprintf("a call was refused early in a fixed window of %s: it is a rolling one", w.Period)}
		return true
	}
	return false
}

// undo ends a trial that was refused; false: none was under way.
func (s *QuotaState) undo(now time.Time) bool {
	for _, w := range s.counted() {
		if !w.Trial.IsZero() && s.used(w, now) > w.From-1 {
			w.Limit, w.Trial, w.From, w.Met, w.Steady, w.Step = w.From, time.Time{}, 0, now, -restPeriods, 0
			w.Confidence = min(w.Confidence+0.1, 0.99)
			s.note = quotaNote{"limit-confirmed", fmt.Sprintf("one call more than %.0f in %s was refused", w.Limit, w.Period)}
			return true
		}
	}
	return false
}

// forget drops told windows that the upstream has not told of for long.
func (s *QuotaState) forget(now time.Time) bool {
	n := len(s.Windows)
	s.Windows = slices.DeleteFunc(s.Windows, func(w QuotaWindow) bool {
		return w.Source == SourceHeaders && now.Sub(w.Met) > max(2*w.Period, time.Hour) && w.Reset.Before(now)
	})
	return len(s.Windows) != n
}
